/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Three entries: each of the first two leaves the next one at the top of the
 * stack, above the return address, the third just returns.
 */
#include "say.h"
	.globl	_start
_start:
	say	'1'
	pop	DX
	mov	$second, AX
	mov	AX, (SP)
	jmp	*DX

	.balign	256
second:
	say	'2'
	pop	DX
	mov	$third, AX
	mov	AX, (SP)
	jmp	*DX

	.balign	256
third:
	say	'3'
	ret
