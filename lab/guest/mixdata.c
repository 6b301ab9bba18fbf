// SPDX-License-Identifier: GPL-2.0
/*
 * mixdata: write data like what is in memory, the same bytes each time.
 *
 *   mixdata MB [SEED] >FILE
 *
 * Runs of 1 to 32 pages, each of one kind: incompressible, text, or zero, in
 * shares of 45, 40 and 15 percent. With a SEED (a number, not 0): incompressible, all
 * of it.
 */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PAGE 4096
#define RUN_MAX 32
#define WORDS 512

static uint64_t state = 0x9e3779b97f4a7c15;

/* xorshift64* */
static uint64_t next(void)
{
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1d;
}

static char words[WORDS][12];

static void make_words(void)
{
	int i, n, len;

	for (i = 0; i < WORDS; i++) {
		len = 2 + next() % 9;
		for (n = 0; n < len; n++)
			words[i][n] = 'a' + next() % 26;
		words[i][n] = ' ';
	}
}

static void random_pages(uint64_t *to, size_t bytes)
{
	size_t i;

	for (i = 0; i < bytes / 8; i++)
		to[i] = next();
}

static void text_pages(char *to, size_t bytes)
{
	char *end = to + bytes;

	while (to < end) {
		/* Few words are most of a text. */
		uint64_t r = next();
		const char *word = words[(r & 0xffff) * (r >> 16 & 0xffff) / (0x100000000 / WORDS)];
		size_t n = strlen(word);

		if (n > (size_t)(end - to))
			n = end - to;
		memcpy(to, word, n);
		to += n;
	}
}

int main(int argc, char **argv)
{
	static uint64_t run[RUN_MAX * PAGE / 8];
	uint64_t left;

	if (argc < 2 || argc > 3) {
		fprintf(stderr, "usage: mixdata MB [SEED] >FILE\n");
		return 2;
	}
	if (argc == 3)
		state = strtoull(argv[2], NULL, 0);
	left = strtoull(argv[1], NULL, 0) << 20;
	make_words();
	while (left) {
		uint64_t r = next();
		size_t n = PAGE * (1 + (r >> 8) % RUN_MAX), done = 0;
		unsigned int kind = (r >> 32) % 100;

		if (n > left)
			n = left;
		if (kind < 45 || argc == 3)
			random_pages(run, n);
		else if (kind < 85)
			text_pages((char *)run, n);
		else
			memset(run, 0, n);
		while (done < n) {
			ssize_t w = write(1, (char *)run + done, n - done);

			if (w <= 0) {
				perror("mixdata: writing");
				return 1;
			}
			done += w;
		}
		left -= n;
	}
	return 0;
}
