/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a disk is, whatever it is called: names and numbers differ from kernel to kernel.
 *
 * A device is a part of a disk: a partition, or all of it.
 */
#ifndef KJUMP_IDENTITY_H
#define KJUMP_IDENTITY_H

#include "common/kjump.h"

struct identity {
	char *wwid;			/* worldwide name, NULL if it has none */
	char *serial;			/* NULL if it has none */
	char *table;			/* id of its partition table, NULL if it has none */
	char *at;			/* where it is connected, NULL if that is not known */
	uint64_t size;			/* of the disk, bytes */
	uint64_t start, length;		/* of the part, bytes */
};

/* Whether two are of one disk. */
enum same_disk {
	OTHER_DISK,
	MAYBE_SAME_DISK,		/* nothing tells them apart, not even where they are */
	SAME_DISK,
};

/* KJ_NONE for what no hardware is: device mapper, RAID, loop. */
int identity_of(dev_t dev, struct identity *id);
void identity_free(struct identity *id);
/* One word, to be freed. */
char *identity_text(const struct identity *id);
bool identity_parse(const char *text, struct identity *id);

enum same_disk identity_compare(const struct identity *a, const struct identity *b);
/*
 * Whether one of the same disk is connected elsewhere. A kernel that is resumed goes on
 * with what is where its disk was.
 */
bool identity_moved(const struct identity *a, const struct identity *b);
/* Whether they are known to be connected in the same place. */
bool identity_same_place(const struct identity *a, const struct identity *b);
/* Whether some byte is in both parts, if they are of one disk. */
bool identity_overlap(const struct identity *a, const struct identity *b);

#endif
