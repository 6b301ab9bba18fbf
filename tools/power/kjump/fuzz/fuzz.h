/* SPDX-License-Identifier: GPL-2.0 */
/* What the fuzzers of kjump's parsers share. */
#ifndef KJUMP_FUZZ_H
#define KJUMP_FUZZ_H

#include "common/kjump.h"

#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* A file in memory with these bytes; the name holds until the next call. */
static inline const char *fuzz_file(const uint8_t *data, size_t size)
{
	static char name[32];
	static int fd = -1;

	if (fd < 0)
		fd = memfd_create("fuzz", 0);
	if (fd < 0 || ftruncate(fd, 0) || pwrite(fd, data, size, 0) != (ssize_t)size)
		abort();
	snprintf(name, sizeof(name), "/proc/self/fd/%d", fd);
	return name;
}

/* The same bytes with a zero byte behind them, to be freed. */
static inline char *fuzz_text(const uint8_t *data, size_t size)
{
	char *text = malloc(size + 1);

	if (!text)
		abort();
	memcpy(text, data, size);
	text[size] = 0;
	return text;
}

#endif
