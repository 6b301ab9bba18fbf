// SPDX-License-Identifier: GPL-2.0
/*
 * What the peer is told on its command line.
 *
 * Its entry, without which it takes the whole machine for its own, is appended last, by
 * kexec. So nothing before may hide it: no "--", after which come words for init, no
 * quote that is left open, and not so many words that it is cut off.
 */
#include "peer/peer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Longer ones are cut off, by the kernel and by kexec (COMMAND_LINE_SIZE). */
#define LIMIT		2047u
/* " kexec_jump_back_entry=0x0123456789abcdef", and what kexec may put before it. */
#define ENTRY_ROOM	96u

/* A word, as the kernel takes it off its command line (next_arg() in lib/cmdline.c). */
struct word {
	const char *start;
	size_t length;
	bool open;			/* a quote in it is not closed */
};

static bool next_word(const char **rest, struct word *w)
{
	const char *p = *rest;
	bool quoted = false;

	while (isspace((unsigned char)*p))
		p++;
	w->start = p;
	for (; *p && (quoted || !isspace((unsigned char)*p)); p++)
		if (*p == '"')
			quoted = !quoted;
	w->length = (size_t)(p - w->start);
	w->open = quoted;
	*rest = p;
	return w->length;
}

static bool ends_parameters(const struct word *w)
{
	return w->length == 2 && !memcmp(w->start, "--", 2);
}

/* Whether it is the parameter @name, with a value if @name ends in '='. A - in it is a _ there. */
static bool is_parameter(const struct word *w, const char *name)
{
	const char *p = w->start, *end = p + w->length;

	if (p < end && *p == '"')
		p++;
	for (; *name; name++, p++) {
		if (p == end || (*p == '-' ? '_' : *p) != *name)
			return false;
		if (*name == '=')
			return true;
	}
	return p == end || (*p == '"' && p + 1 == end);
}

bool command_line_has(const char *line, const char *name)
{
	struct word w;

	while (next_word(&line, &w) && !ends_parameters(&w))
		if (is_parameter(&w, name))
			return true;
	return false;
}

/* The values of @name, without quotes: the last, or all. */
static char *values_of(const char *line, const char *name, bool all)
{
	char *values = NULL;
	struct word w;

	while (next_word(&line, &w) && !ends_parameters(&w)) {
		const char *end = w.start + w.length, *p = memchr(w.start, '=', w.length);
		char *value, *to;

		if (!is_parameter(&w, name))
			continue;
		value = xalloc(w.length + 1);
		to = value;
		for (p++; p < end; p++)
			if (*p != '"')
				*to++ = *p;
		if (!all) {
			free(values);
			values = NULL;
		}
		add_listed(&values, ",", value);
		free(value);
	}
	return values;
}

char *command_line_value(const char *line, const char *name)
{
	return values_of(line, name, false);
}

char *command_line_values(const char *line, const char *name)
{
	return values_of(line, name, true);
}

/* What is about this kernel's place, disks and way of booting, not about the machine. */
static bool passed_on(const struct word *w)
{
	static const char * const not_for_peer[] = {
		"BOOT_IMAGE=", "initrd=", "root=", "rootfstype=", "rootflags=", "rootdelay=",
		"rootwait", "rootwait=", "ro", "rw", "init=", "rdinit=", "ip=", "nfsroot=",
		"resume=", "resume_offset=", "resumedelay=", "resumewait", "noresume",
		"hibernate=", "crashkernel=", "elfcorehdr=", "kexec_jump_back_entry=",
		"kexec_jump_vmcore=", "mem=", "memmap=", "bootconfig", "lockdown=",
		"kjump.serve", "kjump.restore", "kjump.restore=",
		/* What is on the preserved kernel's disks is not the peer's. */
		"dm_mod.create=", "dm_mod.waitfor=", "md=",
		/* There is little of it. */
		"hugepages=", "hugepagesz=", "default_hugepagesz=", "hugetlb_cma=", "cma=",
		"kernelcore=", "movablecore=", "swiotlb=", "log_buf_len=",
		"kho=", "kho_scratch=", "liveupdate=",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(not_for_peer); i++)
		if (is_parameter(w, not_for_peer[i]))
			return false;
	return true;
}

