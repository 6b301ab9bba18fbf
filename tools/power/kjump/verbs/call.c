// SPDX-License-Identifier: GPL-2.0
/* kjump call */
#include "common/cli.h"
#include "common/machine.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "peer/program.h"
#include "verbs/verbs.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum {
	OPT_MEM = OPT_FIRST, OPT_INPUT, OPT_OUTPUT, OPT_ROOM, OPT_TIMES, OPT_NO_DEVICES,
	OPT_FORCE
};

/* KEXEC_JUMP_MAX_TIMES of the kernel */
#define TIMES_MAX	10000

static const char call_help[] =
	"kjump call [--mem=ADDRESS] [--input=FILE] [--output=FILE] [--room=SIZE]\n"
	"           [--times=N] [--no-devices] [--force] PROGRAM [ARGUMENT...]\n\n"
	"Call PROGRAM in physical address mode and come back when it returns. An ELF\n"
	"program is loaded where it says (with kexec; if that is from 1 MB on and below the\n"
	"window's end, 64 MB, all of that is its own), a flat one at ADDRESS (default 32M),\n"
	"and entered at its beginning: it must be linked for ADDRESS, for what it writes\n"
	"outside its own memory is this system's. The stack it is given has 4 KB.\n\n"
	"A program built with kjump's programs/program.h finds the ARGUMENTs and the content\n"
	"of a file, and writes what it returns. Its exit code N, if it is not 0, is the exit\n"
	"status 64 + N, up to 127. If it dies, of an exception, that is told, and what it had\n"
	"written until then is there.\n\n"
	"  --mem      where to; a multiple of 4096, memory that is RAM\n"
	"  --input    a file for it to read, - for standard input\n"
	"  --output   where what it writes goes (default: standard output)\n"
	"  --room     for so much of it (default 1M)\n"
	"  --times    call it N times (up to 10000), without waiting for devices in between;\n"
	"             it keeps its memory, and what it writes is added to what there is\n"
	"  --no-devices  it uses none: they stay at work, and the call takes a small part of\n"
	"             the time (a flat program, in memory that the kernel can do without)\n"
	"  --force    although a peer is loaded: it is lost\n";

