/* SPDX-License-Identifier: GPL-2.0 */
/* Whether the next boot will resume what is saved now. */
#ifndef KJUMP_NEXT_BOOT_H
#define KJUMP_NEXT_BOOT_H

#include <stdint.h>

/*
 * KJ_REFUSED if the boot loader whose files are in the folder @boot will start what does
 * not resume an image on @device; where that cannot be told, there is a line about what is
 * needed. The memory its initramfs takes is added to @bytes, as far as that is known.
 */
int next_boot_check(const char *boot, const char *device, uint64_t *bytes);
/* Have all of the file system that @boot is on where a boot loader finds it. */
void next_boot_settle(const char *boot);
/*
 * KJ_REFUSED if @device is, or is on, an encrypted device that is not opened before an
 * image is looked for: neither is the root file system on it, nor does the file @crypttab
 * have it opened.
 */
int next_boot_opens(const char *crypttab, const char *device);

#endif
