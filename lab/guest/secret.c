// SPDX-License-Identifier: GPL-2.0
/*
 * secret: hold a page that the kernel has unmapped for itself, and print its physical
 * address, until killed.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define FRAME	((1ULL << 55) - 1)	/* Documentation/admin-guide/mm/pagemap.rst */

int main(void)
{
	long size = sysconf(_SC_PAGESIZE);
	int fd = syscall(SYS_memfd_secret, 0), map = open("/proc/self/pagemap", O_RDONLY);
	uint64_t entry;
	char *page;

	if (fd < 0 || ftruncate(fd, size)) {
		perror("memfd_secret");
		return 1;
	}
	page = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	if (page == MAP_FAILED) {
		perror("mmap");
		return 1;
	}
	*page = 1;
	if (pread(map, &entry, sizeof(entry), (uintptr_t)page / size * sizeof(entry)) != sizeof(entry)) {
		perror("/proc/self/pagemap");
		return 1;
	}
	printf("%#llx\n", (unsigned long long)((entry & FRAME) * size));
	fflush(stdout);
	for (;;)
		pause();
}
