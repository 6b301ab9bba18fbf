// SPDX-License-Identifier: GPL-2.0
/* What is shown of long work: a live line on a terminal, else a line per step. */
#include "common/kjump.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int verbosity;

/* One that can show a line again. */
static bool on_terminal(void)
{
	static int known = -1;
	const char *term = getenv("TERM");

	if (known < 0)
		known = isatty(STDOUT_FILENO) && term && *term && strcmp(term, "dumb");
	return known && verbosity >= 0;
}

static void say(const char *fmt, va_list ap)
{
	vprintf(fmt, ap);
	putchar('\n');
	fflush(stdout);
}

void step(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (verbosity >= 0)
		say(fmt, ap);
	va_end(ap);
}

void detail(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	if (verbosity > 0)
		say(fmt, ap);
	va_end(ap);
}

void answer(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	say(fmt, ap);
	va_end(ap);
}

void progress_begin(struct progress *p, const char *doing, uint64_t total)
{
	char size[32];

	p->doing = doing;
	p->total = total;
	p->percent = 0;
	p->begun = now_seconds();
	p->shown = p->begun;
	if (!on_terminal())
		step("%s %s", doing, human_size(total, size, sizeof(size)));
}

void progress_at(struct progress *p, uint64_t done)
{
	double now, spent, left;

	now = now_seconds();
	if (!on_terminal()) {
		unsigned int percent = p->total ? (unsigned int)(100.0 * (double)done /
								 (double)p->total) : 100;

		/* A few lines, if it takes long. */
		if (percent >= p->percent + 10 && percent < 100 && now - p->shown >= 2) {
			p->percent = percent;
			p->shown = now;
			step("%s: %u %%", p->doing, percent);
		}
		return;
	}
	if (now - p->shown < 0.25)
		return;
	p->shown = now;
	spent = now - p->begun;
	left = done ? spent * (double)(p->total - done) / (double)done : 0;
	printf("\r%s %llu of %llu MB, %.0f MB/s, %.0f s left\033[K", p->doing,
	       (unsigned long long)(done / MB),
	       (unsigned long long)(p->total / MB),
	       (double)done / MB / spent, left);
	fflush(stdout);
}

void progress_end(struct progress *p)
{
	(void)p;
	if (on_terminal()) {
		printf("\r\033[K");
		fflush(stdout);
	}
}
