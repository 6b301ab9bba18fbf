/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Waits until the real-time clock has counted ten seconds.
 */
#include "say.h"
	.globl	_start
_start:
	movl	$10, %ecx
1:	call	second
	movb	%al, %ah
2:	pause
	call	second
	cmpb	%al, %ah
	je	2b
	decl	%ecx
	jnz	1b
	say	'w'
	ret

/* Register 0 of the clock is the second. */
second:
	xorb	%al, %al
	outb	%al, $0x70
	inb	$0x71, %al
	ret
