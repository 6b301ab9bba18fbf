// SPDX-License-Identifier: GPL-2.0
/*
 * How fast two pages are exchanged on this machine: three copies through a third page
 * against the trampoline's code, 256 MB of pages with as many in random places.
 *
 * usage: exchange [RUNS]
 *
 * Prints the best of RUNS as "three_copies=X sse2=Y avx=Z", MB/s of each of the two; no
 * avx where the CPU has none.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#define PAGE	4096u
#define PAGES	(256u << 8)

struct pair {
	void *a;
	void *b;
	void *next_a;
	void *next_b;
	void *third;
};

void three_copies(struct pair *pair);
void sse2(struct pair *pair);
void avx(struct pair *pair);

static char third[PAGE] __attribute__((aligned(PAGE)));
static uint32_t order[PAGES];

static char *pages(void)
{
	char *p = mmap(NULL, (size_t)PAGES * PAGE, PROT_READ | PROT_WRITE,
		       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	/* As the kernel maps memory. It is as well without. */
	madvise(p, (size_t)PAGES * PAGE, MADV_HUGEPAGE);
	return p;
}

/* Every word of a page says whose it is. */
static void fill(char *p, uint32_t first)
{
	for (uint32_t i = 0; i < PAGES; i++) {
		uint32_t *word = (uint32_t *)(p + (size_t)i * PAGE);

		for (uint32_t n = 0; n < PAGE / sizeof(*word); n++)
			word[n] = (first + i) * 1024 + n;
	}
}

static void is_of(const char *p, uint32_t page)
{
	const uint32_t *word = (const uint32_t *)p;

	for (uint32_t n = 0; n < PAGE / sizeof(*word); n++) {
		if (word[n] == page * 1024 + n)
			continue;
		fprintf(stderr, "a page that is not page %u\n", page);
		exit(1);
	}
}

static double exchange_all(void (*way)(struct pair *), char *a, char *b)
{
	struct timespec start, end;

	clock_gettime(CLOCK_MONOTONIC, &start);
	for (uint32_t i = 0; i < PAGES; i++) {
		uint32_t next = i + 1 < PAGES ? i + 1 : i;
		struct pair pair = {
			a + (size_t)i * PAGE, b + (size_t)order[i] * PAGE,
			a + (size_t)next * PAGE, b + (size_t)order[next] * PAGE, third,
		};

		way(&pair);
	}
	clock_gettime(CLOCK_MONOTONIC, &end);
	return (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec) / 1e9;
}

int main(int argc, char **argv)
{
	static const struct {
		const char *name;
		void (*way)(struct pair *);
	} ways[] = { { "three_copies", three_copies }, { "sse2", sse2 }, { "avx", avx } };
	int nr = __builtin_cpu_supports("avx") ? 3 : 2;
	int runs = argc > 1 ? atoi(argv[1]) : 5;
	char *a = pages(), *b = pages();
	double best[3] = { 0 };

	for (uint32_t i = 0; i < PAGES; i++) {
		uint32_t other = (uint32_t)random() % (i + 1);

		order[i] = order[other];
		order[other] = i;
	}
	for (int run = 0; run < runs; run++) {
		for (int n = 0; n < nr; n++) {
			double took, again;

			fill(a, 0);
			fill(b, PAGES);
			took = exchange_all(ways[n].way, a, b);
			for (uint32_t i = 0; i < PAGES; i++) {
				is_of(a + (size_t)i * PAGE, PAGES + order[i]);
				is_of(b + (size_t)order[i] * PAGE, i);
			}
			again = exchange_all(ways[n].way, a, b);
			is_of(a, 0);
			took = again < took ? again : took;
			if (PAGES / 256 / took > best[n])
				best[n] = PAGES / 256 / took;
		}
	}
	for (int n = 0; n < nr; n++)
		printf("%s=%.0f%c", ways[n].name, best[n], n + 1 < nr ? ' ' : '\n');
	return 0;
}
