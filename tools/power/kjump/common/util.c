// SPDX-License-Identifier: GPL-2.0
/* Errors, memory, files, numbers. */
#include "common/kjump.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <fcntl.h>

static pthread_mutex_t fail_lock = PTHREAD_MUTEX_INITIALIZER;
static char text_of_failure[1024];

int fail(int code, const char *fmt, ...)
{
	va_list ap;

	pthread_mutex_lock(&fail_lock);
	if (!text_of_failure[0]) {
		va_start(ap, fmt);
		vsnprintf(text_of_failure, sizeof(text_of_failure), fmt, ap);
		va_end(ap);
	}
	pthread_mutex_unlock(&fail_lock);
	return code;
}

const char *fail_text(void)
{
	return text_of_failure;
}

void fail_clear(void)
{
	text_of_failure[0] = 0;
}

char *fail_put_aside(void)
{
	char *text = xasprintf("%s", text_of_failure);

	fail_clear();
	return text;
}

void fail_take_back(char *text)
{
	fail_clear();
	if (*text)
		fail(KJ_FAILED, "%s", text);
	free(text);
}

static char *unfinished;

static void remove_unfinished(void)
{
	if (unfinished)
		unlink(unfinished);
}

void file_begun(const char *path)
{
	static bool registered;

	if (!registered)
		atexit(remove_unfinished);
	registered = true;
	unfinished = xasprintf("%s", path);
}

void file_is_whole(void)
{
	free(unfinished);
	unfinished = NULL;
}

static void *checked(void *p)
{
	if (!p) {
		fputs("kjump: out of memory\n", stderr);
		exit(KJ_FAILED);
	}
	return p;
}

void *xalloc(size_t size)
{
	return checked(calloc(1, size ? size : 1));
}

void *xalloc_pages(size_t size)
{
	void *p;

	size = align_up(size ? size : 1, PAGE);
	p = checked(aligned_alloc(PAGE, size));
	memset(p, 0, size);
	return p;
}

void *xrealloc(void *p, size_t size)
{
	return checked(realloc(p, size ? size : 1));
}

char *xvasprintf(const char *fmt, va_list ap)
{
	char *text = NULL;

	if (vasprintf(&text, fmt, ap) < 0)
		text = NULL;
	return checked(text);
}

void free_secret(char *text)
{
	if (text)
		explicit_bzero(text, strlen(text));
	free(text);
}

char *xasprintf(const char *fmt, ...)
{
	char *text;
	va_list ap;

	va_start(ap, fmt);
	text = xvasprintf(fmt, ap);
	va_end(ap);
	return text;
}

ssize_t pread_full(int fd, void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pread(fd, (char *)buf + done, len - done,
				  (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (!n)
			break;
		done += (size_t)n;
	}
	return (ssize_t)done;
}

ssize_t pwrite_full(int fd, const void *buf, size_t len, uint64_t offset)
{
	size_t done = 0;

	while (done < len) {
		ssize_t n = pwrite(fd, (const char *)buf + done, len - done,
				   (off_t)(offset + done));

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -1;
		if (!n) {
			errno = ENOSPC;
			return -1;
		}
		done += (size_t)n;
	}
	return (ssize_t)done;
}

static atomic_int interrupted;

static void note_signal(int number)
{
	interrupted = number;
}

void hold_signals(void)
{
	static const int held[] = { SIGINT, SIGTERM, SIGHUP, SIGQUIT };
	struct sigaction sa = { .sa_handler = note_signal, .sa_flags = SA_RESTART }, before;

	for (unsigned int i = 0; i < ARRAY_SIZE(held); i++)
		if (!sigaction(held[i], NULL, &before) && before.sa_handler != SIG_IGN)
			sigaction(held[i], &sa, NULL);
	signal(SIGPIPE, SIG_IGN);
}

int check_interrupted(void)
{
	return interrupted ? fail(KJ_FAILED, "interrupted") : KJ_OK;
}

void let_signals_go(void)
{
	if (!interrupted)
		return;
	signal(interrupted, SIG_DFL);
	raise(interrupted);
}

void add_listed(char **list, const char *separator, const char *more)
{
	char *text = xasprintf("%s%s%s", *list ? *list : "", *list ? separator : "", more);

	free(*list);
	*list = text;
}

char *read_text(const char *path)
{
	size_t len = 0, room = 4096;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	char *text;

	if (fd < 0)
		return NULL;
	text = xalloc(room + 1);
	for (;;) {
		ssize_t n = read(fd, text + len, room - len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0) {
			close(fd);
			free(text);
			return NULL;
		}
		if (!n)
			break;
		len += (size_t)n;
		if (len == room) {
			room *= 2;
			text = xrealloc(text, room + 1);
		}
	}
	close(fd);
	while (len && text[len - 1] == '\n')
		len--;
	text[len] = 0;
	return text;
}

int write_line(const char *path, const char *line)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);
	int error = fd < 0 || dprintf(fd, "%s\n", line) < 0 ? errno : 0;

	if (fd >= 0)
		close(fd);
	return error;
}

bool parse_size(const char *text, uint64_t *size)
{
	static const char units[] = "KMGT";
	unsigned int shift = 0;
	unsigned long long n;
	const char *unit;
	char *end;

	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	n = strtoull(text, &end, 0);
	if (errno)
		return false;
	if (*end) {
		unit = strchr(units, *end >= 'a' ? *end - 'a' + 'A' : *end);
		if (!unit || (end[1] && strcmp(end + 1, "B") && strcmp(end + 1, "iB")))
			return false;
		shift = 10 * (unsigned int)(unit - units + 1);
	}
	if (n > UINT64_MAX >> shift)
		return false;
	*size = (uint64_t)n << shift;
	return true;
}

bool parse_digits(const char *text, uint64_t *n, char **end)
{
	if (*text < '0' || *text > '9')
		return false;
	errno = 0;
	*n = strtoull(text, end, 10);
	return !errno;
}

bool parse_seconds(const char *text, uint64_t *seconds)
{
	char *end;

	if (!parse_digits(text, seconds, &end))
		return false;
	if (*end == 's')
		end++;
	return !*end && *seconds <= 1000000;
}

bool is_zero(const void *buf, size_t len)
{
	const char *p = buf;

	return !len || (!p[0] && !memcmp(p, p + 1, len - 1));
}

const char *human_size(uint64_t bytes, char *buf, size_t len)
{
	if (bytes >= 10 * 1024 * MB)
		snprintf(buf, len, "%.1f GB", (double)bytes / (1024 * MB));
	else if (bytes >= 10 * MB)
		snprintf(buf, len, "%llu MB", (unsigned long long)(bytes / MB));
	else if (bytes >= MB)
		snprintf(buf, len, "%.1f MB", (double)bytes / MB);
	else
		snprintf(buf, len, "%llu KB",
			 (unsigned long long)((bytes + KB - 1) / KB));
	return buf;
}

double now_seconds(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

unsigned int online_cpus(void)
{
	long n = sysconf(_SC_NPROCESSORS_ONLN);

	return n > 0 ? (unsigned int)n : 1;
}

uint64_t memory_size(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), size = sysconf(_SC_PAGESIZE);

	return pages > 0 && size > 0 ? (uint64_t)pages * (uint64_t)size : 0;
}
