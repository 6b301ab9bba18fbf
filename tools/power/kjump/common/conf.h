/* SPDX-License-Identifier: GPL-2.0 */
/* /etc/kjump.conf */
#ifndef KJUMP_CONF_H
#define KJUMP_CONF_H

#include "common/kjump.h"

/* A peer's window begins above what firmware and boot loaders use. */
#define WINDOW_START	MB

struct conf {
	char *kernel;
	char *initrd;
	char *append;
	char *command_line;		/* instead of this kernel's */
	char *device;
	char *kexec;
	char *modules;			/* for kjump-mkinitramfs */
	uint64_t window;		/* 0: what the peer needs */
	uint32_t compress;		/* enum image_algorithm */
	bool any_unguarded;		/* --ignore-unguarded */
	bool unencrypted;		/* --unencrypted */
};

/* Defaults, and what /etc/kjump.conf ($KJUMP_CONF) says. */
int conf_read(struct conf *conf);
/* As parse_size(), of a size that a window can have. */
bool window_size(const char *text, uint64_t *size);
/*
 * The first file of @folder, which ends in a slash or is empty, that is there; patterns may
 * have %s for the kernel's release. To be freed, NULL if there is none.
 */
char *first_there(const char *folder, const char * const *patterns, unsigned int count);
/* Fill in kernel, initrd and kexec that are not given; KJ_FAILED if there is none. */
int conf_complete(struct conf *conf);

#endif
