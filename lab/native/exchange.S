/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Ways to exchange two pages, for exchange.c, as
 *	void way(struct pair *);
 * on x86_64 and i386: three copies through a third page, and what kexec jump does, by
 * which registers there are.
 */
#define PAGE_SIZE	4096

#include "kexec_jump_exchange.S"

/* Registers by their 64-bit names, and struct pair's members */
#ifdef __x86_64__
#define WORD		8
#define MOVS		rep movsq
#else
#define WORD		4
#define MOVS		rep movsl
#define rax		eax
#define rbx		ebx
#define rcx		ecx
#define rdx		edx
#define rsi		esi
#define rdi		edi
#define rbp		ebp
#define rsp		esp
#endif
#define A		0
#define B		WORD
#define NEXT_A		(2 * WORD)
#define NEXT_B		(3 * WORD)
#define THIRD		(4 * WORD)

.macro begin name
	.globl	\name
	.type	\name, @function
\name:
	push	%rbx
	push	%rbp
	push	%rsi
	push	%rdi
#ifdef __x86_64__
	mov	%rdi, %rbp
#else
	mov	20(%esp), %ebp
#endif
.endm

.macro end name
	pop	%rdi
	pop	%rsi
	pop	%rbp
	pop	%rbx
	ret
	.size	\name, . - \name
.endm

.macro copy to, from
	mov	\to(%rbp), %rdi
	mov	\from(%rbp), %rsi
	mov	$(PAGE_SIZE / WORD), %ecx
	MOVS
.endm

	.text
begin three_copies
	copy	THIRD, A
	copy	A, B
	copy	B, THIRD
end three_copies

.macro in_registers name, avx
begin \name
	mov	A(%rbp), %rax
	mov	B(%rbp), %rcx
	mov	NEXT_A(%rbp), %rbx
	mov	NEXT_B(%rbp), %rsi
	exchange_pages %rax, %rcx, %rbx, %rsi, %rdx, avx=\avx
end \name
.endm

in_registers sse2, 0
in_registers avx, 1

	.section .note.GNU-stack, "", @progbits
