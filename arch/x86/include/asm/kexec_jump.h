/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump on x86: layout of the jump page, for C and for the trampoline.
 *
 * offset 0	struct kexec_jump_header
 *	  0x400	the trampoline, copied from kexec_jump_{32,64}.S
 *	  0xc00	struct kexec_jump_state: what the trampoline saves and needs
 */
#ifndef _ASM_X86_KEXEC_JUMP_H
#define _ASM_X86_KEXEC_JUMP_H

#include <asm/processor-flags.h>

#define KEXEC_JUMP_CODE		0x400
#define KEXEC_JUMP_STATE	0xc00

/*
 * The peer gets the segments the boot protocol asks for: CS 0x10, DS 0x18. Behind
 * them is a TSS; on i386 one more for each exception.
 */
#define KJ_PEER_CS		0x10
#define KJ_PEER_DS		0x18
#define KJ_PEER_TSS		0x20

/* Exceptions that are handled, bytes of the code for each, and that of none */
#define KJ_EXCEPTIONS		32
#define KJ_FAULT_BYTES		8
#define KJ_NO_FAULT		0xff

/* Vector registers, as the bits of CR4 that they take; x86_64 always has the first ones. */
#define KJ_SSE2			X86_CR4_OSFXSR
#define KJ_AVX			(X86_CR4_OSFXSR | X86_CR4_OSXSAVE)

/* Descriptors: a TSS takes two on x86_64. */
#ifdef CONFIG_X86_64
#define KJ_GDT_ENTRIES		6
#else
#define KJ_GDT_ENTRIES		(5 + KJ_EXCEPTIONS)
#endif

#ifndef __ASSEMBLY__

#include <linux/types.h>

/**
 * struct kexec_jump_state - data of the trampoline, in the jump page
 * @sp:		stack pointer (virtual) with the callee-saved registers on it
 * @cr0:	CR0 of this kernel
 * @cr3:	CR3 of this kernel
 * @cr4:	CR4 of this kernel
 * @efer:	MSR_EFER of this kernel, if @has_efer
 * @gs_base:	x86_64: MSR_GS_BASE of this kernel
 * @kernel_cr3:	page tables that map this kernel and the jump page at its
 *		physical address; valid while this kernel's memory is in place
 * @identity_cr3: x86_64: page tables outside the window that map all of
 *		physical memory to itself, and nothing else
 * @map:	physical address of the backup map
 * @stack:	physical address of the top word of the stack the peer gets
 * @entry:	physical address of the peer
 * @next_entry:	what the peer left at the top of its stack
 * @resume:	virtual address of kexec_jump_resume() in this kernel
 * @has_efer:	MSR_EFER exists (always on x86_64)
 * @has_debugctl: MSR_IA32_DEBUGCTLMSR exists
 * @simd:	registers by which pages are exchanged: KJ_SSE2, KJ_AVX, or 0, none
 * @xcr0:	XCR0 of this kernel, for KJ_AVX
 * @fault_vector: the exception the peer died of, or KJ_NO_FAULT
 * @fault_address: what it left in CR2
 * @kernel_gdt:	GDT register of this kernel
 * @kernel_idt:	IDT register of this kernel
 * @peer_gdt:	GDT register for the peer, describes @gdt
 * @peer_idt:	IDT register for the peer: see kexec_jump_fault.c
 * @no_idt:	IDT register while pages are exchanged: no IDT
 * @gdt:	flat code at KJ_PEER_CS, flat data at KJ_PEER_DS, and KJ_PEER_TSS
 */
struct kexec_jump_state {
	u64 sp;
	u64 cr0;
	u64 cr3;
	u64 cr4;
	u64 efer;
	u64 gs_base;
	u64 kernel_cr3;
	u64 identity_cr3;
	u64 map;
	u64 stack;
	u64 entry;
	u64 next_entry;
	u64 resume;
	u64 has_efer;
	u64 has_debugctl;
	u64 simd;
	u64 xcr0;
	u64 fault_vector;
	u64 fault_address;
	u8 kernel_gdt[16];
	u8 kernel_idt[16];
	u8 peer_gdt[16];
	u8 peer_idt[16];
	u8 no_idt[16];
	u64 gdt[KJ_GDT_ENTRIES];
};

/**
 * struct arch_kexec_jump - x86 part of struct kexec_jump
 * @stack:	page the peer's stack pointer points into at its entry
 * @faults:	page of the handlers for exceptions of the peer
 * @kernel_pgd:	x86_64: root of kexec_jump_state.kernel_cr3
 * @identity_pgd: x86_64: root of kexec_jump_state.identity_cr3
 */
struct arch_kexec_jump {
	struct page *stack;
	struct page *faults;
#ifdef CONFIG_X86_64
	void *kernel_pgd;
	void *identity_pgd;
#endif
};

/* kexec_jump_{32,64}.S: the code that is copied into the jump page */
extern const char kexec_jump_trampoline[], kexec_jump_trampoline_end[];
extern const char kexec_jump_out[], kexec_jump_back[];
extern const char kexec_jump_faults[], kexec_jump_int3[];

/* Where a label of that code is, physically, in the jump page at @page_pa. */
static inline u64 kexec_jump_label_pa(u64 page_pa, const char *label)
{
	unsigned long offset = label - kexec_jump_trampoline;

	/* A label and a constant that the compiler adds up are the address of other code. */
	OPTIMIZER_HIDE_VAR(offset);
	return page_pa + KEXEC_JUMP_CODE + offset;
}

struct kexec_jump;
/* kexec_jump.c */
void kexec_jump_interrupts_to_boot_mode(void);
unsigned long kexec_jump_leave(struct kexec_jump *jump);

/* kexec_jump_counters.c */
void kexec_jump_stop_counters(void);
void kexec_jump_drop_counters(void);
void kexec_jump_start_counters(void);

/* kexec_jump_fault.c */
void kexec_jump_set_faults(struct page *page, struct kexec_jump_state *state, u64 page_pa);
u64 kexec_jump_faults_idt(struct page *page, u16 *limit);

asmlinkage unsigned long kexec_jump_go(void *page, unsigned long page_pa);
void kexec_jump_resume(void);
asmlinkage void kexec_jump_back_early(unsigned long entry,
				      unsigned long page_tables,
				      unsigned long stack);

#endif /* __ASSEMBLY__ */
#endif /* _ASM_X86_KEXEC_JUMP_H */
