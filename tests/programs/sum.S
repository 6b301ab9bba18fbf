/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Says the sum of the memory from the page after its own on, each 32 bits of it
 * rotating what was summed before; how much it is, the page's last word says.
 * The sum does not change when it is called again.
 */
#include "say.h"
#define PAGE 4096
	.globl	_start
_start:
#ifdef __x86_64__
	leaq	_start + PAGE(%rip), %rsi
#else
	movl	$_start + PAGE, %esi
#endif
	movl	bytes, %edi
	shrl	$2, %edi
	xorl	%eax, %eax
1:	roll	%eax
#ifdef __x86_64__
	addl	(%rsi), %eax
	addq	$4, %rsi
#else
	addl	(%esi), %eax
	addl	$4, %esi
#endif
	decl	%edi
	jnz	1b
	say_hex
	say	'\n'
	ret
	.org	PAGE - 4
bytes:	.long	SUM_BYTES
