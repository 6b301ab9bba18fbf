// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: programs are loaded, called, and come back; what cannot be is refused.
 *
 * Needs root. Devices are suspended and resumed at each call.
 */
#include <errno.h>
#include <linux/kexec.h>
#include <linux/reboot.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../kselftest.h"
#include "programs.h"

#ifndef KEXEC_LOAD_MORE
#define KEXEC_LOAD_MORE		0x00000100
#define KEXEC_LOAD_CONTINUE	0x00000200
#endif

#define DIR	"/sys/kernel/kexec_jump/"
/* Above what the firmware and the kernel have; the size of all that is loaded. */
#define LOWEST	(32UL << 20)
#define WINDOW	(PROGRAM_SIZE + SUMMED)

/* Physical: a piece of RAM. */
static unsigned long at;

static long load(unsigned long entry, unsigned long nr, struct kexec_segment *segments,
		 unsigned long flags)
{
	return syscall(SYS_kexec_load, entry, nr, segments, flags) ? -errno : 0;
}

static long load_program(const unsigned char *program)
{
	struct kexec_segment segment = {
		.buf = program, .bufsz = PROGRAM_SIZE,
		.mem = (void *)at, .memsz = WINDOW,
	};

	return load(at, 1, &segment, KEXEC_PRESERVE_CONTEXT);
}

static long unload(void)
{
	return load(0, 0, NULL, KEXEC_PRESERVE_CONTEXT);
}

static long call(void)
{
	sync();
	return syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
		       LINUX_REBOOT_CMD_KEXEC, NULL) ? -errno : 0;
}

/* What a file says, without the end of the line. */
static const char *said(const char *path)
{
	static char text[512];
	FILE *f = fopen(path, "r");

	if (!f || !fgets(text, sizeof(text), f))
		text[0] = '\0';
	if (f)
		fclose(f);
	text[strcspn(text, "\n")] = '\0';
	return text;
}

static unsigned long left_entry(void)
{
	return strtoul(said(DIR "image_entry"), NULL, 0);
}

/* A piece of RAM for what is loaded, or 0. */
static unsigned long find_ram(void)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long found = 0;
	unsigned long long start, end;
	char line[256];

	while (f && !found && fgets(line, sizeof(line), f)) {
		if (sscanf(line, "%llx-%llx : System RAM", &start, &end) != 2 ||
		    !strstr(line, "System RAM"))
			continue;
		if (start < LOWEST)
			start = LOWEST;
		if (start + WINDOW - 1 <= end && end <= UINT32_MAX)
			found = start;
	}
	if (f)
		fclose(f);
	return found;
}

static void expect(long got, long expected, const char *what)
{
	if (got != expected)
		ksft_print_msg("%s: %ld, not %ld; last: %s\n", what, got, expected,
			       said(DIR "last"));
	ksft_test_result(got == expected, "%s\n", what);
}

static void test_calls(void)
{
	int i, bad = 0;

	expect(load_program(counts), 0, "a program is loaded");
	expect(call(), 0, "it is called");
	expect(left_entry() - at, STEP, "it leaves the entry it wants");
	for (i = 0; i < 9; i++)
		bad |= !!call();
	expect(bad, 0, "it is called again and again");
	expect(left_entry() - at, 10 * STEP, "its memory is its own");
	expect(load_program(counts) ?: call(), 0, "it is loaded anew, and called");
	expect(left_entry() - at, STEP, "what is loaded anew begins anew");
}

static void test_exception(void)
{
	expect(load_program(opcode) ?: call(), -EOWNERDEAD, "an invalid opcode comes home");
	expect(!!strstr(said(DIR "last"), "exception 6"), 1, "and is told of");
	expect(call(), -EINVAL, "a program that died is not called again");
	expect(load_program(counts) ?: call(), 0, "another one is");
}

/* Words that sum up to 0, and not by being 0. */
static void fill(uint32_t *words)
{
	uint32_t sum = 0;
	size_t i;

	for (i = 0; i < SUMMED / 4 - 1; i++)
		sum += words[i] = 0x9e3779b1U * (i + 1);
	words[i] = -sum;
}

