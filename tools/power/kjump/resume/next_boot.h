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

#define EFIVARS	"/sys/firmware/efi/efivars"

/*
 * KJ_REFUSED if the boot loader whose files are in the folder @boot, or the firmware by its
 * variables in @efivars, will start what does not resume an image on @device, or if there
 * is a boot loader that is not understood here, and this boot was not by it to resume one.
 * If there is no boot loader there is a line about what is needed.
 */
int next_boot_check(const char *boot, const char *efivars, const char *device,
		    struct next_boot *next);
/* Of one like this, what is known of it. */
void next_boot_as_this(const char *boot, struct next_boot *next);
/* Have all of the file system that @boot is on where a boot loader finds it. */
void next_boot_settle(const char *boot);

#endif
