/* SPDX-License-Identifier: GPL-2.0 */
/**
 * DOC: The trampoline of x86_64
 *
 * The way out, the page exchange, and the way back. This code runs at three places:
 *
 *  1. kexec_jump_go, in the kernel, on the kernel's page tables. Saves what C
 *     cannot and moves to 2.
 *  2. the trampoline, at its physical address in the jump page. From the moment
 *     it loads the identity page tables until it leaves them, the kernel's
 *     memory may be anything: its stack, page tables, GDT and per-CPU area may
 *     lie in the window. So the trampoline may touch nothing but the jump page,
 *     the peer's stack page, the identity page tables, the backup map and the
 *     pages it exchanges. It calls nothing, takes no exceptions, and is
 *     position independent as it is copied.
 *  3. kexec_jump_resume, in the kernel again, which restores the rest.
 *
 * kexec_jump_back is this kernel's entry. There the only assumption is 64-bit
 * mode with the jump page and the peer's stack mapped at their physical
 * addresses (and the paging depth of this kernel, which is in the header).
 * Segments, control registers, page tables and descriptor tables are the
 * peer's and are all replaced before the first of them matters.
 */
/*
 * Registers, throughout the trampoline:
 *	%rbx	physical address of the jump page
 *	%rbp	physical address of its struct kexec_jump_state
 */
#include <linux/kexec.h>
#include <linux/linkage.h>
#include <asm/asm-offsets.h>
#include <asm/kexec_jump.h>
#include <asm/msr-index.h>
#include <asm/nospec-branch.h>
#include <asm/page_types.h>
#include <asm/processor-flags.h>
#include <asm/segment.h>
#include <asm/unwind_hints.h>
#include "kexec_jump_exchange.S"

	.text
	.code64

/*
 * No optional feature of paging. Some would be in the way at a physical address:
 * linear address separation (LASS) allows the kernel none in the lower half.
 */
.macro no_paging_features
	movq	%cr4, %rax
	andl	$(X86_CR4_PAE | X86_CR4_LA57), %eax
	movq	%rax, %cr4
.endm

/*
 * unsigned long kexec_jump_go(void *page, unsigned long page_pa)
 *
 * %rdi: virtual, %rsi: physical address of the jump page. Returns what the
 * peer left as its next entry. Interrupts are off.
 */
SYM_CODE_START(kexec_jump_go)
	UNWIND_HINT_FUNC
	ENDBR
	pushq	%rbx
	pushq	%rbp
	pushq	%r12
	pushq	%r13
	pushq	%r14
	pushq	%r15
	pushfq

	/* %r8: virtual address of the state */
	leaq	KEXEC_JUMP_STATE(%rdi), %r8
	movq	%rsp, KJ_SP(%r8)
	movq	%cr0, %rax
	movq	%rax, KJ_CR0(%r8)
	movq	%cr3, %rax
	movq	%rax, KJ_CR3(%r8)
	movq	%cr4, %rax
	movq	%rax, KJ_CR4(%r8)
	movl	$MSR_EFER, %ecx
	rdmsr
	movl	%eax, KJ_EFER(%r8)
	movl	%edx, KJ_EFER + 4(%r8)
	movl	$MSR_GS_BASE, %ecx
	rdmsr
	movl	%eax, KJ_GS_BASE(%r8)
	movl	%edx, KJ_GS_BASE + 4(%r8)
	sgdt	KJ_KERNEL_GDT(%r8)
	sidt	KJ_KERNEL_IDT(%r8)

	UNWIND_HINT_END_OF_STACK
	/* Both the kernel and the jump page's physical address are mapped. */
	movq	KJ_KERNEL_CR3(%r8), %rax
	movq	%rax, %cr3
	no_paging_features
	leaq	KEXEC_JUMP_CODE + (kexec_jump_out - kexec_jump_trampoline)(%rsi), %rax
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%rax
SYM_CODE_END(kexec_jump_go)

/*
 * void kexec_jump_back_early(unsigned long entry, unsigned long page_tables,
 *			      unsigned long stack)
 *
 * %rdi: another kernel's entry, %rsi: physical address of page tables that map
 * this kernel and, to themselves, the pages of the other two, %rdx: physical address
 * of a word that is 0. Does not return.
 */
SYM_CODE_START(kexec_jump_back_early)
	UNWIND_HINT_END_OF_STACK
	ENDBR
	movq	%rsi, %cr3
	no_paging_features
	movq	%rdx, %rsp
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%rdi
SYM_CODE_END(kexec_jump_back_early)

	.balign	16
SYM_CODE_START_NOALIGN(kexec_jump_trampoline)
	UNWIND_HINT_END_OF_STACK

/* %rsi: physical address of the jump page */
SYM_INNER_LABEL(kexec_jump_out, SYM_L_GLOBAL)
	ANNOTATE_NOENDBR
	movq	%rsi, %rbx
	leaq	KEXEC_JUMP_STATE(%rbx), %rbp
	leaq	.Lleave(%rip), %r11
	jmp	.Lidentity