static void test_several_calls(void)
{
	static uint32_t words[SUMMED / 4];
	struct kexec_segment whole = { .mem = (void *)at, .memsz = WINDOW };
	struct kexec_segment parts[] = {
		{ sums, PROGRAM_SIZE, (void *)at, PROGRAM_SIZE },
		{ words, SUMMED / 2, (void *)at + PROGRAM_SIZE, SUMMED / 2 },
		{ (void *)words + SUMMED / 2, SUMMED / 2,
		  (void *)at + PROGRAM_SIZE + SUMMED / 2, SUMMED / 2 },
	};

	unload();
	fill(words);
	expect(load(0, 1, &whole, KEXEC_PRESERVE_CONTEXT | KEXEC_LOAD_MORE), 0,
	       "an image is announced");
	expect(call(), -EINVAL, "what is not complete is not called");
	expect(load(0, 2, parts, KEXEC_PRESERVE_CONTEXT | KEXEC_LOAD_MORE | KEXEC_LOAD_CONTINUE),
	       0, "the next call goes on with it");
	expect(load(at, 1, &parts[2], KEXEC_PRESERVE_CONTEXT | KEXEC_LOAD_CONTINUE), 0,
	       "the last one completes it");
	expect(call(), 0, "all of it is called");
	expect(left_entry() - at, SUM_RIGHT, "all parts of it are where they belong");
	expect(load(at, 1, &parts[2], KEXEC_PRESERVE_CONTEXT | KEXEC_LOAD_CONTINUE), -ESTALE,
	       "there is nothing more to go on with");
}

static void test_refused(void)
{
	const void *mem = (void *)at;
	struct {
		const char *what;
		struct kexec_segment segment[2];
		unsigned long nr, entry, flags;
		long error;
	} refused[] = {
		{ "an unknown flag", { { counts, 1, mem, 4096 } }, 1, at,
		  KEXEC_PRESERVE_CONTEXT | 0x8000, -EINVAL },
		{ "a crash kernel that comes back", { { counts, 1, mem, 4096 } }, 1, at,
		  KEXEC_PRESERVE_CONTEXT | KEXEC_ON_CRASH, -EINVAL },
		{ "several calls for an image that does not come back",
		  { { counts, 1, mem, 4096 } }, 1, at, KEXEC_LOAD_MORE, -EINVAL },
		{ "another architecture", { { counts, 1, mem, 4096 } }, 1, at,
		  KEXEC_PRESERVE_CONTEXT | KEXEC_ARCH_PPC, -EINVAL },
		{ "half a page", { { counts, 1, mem, 2048 } }, 1, at,
		  KEXEC_PRESERVE_CONTEXT, -EADDRNOTAVAIL },
		{ "a page that begins within one", { { counts, 1, mem + 2048, 4096 } }, 1, at,
		  KEXEC_PRESERVE_CONTEXT, -EADDRNOTAVAIL },
		{ "more content than room", { { counts, 4097, mem, 4096 } }, 1, at,
		  KEXEC_PRESERVE_CONTEXT, -EINVAL },
		{ "content that is not there", { { (void *)8, 4096, mem, 4096 } }, 1, at,
		  KEXEC_PRESERVE_CONTEXT, -EFAULT },
		{ "memory twice", { { counts, 1, mem, 8192 }, { counts, 1, mem + 4096, 4096 } },
		  2, at, KEXEC_PRESERVE_CONTEXT, -EINVAL },
		{ "memory that is a device's", { { counts, 1, (void *)0xfee00000, 4096 } }, 1,
		  0xfee00000, KEXEC_PRESERVE_CONTEXT, -EADDRNOTAVAIL },
		{ "an entry where nothing is", { { counts, 1, mem, 4096 } }, 1, at + 4096,
		  KEXEC_PRESERVE_CONTEXT, -ENOEXEC },
	};
	char what[128];
	size_t i;

	unload();
	for (i = 0; i < ARRAY_SIZE(refused); i++) {
		long error = load(refused[i].entry, refused[i].nr, refused[i].segment,
				  refused[i].flags);

		snprintf(what, sizeof(what), "refused: %s", refused[i].what);
		expect(error, refused[i].error, what);
	}
	expect(call(), -EINVAL, "nothing is loaded, and nothing called");
}

static void test_unload(void)
{
	expect(load_program(counts), 0, "a program is loaded once more");
	expect(unload(), 0, "and unloaded");
	expect(call(), -EINVAL, "and not called");
	expect(left_entry(), 0, "nothing is left of it");
}

int main(void)
{
	ksft_print_header();
	if (geteuid())
		ksft_exit_skip("only for root\n");
	if (access(DIR "image_entry", R_OK))
		ksft_exit_skip("no kexec jump in this kernel (CONFIG_KEXEC_JUMP)\n");
	at = find_ram();
	if (!at)
		ksft_exit_skip("no RAM at %lu MB or above, or no addresses in /proc/iomem\n",
			       LOWEST >> 20);
	ksft_set_plan(7 + 4 + 7 + 12 + 4);
	test_calls();
	test_exception();
	test_several_calls();
	test_refused();
	test_unload();
	ksft_finished();
}
