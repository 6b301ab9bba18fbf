/* SPDX-License-Identifier: GPL-2.0 */
/* What the file of a kernel says of it. */
#ifndef KJUMP_BZIMAGE_H
#define KJUMP_BZIMAGE_H

#include "common/kjump.h"

/* As in include/linux/kexec_jump_abi.h of the kernel. */
#define KEXEC_JUMP_VERSION	1u

struct bzimage {
	uint32_t init_size;		/* bytes it needs to unpack itself */
	uint32_t cmdline_size;		/* characters of a command line, without the zero byte */
	uint32_t alignment;		/* of where it can be loaded; 0: in one place only */
	uint32_t jump_version;		/* of what kernels tell each other at a jump; 0: none */
	uint16_t machine;		/* EM_X86_64 or EM_386 */
};

/* KJ_REFUSED if it does not say that it can jump back. */
int bzimage_read(const char *path, struct bzimage *k);
/* The same; also if it and the running kernel are not for the same architecture. */
int bzimage_read_alike(const char *path, struct bzimage *k);
/* From the bytes at kernel_info; 0 if there is no word of kexec jump. */
uint32_t bzimage_jump_version(const uint8_t *info, size_t length);

#endif
