/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Calling the BIOS from 32-bit and 64-bit programs.
 *
 * A program goes down to real mode, calls an interrupt of the BIOS, and comes back to the
 * mode it came from. Below 1 MB that takes 128 KB, which are in every window:
 *
 *	BIOS_LOW	code for 16 bits, and the BIOS's stack; 64 KB
 *	BIOS_BUFFER	for the program: what the BIOS reads and writes; 64 KB
 */
#ifndef KJUMP_BIOS_H
#define KJUMP_BIOS_H

#define BIOS_LOW	0x20000
#define BIOS_BUFFER	0x30000
#define BIOS_END	0x40000

#define BIOS_SEGMENT	(BIOS_BUFFER >> 4)

#ifndef __ASSEMBLER__

#include <stdbool.h>
#include <stdint.h>

/* What is not set is 0; @flags is only returned. In the order of realmode.S. */
struct bios_regs {
	uint32_t eax;
	uint32_t ebx;
	uint32_t ecx;
	uint32_t edx;
	uint32_t esi;
	uint32_t edi;
	uint32_t ebp;
	uint16_t ds;
	uint16_t es;
	uint16_t flags;
};

#define BIOS_CARRY	1u		/* in @flags; often: it failed */

/*
 * How long a call may take: a driver of the BIOS can wait for a device without end. After
 * a call that took longer, the BIOS cannot be called until the next boot. A BIOS that
 * waits with interrupts off is waited for.
 */
extern unsigned int bios_seconds;

/*
 * Whether there is a BIOS that can be called with this interrupt.
 *
 * Returns NULL, or in words why not.
 */
const char *bios_missing(unsigned int vector);

/*
 * Call it. The registers are the BIOS's and what it returned.
 *
 * Returns NULL, or in words why it was not called, or did not come back.
 */
const char *bios_call(unsigned int vector, struct bios_regs *regs);

/* The memory at BIOS_BUFFER. */
static inline void *bios_buffer(void)
{
	return (void *)BIOS_BUFFER;
}

/* A byte of memory at segment:offset, as the BIOS has it in a pointer. */
uint8_t bios_peek(uint32_t pointer);
static inline uint16_t bios_peek16(uint32_t pointer)
{
	return (uint16_t)(bios_peek(pointer) | bios_peek(pointer + 1) << 8);
}

#endif /* __ASSEMBLER__ */

#endif
