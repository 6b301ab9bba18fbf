/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The disks that a saved system has in use, told apart by what they are, and whether they
 * are still as it left them.
 *
 * It says, before it stops, what it uses and where each of that shows a change; its peer
 * notes what is there, in the image; who resumes compares. Only the first one has to know
 * file systems, device mapper and RAID.
 */
#ifndef KJUMP_DISKS_H
#define KJUMP_DISKS_H

#include "devices/identity.h"

/* How its pieces show a change. */
enum guard {
	UNGUARDED,			/* not at all: they are all of it */
	GUARDED,			/* each byte counts */
	GUARDED_SAMPLES,		/* some of their bytes are looked at */
	GUARDED_ALONG,			/* with others of the list: it is missing if they are */
};

/* Something in use: a file system, swap space, a device that is written to. */
struct noted {
	char *name;			/* for messages: "/dev/sda2 (mounted on /)" */
	enum guard guard;
	bool writes;			/* its system may write to it */
	bool seen;			/* there when it was saved */
	uint64_t hash;			/* of the pieces then */
	struct identity *pieces;	/* on disks */
	unsigned int count;
};

struct disks {
	struct noted *list;
	unsigned int count;
};

void disks_free(struct disks *d);
/* Lines, one for each; to be freed. */
char *disks_text(const struct disks *d);
/* False if that is no such text. */
bool disks_parse(const char *text, struct disks *d);

/*
 * In the first kernel. @to_guard: what is to be as it was, file systems and the like, with
 * the places that show it; @busy: all pieces of disks in use, whatever they are part of.
 */
int disks_in_use(struct disks *to_guard, struct disks *busy);
/* KJ_REFUSED, with the names, if changes of what its system writes to would not be noticed. */
int disks_check_guards(const struct disks *to_guard, bool any_unguarded);
/*
 * The device that a piece of a disk is on, a partition if there is one, and how many bytes
 * into it. False if its disk is not there, or cannot be told from another one.
 */
bool disks_find_piece(const struct identity *piece, dev_t *dev, uint64_t *offset);
/* KJ_REFUSED if @path, which is device @dev or a file on it, is or may be on such a piece. */
int disks_check_target(const char *busy, const char *path, dev_t dev);
/* In the peer: what is there now. KJ_FAILED if it does not find all that is written to. */
int disks_look(struct disks *d, bool any_missing);
/* Where the system is to be resumed, KJ_BAD_IMAGE if something is missing or has changed. */
int disks_compare(const struct disks *d, const char *image, double wait, bool any_missing,
		  bool any_changed);

/*
 * Those of a saved system that have changed because this one, by what is to be guarded @now,
 * has them in use, to write to them: it cannot be resumed any more. Their names, to be
 * freed, or NULL.
 */
char *disks_taken_over(const struct disks *d, const struct disks *now);

#endif
