/* SPDX-License-Identifier: GPL-2.0 */
/*
 * To real mode, a call of the BIOS, and back: the processor's part. bios.c is the rest.
 *
 *	64-bit	compatibility mode	32-bit	16-bit, protected	real
 *		(x86_64 only)
 *
 * as the manuals have it (Intel SDM vol. 3A, 9.8.5.4, Switching Out of IA-32e Mode
 * Operation, and 9.9, Mode Switching). All but the 16-bit part runs where the program
 * lies, below 4 GB and mapped to itself. The 16-bit part is copied to BIOS_LOW, and is
 * a segment of its own there, with its data and, at its end, the stack.
 *
 * Interrupts are off, and only the BIOS turns them on. An NMI or another exception
 * between here and there finds no handler that fits, and resets the machine; the kernel
 * has masked NMIs at the local APIC, and stopped what raises them.
 *
 * No state is taken for granted on the way back: BIOSes use protected mode themselves.
 */
#include "bios.h"

#define CR0_PE		0x00000001
#define CR0_PG		0x80000000
#define MSR_EFER	0xc0000080
#define EFER_LME	0x100
#define EFER_LMA	0x400

#define CODE32		0x08
#define DATA32		0x10
#define CODE16		0x18
#define DATA16		0x20
#define CODE64		0x28

/* Below is what the BIOS pushes; 4 bytes more than are needed. */
#define STACK		0xfffc

#ifdef __x86_64__
#define AX		%rax
#define BX		%rbx
#define SP		%rsp
#define WORD		.quad
#else
#define AX		%eax
#define BX		%ebx
#define SP		%esp
#define WORD		.long
#endif

	.macro	load_data selector
	mov	\selector, %ds
	mov	\selector, %es
	mov	\selector, %fs
	mov	\selector, %gs
	mov	\selector, %ss
	.endm

	.data
	.balign	16
gdt:	.quad	0
	.quad	0x00cf9b000000ffff		/* flat, 32 bits */
	.quad	0x00cf93000000ffff
	.quad	0x00009b000000ffff | (BIOS_LOW << 16)
	.quad	0x000093000000ffff		/* what real mode needs: 64 KB, bytes */
	.quad	0x00af9b000000ffff		/* 64 bits */
gdt_end:

	.balign	8
own_gdt:
	.word	gdt_end - gdt - 1
	WORD	gdt

	.balign	8
their_gdt:
	.skip	16
their_idt:
	.skip	16
their_cr0:
	.quad	0
their_cr3:
	.quad	0
their_cr4:
	.quad	0
their_efer:
	.quad	0
their_stack:
	.quad	0
their_data:
	.long	0
their_code:
	.long	0
their_task:
	.long	0

	/* From bios.c. 64-bit: page tables below 4 GB. */
	.globl	bios_tables
bios_tables:
	.long	0

	.text
/* void bios_switch(void): what the BIOS gets and returns is in the copy of bios_low. */
	.globl	bios_switch
bios_switch:
#ifdef __x86_64__
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	movl	$MSR_EFER, %ecx
	rdmsr
	movl	%eax, their_efer
	movl	%edx, their_efer + 4
	movq	%cr3, %rax
	movq	%rax, their_cr3
#else
	pushl	%ebx
	pushl	%esi
	pushl	%edi
	pushl	%ebp
#endif
	cli
	mov	%cr0, AX
	mov	AX, their_cr0
	mov	%cr4, AX
	mov	AX, their_cr4
	sgdt	their_gdt
	sidt	their_idt
	xorl	%eax, %eax
	str	%ax
	movl	%eax, their_task
	movl	%ss, %eax
	movl	%eax, their_data
	movl	%cs, %eax
	movl	%eax, their_code
	mov	SP, their_stack

	lgdt	own_gdt
#ifdef __x86_64__
	pushq	$CODE32
	pushq	$down
	lretq
#else
	ljmp	$CODE32, $down
#endif

	.code32
down:
	movl	$DATA32, %eax
	load_data	%eax
	/* Where paging was on, that ends 64-bit mode. */
	movl	%cr0, %eax
	andl	$~CR0_PG, %eax
	movl	%eax, %cr0
#ifdef __x86_64__
	movl	$MSR_EFER, %ecx
	rdmsr
	andl	$~EFER_LME, %eax
	wrmsr
#endif
	xorl	%eax, %eax
	movl	%eax, %cr3
	movl	%eax, %cr4
	ljmp	$CODE16, $0

up:
	movl	$DATA32, %eax
	load_data	%eax
	movl	their_cr4, %eax
	movl	%eax, %cr4
