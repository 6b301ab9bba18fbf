/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Volumes (LVM, LUKS) as places for images.
 *
 * The peer has no device mapper set up, and cannot open what is encrypted. So it is told
 * which pieces of disks a volume is, and makes a device of these for itself. Where the
 * volume is encrypted, that device is, too, with a key of its own: whoever can open the
 * volume finds it in the volume's first page. All kernels see an image through such a
 * device, also those that have the volume; behind the first page, the volume itself shows
 * bytes without a meaning.
 */
#ifndef KJUMP_VOLUME_H
#define KJUMP_VOLUME_H

#include "common/kjump.h"

/* KJ_REFUSED if the peer could not be told where it is; KJ_OK also for what is no volume. */
int volume_check(const char *path, dev_t dev);
/* Whether it is a volume and encrypted. */
bool volume_encrypted(const char *path);
/* Call @visit with the name of each encrypted device that @dev is, or is on. */
void volume_keys(dev_t dev, void (*visit)(void *ctx, const char *name), void *ctx);
/* Have it begin with a first page, if it is a volume and does not. */
int volume_prepare(const char *path);
/* Bytes that this takes, 0 for what is no volume. */
uint64_t volume_head_room(const char *path);
/* Whether it begins with one. */
bool volume_is(const char *path);
/*
 * All about @path, which is open as @fd, for the peer: key and pieces of disks, for
 * free_secret(). NULL for what is no volume with a first page.
 */
int volume_text(const char *path, int fd, char **text);
/* Where piece @number of a volume with that text begins, in bytes; false if there is none. */
bool volume_piece(const char *text, unsigned int number, uint64_t *at);
/* The device of a volume with that text, open. KJ_NONE: a disk of it is not there. */
int volume_open(const char *path, const char *text, bool write, int *fd);

#endif
