/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Comes back with nothing as it was: other registers, flags, segments, tables
 * and control registers. The caller may rely on the return address only.
 */
#include "say.h"
	.globl	_start
_start:
	say	'r'
	pop	DX
	lgdt	no_table
	lidt	no_table
	/* Not dirty enough: debug registers and what paging allows. */
	mov	$0x12345, AX
	mov	AX, %dr0
	mov	%cr0, AX
#ifdef __x86_64__
	or	$0x10000, %eax		/* WP */
	mov	AX, %cr0
	mov	%cr4, AX
	or	$0x80, %eax		/* PGE */
	mov	AX, %cr4
	mov	$-1, %r8
	mov	%r8, %r15
	mov	%r8, %rbp
	mov	%r8, %rbx
#endif
	xor	%ecx, %ecx
	mov	%ecx, %fs
	mov	%ecx, %gs
	mov	$-1, %ecx
	mov	%ecx, %esi
	mov	%ecx, %edi
#ifndef __x86_64__
	mov	%ecx, %ebx
	mov	%ecx, %ebp
#endif
	std
	jmp	*DX

no_table:
	.word	0
	WORD	0
