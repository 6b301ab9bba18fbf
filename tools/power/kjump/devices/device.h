/* SPDX-License-Identifier: GPL-2.0 */
/* Which device may be written to, and which devices there are. */
#ifndef KJUMP_DEVICE_H
#define KJUMP_DEVICE_H

#include "image/image.h"

/*
 * Refuse a target that is in use or holds something that is neither nothing nor
 * an image of ours. @busy: what somebody else uses (struct disks, as text), or NULL.
 */
int device_check(const char *path, const char *busy, bool force);
/*
 * The same, later, and refuse another disk of that name. @was: what device_identity() said
 * then, which is which disk it is on, and where there; to be freed, NULL if it is on none.
 */
int device_check_again(const char *path, const char *was, bool force);
char *device_identity(const char *path);
/*
 * KJ_REFUSED, with the name, if this kernel can write to a file system or swaps, or has
 * any device open to write to it but @own (0: none).
 */
int device_none_written(dev_t own);
/* KJ_REFUSED if it is not encrypted, and something of this system is. */
int device_keeps_secrets(const char *device);
/* Whether another kernel finds it: KJ_REFUSED if hardware has none such, nor can it be told. */
int device_on_hardware(const char *path);
/* Whether what is on no disk is in memory or on a network. */
bool device_in_memory(dev_t dev);
/* From a file of sysfs that has one, "8:1". */
bool device_number(const char *path, dev_t *dev);
/* Of each entry of a directory of sysfs that has a file "dev". */
void device_numbers_in(const char *dir, void (*visit)(void *ctx, dev_t dev), void *ctx);
/* Its name as the kernel has it, "sda1", or NULL; to be freed. */
char *device_name(dev_t dev);
/* /dev/NAME for a name of sysfs; to be freed. */
char *device_file(const char *name);
/* Whether nobody can mean a file that is to be made. */
bool device_is_name(const char *path);
/* The device file of a device this kernel has, or NULL; to be freed. */
char *device_path(dev_t dev);

/* Call @visit for each block device until it returns nonzero. */
int device_for_each(int (*visit)(void *ctx, const char *path), void *ctx);
/* KJ_FAILED, and which file system to mount, if block devices cannot be found. */
int device_searchable(void);
/* Whether there are disks that only others may look at: root, or who is in the group disk. */
bool device_hidden(void);
/*
 * The block device that begins with the image of this id, in this state (0: in any),
 * or NULL; to be freed. @likely, if not NULL, is looked at first.
 */
char *device_find_image(const char *id, enum image_state state, const char *likely);
/* Have the kernel look again which partitions and disks there are. */
void device_rescan(void);

#endif