/* Flat: the file as it is, and a page for what it keeps after its end. */
static int load_flat(const char *program, uint64_t address, unsigned long flags)
{
	struct kexec_segment segment;
	struct stat st;
	int fd, error;

	if (address > ULONG_MAX)
		return fail(KJ_REFUSED,
			    "%s: this kernel has no memory at %#llx; name another address (--mem)",
			    program, (unsigned long long)address);
	fd = open(program, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return fail(KJ_FAILED, "%s: %s", program, strerror(errno));
	if (!S_ISREG(st.st_mode) || !st.st_size) {
		close(fd);
		return fail(KJ_FAILED, "%s: %s", program,
			    S_ISREG(st.st_mode) ? "there is nothing in it" : "no regular file");
	}
	segment.bufsz = (size_t)st.st_size;
	segment.memsz = align_up(segment.bufsz, PAGE) + PAGE;
	segment.mem = (unsigned long)address;
	segment.buf = xalloc(segment.bufsz);
	if (pread_full(fd, (void *)segment.buf, segment.bufsz, 0) != (ssize_t)segment.bufsz) {
		close(fd);
		return fail(KJ_FAILED, "%s: cannot be read", program);
	}
	close(fd);
	error = kexec_load_call(segment.mem, 1, &segment, KEXEC_PRESERVE_CONTEXT | flags);
	free((void *)segment.buf);
	return error ? fail(KJ_FAILED, "loading %s: %s (the kernel log says more)", program,
			    strerror(-error)) : KJ_OK;
}

static int load_elf(struct conf *conf, const char *program)
{
	char *words[8] = { NULL };
	uint64_t window = conf->window ? conf->window : WINDOW_DEFAULT, start, end;
	int rc = elf_place(program, &start, &end);

	if (rc)
		return rc;

	/* Only the tool is needed, but a kernel to be named is no reason to fail. */
	conf->kernel = conf->kernel ? conf->kernel : "";
	conf->initrd = conf->initrd ? conf->initrd : "";
	rc = conf_complete(conf);
	if (rc)
		return rc;
	words[0] = conf->kexec;
	words[1] = "--load-preserve-context";
	words[2] = "--kexec-syscall";
	words[3] = "--args-none";
	words[4] = (char *)program;
	/* As for a flat one, a page for what it keeps after its end. */
	end += PAGE;
	/* That is the window. Who lies where windows usually are has had all of one. */
	if (start >= MB && end <= window) {
		start = MB;
		end = window;
	}
	words[5] = xasprintf("--mem-min=%#llx", (unsigned long long)start);
	words[6] = xasprintf("--mem-max=%#llx", (unsigned long long)end - 1);
	rc = run_kexec(program, words);
	free(words[5]);
	free(words[6]);
	return rc;
}

/*
 * What is known of a program's death: the kernel's words, and where it was, if that was in
 * the program; all a flat file is in one piece, from @address on.
 */
static int name_death(const char *program, bool flat, uint64_t address)
{
	static const char before[] = "peer died: ", at[] = "instruction at ";
	char *last = jump_file("last"), *place = strstr(last, at), *where = NULL;
	uint64_t ip = place ? strtoull(place + strlen(at), NULL, 0) : 0;
	struct stat st;

	if (flat && !stat(program, &st) && ip >= address && ip - address < (uint64_t)st.st_size)
		where = xasprintf(" (byte %#llx of the file)", (unsigned long long)(ip - address));
	fail_clear();
	fail(KJ_PEER, "%s died: %s%s", program,
	     strncmp(last, before, strlen(before)) ? last : last + strlen(before),
	     where ? where : "");
	free(where);
	free(last);
	return KJ_PEER;
}

static int tell_and_jump(struct program_call *call, bool flat, uint64_t address)
{
	bool to_stdout = call->out == STDOUT_FILENO;
	const char *program = call->argv[0];
	int jumped, rc = program_tell(call);
	uint64_t size, jumps = jump_number("jumps");
	uint32_t code;

	if (!rc && call->times > 1)
		rc = jump_times(call->times);
	if (!rc)
		rc = check_interrupted();
	if (rc)
		return rc;
	jumped = jump();
	if (jumped == KJ_PEER)
		name_death(program, flat, address);
	else if (jumped && jump_number("jumps") == jumps)
		return jumped;
	rc = program_result(call, &code, &size);
	if (jumped || rc)
		return jumped ? jumped : rc;
	if (code)
		return fail(code < KJ_PROGRAM_MAX - KJ_PROGRAM ? (int)(KJ_PROGRAM + code) :
			    KJ_PROGRAM_MAX, "%s ended with %u", program, code);
	/* Where its output goes to, there is nothing but that. */
	if (size && to_stdout)
		return KJ_OK;
	if (size)
		step("%s returned %llu bytes, in %s", program, (unsigned long long)size,
		     call->output);
	else
		step("%s returned", program);
	return KJ_OK;
}

/* Whatever happens, nothing stays loaded, and no memory shared. */
static int call_program(struct conf *conf, struct program_call *call, bool flat,
			uint64_t address, unsigned long flags)
{
	const char *program = call->argv[0];
	int rc;

	/* What stays loaded would be jumped to by the next reboot. */
	hold_signals();
	rc = flat ? load_flat(program, address, flags) : load_elf(conf, program);
	if (rc)
		return rc;
	rc = jump_hold(true);
	if (!rc)
		rc = tell_and_jump(call, flat, address);
	kexec_unload();
	if (!call->alone)
		shared_resize(0);
	return rc;
}

static bool parse_times(const char *text, uint64_t *times)
{
	char *end;

	return parse_digits(text, times, &end) && !*end && *times && *times <= TIMES_MAX;
}

int verb_call(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mem", required_argument, NULL, OPT_MEM },
		{ "input", required_argument, NULL, OPT_INPUT },
		{ "output", required_argument, NULL, OPT_OUTPUT },
		{ "room", required_argument, NULL, OPT_ROOM },
		{ "times", required_argument, NULL, OPT_TIMES },
		{ "no-devices", no_argument, NULL, OPT_NO_DEVICES },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ NULL }
	};
	struct program_call call = { .room = PROGRAM_ROOM, .times = 1 };
	uint64_t address = 32 * MB;
	bool force = false, at = false, elf = false;
	uint16_t machine = EM_NONE;
	unsigned long flags = 0;
	struct conf conf;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_leading_option(argc, argv, options, call_help)) >= 0) {
		if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_NO_DEVICES)
			flags = KEXEC_NO_DEVICES;
		else if (c == OPT_INPUT)
			call.input = optarg;
		else if (c == OPT_OUTPUT)
			call.output = optarg;
		else if (c == OPT_ROOM && !parse_size(optarg, &call.room))
			return usage(argv[0], "no size: \"%s\"", optarg);
		else if (c == OPT_TIMES && !parse_times(optarg, &call.times))
			return usage(argv[0], "no number from 1 to %d: \"%s\"", TIMES_MAX, optarg);
		else if (c == OPT_MEM && (!parse_size(optarg, &address) || address % PAGE))
			return usage(argv[0], "no address of a page: \"%s\"", optarg);
		at |= c == OPT_MEM;
	}
	rc = check_arguments(argc, argv, "PROGRAM [ARGUMENT...]");
	if (!rc && access(argv[optind], R_OK))
		rc = fail(KJ_FAILED, "%s: %s", argv[optind], strerror(errno));
	if (!rc)
		machine = elf_machine(argv[optind]);
	elf = machine != EM_NONE;
	if (elf && machine != own_machine())
		rc = fail(KJ_REFUSED, "%s: an ELF program for another architecture (machine %u)",
			  argv[optind], machine);
	if (!rc && at && elf)
		rc = usage(argv[0], "an ELF program says itself where it belongs: no --mem");
	if (!rc && flags && elf)
		rc = usage(argv[0],
			   "--no-devices is for flat programs: kexec, which loads ELF, has no such option (objcopy -O binary makes a flat one)");
	if (!rc)
		rc = need_jump_support();
	if (!rc)
		rc = need_loading(true);
	if (!rc && jump_loaded() && !force)
		rc = fail(KJ_REFUSED,
			  "a peer is loaded, and calling a program replaces it; use --force");
	if (rc)
		return rc;
	call.argv = argv + optind;
	call.argc = argc - optind;
	rc = program_prepare(&call);
	if (!rc)
		rc = call_program(&conf, &call, !elf, address, flags);
	program_free(&call);
	return rc;
}
