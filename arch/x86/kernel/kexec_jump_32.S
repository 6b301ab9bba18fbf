/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump, i386: the way out, the page exchange, and the way back.
 *
 * There are three places this code runs at:
 *
 *  1. kexec_jump_go, in the kernel, with paging. Saves what C cannot and moves
 *     to 2.
 *  2. the trampoline, at its physical address in the jump page, with paging
 *     off. There the kernel's memory may be anything: its stack, page tables,
 *     GDT and per-CPU area may lie in the window. So the trampoline may touch
 *     nothing but the jump page, the peer's stack page, the backup map and the
 *     pages it exchanges. It calls nothing, takes no exceptions, and is
 *     position independent as it is copied.
 *  3. kexec_jump_resume, in the kernel again, which restores the rest.
 *
 * Between 1 and 2, and between 2 and 3, initial_page_table is used, which maps
 * low memory both at its kernel and at its physical address.
 *
 * kexec_jump_back is this kernel's entry. There the only assumption is 32-bit
 * protected mode with flat segments and the jump page and the peer's stack
 * accessible at their physical addresses. Segments, control registers and
 * descriptor tables are the peer's and are all replaced before the first of
 * them matters.
 *
 * Registers, throughout the trampoline:
 *	%ebx	physical address of the jump page
 *	%ebp	physical address of its struct kexec_jump_state
 *	others	scratch
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
#include "kexec_jump_exchange.S"

	.text

/*
 * asmlinkage unsigned long kexec_jump_go(void *page, unsigned long page_pa)
 *
 * The arguments are on the stack: virtual and physical address of the jump
 * page. Returns what the peer left as its next entry. Interrupts are off.
 */
SYM_CODE_START(kexec_jump_go)
	pushl	%ebx
	pushl	%esi
	pushl	%edi
	pushl	%ebp
	pushfl
	movl	24(%esp), %edi
	movl	28(%esp), %esi

	/* %edi: virtual address of the state */
	addl	$KEXEC_JUMP_STATE, %edi
	movl	%esp, KJ_SP(%edi)
	movl	%cr0, %eax
	movl	%eax, KJ_CR0(%edi)
	movl	%cr3, %eax
	movl	%eax, KJ_CR3(%edi)
	movl	%cr4, %eax
	movl	%eax, KJ_CR4(%edi)
	cmpl	$0, KJ_HAS_EFER(%edi)
	je	1f
	movl	$MSR_EFER, %ecx
	rdmsr
	movl	%eax, KJ_EFER(%edi)
	movl	%edx, KJ_EFER + 4(%edi)
1:
	sgdt	KJ_KERNEL_GDT(%edi)
	sidt	KJ_KERNEL_IDT(%edi)

	/* Both the kernel and the jump page's physical address are mapped. */
	movl	KJ_KERNEL_CR3(%edi), %eax
	movl	%eax, %cr3
	leal	KEXEC_JUMP_CODE + (kexec_jump_out - kexec_jump_trampoline)(%esi), %eax
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%eax
SYM_CODE_END(kexec_jump_go)

/*
 * asmlinkage void kexec_jump_back_early(unsigned long entry,
 *					 unsigned long page_tables,
 *					 unsigned long stack)
 *
 * On the stack: another kernel's entry, the physical address of page tables that
 * map this code to itself, too, and of a word that is 0. Does not return.
 */
SYM_CODE_START(kexec_jump_back_early)
	movl	4(%esp), %edi
	movl	8(%esp), %eax
	movl	12(%esp), %edx
	movl	%eax, %cr3
	movl	$(1f - __PAGE_OFFSET), %eax
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%eax
1:	movl	%cr0, %eax
	andl	$~X86_CR0_PG, %eax
	movl	%eax, %cr0
	movl	%edx, %esp
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%edi
SYM_CODE_END(kexec_jump_back_early)

	.balign	16
SYM_CODE_START_NOALIGN(kexec_jump_trampoline)

/* %esi: physical address of the jump page */
SYM_INNER_LABEL(kexec_jump_out, SYM_L_GLOBAL)
	movl	%esi, %ebx
	leal	KEXEC_JUMP_STATE(%ebx), %ebp
	leal	KEXEC_JUMP_CODE + (.Lleave - kexec_jump_trampoline)(%ebx), %edi
	jmp	.Lidentity

.Lleave:
	leal	KEXEC_JUMP_CODE + (.Lenter_peer - kexec_jump_trampoline)(%ebx), %edx
	jmp	.Lexchange

	/*
	 * The protocol: the peer finds the return address, which is this
	 * kernel's entry, at the top of its stack. The word above is 0, so that
	 * a peer that simply returns has left no next entry.
	 */
