/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Where a program begins. At the top of the stack, which has 4 KB and is the
 * kernel's, is where to return to; above it a zero, which stays, as a next entry
 * could be left there.
 */
	.section .start, "ax"
	.globl	_start
_start:
#ifdef __x86_64__
	movq	(%rsp), %rdi
	movq	%rsp, their_stack
	movl	$stack_end, %esp
	call	kj_start
	movq	their_stack, %rsp
#else
	movl	(%esp), %eax
	movl	%esp, their_stack
	/* 16 bytes for the argument: compilers rely on that alignment at a call. */
	movl	$(stack_end - 16), %esp
	movl	%eax, (%esp)
	call	kj_start
	movl	their_stack, %esp
#endif
	ret

	.bss
	.balign	16
their_stack:
	.skip	16
	.skip	16384
stack_end:

	.section .note.GNU-stack, "", @progbits
