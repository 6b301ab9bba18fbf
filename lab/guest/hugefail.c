// SPDX-License-Identifier: GPL-2.0
/*
 * hugefail FILE N: make FILE, on hugetlbfs, a huge page of random data, of which page N
 * fails. That ends who has it mapped: with SIGBUS.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <unistd.h>

#define HUGE	(2 << 20)
#define PIECE	256		/* getrandom(2) gives as much at once. */

int main(int argc, char **argv)
{
	long size = sysconf(_SC_PAGESIZE);
	char *data;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: hugefail FILE N\n");
		return 2;
	}
	fd = open(argv[1], O_RDWR | O_CREAT, 0600);
	if (fd < 0 || ftruncate(fd, HUGE)) {
		perror(argv[1]);
		return 1;
	}
	data = mmap(NULL, HUGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (data == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	for (size_t i = 0; i < HUGE; i += PIECE)
		if (getrandom(data + i, PIECE, 0) != PIECE)
			return 1;
	madvise(data + atol(argv[2]) * size, size, MADV_HWPOISON);
	perror("madvise");
	return 1;
}
