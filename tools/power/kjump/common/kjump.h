/* SPDX-License-Identifier: GPL-2.0 */
/* What every part of kjump uses. */
#ifndef KJUMP_H
#define KJUMP_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#define KJUMP_VERSION	"1.0"
#define PAGE		4096u
#define KB		1024ull
#define MB		(1024ull * 1024)

#ifndef __printf
#define __printf(format_at, values_at) \
	__attribute((format(printf, format_at, values_at)))
#endif

#define ARRAY_SIZE(a)	(sizeof(a) / sizeof((a)[0]))

/* @to: a power of two. */
static inline uint64_t align_up(uint64_t x, uint64_t to)
{
	return (x + to - 1) & ~(to - 1);
}

/* Exit codes, as the man page has them. */
enum {
	KJ_OK = 0,
	KJ_FAILED = 1,
	KJ_USAGE = 2,
	KJ_NONE = 3,		/* no image, nothing loaded */
	KJ_REFUSED = 4,		/* in use, not blank, too small, already there */
	KJ_BAD_IMAGE = 5,	/* damaged, half-written, used, foreign */
	KJ_PEER = 6,		/* the other kernel or the program failed or died */
	KJ_PROGRAM = 64,	/* and a program's exit code, which is not 0 */
	KJ_PROGRAM_MAX = 127,
};

/* util.c */

/*
 * Remember what went wrong and return @code. The first text stays: what fails
 * while cleaning up is a consequence. main() prints it, serve sends it.
 */
int fail(int code, const char *fmt, ...) __printf(2, 3);
const char *fail_text(void);
void fail_clear(void);
/* What went wrong so far, put aside while something else is tried; and that back again. */
char *fail_put_aside(void);
void fail_take_back(char *text);

void *xalloc(size_t size);			/* zeroed */
void *xalloc_pages(size_t size);		/* page aligned, zeroed */
void *xrealloc(void *p, size_t size);
char *xasprintf(const char *fmt, ...) __printf(1, 2);
char *xvasprintf(const char *fmt, va_list ap) __printf(1, 0);
/* A text, or NULL, of which nothing is to stay in memory. */
void free_secret(char *text);

/* Whole buffers; a short count means end of file (read) or no space (write). */
ssize_t pread_full(int fd, void *buf, size_t len, uint64_t offset);
ssize_t pwrite_full(int fd, const void *buf, size_t len, uint64_t offset);

/*
 * @path was made and is not whole yet: it is removed if this program ends before
 * file_is_whole(), for whatever reason but a SIGKILL. One at a time.
 */
void file_begun(const char *path);
void file_is_whole(void);

/* One more for a list in a text, which is NULL at first. */
void add_listed(char **list, const char *separator, const char *more);
/* A small file's text without the final newline, NULL if it cannot be read. */
char *read_text(const char *path);
/* A line to a file that exists, as those of sysfs do: 0 or an errno. */
int write_line(const char *path, const char *line);
/* Bytes, or with K, M, G or T, which may be followed by B or iB: of 1024 each. */
bool parse_size(const char *text, uint64_t *size);
/* A decimal number; @end is what follows it. */
bool parse_digits(const char *text, uint64_t *n, char **end);
bool parse_seconds(const char *text, uint64_t *seconds);
bool is_zero(const void *buf, size_t len);
const char *human_size(uint64_t bytes, char *buf, size_t len);
double now_seconds(void);
unsigned int online_cpus(void);
uint64_t memory_size(void);			/* of this machine, bytes */

/*
 * From here on SIGINT, SIGTERM, SIGHUP and SIGQUIT wait until check_interrupted() is
 * called, which fails then: what was begun is cleaned up. Those that were ignored before,
 * as by nohup, still are. That nobody reads what is printed is no reason to end.
 */
void hold_signals(void);
int check_interrupted(void);
/* What has been held ends this program now, as it would have without. */
void let_signals_go(void);

/* words.c: any text as one word without blanks, and back, in place; false if it is none. */
char *word_pack(const char *text);
bool word_unpack(char *text);
/* Takes off the quotes, of either kind, that a text is in as a whole. */
void unquote(char *text);

/* Whether a checksum is right. A fuzzer would never find one that is. */
static inline bool checksum_is(uint64_t computed, uint64_t stored)
{
#ifdef FUZZING_BUILD_MODE_UNSAFE_FOR_PRODUCTION
	(void)computed;
	(void)stored;
	return true;
#else
	return computed == stored;
#endif
}

/* progress.c */
struct progress {
	const char *doing;
	uint64_t total;
	double begun;
	double shown;
	unsigned int percent;		/* shown last, in a log */
};

void progress_begin(struct progress *p, const char *doing, uint64_t total);
void progress_at(struct progress *p, uint64_t done);
void progress_end(struct progress *p);
/* A line on what was done or is about to be done; not with -q. */
void step(const char *fmt, ...) __printf(1, 2);
/* A line for who wants to know more: only with -v. */
void detail(const char *fmt, ...) __printf(1, 2);
/* A line of what was asked for. */
void answer(const char *fmt, ...) __printf(1, 2);

/* -1 with -q, 1 with -v. */
extern int verbosity;

#endif
