// SPDX-License-Identifier: GPL-2.0
/* What the file of a kernel says of it: Documentation/arch/x86/boot.rst. */
#include "peer/bzimage.h"
#include "common/machine.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/elf-em.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* In the first sectors of the file, from protocol version 2.15 on. */
#define SETUP_SECTS		0x1f1
#define SETUP_MAGIC		0x202
#define SETUP_VERSION		0x206
#define SETUP_ALIGNMENT		0x230
#define SETUP_RELOCATABLE	0x234
#define SETUP_XLOADFLAGS	0x236
#define SETUP_CMDLINE_SIZE	0x238
#define SETUP_INIT_SIZE		0x260
#define SETUP_KERNEL_INFO	0x268
#define SETUP_END		0x26c

#define XLF_KERNEL_64		0x01

/* kernel_info: "LToP", its fixed and its whole size; then chunks: name, size, data. */
#define INFO_HEADER		12
#define INFO_MAX		(64 * KB)
#define CHUNK_HEADER		8

static uint32_t get32(const uint8_t *at)
{
	uint32_t value;

	memcpy(&value, at, sizeof(value));
	return value;
}

uint32_t bzimage_jump_version(const uint8_t *info, size_t length)
{
	size_t at, all;

	if (length < INFO_HEADER || memcmp(info, "LToP", 4))
		return 0;
	at = get32(info + 4);
	all = get32(info + 8);
	if (all > length)
		all = length;
	while (at <= all && all - at >= CHUNK_HEADER) {
		size_t size = get32(info + at + 4);

		if (size < CHUNK_HEADER || size > all - at)
			break;
		if (!memcmp(info + at, "KJMP", 4))
			return size >= CHUNK_HEADER + 4 ? get32(info + at + CHUNK_HEADER) : 0;
		at += size;
	}
	return 0;
}

static void read_info(int fd, uint64_t offset, struct bzimage *k)
{
	uint8_t *info = xalloc(INFO_MAX);
	ssize_t n = pread_full(fd, info, INFO_MAX, offset);

	if (n > 0)
		k->jump_version = bzimage_jump_version(info, (size_t)n);
	free(info);
}

int bzimage_read(const char *path, struct bzimage *k)
{
	uint8_t setup[SETUP_END];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint64_t sectors;
	ssize_t n;

	memset(k, 0, sizeof(*k));
	if (fd < 0)
		return fail(KJ_FAILED, "kernel %s: %s", path, strerror(errno));
	n = pread_full(fd, setup, sizeof(setup), 0);
	if (n != sizeof(setup) || memcmp(setup + SETUP_MAGIC, "HdrS", 4)) {
		close(fd);
		return fail(KJ_FAILED, "kernel %s: not a bzImage", path);
	}
	k->alignment = setup[SETUP_RELOCATABLE] ? get32(setup + SETUP_ALIGNMENT) : 0;
	k->init_size = get32(setup + SETUP_INIT_SIZE);
	k->cmdline_size = get32(setup + SETUP_CMDLINE_SIZE);
	k->machine = setup[SETUP_XLOADFLAGS] & XLF_KERNEL_64 ? EM_X86_64 : EM_386;
	/* 0 means 4, for kernels of the last century. */
	sectors = setup[SETUP_SECTS] ? setup[SETUP_SECTS] : 4;
	if ((get32(setup + SETUP_VERSION) & 0xffff) >= 0x20f)
		read_info(fd, (sectors + 1) * 512 + get32(setup + SETUP_KERNEL_INFO), k);
	close(fd);
	if (!k->jump_version)
		return fail(KJ_REFUSED,
			    "kernel %s: it cannot jump back: built without CONFIG_KEXEC_JUMP, or too old; name one that was built with it (--kernel)",
			    path);
	if (k->jump_version != KEXEC_JUMP_VERSION)
		return fail(KJ_REFUSED,
			    "kernel %s: it has version %u of kexec jump, kjump and this kernel have %u; name another one (--kernel)",
			    path, k->jump_version, KEXEC_JUMP_VERSION);
	return KJ_OK;
}

int bzimage_read_alike(const char *path, struct bzimage *k)
{
	int rc = bzimage_read(path, k);

	if (!rc && k->machine != own_machine())
		rc = fail(KJ_REFUSED,
			  "kernel %s: it is for %s, this kernel for %s, and they cannot jump to each other; name another one (--kernel)",
			  path, machine_name(k->machine), machine_name(own_machine()));
	return rc;
}
