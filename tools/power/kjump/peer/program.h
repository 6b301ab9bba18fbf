/* SPDX-License-Identifier: GPL-2.0 */
/* A program to be called: what it is told, and what it returns. programs/abi.h has the block. */
#ifndef KJUMP_PROGRAM_H
#define KJUMP_PROGRAM_H

#include "common/kjump.h"
#include "programs/abi.h"

/* What a program may return if nothing else is asked for. */
#define PROGRAM_ROOM	MB

struct program_call {
	const char *input;		/* a file, "-" standard input, NULL none */
	const char *output;		/* a file, NULL standard output */
	uint64_t room;			/* for what the program returns */
	uint64_t times;			/* how often it is called, in a row */
	char **argv;			/* the program's name, and its arguments */
	int argc;
	/* From here on, not the caller's. */
	struct kj_call block;
	char *told;			/* arguments and input, as they lie behind the block */
	size_t told_size;
	int out;			/* where to write to */
	bool made;			/* @output was not there before */
	bool alone;			/* the program is told nothing */
};

/* elf.c: the architecture (e_machine) that an ELF program is for; EM_NONE if it is none. */
uint16_t elf_machine(const char *path);
/*
 * Where it says it belongs: pages from @start up to @end. kexec loads nothing outside of
 * what it is told, and the window is all of that. KJ_FAILED if it is damaged.
 */
int elf_place(const char *program, uint64_t *start, uint64_t *end);

/*
 * All that can be wrong is found here: KJ_USAGE, KJ_REFUSED or KJ_FAILED with the name of
 * the file. What is there keeps its content until there is something to write.
 */
int program_prepare(struct program_call *call);
/* Get the memory it is told with, and write there. After loading: outside the window. */
int program_tell(struct program_call *call);
/*
 * After it returned, or died: write its output. Sets @code to the
 * program's exit code, 0 if it knows nothing of that, and @size to the bytes of output.
 * KJ_PEER if what it left makes no sense.
 */
int program_result(struct program_call *call, uint32_t *code, uint64_t *size);
void program_free(struct program_call *call);

#endif
