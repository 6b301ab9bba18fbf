/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Disables the events of ACPI, as a kernel without ACPI leaves them: PM1_EN, and
 * GPE0_EN, where QEMU's q35 has them (see its FADT).
 */
#include "say.h"
	.globl	_start
_start:
	movw	$0x602, %dx
	xorl	%eax, %eax
	outw	%ax, %dx
	movw	$0x628, %dx
	outl	%eax, %dx
	say	'e'
	ret
