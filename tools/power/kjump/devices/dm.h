/* SPDX-License-Identifier: GPL-2.0 */
/* Device mapper: what a device of it is made of, and making one. */
#ifndef KJUMP_DM_H
#define KJUMP_DM_H

#include "common/kjump.h"

#include <linux/dm-ioctl.h>

#define DM_SECTOR	512ull
/* How the names of those that dm_open_new() makes begin. */
#define DM_OWN_NAME	"kjump-"

/* A piece of a device: @length sectors from @start on are a target of @type. */
struct dm_piece {
	uint64_t start, length;
	const char *type;
	char *params;
};

/* Whether @dev is of device mapper. */
bool dm_is(dev_t dev);
/* Whether any of it is encrypted; false if that cannot be read. */
bool dm_encrypts(dev_t dev);
/* One of this system that is open, by its name, to be freed; NULL if there is none. */
char *dm_any_encrypted(void);
bool dm_is_lvm(dev_t dev);
/* The target of it that writes to what is below as soon as it is set up; NULL if none does. */
const char *dm_restless(dev_t dev);
/*
 * All pieces of @dev as the kernel has them (struct dm_target_spec, each followed by its
 * parameters, which may have keys, at data_start); NULL if they cannot be read. To be freed.
 */
struct dm_ioctl *dm_table(dev_t dev);
/* A new device of these pieces, open; it is gone once it is closed. -1 after fail(). */
int dm_open_new(const struct dm_piece *pieces, unsigned int count, bool write);

#endif
