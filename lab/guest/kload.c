// SPDX-License-Identifier: GPL-2.0
/*
 * kload: call kexec_load(2) with exactly the arguments given, sensible or not.
 *
 *   kload [-f FLAGS] -e ENTRY [-s MEM:MEMSZ[:FILE]]...
 *   kload [-f FLAGS] -u
 *
 * Numbers are decimal or 0x hex. FLAGS is 2 (KEXEC_PRESERVE_CONTEXT) unless
 * given; -u loads nothing, which unloads. FILE's content is the buffer, its
 * size the bufsz. Prints "kexec_load: ok" (exit 0) or
 * "kexec_load: errno=NN (text)" (exit 1).
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#define MAX_SEGMENTS 64

/* The kernel's struct kexec_segment. */
struct segment {
	const void *buf;
	size_t bufsz;
	unsigned long mem;
	size_t memsz;
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static unsigned long number(const char *s, char **end)
{
	char *e;
	unsigned long v;

	errno = 0;
	v = strtoul(s, &e, 0);
	if (e == s || errno) {
		fprintf(stderr, "kload: not a number: %s\n", s);
		exit(2);
	}
	if (end)
		*end = e;
	return v;
}

static void read_file(const char *file, struct segment *seg)
{
	struct stat st;
	size_t got = 0;
	char *buf;
	int fd = open(file, O_RDONLY);

	if (fd < 0 || fstat(fd, &st))
		die(file);
	buf = malloc(st.st_size + 1);
	if (!buf)
		die("malloc");
	while (got < (size_t)st.st_size) {
		ssize_t n = read(fd, buf + got, st.st_size - got);

		if (n <= 0)
			die(file);
		got += n;
	}
	close(fd);
	seg->buf = buf;
	seg->bufsz = got;
}

int main(int argc, char **argv)
{
	static struct segment seg[MAX_SEGMENTS];
	unsigned long flags = 2, entry = 0, n = 0;
	int c, unload = 0, have_entry = 0;
	char *s;

	while ((c = getopt(argc, argv, "f:e:s:u")) != -1) {
		switch (c) {
		case 'f':
			flags = number(optarg, NULL);
			break;
		case 'e':
			entry = number(optarg, NULL);
			have_entry = 1;
			break;
		case 's':
			if (n == MAX_SEGMENTS) {
				fprintf(stderr, "kload: at most %d segments\n", MAX_SEGMENTS);
				return 2;
			}
			seg[n].mem = number(optarg, &s);
			if (*s++ != ':')
				goto usage;
			seg[n].memsz = number(s, &s);
			if (*s == ':')
				read_file(s + 1, &seg[n]);
			else if (*s)
				goto usage;
			n++;
			break;
		case 'u':
			unload = 1;
			break;
		default:
			goto usage;
		}
	}
	if (optind != argc || unload == have_entry || (unload && n))
		goto usage;
	if (syscall(SYS_kexec_load, entry, n, seg, flags)) {
		printf("kexec_load: errno=%d (%s)\n", errno, strerror(errno));
		return 1;
	}
	printf("kexec_load: ok\n");
	return 0;
usage:
	fprintf(stderr, "usage: kload [-f FLAGS] -e ENTRY [-s MEM:MEMSZ[:FILE]]... | -u\n");
	return 2;
}
