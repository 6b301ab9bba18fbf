/* SPDX-License-Identifier: GPL-2.0 */
#define __ASSEMBLY__
#include "programs.h"

#ifdef __x86_64__
#define AX %rax
#define BX %rbx
#define SI %rsi
#define SP %rsp
#else
#define AX %eax
#define BX %ebx
#define SI %esi
#define SP %esp
#endif

/* BX: where the program begins. */
	.macro	find_beginning program
	call	1f
1:	pop	BX
	sub	$(1b - \program), BX
	.endm

/* Go back, with AX as the entry of the next call. */
	.macro	leave_entry
	pop	SI
	mov	AX, (SP)
	jmp	*SI
	.endm

	.section .rodata
	.globl	counts, opcode, sums

	.balign	PROGRAM_SIZE
counts:
	/* Wherever it left to be entered next. */
	.set	at, 0
	.rept	15
	/* An exception that is no reason to die. */
	int3
	find_beginning counts
	jmp	count
	.set	at, at + STEP
	.org	counts + at
	.endr
count:
	incl	calls - counts(BX)
	movl	calls - counts(BX), %eax
	imull	$STEP, %eax
	add	BX, AX
	leave_entry
calls:	.long	0

	.balign	PROGRAM_SIZE
opcode:
	ud2

	.balign	PROGRAM_SIZE
sums:
	find_beginning sums
	lea	PROGRAM_SIZE(BX), SI
	movl	$(SUMMED / 4), %ecx
	xorl	%eax, %eax
2:	addl	(SI), %eax
	add	$4, SI
	decl	%ecx
	jnz	2b
	testl	%eax, %eax
	jnz	3f
	lea	SUM_RIGHT(BX), AX
	leave_entry
3:	ret

	.balign	PROGRAM_SIZE
	.section .note.GNU-stack, "", @progbits
