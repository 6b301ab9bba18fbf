// SPDX-License-Identifier: GPL-2.0
/*
 * physmem: read or write 32 bits of physical memory.
 *
 *   physmem ADDRESS [VALUE]
 *
 * Prints the value found. Unlike devmem it maps /dev/mem cached, as the kernel
 * maps the jump page of a preserved kernel; one page has one memory type.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>

int main(int argc, char **argv)
{
	unsigned long long address;
	volatile uint32_t *word;
	char *page;
	int fd;

	if (argc < 2) {
		fprintf(stderr, "usage: physmem ADDRESS [VALUE]\n");
		return 2;
	}
	address = strtoull(argv[1], NULL, 0);
	fd = open("/dev/mem", O_RDWR);
	if (fd < 0) {
		perror("/dev/mem");
		return 1;
	}
	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED, fd, address & ~4095ull);
	if (page == MAP_FAILED) {
		perror("physmem: mmap");
		return 1;
	}
	word = (volatile uint32_t *)(page + (address & 4092));
	printf("%#x\n", *word);
	if (argc > 2)
		*word = strtoul(argv[2], NULL, 0);
	return 0;
}
