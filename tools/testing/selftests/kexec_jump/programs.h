/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What programs.S has: programs that run where the operating system is not. Each is
 * entered at its first byte, wherever that is.
 *
 * They tell what they did by the entry they leave at the top of the stack, which
 * /sys/kernel/kexec_jump/image_entry shows.
 */
#ifndef PROGRAMS_H
#define PROGRAMS_H

#define PROGRAM_SIZE	0x1000

/* counts: leaves its beginning plus this for each call so far, of at most 14. */
#define STEP		0x100

/* sums: leaves its beginning plus SUM_RIGHT if the words behind it sum up to 0. */
#define SUMMED		0x8000
#define SUM_RIGHT	0x20

#ifndef __ASSEMBLY__
extern const unsigned char counts[PROGRAM_SIZE];
extern const unsigned char opcode[PROGRAM_SIZE];
extern const unsigned char sums[PROGRAM_SIZE];
#endif

#endif /* PROGRAMS_H */
