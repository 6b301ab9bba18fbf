// SPDX-License-Identifier: GPL-2.0
/* The memory a peer may use. */
#include "common/machine.h"
#include "peer/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Never beyond what a kernel can be loaded to. */
#define WINDOW_MAX	(1024 * MB)
/*
 * What the peer needs to run, kjump's buffers included; and for a bitmap and the
 * index of an image, 256 KB for each GB of RAM.
 */
#define WORKING_MEMORY	(24 * MB + machine_ram_size() / 4096)

/* What the kernel at @path needs to unpack itself, from the setup header of a bzImage. */
static int kernel_size(const char *path, uint64_t *size)
{
	uint8_t header[0x268];
	uint32_t init_size;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail(KJ_FAILED, "kernel %s: %s", path, strerror(errno));
	n = pread_full(fd, header, sizeof(header), 0);
	close(fd);
	if (n != sizeof(header) || memcmp(header + 0x202, "HdrS", 4))
		return fail(KJ_FAILED, "kernel %s: not a bzImage", path);
	memcpy(&init_size, header + 0x260, sizeof(init_size));
	*size = init_size;
	return KJ_OK;
}

/* The initramfs, packed and, from the end of a gzip file, unpacked. */
static int initrd_size(const char *path, uint64_t *packed, uint64_t *unpacked)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t magic[2] = { 0 };
	uint32_t length;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		return fail(KJ_FAILED, "initramfs %s: %s", path, strerror(error));
	}
	*packed = (uint64_t)st.st_size;
	*unpacked = 4 * *packed;
	if (*packed > 18 && pread_full(fd, magic, 2, 0) == 2 && magic[0] == 0x1f &&
	    magic[1] == 0x8b && pread_full(fd, &length, 4, *packed - 4) == 4 && length > *packed)
		*unpacked = length;
	close(fd);
	return KJ_OK;
}

/* Where the RAM that begins below WINDOW_START or there ends. */
static uint64_t ram_end(void)
{
	struct mem_range *ram;
	uint64_t end = WINDOW_MAX;
	int i, n = machine_ram(NULL, &ram);

	for (i = 0; i < n; i++)
		if (ram[i].start <= WINDOW_START && ram[i].end > WINDOW_START)
			end = ram[i].end;
	free(ram);
	return end < WINDOW_MAX ? end : WINDOW_MAX;
}

int choose_window(struct conf *conf)
{
	uint64_t kernel = 0, packed = 0, unpacked = 0, need, end = ram_end();
	int rc = kernel_size(conf->kernel, &kernel);

	if (!rc)
		rc = initrd_size(conf->initrd, &packed, &unpacked);
	if (rc)
		return rc;
	need = WINDOW_START + kernel + packed + unpacked + WORKING_MEMORY;
	if (!conf->window) {
		conf->window = align_up(need, 8 * MB);
		if (conf->window < WINDOW_DEFAULT)
			conf->window = WINDOW_DEFAULT;
		if (conf->window > end && need <= end)
			conf->window = end;
	}
	if (conf->window >= need && conf->window <= end)
		return KJ_OK;
	if (need > end)
		return fail(KJ_FAILED,
			    "%s and %s need a window up to %llu MB, and RAM there ends at %llu MB; take smaller ones",
			    conf->kernel, conf->initrd, (unsigned long long)(need / MB + 1),
			    (unsigned long long)(end / MB));
	if (conf->window > end)
		return fail(KJ_FAILED, "a window up to %llu MB: RAM there ends at %llu MB",
			    (unsigned long long)(conf->window / MB),
			    (unsigned long long)(end / MB));
	return fail(KJ_FAILED,
		    "a window of %llu MB is too small: %llu MB for the kernel, %llu MB for the initramfs, %llu MB to work in; use --window=%lluM",
		    (unsigned long long)(conf->window / MB), (unsigned long long)(kernel / MB + 1),
		    (unsigned long long)((packed + unpacked) / MB + 1),
		    (unsigned long long)(WORKING_MEMORY / MB),
		    (unsigned long long)(align_up(need, 8 * MB) / MB));
}