.Lenter_peer:
	movl	KJ_STACK(%ebp), %esp
	movl	$0, (%esp)
	lidt	KJ_PEER_IDT(%ebp)
	movl	$KJ_PEER_TSS, %eax
	ltr	%ax
	movl	KJ_ENTRY(%ebp), %eax
	xorl	%ebx, %ebx
	xorl	%ecx, %ecx
	xorl	%edx, %edx
	xorl	%esi, %esi
	xorl	%edi, %edi
	xorl	%ebp, %ebp
	ANNOTATE_RETPOLINE_SAFE
	call	*%eax

/*
 * The entry. (%esp): the peer's next entry or 0. Of an image, all memory is in
 * place and nobody is left to come back to.
 */
SYM_INNER_LABEL(kexec_jump_back, SYM_L_GLOBAL)
	cli
	cld
	movl	(%esp), %eax
	call	1f
1:	popl	%ebx
	subl	$(KEXEC_JUMP_CODE + (1b - kexec_jump_trampoline)), %ebx
	leal	KEXEC_JUMP_STATE(%ebx), %ebp
	movl	$0, KJ_NEXT_ENTRY(%ebp)
	leal	KEXEC_JUMP_CODE + (.Lenter_kernel - kexec_jump_trampoline)(%ebx), %edi
	cmpl	$KJ_STATE_IMAGE, KJ_HEADER_STATE(%ebx)
	je	.Lidentity
	movl	%eax, KJ_NEXT_ENTRY(%ebp)
	leal	KEXEC_JUMP_CODE + (.Lreturn - kexec_jump_trampoline)(%ebx), %edi
	jmp	.Lidentity

.Lreturn:
	leal	KEXEC_JUMP_CODE + (.Lenter_kernel - kexec_jump_trampoline)(%ebx), %edx
	jmp	.Lexchange

/*
 * Exceptions of the peer, each a task with a stack of its own. Nobody has to go on
 * there: come back, as if it had returned. (NT is set, popfl below clears it.)
 */
	.balign	KJ_FAULT_BYTES
SYM_INNER_LABEL(kexec_jump_faults, SYM_L_GLOBAL)
	.set	vector, 0
	.rept	KJ_EXCEPTIONS
	pushl	$vector
	jmp	.Lfault
	.balign	KJ_FAULT_BYTES
	.set	vector, vector + 1
	.endr

.Lfault:
	cld
	popl	%ecx
	call	1f
1:	popl	%ebx
	subl	$(KEXEC_JUMP_CODE + (1b - kexec_jump_trampoline)), %ebx
	leal	KEXEC_JUMP_STATE(%ebx), %ebp
	movl	%ecx, KJ_FAULT_VECTOR(%ebp)
	movl	$0, KJ_NEXT_ENTRY(%ebp)
	leal	KEXEC_JUMP_CODE + (.Lreturn - kexec_jump_trampoline)(%ebx), %edi
	jmp	.Lidentity

SYM_INNER_LABEL(kexec_jump_int3, SYM_L_GLOBAL)
	iretl

	/*
	 * This kernel's memory is in place: its page tables can be used. NX in
	 * EFER and PAE in CR4 decide what they mean, so these come before PG.
	 */
.Lenter_kernel:
	cmpl	$0, KJ_HAS_EFER(%ebp)
	je	1f
	movl	$MSR_EFER, %ecx
	movl	KJ_EFER(%ebp), %eax
	movl	KJ_EFER + 4(%ebp), %edx
	wrmsr
1:
	movl	KJ_CR4(%ebp), %eax
	andl	$~X86_CR4_PGE, %eax
	movl	%eax, %cr4
	movl	KJ_KERNEL_CR3(%ebp), %eax
	movl	%eax, %cr3
	movl	KJ_CR0(%ebp), %eax
	movl	%eax, %cr0
	ANNOTATE_RETPOLINE_SAFE
	jmp	*KJ_RESUME(%ebp)

/*
 * Put the CPU into the one state the rest relies on: no paging, flat segments,
 * no IDT, no breakpoint, single step or branch trace, the peer's stack. Writing CR4
 * flushes all of the TLB.
 *
 * %edi: where to go then. Clobbers %eax, %ecx, %edx.
 */
.Lidentity:
	movl	%cr0, %eax
	andl	$~(X86_CR0_PG | X86_CR0_AM | X86_CR0_WP | X86_CR0_TS | X86_CR0_EM), %eax
	orl	$X86_CR0_PE, %eax
	movl	%eax, %cr0
	xorl	%eax, %eax
	movl	%eax, %cr4
	movl	%eax, %cr3

	movl	KJ_STACK(%ebp), %esp
	lgdt	KJ_PEER_GDT(%ebp)
	/* Without a handler for it, nothing may raise a debug exception. */
	pushl	$X86_EFLAGS_FIXED
	popfl
	xorl	%eax, %eax
	movl	%eax, %dr7
	cmpl	$0, KJ_HAS_DEBUGCTL(%ebp)
	je	1f
	xorl	%edx, %edx
	movl	$MSR_IA32_DEBUGCTLMSR, %ecx
	wrmsr
