// SPDX-License-Identifier: GPL-2.0
/*
 * pagesum: a 64-bit checksum of what the page cache holds of files.
 *
 *   pagesum FILE...            every byte, read in if need be
 *   pagesum --cached FILE...   only the pages that are in memory now
 *
 * Prints "SUM PAGES FILE" for each.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

static int sum(const char *file, int cached)
{
	uint64_t h = 0xcbf29ce484222325ull;
	long page = sysconf(_SC_PAGESIZE);
	size_t pages, i, used = 0;
	unsigned char *vec, *p;
	struct stat st;
	int fd = open(file, O_RDONLY);

	if (fd < 0 || fstat(fd, &st)) {
		perror(file);
		return 1;
	}
	pages = (st.st_size + page - 1) / page;
	if (pages) {
		p = mmap(NULL, st.st_size, PROT_READ, MAP_SHARED, fd, 0);
		vec = malloc(pages);
		if (p == MAP_FAILED || !vec || mincore(p, st.st_size, vec)) {
			perror(file);
			return 1;
		}
		for (i = 0; i < pages; i++) {
			/* Behind the end of a file, its last page is zero. */
			const uint64_t *word = (const uint64_t *)(p + i * page);
			const uint64_t *end = word + page / sizeof(*word);

			if (cached && !(vec[i] & 1))
				continue;
			/* The page's number takes part: a page that moved is a change. */
			h = (h ^ i) * 0x100000001b3ull;
			for (; word < end; word++) {
				h = (h ^ *word) * 0x100000001b3ull;
				h ^= h >> 32;
			}
			used++;
		}
		munmap(p, st.st_size);
		free(vec);
	}
	close(fd);
	printf("%016llx %zu %s\n", (unsigned long long)h, used, file);
	return 0;
}

int main(int argc, char **argv)
{
	int cached = argc > 1 && !strcmp(argv[1], "--cached");
	int i, bad = 0;

	if (argc < 2 + cached) {
		fprintf(stderr, "usage: pagesum [--cached] FILE...\n");
		return 2;
	}
	for (i = 1 + cached; i < argc; i++)
		bad |= sum(argv[i], cached);
	return bad;
}
