// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Exceptions of a program that was called
 *
 * A program that knows no operating system has no IDT. It finds one that brings
 * this kernel back, which reports vector, error code, the address of the instruction,
 * the address that faulted and the stack pointer; the program has died, as a peer
 * that panics. int3 returns to the program, as in a kexec without a jump. A kernel
 * soon loads tables of its own. A program that hangs, or that switches to such and
 * then fails, is still the end.
 *
 * Whatever the stack pointer is worth by then, the handlers have a stack: on x86_64
 * by the interrupt stack table (Intel SDM vol. 3A, 6.14.5), on i386, where there is
 * none, each of them is a task of its own (7.3): the processor leaves the program's
 * registers in its TSS. All of it is in one page outside the window, written anew
 * before each jump, as the processor marks what it has used as busy.
 */
#define pr_fmt(fmt) "kexec_jump: " fmt

#include <linux/kernel.h>
#include <linux/kexec_jump_arch.h>
#include <linux/mm.h>
#include <linux/processor.h>
#include <linux/string.h>

#include <asm/desc.h>
#include <asm/trapnr.h>

/* Vectors with an error code: #DF, #TS, #NP, #SS, #GP, #PF, #AC, #CP, #VC, #SX */
#define HAS_ERROR_CODE	0x60227d00UL

/**
 * struct kexec_jump_faults - the page of the handlers
 * @idt:	a gate for each exception
 * @tss:	x86_64: the one there is; i386: [0] gets the program's registers,
 *		the others are the tasks that handle exceptions
 * @stack:	theirs
 */
struct kexec_jump_faults {
	gate_desc idt[KJ_EXCEPTIONS];
#ifdef CONFIG_X86_64
	struct x86_hw_tss tss;
#else
	struct x86_hw_tss tss[1 + KJ_EXCEPTIONS];
#endif
	unsigned long stack[8] __aligned(16);
};

static_assert(sizeof(struct kexec_jump_faults) <= PAGE_SIZE);

static void set_gate(gate_desc *gate, unsigned int type, u16 segment, u64 address, u8 ist)
{
	memset(gate, 0, sizeof(*gate));
	gate->offset_low = address;
	gate->segment = segment;
	gate->bits.ist = ist;
	gate->bits.type = type;
	gate->bits.p = 1;
	gate->offset_middle = address >> 16;
#ifdef CONFIG_X86_64
	gate->offset_high = address >> 32;
#endif
}

/**
 * kexec_jump_set_faults - write the tables for exceptions of the peer
 * @page:	the page for them
 * @state:	of the jump page
 * @page_pa:	physical address of the jump page
 *
 * Any context, before each jump.
 */
void kexec_jump_set_faults(struct page *page, struct kexec_jump_state *state, u64 page_pa)
{
	struct kexec_jump_faults *faults = page_address(page);
	u64 faults_pa = page_to_phys(page);
	u64 stack_pa = faults_pa + offsetofend(struct kexec_jump_faults, stack);
	unsigned int vector;

	memset(faults, 0, sizeof(*faults));
	state->fault_vector = KJ_NO_FAULT;
	for (vector = 0; vector < KJ_EXCEPTIONS; vector++) {
		u64 at = kexec_jump_label_pa(page_pa, kexec_jump_faults) + vector * KJ_FAULT_BYTES;
#ifdef CONFIG_X86_64
		set_gate(&faults->idt[vector], GATE_INTERRUPT, KJ_PEER_CS, at, 1);
#else
		struct x86_hw_tss *tss = &faults->tss[1 + vector];
		unsigned int selector = KJ_PEER_TSS + 8 * (1 + vector);

		tss->ip = at;
		tss->flags = X86_EFLAGS_FIXED;
		tss->sp = stack_pa;
		tss->cs = KJ_PEER_CS;
		tss->ss = KJ_PEER_DS;
		tss->ds = KJ_PEER_DS;
		tss->es = KJ_PEER_DS;
		tss->fs = KJ_PEER_DS;
		tss->gs = KJ_PEER_DS;
		tss->io_bitmap_base = sizeof(*tss);
		set_tssldt_descriptor(&state->gdt[selector / 8],
				      faults_pa + ((void *)tss - (void *)faults),
				      DESC_TSS, sizeof(*tss) - 1);
		set_gate(&faults->idt[vector], GATE_TASK, selector, 0, 0);
#endif
	}
	set_gate(&faults->idt[X86_TRAP_BP], GATE_INTERRUPT, KJ_PEER_CS,
		 kexec_jump_label_pa(page_pa, kexec_jump_int3), IS_ENABLED(CONFIG_X86_64));
#ifdef CONFIG_X86_64
	faults->tss.ist[0] = stack_pa;
	faults->tss.io_bitmap_base = sizeof(faults->tss);
#endif
	set_tssldt_descriptor(&state->gdt[KJ_PEER_TSS / 8],
			      faults_pa + offsetof(struct kexec_jump_faults, tss),
			      DESC_TSS, sizeof(struct x86_hw_tss) - 1);
}

/**
 * kexec_jump_faults_idt - where the IDT is
 * @page:	the page of the handlers
 * @limit:	set to its limit
 *
 * Return: its physical address.
 */
u64 kexec_jump_faults_idt(struct page *page, u16 *limit)
{
	*limit = sizeof_field(struct kexec_jump_faults, idt) - 1;
	return page_to_phys(page) + offsetof(struct kexec_jump_faults, idt);
}

static const char * const names[KJ_EXCEPTIONS] = {
	[X86_TRAP_DE]	= "divide error",
	[X86_TRAP_DB]	= "debug",
	[X86_TRAP_NMI]	= "NMI",
	[X86_TRAP_OF]	= "overflow",
	[X86_TRAP_BR]	= "bound range exceeded",
	[X86_TRAP_UD]	= "invalid opcode",
	[X86_TRAP_NM]	= "device not available",
	[X86_TRAP_DF]	= "double fault",
	[X86_TRAP_TS]	= "invalid TSS",
	[X86_TRAP_NP]	= "segment not present",
	[X86_TRAP_SS]	= "stack fault",
	[X86_TRAP_GP]	= "general protection",
	[X86_TRAP_PF]	= "page fault",
	[X86_TRAP_MF]	= "floating point",
	[X86_TRAP_AC]	= "alignment check",
	[X86_TRAP_MC]	= "machine check",
	[X86_TRAP_XF]	= "SIMD floating point",
};

bool arch_kexec_jump_fault(const struct kexec_jump *jump, char *text, size_t size)
{
	const struct kexec_jump_state *state = page_address(jump->page) + KEXEC_JUMP_STATE;
	const struct kexec_jump_faults *faults = page_address(jump->arch.faults);
	const unsigned long *top = faults->stack + ARRAY_SIZE(faults->stack);
	unsigned long vector = state->fault_vector, error = 0, ip, sp;
	bool has_error;

	if (vector >= KJ_EXCEPTIONS)
		return false;
	has_error = HAS_ERROR_CODE & BIT(vector);
#ifdef CONFIG_X86_64
	/* SS, RSP, RFLAGS, CS, RIP, error code */
	sp = top[-2];
	ip = top[-5];
	if (has_error)
		error = top[-6];
#else
	sp = faults->tss[0].sp;
	ip = faults->tss[0].ip;
	if (has_error)
		error = top[-1];
#endif
	scnprintf(text, size,
		  "exception %lu (%s), error code %#lx, instruction at %#lx, fault address %#llx, stack pointer %#lx",
		  vector, names[vector] ?: "reserved", error, ip,
		  vector == X86_TRAP_PF ? state->fault_address : 0, sp);
	return true;
}