#ifdef __x86_64__
	/* Theirs may be above 4 GB. */
	movl	bios_tables, %eax
	movl	%eax, %cr3
	/* That it is active, LMA, the processor says itself. */
	movl	$MSR_EFER, %ecx
	movl	their_efer, %eax
	andl	$~EFER_LMA, %eax
	movl	their_efer + 4, %edx
	wrmsr
	movl	their_cr0, %eax
	movl	%eax, %cr0
	ljmp	$CODE64, $up64
	.code64
up64:
	movq	their_cr3, %rax
	movq	%rax, %cr3
#else
	movl	their_cr0, %eax
	movl	%eax, %cr0
#endif
	mov	their_stack, SP
	lgdt	their_gdt
	lidt	their_idt
	movl	their_data, %eax
	load_data	%eax
	/* The task that handlers of exceptions come from: not busy, to be loaded again. */
	movl	their_task, %eax
	testl	%eax, %eax
	jz	1f
	mov	their_gdt + 2, BX
	andb	$~2, 5(BX, AX)
	ltr	%ax
1:	movl	their_code, %eax
	push	AX
#ifdef __x86_64__
	pushq	$2f
	lretq
2:	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
#else
	pushl	$2f
	lretl
2:	popl	%ebp
	popl	%edi
	popl	%esi
	popl	%ebx
#endif
	ret

/* What is copied to BIOS_LOW. Addresses are offsets in it. */
#define AT(label)	label - bios_low

	.section .rodata, "a"
	.balign	16
	.code16
	.globl	bios_low
bios_low:
	/* Limits that real mode keeps are 64 KB, and bases are set by what is loaded there. */
	movw	$DATA16, %ax
	load_data	%ax
	movl	%cr0, %eax
	andb	$~CR0_PE, %al
	movl	%eax, %cr0
	/* ljmpw to real mode */
	.byte	0xea
	.word	AT(1f), BIOS_LOW >> 4
1:	xorw	%ax, %ax
	movw	%ax, %fs
	movw	%ax, %gs
	movw	%cs, %ax
	movw	%ax, %ss
	movl	$STACK, %esp
	lidtl	%cs:AT(real_idt)

	movl	%cs:AT(regs), %eax
	movl	%cs:AT(regs) + 4, %ebx
	movl	%cs:AT(regs) + 8, %ecx
	movl	%cs:AT(regs) + 12, %edx
	movl	%cs:AT(regs) + 16, %esi
	movl	%cs:AT(regs) + 20, %edi
	movl	%cs:AT(regs) + 24, %ebp
	movw	%cs:AT(regs) + 28, %ds
	movw	%cs:AT(regs) + 30, %es
	/* What INT does, with interrupts off in the flags that it returns to. */
	pushfw
	lcallw	*%cs:AT(handler)
	pushfw
	popw	%cs:AT(regs) + 32
	movl	%eax, %cs:AT(regs)
	movl	%ebx, %cs:AT(regs) + 4
	movl	%ecx, %cs:AT(regs) + 8
	movl	%edx, %cs:AT(regs) + 12
	movl	%esi, %cs:AT(regs) + 16
	movl	%edi, %cs:AT(regs) + 20
	movl	%ebp, %cs:AT(regs) + 24
	movw	%ds, %cs:AT(regs) + 28
	movw	%es, %cs:AT(regs) + 30
	movb	$1, %cs:AT(came_back)

real_to_protected:
	cli
	cld
	movw	%cs, %ax
	movw	%ax, %ss
	movl	$STACK, %esp
	/* Some close gate A20, and every other MB would be gone. Without that port: 0xff. */
	inb	$0x92, %al
	testb	$2, %al
	jnz	1f
	orb	$2, %al
	andb	$0xfe, %al
	outb	%al, $0x92
1:	lgdtl	%cs:AT(gdt_again)
	movl	%cr0, %eax
	orb	$CR0_PE, %al
	movl	%eax, %cr0
	/* ljmpl */
	.byte	0x66, 0xea
	.long	up
	.word	CODE32

/*
 * INT 1Ch, from the BIOS's handler of the timer's interrupt, 18.2 times a second. If the
 * time is up, leave the BIOS where it is, on whatever stack.
 */
	.globl	bios_low_tick
bios_low_tick:
	decl	%cs:AT(ticks)
	jz	real_to_protected
	ljmpw	*%cs:AT(old_tick)

	.balign	4
real_idt:
	.word	0x3ff
	.long	0
	.balign	4
gdt_again:
	.word	gdt_end - gdt - 1
	.long	gdt

	/* struct bios_low of bios.c */
	.balign	4
	.globl	bios_low_data
bios_low_data:
regs:	.skip	36
handler:
	.long	0
old_tick:
	.long	0
ticks:	.long	0
came_back:
	.long	0
	.globl	bios_low_end
bios_low_end:

	.section .note.GNU-stack, "", @progbits
