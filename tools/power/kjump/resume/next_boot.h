/* SPDX-License-Identifier: GPL-2.0 */
/* Whether the next boot will resume what is saved now. */
#ifndef KJUMP_NEXT_BOOT_H
#define KJUMP_NEXT_BOOT_H

#include <stdbool.h>

/* What a boot loader starts unless somebody chooses. */
struct boot_entry {
	char *kernel;			/* its file, as the boot loader calls it */
	char *words;			/* the kernel command line */
	char *initrds;			/* its files, as the boot loader calls them, or NULL */
};

/* Of GRUB's configuration, grub.cfg. False if it depends on more than that. */
bool grub_default(const char *cfg, struct boot_entry *entry);
void boot_entry_free(struct boot_entry *entry);

/*
 * KJ_REFUSED if the boot loader whose files are in the folder @boot will start what does
 * not resume an image on @device; where that cannot be told, there is a line about what is
 * needed.
 */
int next_boot_check(const char *boot, const char *device);
/*
 * KJ_REFUSED if @device is, or is on, an encrypted device that is not opened before an
 * image is looked for: neither is the root file system on it, nor does the file @crypttab
 * have it opened.
 */
int next_boot_opens(const char *crypttab, const char *device);

#endif