.Lleave:
	UNWIND_HINT_END_OF_STACK
	leaq	.Lenter_peer(%rip), %r11
	jmp	.Lexchange

	/*
	 * The protocol: the peer finds the return address, which is this
	 * kernel's entry, at the top of its stack. The word above is 0, so that
	 * a peer that simply returns has left no next entry.
	 */
.Lenter_peer:
	UNWIND_HINT_END_OF_STACK
	movq	KJ_STACK(%rbp), %rsp
	movq	$0, (%rsp)
	lidt	KJ_PEER_IDT(%rbp)
	movl	$KJ_PEER_TSS, %eax
	ltr	%ax
	movq	KJ_ENTRY(%rbp), %rax
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%esi, %esi
	xorl	%edi, %edi
	xorl	%ebp, %ebp
	xorl	%r8d, %r8d
	xorl	%r9d, %r9d
	xorl	%r10d, %r10d
	xorl	%r11d, %r11d
	xorl	%r12d, %r12d
	xorl	%r13d, %r13d
	xorl	%r14d, %r14d
	xorl	%r15d, %r15d
	ANNOTATE_RETPOLINE_SAFE
	call	*%rax

/*
 * The entry. (%rsp): the peer's next entry or 0. Of an image, all memory is in
 * place and nobody is left to come back to: the stack may be anywhere.
 */
SYM_INNER_LABEL(kexec_jump_back, SYM_L_GLOBAL)
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR
	cli
	cld
	leaq	kexec_jump_trampoline(%rip), %rbx
	subq	$KEXEC_JUMP_CODE, %rbx
	leaq	KEXEC_JUMP_STATE(%rbx), %rbp
	movq	$0, KJ_NEXT_ENTRY(%rbp)
	leaq	.Lenter_kernel(%rip), %r11
	cmpl	$KJ_STATE_IMAGE, KJ_HEADER_STATE(%rbx)
	je	.Lidentity
	movq	(%rsp), %rax
	movq	%rax, KJ_NEXT_ENTRY(%rbp)
	leaq	.Lreturn(%rip), %r11
	jmp	.Lidentity

.Lreturn:
	UNWIND_HINT_END_OF_STACK
	leaq	.Lenter_kernel(%rip), %r11
	jmp	.Lexchange

/*
 * Exceptions of the peer, on a stack of their own. Nobody has to go on there: come
 * back, as if it had returned.
 */
	.balign	KJ_FAULT_BYTES
SYM_INNER_LABEL(kexec_jump_faults, SYM_L_GLOBAL)
	.set	vector, 0
	.rept	KJ_EXCEPTIONS
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR
	pushq	$vector
	jmp	.Lfault
	.balign	KJ_FAULT_BYTES
	.set	vector, vector + 1
	.endr

.Lfault:
	UNWIND_HINT_END_OF_STACK
	cld
	popq	%rcx
	leaq	kexec_jump_trampoline(%rip), %rbx
	subq	$KEXEC_JUMP_CODE, %rbx
	leaq	KEXEC_JUMP_STATE(%rbx), %rbp
	movq	%rcx, KJ_FAULT_VECTOR(%rbp)
	movq	%cr2, %rax
	movq	%rax, KJ_FAULT_ADDRESS(%rbp)
	movq	$0, KJ_NEXT_ENTRY(%rbp)
	leaq	.Lreturn(%rip), %r11
	jmp	.Lidentity

SYM_INNER_LABEL(kexec_jump_int3, SYM_L_GLOBAL)
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR
	iretq

	/* This kernel's memory is in place: its page tables can be used. */
.Lenter_kernel:
	UNWIND_HINT_END_OF_STACK
	movl	$MSR_EFER, %ecx
	movl	KJ_EFER(%rbp), %eax
	movl	KJ_EFER + 4(%rbp), %edx
	wrmsr
	movq	KJ_KERNEL_CR3(%rbp), %rax
	movq	%rax, %cr3
	ANNOTATE_RETPOLINE_SAFE
	jmp	*KJ_RESUME(%rbp)

/*
 * Put the CPU into the one state the rest relies on: identity page tables, no
 * optional feature of paging, flat segments, no IDT, no breakpoint, single step or
 * branch trace, the peer's stack. Writing CR4 flushes all of the TLB, global entries
 * and other PCIDs included, as it turns PGE and PCIDE off (Intel SDM vol. 3A,
 * 4.10.4.1). CET goes before WP, the other order faults.
 *
 * %r11: where to go then. Clobbers %rax, %rcx, %rdx.
 */
.Lidentity:
	no_paging_features
	movq	KJ_IDENTITY_CR3(%rbp), %rax
	movq	%rax, %cr3
	movq	%cr0, %rax
	andl	$~(X86_CR0_AM | X86_CR0_WP | X86_CR0_TS | X86_CR0_EM), %eax
	orl	$(X86_CR0_PG | X86_CR0_PE), %eax
	movq	%rax, %cr0

	movq	KJ_STACK(%rbp), %rsp
	lgdt	KJ_PEER_GDT(%rbp)
	/* Without a handler for it, nothing may raise a debug exception. */
	pushq	$X86_EFLAGS_FIXED
	popfq
	xorl	%eax, %eax
	movq	%rax, %dr7
	cmpl	$0, KJ_HAS_DEBUGCTL(%rbp)
	je	1f
	xorl	%edx, %edx
	movl	$MSR_IA32_DEBUGCTLMSR, %ecx
	wrmsr
