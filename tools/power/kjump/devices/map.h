/* SPDX-License-Identifier: GPL-2.0 */
/* Where on hardware the bytes of a device are: below device mapper and RAID. */
#ifndef KJUMP_MAP_H
#define KJUMP_MAP_H

#include "devices/identity.h"

/*
 * Calls @visit for each piece of disks that bytes @offset to @offset + @length of @dev are
 * on; a mirrored one for each copy. False if that cannot be told of some of them (stripes,
 * caches, files): then nothing that was visited is to be relied on.
 */
bool map_to_disks(dev_t dev, uint64_t offset, uint64_t length,
		  void (*visit)(void *ctx, const struct identity *piece), void *ctx);
/* The same, not for what is on RAID, and how many bytes device mapper encrypts on the way. */
bool map_volume(dev_t dev, uint64_t offset, uint64_t length,
		void (*visit)(void *ctx, const struct identity *piece), void *ctx,
		uint64_t *encrypted);

/*
 * Calls @visit for each disk or partition that some of @dev is or may be on, whatever is in
 * between. False if there is none: it is in memory or on a network, or that cannot be told.
 */
bool map_to_hardware(dev_t dev, void (*visit)(void *ctx, const struct identity *piece),
		     void *ctx);

/*
 * Whether all of @dev is in memory, or in files of file systems that are mounted: who wants
 * to change what is on it has to mount those.
 */
bool map_in_files(dev_t dev);

#endif
