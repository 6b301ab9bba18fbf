/* SPDX-License-Identifier: GPL-2.0 */
/* Whether the next boot will resume what is saved now. */
#ifndef KJUMP_NEXT_BOOT_H
#define KJUMP_NEXT_BOOT_H

#include <stdint.h>

/* What is known of it. */
struct next_boot {
	uint64_t bytes;			/* of memory its initramfs takes */
	char *opens;			/* see opened_by_initramfs() */
};

/*
 * KJ_REFUSED if the boot loader whose files are in the folder @boot will start what does
 * not resume an image on @device; where that cannot be told, there is a line about what is
 * needed.
 */
int next_boot_check(const char *boot, const char *device, struct next_boot *next);
/* Have all of the file system that @boot is on where a boot loader finds it. */
void next_boot_settle(const char *boot);

#endif