1:
	lidt	KJ_NO_IDT(%rbp)
	movl	$KJ_PEER_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	/* No IRET: an NMI that waits for it would find no handler. */
	pushq	$KJ_PEER_CS
	pushq	%r11
	lretq

/*
 * Exchange every page of the window with its backup page, as the backup map
 * (a kimage page list) says. Doing it twice restores both sides. Two pages are
 * exchanged once the next two are known, which are fetched meanwhile.
 *
 * %r11: where to go then. Clobbers %rax, %rcx, %rdx, %rsi, %rdi, %r8, %r9, %r10.
 *	%rsi	next entry of the map
 *	%rdi	page of the window, for the next backup page
 *	%r8	an entry's page
 *	%r9	page of the window that is to be exchanged next
 *	%r10	its backup page, 0 if there is none
 */
.Lexchange:
	movq	%cr4, %rax
	orq	KJ_SIMD(%rbp), %rax
	movq	%rax, %cr4
	cmpl	$KJ_AVX, KJ_SIMD(%rbp)
	jne	1f
	xorl	%ecx, %ecx
	movl	KJ_XCR0(%rbp), %eax
	movl	KJ_XCR0 + 4(%rbp), %edx
	xsetbv
1:
	xorl	%edi, %edi
	xorl	%r10d, %r10d
	movq	KJ_MAP(%rbp), %rsi
.Lnext:
	movq	(%rsi), %rax
	addq	$8, %rsi
	movq	%rax, %r8
	andq	$PAGE_MASK, %r8
	testb	$IND_DESTINATION, %al
	jnz	.Ldestination
	testb	$IND_INDIRECTION, %al
	jnz	.Lindirection
	testb	$IND_SOURCE, %al
	jnz	.Lsource
	/* The end, that is to be read again if there is a page left. */
	subq	$8, %rsi
	xorl	%r8d, %r8d
	testq	%r10, %r10
	jnz	.Lsource
	/* Code may have been exchanged: a CR4 write serializes. */
	movq	%cr4, %rax
	andq	$~KJ_AVX, %rax
	movq	%rax, %cr4
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%r11
.Ldestination:
	movq	%r8, %rdi
	jmp	.Lnext
.Lindirection:
	movq	%r8, %rsi
	jmp	.Lnext
.Lsource:
	movq	%r9, %rax
	movq	%r10, %rcx
	movq	%rdi, %r9
	movq	%r8, %r10
	addq	$PAGE_SIZE, %rdi
	testq	%rcx, %rcx
	jz	.Lnext
	cmpl	$KJ_AVX, KJ_SIMD(%rbp)
	je	.Lavx
	exchange_pages %rax, %rcx, %r9, %r10, %rdx
	jmp	.Lnext
.Lavx:
	exchange_pages %rax, %rcx, %r9, %r10, %rdx, avx=1
	jmp	.Lnext

SYM_INNER_LABEL(kexec_jump_trampoline_end, SYM_L_GLOBAL)
SYM_CODE_END(kexec_jump_trampoline)

/*
 * Back in the kernel, on page tables that map it and, at its physical address,
 * the jump page. %rbp: physical address of the state.
 *
 * Order: CR0 has WP before CR4 may have CET; CR4 has PCIDE before CR3 may name
 * a PCID; the GDT is mapped by all tables used here, so the segments come last.
 */
SYM_CODE_START(kexec_jump_resume)
	UNWIND_HINT_END_OF_STACK
	ANNOTATE_NOENDBR
	lgdt	KJ_KERNEL_GDT(%rbp)
	lidt	KJ_KERNEL_IDT(%rbp)
	movl	KJ_GS_BASE(%rbp), %r8d
	movl	KJ_GS_BASE + 4(%rbp), %r9d
	movq	KJ_NEXT_ENTRY(%rbp), %r10
	movq	KJ_CR3(%rbp), %rcx
	movq	KJ_CR4(%rbp), %rdx
	movq	KJ_CR0(%rbp), %rax
	movq	KJ_SP(%rbp), %rsp
	movq	%rax, %cr0
	movq	%rdx, %cr4
	movq	%rcx, %cr3

	movl	$__KERNEL_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	xorl	%eax, %eax
	movl	%eax, %fs
	movl	%eax, %gs
	movl	$MSR_GS_BASE, %ecx
	movl	%r8d, %eax
	movl	%r9d, %edx
	wrmsr
	pushq	$__KERNEL_CS
	leaq	.Lkernel_cs(%rip), %rax
	pushq	%rax
	lretq
.Lkernel_cs:
	UNWIND_HINT_END_OF_STACK
	movq	%r10, %rax
	popfq
	popq	%r15
	popq	%r14
	popq	%r13
	popq	%r12
	popq	%rbp
	popq	%rbx
	RET
SYM_CODE_END(kexec_jump_resume)
