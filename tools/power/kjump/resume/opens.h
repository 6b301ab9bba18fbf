/* SPDX-License-Identifier: GPL-2.0 */
/* Whether the next boot opens what is encrypted and an image is on. */
#ifndef KJUMP_OPENS_H
#define KJUMP_OPENS_H

#include "peer/initramfs.h"

/* What an initramfs opens, as crypttab(5), to be freed; NULL if that cannot be told. */
char *opened_by_initramfs(const struct initramfs *fs);
/*
 * KJ_REFUSED if @device is, or is on, an encrypted device that is not opened before an
 * image is looked for: neither is the root file system on it, nor does the next boot's
 * initramfs open it, which opens what is @opened; if that is NULL, the file @crypttab says
 * what it opens.
 */
int check_opens(const char *opened, const char *crypttab, const char *device);

#endif
