/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For programs that are jumped to: names of registers whatever their size, and
 * speaking through the debug console, port 0xe9.
 */
#ifdef __x86_64__
#define AX %rax
#define DX %rdx
#define SP %rsp
#define WORD .quad
#else
#define AX %eax
#define DX %edx
#define SP %esp
#define WORD .long
#endif

/* Print a character. Clobbers %al. */
.macro say char
	movb	$\char, %al
	outb	%al, $0xe9
.endm

/* Print %eax in hex and a blank. Clobbers %eax, %ecx, %edx. */
.macro say_hex
	movl	%eax, %edx
	movl	$8, %ecx
1:	roll	$4, %edx
	movb	%dl, %al
	andb	$15, %al
	addb	$'0', %al
	cmpb	$'9', %al
	jbe	2f
	addb	$('a' - '9' - 1), %al
2:	outb	%al, $0xe9
	decl	%ecx
	jnz	1b
	say	' '
.endm
