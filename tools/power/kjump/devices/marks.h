/* SPDX-License-Identifier: GPL-2.0 */
/*
 * By what a file system shows that somebody mounted, changed or repaired it: places that
 * each of these writes to, and mounting it read-only does not.
 */
#ifndef KJUMP_MARKS_H
#define KJUMP_MARKS_H

#include "common/kjump.h"

struct place {
	uint64_t offset, length;	/* on its device, bytes, whole blocks of 4096 */
};

#define PLACES_MAX	256u

struct marks {
	struct place list[PLACES_MAX];
	unsigned int count;		/* 0: it has none */
};

/* Of what is on @path, @type as libblkid calls it. */
void marks_find(const char *path, const char *type, struct marks *marks);

/* Where the table of logical partitions is on @fd, a disk with a DOS partition table. */
void marks_logical(int fd, uint64_t sector_size, struct marks *m);

/* --- for those that know one kind of file system --------------------------- */

#define MARK_SECTOR	512u
/* What a disk of large sectors can be asked for. */
#define MARK_BLOCK	4096u
/* Of tables of the smaller file systems. */
#define MARK_TABLE_MAX	(32 * MB)

/* A place, made whole blocks; one that goes on where the last one ends is part of that. */
void mark_add(struct marks *m, uint64_t offset, uint64_t length);
bool mark_read(int fd, void *buf, size_t length, uint64_t offset);
uint64_t mark_number(const uint8_t *at, unsigned int bytes, bool big);

void marks_fat(int fd, struct marks *m);
void marks_esp(int fd, struct marks *m);
void marks_exfat(int fd, struct marks *m);
void marks_ntfs(int fd, struct marks *m);

#endif