static void add(char **line, const char *text, size_t length)
{
	char *more = xasprintf("%s%s%.*s", *line, **line ? " " : "", (int)length, text);

	free(*line);
	*line = more;
}

static void add_guard(char **line, uint64_t start, uint64_t end)
{
	char *word;

	if (start >= end)
		return;
	word = xasprintf("memmap=%#llx$%#llx", (unsigned long long)(end - start),
			 (unsigned long long)start);
	add(line, word, strlen(word));
	free(word);
}

/*
 * All RAM outside the window is somebody's; the first MB is exchanged as a whole. Few words:
 * the kernel gives up KASLR for more than four. What lies below 4 GB after RAM are devices.
 */
static void add_guards(char **line, const struct mem_range *window)
{
	const uint64_t high = 1ull << 32;
	struct mem_range *ram;
	int n = machine_ram(NULL, &ram);
	uint64_t low_end = 0;

	for (int i = 0; i < n; i++)
		if (ram[i].start < high)
			low_end = ram[i].end < high ? ram[i].end : high;
	add_guard(line, MB, window->start);
	add_guard(line, window->end, low_end);
	if (n > 0)
		add_guard(line, high, ram[n - 1].end);
	free(ram);
}

/* What this kernel was told, up to where its init's words begin. */
static void add_own(char **line, const char *own)
{
	struct word w;

	while (next_word(&own, &w) && !ends_parameters(&w)) {
		if (!passed_on(&w))
			continue;
		if (w.open)
			step("the peer is not told %.*s (a quote is not closed)", (int)w.length,
			     w.start);
		else
			add(line, w.start, w.length);
	}
}

/* It has memory for a few CPUs only, unless somebody has said how many it is to have. */
static void add_limit(char **line, const char *append)
{
	char *word;

	if (machine_possible_cpus() <= PEER_CPUS || command_line_has(append, "nr_cpus="))
		return;
	word = xasprintf("nr_cpus=%u", PEER_CPUS);
	add(line, word, strlen(word));
	free(word);
}

/*
 * Only a panic leads back: one of its threads that is ended by a fault may be what saves, or
 * probes a device, and the others wait for it.
 */
static void add_panic(char **line, const char *append)
{
	static const char word[] = "oops=panic";

	if (!command_line_has(append, "oops="))
		add(line, word, strlen(word));
}

static int add_appended(char **line, const char *append)
{
	struct word w;

	while (next_word(&append, &w)) {
		if (ends_parameters(&w))
			return fail(KJ_REFUSED,
				    "the peer would not find what it is told last after the -- in \"%s\"; leave it out (--append)",
				    append - 2);
		if (w.open)
			return fail(KJ_REFUSED,
				    "the peer would not find what it is told last after %.*s, as a quote is not closed; close it (--append)",
				    (int)w.length, w.start);
		if (is_parameter(&w, "kexec_jump_back_entry="))
			return fail(KJ_REFUSED,
				    "%.*s is what kexec tells the peer; leave it out (--append)",
				    (int)w.length, w.start);
		if (is_parameter(&w, "lockdown="))
			return fail(KJ_REFUSED,
				    "a peer that is locked down does not jump back; leave out %.*s (--append)",
				    (int)w.length, w.start);
		add(line, w.start, w.length);
	}
	return KJ_OK;
}

int peer_command_line(const char *own, const char *append, const struct mem_range *window,
		      uint32_t limit, char **line)
{
	/* A distribution's initramfs takes a /proc/vmcore for the sign of a crash. */
	static const char ours[] = "kexec_jump_vmcore=own kjump.serve";
	size_t length;
	int rc;

	if (!append)
		append = "";
	*line = xasprintf("%s", "");
	add_guards(line, window);
	add_own(line, own);
	add_limit(line, append);
	add_panic(line, append);
	add(line, ours, strlen(ours));
	rc = add_appended(line, append);
	length = strlen(*line);
	if (!limit || limit > LIMIT)
		limit = LIMIT;
	if (!rc && length + ENTRY_ROOM > limit)
		rc = fail(KJ_REFUSED,
			  "the peer's command line would have %zu characters, and it reads %u of them: it would not find its entry at the end; use a shorter --append, or --command-line instead of this kernel's own words",
			  length + ENTRY_ROOM, limit);
	if (rc) {
		free(*line);
		*line = NULL;
	}
	return rc;
}
