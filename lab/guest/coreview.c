// SPDX-License-Identifier: GPL-2.0
/*
 * coreview: look at /proc/kexec_jump_vmcore in every way there is.
 *
 *   coreview compare SEED TIMES   read, pread and mmap give the same, anywhere
 *   coreview extents FILE         where data are; holes read as zeros
 *   coreview refused              what must not be possible: NAME=ERRNO ...
 *   coreview hold FILE            map a page; once FILE is there, look at it again
 *
 * FILE gets two 64-bit words for each extent: first byte, byte after the last.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/types.h>
#include <unistd.h>

#define VMCORE "/proc/kexec_jump_vmcore"
#define PAGE 4096ul

static int fd;
static const char *core;
static off_t size;

static int die(const char *what)
{
	perror(what);
	exit(1);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void map_all(void)
{
	core = mmap(NULL, size, PROT_READ, MAP_SHARED, fd, 0);
	if (core == MAP_FAILED)
		die("mmap");
}

/* A mapping of a part of the file, not of whole pages. */
static int differs_mapped(off_t at, const char *data, size_t n)
{
	off_t start = at & ~(off_t)(PAGE - 1);
	size_t length = at + n - start;
	char *part = mmap(NULL, length, PROT_READ, MAP_PRIVATE, fd, start);
	int differs;

	if (part == MAP_FAILED)
		die("mmap of a part");
	differs = memcmp(part + (at - start), data, n);
	munmap(part, length);
	return differs;
}

static int compare(uint64_t seed, long times)
{
	static char a[5 * PAGE], b[5 * PAGE];
	uint64_t x = seed | 1;
	long i, bad = 0, with_data = 0;

	map_all();
	for (i = 0; i < times; i++) {
		off_t at = next_random(&x) % size;
		size_t n = 1 + next_random(&x) % sizeof(a);

		if ((off_t)n > size - at)
			n = size - at;
		if (pread(fd, a, n, at) != (ssize_t)n)
			return die("pread");
		if (lseek(fd, at, SEEK_SET) != at || read(fd, b, n) != (ssize_t)n)
			return die("read");
		with_data += memcmp(a, a + 1, n - 1) || a[0];
		bad += memcmp(a, b, n) || memcmp(a, core + at, n) || differs_mapped(at, a, n);
	}
	/* Across the end there is less, behind it nothing. */
	bad += pread(fd, a, sizeof(a), size - 100) != 100 || pread(fd, a, 1, size) != 0;
	printf("size=%lld compared=%ld with_data=%ld bad=%ld\n", (long long)size, times,
	       with_data, bad);
	return bad != 0;
}

static int is_zero(const char *p, size_t n)
{
	return !n || (!p[0] && !memcmp(p, p + 1, n - 1));
}

static int extents(const char *file)
{
	FILE *f = fopen(file, "w");
	off_t data, hole = 0;
	long n = 0, bad = 0;

	map_all();
	if (!f)
		return die(file);
	while ((data = lseek(fd, hole, SEEK_DATA)) >= 0) {
		uint64_t pair[2];

		bad += !is_zero(core + hole, data - hole) || (data | hole) % PAGE;
		hole = lseek(fd, data, SEEK_HOLE);
		/* From the middle of an extent, too. */
		bad += hole <= data || lseek(fd, data + 1, SEEK_DATA) != data + 1 ||
		       lseek(fd, hole - 1, SEEK_HOLE) != hole;
		pair[0] = data;
		pair[1] = hole;
		if (fwrite(pair, sizeof(pair), 1, f) != 1)
			return die(file);
		n++;
	}
	bad += errno != ENXIO || !is_zero(core + hole, size - hole);
	errno = 0;
	bad += lseek(fd, size, SEEK_HOLE) >= 0 || errno != ENXIO;
	if (fclose(f))
		return die(file);
	printf("extents=%ld bad=%ld\n", n, bad);
	return bad != 0;
}

static void tried(const char *name, long result)
{
	printf("%s=%d ", name, result < 0 ? errno : 0);
}

static long map(int fd, int prot, int flags, size_t length, off_t at)
{
	return mmap(NULL, length, prot, flags, fd, at) == MAP_FAILED ? -1 : 0;
}

static int refused(void)
{
	char *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);
	int writer = open(VMCORE, O_RDWR);

	tried("write", writer < 0 ? -1 : pwrite(writer, "x", 1, 0));
	tried("map_write", writer < 0 ? -1 : map(writer, PROT_READ | PROT_WRITE, MAP_SHARED, PAGE, 0));
	tried("map_write_private", map(fd, PROT_READ | PROT_WRITE, MAP_PRIVATE, PAGE, 0));
	tried("map_exec", map(fd, PROT_READ | PROT_EXEC, MAP_PRIVATE, PAGE, 0));
	tried("map_beyond", map(fd, PROT_READ, MAP_PRIVATE, 2 * PAGE, size - PAGE));
	tried("protect_write", mprotect(page, PAGE, PROT_READ | PROT_WRITE));
	tried("protect_exec", mprotect(page, PAGE, PROT_READ | PROT_EXEC));
	tried("map", map(fd, PROT_READ, MAP_PRIVATE, PAGE, size - PAGE));
	printf("\n");
	return 0;
}

static void gone(int signal)
{
	(void)signal;
	printf("SIGBUS\n");
	fflush(stdout);
	_exit(0);
}

static int hold(const char *file)
{
	const volatile char *page = mmap(NULL, PAGE, PROT_READ, MAP_SHARED, fd, 0);

	if (page == MAP_FAILED)
		return die("mmap");
	signal(SIGBUS, gone);
	printf("%c%c%c\n", page[1], page[2], page[3]);
	fflush(stdout);
	while (access(file, F_OK))
		usleep(50000);
	printf("%c%c%c\n", page[1], page[2], page[3]);
	return 0;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	fd = open(VMCORE, O_RDONLY);
	if (fd < 0)
		return die(VMCORE);
	size = lseek(fd, 0, SEEK_END);
	if (!strcmp(verb, "compare") && argc == 4)
		return compare(strtoull(argv[2], NULL, 0), atol(argv[3]));
	if (!strcmp(verb, "extents") && argc == 3)
		return extents(argv[2]);
	if (!strcmp(verb, "refused"))
		return refused();
	if (!strcmp(verb, "hold") && argc == 3)
		return hold(argv[2]);
	fprintf(stderr, "usage: coreview compare SEED TIMES | extents FILE | refused | hold FILE\n");
	return 2;
}
