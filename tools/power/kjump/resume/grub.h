/* SPDX-License-Identifier: GPL-2.0 */
/* What GRUB starts unless somebody chooses. */
#ifndef KJUMP_GRUB_H
#define KJUMP_GRUB_H

#include <stdbool.h>

struct boot_entry {
	char *kernel;			/* its file, as the boot loader calls it */
	char *words;			/* the kernel command line */
	char *initrds;			/* its files, as the boot loader calls them, or NULL */
};

/*
 * Of its configuration @cfg, grub.cfg, and its memory @env, grubenv, which may be NULL. False
 * if it depends on more than that, or is no Linux. To be freed in either case.
 */
bool grub_next(const char *cfg, const char *env, struct boot_entry *entry);
void boot_entry_free(struct boot_entry *entry);

#endif
