/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Overwrites a byte of what kjump call and a program tell each other: which one,
 * BYTE, and with what, VALUE, is defined. Its way there is the one in
 * <linux/kexec_jump_abi.h>, without the library of tools/power/kjump/programs.
 */
#include "say.h"
/* struct kexec_jump_header: shared */
#define SHARED	592
	.globl	_start
_start:
	mov	(SP), AX
	and	$-4096, AX
	mov	SHARED(AX), AX
	mov	(AX), AX
	and	$-4096, AX
	movb	$VALUE, BYTE(AX)
	say	'd'
	ret