1:
	lidt	KJ_NO_IDT(%ebp)
	movl	$KJ_PEER_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	%eax, %ss
	movl	%eax, %fs
	movl	%eax, %gs
	pushl	$KJ_PEER_CS
	pushl	%edi
	lret

/*
 * Exchange every page of the window with its backup page, as the backup map
 * (a kimage page list) says. Doing it twice restores both sides. Two pages are
 * exchanged once the next two are known, which are fetched meanwhile.
 *
 * %edx: where to go then. Clobbers all but %ebx, %ebp, which like %edx and
 * KJ_SIMD are on the stack meanwhile.
 *	%esi	next entry of the map
 *	%edi	page of the window, for the next backup page
 *	%ecx	an entry's page
 *	%ebx	page of the window that is to be exchanged next
 *	%ebp	its backup page, 0 if there is none
 */
.Lexchange:
	pushl	%edx
	pushl	%ebx
	pushl	%ebp
	pushl	KJ_SIMD(%ebp)
	movl	KJ_SIMD(%ebp), %eax
	movl	%eax, %cr4
	cmpl	$KJ_AVX, (%esp)
	jne	1f
	xorl	%ecx, %ecx
	movl	KJ_XCR0(%ebp), %eax
	movl	KJ_XCR0 + 4(%ebp), %edx
	xsetbv
1:
	movl	KJ_MAP(%ebp), %esi
	xorl	%edi, %edi
	xorl	%ebp, %ebp
.Lnext:
	movl	(%esi), %eax
	addl	$4, %esi
	movl	%eax, %ecx
	andl	$PAGE_MASK, %ecx
	testb	$IND_DESTINATION, %al
	jnz	.Ldestination
	testb	$IND_INDIRECTION, %al
	jnz	.Lindirection
	testb	$IND_SOURCE, %al
	jnz	.Lsource
	/* The end, that is to be read again if there is a page left. */
	subl	$4, %esi
	xorl	%ecx, %ecx
	testl	%ebp, %ebp
	jnz	.Lsource
	/* Code may have been exchanged: a CR3 write serializes. */
	xorl	%eax, %eax
	movl	%eax, %cr4
	movl	%eax, %cr3
	popl	%eax
	popl	%ebp
	popl	%ebx
	popl	%edx
	ANNOTATE_RETPOLINE_SAFE
	jmp	*%edx
.Ldestination:
	movl	%ecx, %edi
	jmp	.Lnext
.Lindirection:
	movl	%ecx, %esi
	jmp	.Lnext
.Lsource:
	movl	%ebx, %eax
	movl	%edi, %ebx
	xchgl	%ebp, %ecx
	addl	$PAGE_SIZE, %edi
	testl	%ecx, %ecx
	jz	.Lnext
	cmpl	$KJ_SSE2, (%esp)
	jb	.Lwithout
	ja	.Lavx
	exchange_pages %eax, %ecx, %ebx, %ebp, %edx
	jmp	.Lnext
.Lavx:
	exchange_pages %eax, %ecx, %ebx, %ebp, %edx, avx=1
	jmp	.Lnext
.Lwithout:
	leal	PAGE_SIZE(%ecx), %edx
	pushl	%ebx
	pushl	%ebp
.Lword:
	movl	(%eax), %ebx
	movl	(%ecx), %ebp
	movl	%ebx, (%ecx)
	movl	%ebp, (%eax)
	addl	$4, %eax
	addl	$4, %ecx
	cmpl	%edx, %ecx
	jne	.Lword
	popl	%ebp
	popl	%ebx
	jmp	.Lnext

SYM_INNER_LABEL(kexec_jump_trampoline_end, SYM_L_GLOBAL)
SYM_CODE_END(kexec_jump_trampoline)

/*
 * Back in the kernel, on initial_page_table. %ebp: physical address of the
 * state, which the kernel's own page tables do not map.
 */
SYM_CODE_START(kexec_jump_resume)
	lgdt	KJ_KERNEL_GDT(%ebp)
	lidt	KJ_KERNEL_IDT(%ebp)
	movl	KJ_NEXT_ENTRY(%ebp), %esi
	movl	KJ_CR3(%ebp), %eax
	movl	KJ_CR4(%ebp), %ecx
	movl	KJ_SP(%ebp), %esp
	movl	%eax, %cr3
	movl	%ecx, %cr4

	movl	$__KERNEL_DS, %eax
	movl	%eax, %ss
	movl	$__USER_DS, %eax
	movl	%eax, %ds
	movl	%eax, %es
	movl	$__KERNEL_PERCPU, %eax
	movl	%eax, %fs
	xorl	%eax, %eax
	movl	%eax, %gs
	ljmp	$__KERNEL_CS, $1f
1:
	movl	%esi, %eax
	popfl
	popl	%ebp
	popl	%edi
	popl	%esi
	popl	%ebx
	RET
SYM_CODE_END(kexec_jump_resume)
