/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Says in which state the processor is: CR0, CR4, flags, whether this is 64-bit
 * code; then how often it was called.
 */
#include "say.h"
	.globl	_start
_start:
	pushf
	pop	AX
	say_hex
	mov	%cr0, AX
	say_hex
	mov	%cr4, AX
	say_hex
	/* 64-bit: inc %rax. 32-bit: dec %eax, inc %eax. */
	xorl	%eax, %eax
	.byte	0x48, 0xff, 0xc0
	say_hex
	incl	calls
	movl	calls, %eax
	say_hex
	say	'\n'
	ret

calls:	.long	0
