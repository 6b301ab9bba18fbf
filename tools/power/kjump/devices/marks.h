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

#endif
