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
	/*
	 * Not dirty enough: a breakpoint, and what paging allows. The breakpoint is on
	 * what the caller reads once it is in a state to: kexec_jump_state.map, behind
	 * the jump page's header and code. Four bytes, read or written.
	 */
	mov	DX, AX
	and	$-0x1000, AX
	add	$0xc40, AX
	mov	AX, %dr0
	mov	$0xf0403, AX
	mov	AX, %dr7
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
