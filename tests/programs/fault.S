/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Raises an exception: BREAKPOINT, OPCODE, DIVIDE, SELECTOR, ADDRESS, or STACK (a
 * return with a stack pointer that is wrong), which is defined.
 */
#include "say.h"
	.globl	_start
_start:
	say	'f'
#if defined(BREAKPOINT)
	mov	$0x1234, DX
	int3
	cmp	$0x1234, DX
	jne	1f
	say	'g'
1:	ret
#elif defined(OPCODE)
	ud2
#elif defined(DIVIDE)
	xor	%ecx, %ecx
	mov	$1, %eax
	xor	%edx, %edx
	div	%ecx
#elif defined(SELECTOR)
	mov	$0xfff8, %eax
	mov	%eax, %ds
#elif defined(ADDRESS)
	mov	$0x123456789000, AX
	movb	$1, (AX)
#elif defined(STACK) && defined(__x86_64__)
	mov	$0x8000000000000000, SP
	ret
#elif defined(STACK)
	/* All of 4 GB can be read here: what is there is taken for an address. */
	mov	$2f, SP
	ret
2:	.long	3f
3:	ud2
#endif
	say	'!'
	ret
