// SPDX-License-Identifier: GPL-2.0
/*
 * frames: know which page frames hold what, and what they held before.
 *
 *   frames MB SEED FILE [N]
 *
 * Fills MB megabytes, each page with a pattern of SEED and its page frame's
 * number, then keeps one of N pages (2), and frees the others; a background
 * process keeps them (its pid is printed). FILE gets a 64-bit word for each page: the number of its
 * frame, with FREED set if it was freed. The kernel cannot move those that are
 * kept, as pipes refer to them: a window that is loaded where some are finds
 * something to exchange. On SIGTERM the process looks at its pages once more,
 * writes "bad=N" to FILE.end, and ends.
 *
 * The pattern: four 64-bit words, KEPT or FREED, SEED, the frame's number, its
 * complement, over and over.
 */
#define _GNU_SOURCE
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/uio.h>
#include <unistd.h>

#define PAGE 4096ul
#define KEPT 0x4b4550544b455054ull	/* "TPEKTPEK" */
#define GONE 0x474f4e45474f4e45ull	/* "ENOGENOG" */
#define PIPE 256
#define FREED (1ull << 63)
#define PFN_MASK ((1ull << 55) - 1)

static char *memory;
static size_t pages, every = 2;

static void die(const char *what)
{
	perror(what);
	_exit(1);
}

static void fill(uint64_t *page, uint64_t kind, uint64_t seed, uint64_t pfn)
{
	size_t i;

	for (i = 0; i < PAGE / sizeof(*page); i += 4) {
		page[i] = kind;
		page[i + 1] = seed;
		page[i + 2] = pfn;
		page[i + 3] = ~pfn;
	}
}

static uint64_t frame(int pagemap, size_t i)
{
	uint64_t entry, page = (uintptr_t)(memory + i * PAGE) / PAGE;

	if (pread(pagemap, &entry, sizeof(entry), page * sizeof(entry)) != sizeof(entry))
		die("/proc/self/pagemap");
	return entry & PFN_MASK;
}

/* Fill all pages, and note the frames they are in. */
static void fill_all(int pagemap, uint64_t seed, uint64_t *frames)
{
	size_t i;

	for (i = 0; i < pages; i++) {
		memory[i * PAGE] = 1;
		frames[i] = frame(pagemap, i);
		fill((uint64_t *)(memory + i * PAGE), i % every ? GONE : KEPT, seed, frames[i]);
		frames[i] |= i % every ? FREED : 0;
	}
}

/* The kernel may have moved a page meanwhile, to make room. */
static void note_again(int pagemap, uint64_t seed, uint64_t *frames, size_t i)
{
	uint64_t now = frame(pagemap, i), freed = frames[i] & FREED;

	if (frames[i] == (now | freed))
		return;
	fill((uint64_t *)(memory + i * PAGE), freed ? GONE : KEPT, seed, now);
	frames[i] = now | freed;
}

/* One pipe has room for @PIPE pages. */
static void hold_some(int pagemap, uint64_t seed, uint64_t *frames)
{
	struct iovec page = { .iov_len = PAGE };
	int ends[2];
	size_t i;

	for (i = 0; i < pages; i += every) {
		page.iov_base = memory + i * PAGE;
		if (i / every % PIPE == 0 &&
		    (pipe(ends) || fcntl(ends[1], F_SETPIPE_SZ, PIPE * PAGE) < 0))
			die("pipe");
		if (vmsplice(ends[1], &page, 1, SPLICE_F_NONBLOCK) != PAGE)
			die("vmsplice");
		/* From here on it stays. */
		note_again(pagemap, seed, frames, i);
	}
}

static void free_others(int pagemap, uint64_t seed, uint64_t *frames)
{
	size_t i;

	for (i = 1; i < pages; i++) {
		if (i % every == 0)
			continue;
		note_again(pagemap, seed, frames, i);
		if (madvise(memory + i * PAGE, PAGE, MADV_DONTNEED))
			die("madvise");
	}
}

static void write_frames(const char *file, const uint64_t *frames)
{
	char name[256];
	FILE *f;

	snprintf(name, sizeof(name), "%s.new", file);
	f = fopen(name, "w");
	if (!f || fwrite(frames, sizeof(*frames), pages, f) != pages || fclose(f) ||
	    rename(name, file))
		die(file);
}

static void look_again(uint64_t seed, const uint64_t *frames, const char *file)
{
	unsigned long bad = 0;
	uint64_t page[PAGE / 8];
	char name[256];
	FILE *f;
	size_t i;

	for (i = 0; i < pages; i += every) {
		fill(page, KEPT, seed, frames[i]);
		bad += memcmp(page, memory + i * PAGE, PAGE) != 0;
	}
	snprintf(name, sizeof(name), "%s.end", file);
	f = fopen(name, "w");
	if (!f || fprintf(f, "bad=%lu\n", bad) < 0 || fclose(f))
		die(name);
}

int main(int argc, char **argv)
{
	int pagemap, done[2], sig;
	sigset_t signals;
	uint64_t seed, *frames;
	pid_t pid;
	char c = 0;

	if (argc == 5)
		every = strtoul(argv[4], NULL, 0);
	if (argc < 4 || argc > 5 || !every || pipe(done)) {
		fprintf(stderr, "usage: frames MB SEED FILE [N]\n");
		return 2;
	}
	pages = strtoul(argv[1], NULL, 0) * ((1 << 20) / PAGE);
	seed = strtoull(argv[2], NULL, 0);
	pid = fork();
	if (pid < 0)
		die("fork");
	if (pid) {
		close(done[1]);
		if (read(done[0], &c, 1) != 1)
			return 1;
		printf("pid=%d\n", pid);
		return 0;
	}

	setsid();
	sigemptyset(&signals);
	sigaddset(&signals, SIGTERM);
	sigprocmask(SIG_BLOCK, &signals, NULL);
	pagemap = open("/proc/self/pagemap", O_RDONLY);
	memory = mmap(NULL, pages * PAGE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	frames = malloc(pages * sizeof(*frames));
	if (pagemap < 0 || memory == MAP_FAILED || !frames)
		die("frames");
	madvise(memory, pages * PAGE, MADV_NOHUGEPAGE);	/* if there are such */
	fill_all(pagemap, seed, frames);
	hold_some(pagemap, seed, frames);
	free_others(pagemap, seed, frames);
	write_frames(argv[3], frames);
	if (write(done[1], &c, 1) != 1)
		die("pipe");
	close(0);
	close(1);
	close(2);
	close(done[1]);
	sigwait(&signals, &sig);
	look_again(seed, frames, argv[3]);
	return 0;
}
