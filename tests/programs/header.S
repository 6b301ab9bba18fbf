/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Prints two fields of the header of the jump page it was called from, damages them, and
 * comes back. Its way there is the one in <linux/kexec_jump_abi.h>.
 */
#include "say.h"
/* struct kexec_jump_header: backup_map; window[0].end */
#define MAP	40
#define END	64
	.globl	_start
_start:
	mov	(SP), AX
	and	$-4096, AX
	mov	%eax, %esi
	movl	MAP(%esi), %eax
	say_hex
	movl	END(%esi), %eax
	say_hex
	notl	MAP(%esi)
	addl	$4096, END(%esi)
	ret
