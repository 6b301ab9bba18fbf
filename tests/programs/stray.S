/* SPDX-License-Identifier: GPL-2.0 */
/* Leaves a next entry that is outside its window. */
#include "say.h"
	.globl	_start
_start:
	pop	DX
	mov	$0x1234560, AX
	mov	AX, (SP)
	jmp	*DX
