// SPDX-License-Identifier: GPL-2.0
/*
 * memfill: fill all memory there is with a pattern and check it.
 *
 *   memfill [-k] PATTERN [LIMIT_MB]
 *
 * Stops when MemAvailable is below 6 MB (or LIMIT_MB is reached), re-reads
 * everything, and prints "filled=NN kB ok". With -k a background process keeps
 * the memory filled until it is killed (its pid is printed).
 */
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#define CHUNK (512 << 10)
#define RESERVE_KB (6 << 10)

static long available_kb(void)
{
	char line[128];
	long kb = -1;
	FILE *f = fopen("/proc/meminfo", "r");

	while (f && fgets(line, sizeof(line), f))
		if (sscanf(line, "MemAvailable: %ld", &kb) == 1)
			break;
	if (f)
		fclose(f);
	return kb;
}

int main(int argc, char **argv)
{
	uint64_t **chunks = NULL, pattern;
	size_t n = 0, i, w, limit = SIZE_MAX;
	int keep = argc > 1 && !strcmp(argv[1], "-k");

	argc -= keep;
	argv += keep;
	if (argc < 2) {
		fprintf(stderr, "usage: memfill [-k] PATTERN [LIMIT_MB]\n");
		return 2;
	}
	pattern = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		limit = strtoul(argv[2], NULL, 0) * ((1 << 20) / CHUNK);
	while (n < limit && available_kb() > RESERVE_KB) {
		uint64_t **more = realloc(chunks, (n + 1) * sizeof(*chunks));
		uint64_t *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (!more || p == MAP_FAILED)
			break;
		chunks = more;
		for (w = 0; w < CHUNK / 8; w++)
			p[w] = pattern;
		chunks[n++] = p;
	}
	for (i = 0; i < n; i++) {
		for (w = 0; w < CHUNK / 8; w++) {
			if (chunks[i][w] == pattern)
				continue;
			printf("filled=%zu kB BAD\n", n * (CHUNK >> 10));
			return 1;
		}
	}
	printf("filled=%zu kB ok\n", n * (CHUNK >> 10));
	if (keep) {
		/* The child inherits the pages; the parent's end leaves them to it. */
		pid_t pid = fork();

		if (pid < 0) {
			perror("memfill: fork");
			return 1;
		}
		if (pid) {
			printf("pid=%d\n", pid);
			return 0;
		}
		setsid();
		close(0);
		close(1);
		close(2);
		for (;;)
			pause();
	}
	return 0;
}
