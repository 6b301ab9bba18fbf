/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What kjump call and the program it calls tell each other. It lies at the beginning
 * of the memory that the kernel shares with what it jumps to; arguments, input and
 * output are further on there. All of it is in the byte order of the machine, and the
 * same in 32-bit and in 64-bit programs.
 */
#ifndef KJUMP_PROGRAMS_ABI_H
#define KJUMP_PROGRAMS_ABI_H

#include <stdint.h>

#define KJ_CALL_MAGIC	0x4c4c41435f504d4aULL	/* "JMP_CALL" */
/* Raised by every change after which one side would read something wrong. */
#define KJ_CALL_VERSION	1

/* kj_call.flags */
#define KJ_CALL_EFI	1u	/* the machine was started by UEFI: it has no BIOS */

/* kj_call.state */
#define KJ_CALL_ASKED	0u	/* the program has not ended, or knows nothing of this */
#define KJ_CALL_ENDED	1u	/* @exit_code is valid */

/* Room a program has to have for arguments, and for pointers to them. */
#define KJ_CALL_ARGUMENTS	4096u
#define KJ_CALL_ARGC		64u

/*
 * Places are bytes from the beginning of the shared memory. All but the last three
 * fields are kjump's: a program that changes them is not believed.
 */
struct kj_call {
	uint64_t magic;
	uint32_t version;
	uint32_t size;			/* of this structure */
	uint32_t flags;
	uint32_t argc;			/* texts, each with a zero byte at its end; */
	uint64_t arguments_at;		/* the first is the program's name */
	uint64_t arguments_size;
	uint64_t input_at;
	uint64_t input_size;
	uint64_t output_at;
	uint64_t output_room;

	uint64_t output_size;		/* counted up with each byte: valid if the program dies */
	uint32_t state;
	uint32_t exit_code;
};

#endif
