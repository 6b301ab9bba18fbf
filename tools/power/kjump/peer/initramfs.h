/* SPDX-License-Identifier: GPL-2.0 */
/* What is in an initramfs. */
#ifndef KJUMP_INITRAMFS_H
#define KJUMP_INITRAMFS_H

#include "common/kjump.h"

#define CRYPTTAB_MAX	16384u

struct initramfs {
	uint64_t packed, unpacked;	/* bytes of the file, and of memory its files take */
	bool has_init, has_kjump;
	bool knows_image;		/* and that knows what this one saves */
	bool sets_up_disks;		/* it is a distribution's, to mount the root file system */
	bool initramfs_tools;		/* that of Debian and the like */
	/* What of encrypted devices that one opens; all of it, with a 0 at its end. */
	char crypttab[CRYPTTAB_MAX];
	bool long_crypttab;		/* or no more than is unknown */
};

/* Read it all; KJ_FAILED, or KJ_REFUSED if it is none. */
int initramfs_scan(const char *path, struct initramfs *fs);
/* The same; KJ_REFUSED, with the way out, also if no peer can boot from it. */
int initramfs_read(const char *path, struct initramfs *fs);

/* Archives in the form newc, one after another, as they come. */
struct cpio {
	struct initramfs *fs;
	uint64_t skip;			/* bytes of the file being passed over */
	char *keep;			/* they are put here first, so many: */
	size_t to_keep;
	uint64_t to_search;		/* and in so many there may be IMAGE_MARK, */
	size_t marked;			/* of which this is there already */
	size_t have, want;		/* of a header and name, or 0: between entries */
	char head[110 + 4096 + 4];
	bool ended;			/* after the last entry of an archive */
	bool bad;
};

void cpio_begin(struct cpio *c, struct initramfs *fs);
/* How many bytes were taken: fewer at the end of an archive, or if it is not one. */
size_t cpio_take(struct cpio *c, const uint8_t *data, size_t length);

#endif
