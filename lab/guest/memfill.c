// SPDX-License-Identifier: GPL-2.0
/*
 * memfill: fill all memory there is with a pattern and check it.
 *
 *   memfill [-k] PATTERN [LIMIT_MB]
 *
 * Each word is PATTERN xor its number, so that no two pages are the same. Stops
 * when MemAvailable is below 6 MB (or LIMIT_MB is reached), re-reads everything,
 * and prints "filled=NN kB ok". With -k a background process keeps the memory
 * filled until it is killed (its pid is printed); with SIGUSR1 it first re-reads
 * everything once more and writes the same line to /tmp/memfill.
 */
#include <errno.h>
#include <signal.h>
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

static uint64_t **chunks, pattern;
static size_t nr_chunks;

static void fill(uint64_t *p, uint64_t first)
{
	size_t w;

	for (w = 0; w < CHUNK / 8; w++)
		p[w] = pattern ^ (first + w);
}

static int check(FILE *to)
{
	size_t i, w;

	for (i = 0; i < nr_chunks; i++) {
		for (w = 0; w < CHUNK / 8; w++) {
			if (chunks[i][w] == (pattern ^ (i * (CHUNK / 8) + w)))
				continue;
			fprintf(to, "filled=%zu kB BAD\n", nr_chunks * (CHUNK >> 10));
			return 1;
		}
	}
	fprintf(to, "filled=%zu kB ok\n", nr_chunks * (CHUNK >> 10));
	return 0;
}

/* Keep the memory until somebody wants to know whether it is still right. */
static void keep(void)
{
	sigset_t wanted;
	FILE *answer;
	int sig;

	setsid();
	close(0);
	close(1);
	close(2);
	sigemptyset(&wanted);
	sigaddset(&wanted, SIGUSR1);
	while (sigwait(&wanted, &sig))
		;
	answer = fopen("/tmp/memfill.part", "w");
	if (!answer)
		_exit(1);
	check(answer);
	fclose(answer);
	rename("/tmp/memfill.part", "/tmp/memfill");
	_exit(0);
}

int main(int argc, char **argv)
{
	size_t limit = SIZE_MAX;
	int background = argc > 1 && !strcmp(argv[1], "-k");
	sigset_t usr1;
	pid_t pid;

	argc -= background;
	argv += background;
	if (argc < 2) {
		fprintf(stderr, "usage: memfill [-k] PATTERN [LIMIT_MB]\n");
		return 2;
	}
	pattern = strtoull(argv[1], NULL, 0);
	if (argc > 2)
		limit = strtoul(argv[2], NULL, 0) * ((1 << 20) / CHUNK);
	while (nr_chunks < limit && available_kb() > RESERVE_KB) {
		uint64_t **more = realloc(chunks, (nr_chunks + 1) * sizeof(*chunks));
		uint64_t *p = mmap(NULL, CHUNK, PROT_READ | PROT_WRITE,
				   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

		if (!more || p == MAP_FAILED)
			break;
		chunks = more;
		fill(p, nr_chunks * (CHUNK / 8));
		chunks[nr_chunks++] = p;
	}
	if (check(stdout))
		return 1;
	if (!background)
		return 0;
	fflush(stdout);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	sigprocmask(SIG_BLOCK, &usr1, NULL);
	/* The child inherits the pages; the parent's end leaves them to it. */
	pid = fork();
	if (pid < 0) {
		perror("memfill: fork");
		return 1;
	}
	if (!pid)
		keep();
	printf("pid=%d\n", pid);
	return 0;
}
