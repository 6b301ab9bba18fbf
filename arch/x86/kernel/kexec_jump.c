// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump on x86: the jump page, its page tables, going and coming back.
 *
 * The code that runs while this kernel's memory is not in place is in
 * kexec_jump_{32,64}.S.
 */
/**
 * DOC: The entry protocol on x86
 *
 * * The peer is entered at the image's entry with interrupts off: on i386 in
 *   protected mode without paging, on x86_64 in 64-bit mode with all RAM mapped to
 *   its physical addresses. CS is 0x10, the data segments are 0x18, both flat;
 *   the IDT is the one that brings exceptions home (kexec_jump_fault.c). General
 *   registers are 0 but for the stack pointer and the accumulator; no breakpoint is
 *   set.
 * * At the top of its stack is the return address: the address that resumes the
 *   kernel it came from, called that kernel's entry. kexec's purgatory passes it
 *   to a Linux peer as kexec_jump_back_entry=.
 * * To go back, the peer jumps to that address, in the mode it was entered in,
 *   with paging off or with at least the page of that address, and its own stack,
 *   mapped to themselves. What is then at the top of its stack is its own next
 *   entry; 0 means none, and the next jump enters it where the last one did. A
 *   program that simply returns leaves 0.
 * * The stack it is given is 4 kB, outside the window, and not kept.
 */
#define pr_fmt(fmt) "kexec_jump: " fmt

#include <linux/cc_platform.h>
#include <linux/cpufeature.h>
#include <linux/delay.h>
#include <linux/ftrace.h>
#include <linux/highmem.h>
#include <linux/kexec.h>
#include <linux/kexec_jump_arch.h>
#include <linux/kexec_jump_base.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/pfn.h>
#include <linux/pgtable.h>
#include <linux/smp.h>
#include <linux/string.h>
#include <linux/suspend.h>

#include <asm/apic.h>
#include <asm/bootparam.h>
#include <asm/cpu.h>
#include <asm/debugreg.h>
#include <asm/e820/api.h>
#include <asm/fpu/api.h>
#include <asm/fpu/xcr.h>
#include <asm/hpet.h>
#include <asm/init.h>
#include <asm/io_apic.h>
#include <asm/kexec_jump.h>
#include <asm/msr.h>
#include <asm/pci-direct.h>
#include <asm/reboot.h>
#include <asm/sections.h>
#include <asm/set_memory.h>
#include <asm/tlbflush.h>
#include <asm/vmware.h>
#include <asm/xen/hypervisor.h>

static_assert(sizeof(struct kexec_jump_header) <= KEXEC_JUMP_CODE);
static_assert(KEXEC_JUMP_STATE + sizeof(struct kexec_jump_state) <= PAGE_SIZE);

/* "HdrS": there is a setup header */
#define HDRS		0x53726448

/* Conventional memory of a PC ends here, or below where firmware keeps some. */
#define LOW_MEMORY_END	(640UL * 1024)

static struct kexec_jump_state *jump_state(const struct kexec_jump *jump)
{
	return page_address(jump->page) + KEXEC_JUMP_STATE;
}

/*
 * A kernel starts its secondary CPUs and changes paging modes in low memory,
 * whatever window it was given, and kexec-tools tells it that it may.
 */
int arch_kexec_jump_low_window(struct kexec_jump *jump)
{
	u64 addr;
	int error;

	for (addr = 0; addr < LOW_MEMORY_END; addr += PAGE_SIZE) {
		if (kexec_jump_in_window(jump, addr) ||
		    !page_is_ram(PFN_DOWN(addr)))
			continue;
		error = kexec_jump_add_range(jump, addr, addr + PAGE_SIZE);
		if (error)
			return error;
	}
	return 0;
}

/* The firmware's map, not the one that was trimmed to the window. */
bool arch_kexec_jump_memory_at(u64 addr)
{
	return e820__mapped_raw_any(addr, addr + PAGE_SIZE, E820_TYPE_RAM);
}

u64 arch_kexec_jump_memory_end(void)
{
	u64 end = 0;
	unsigned int i;

	for (i = 0; i < e820_table_firmware->nr_entries; i++) {
		const struct e820_entry *entry = &e820_table_firmware->entries[i];

		if (entry->type == E820_TYPE_RAM)
			end = max(end, entry->addr + entry->size);
	}
	return end;
}

/*
 * The setup header of a bzImage: kexec leaves it where boot_params begin, not
 * always with boot_flag.
 */
static bool read_setup_header(struct kexec_jump *jump, u64 addr,
			      struct setup_header *header)
{
	const struct boot_params *params;

	params = kmap_local_page(kexec_jump_window_page(jump, addr));
	memcpy(header, &params->hdr, sizeof(*header));
	kunmap_local(params);
	return header->header == HDRS;
}

bool arch_kexec_jump_is_kernel(struct kexec_jump *jump, u64 addr)
{
	struct setup_header header;

	return read_setup_header(jump, addr, &header);
}

/* Could it enter this kernel again? */
static int check_kind(u16 flags)
{
	if (!!(flags & XLF_KERNEL_64) != IS_ENABLED(CONFIG_X86_64)) {
		pr_err("the kernel image is for %s, and could not come back to this kernel, for %s\n",
		       IS_ENABLED(CONFIG_X86_64) ? "i386" : "x86_64",
		       IS_ENABLED(CONFIG_X86_64) ? "x86_64" : "i386");
		return -ENOEXEC;
	}
	if (arch_kexec_jump_flags() & KEXEC_JUMP_5LEVEL && !(flags & XLF_5LEVEL_ENABLED)) {
		pr_err("the kernel image has no 5-level paging and could not come back to this kernel; boot this one with no5lvl\n");
		return -ENOEXEC;
	}
	return 0;
}

/*
 * Until it has looked for its window, a bzImage only knows where it was loaded,
 * and that it must not run below its preferred address. It takes init_size bytes
 * from there (Documentation/arch/x86/boot.rst).
 */
int arch_kexec_jump_check_image(struct kexec_jump *jump,
				unsigned long nr_segments,
				const struct kexec_segment *segments)
{
	const struct kexec_segment *kernel = NULL;
	struct setup_header header;
	u64 start, end;
	unsigned long i;

	for (i = 0; i < nr_segments; i++)
		if (segments[i].memsz &&
		    read_setup_header(jump, segments[i].mem, &header) &&
		    header.version >= 0x020a)
			break;
	if (i == nr_segments)
		return 0;
	/* Older ones do not say. */
	if (header.version >= 0x020c) {
		int error = check_kind(header.xloadflags);

		if (error)
			return error;
	}

	/* The kernel itself: the largest piece but for the initrd. */
	for (i = 0; i < nr_segments; i++)
		if (segments[i].mem != header.ramdisk_image &&
		    (!kernel || segments[i].bufsz > kernel->bufsz))
			kernel = &segments[i];
	start = header.pref_address & PAGE_MASK;
	if (kernel)
		start = max_t(u64, start, kernel->mem);
	end = start + PAGE_ALIGN(header.init_size);

	for (; start < end; start += PAGE_SIZE) {
		if (kexec_jump_in_window(jump, start))
			continue;
		pr_err("the kernel image takes memory up to %#llx, %#llx is not in its window; choose --mem-max=%#llx or more, with room for the initrd\n",
		       end - 1, start, end - 1);
		return -EADDRNOTAVAIL;
	}
	return 0;
}

u64 arch_kexec_jump_entry(const struct kexec_jump *jump)
{
	return kexec_jump_label_pa(page_to_phys(jump->page), kexec_jump_back);
}

/* Paging depth cannot be changed where kernels meet, so it must be the same. */
u64 arch_kexec_jump_flags(void)
{
	return pgtable_l5_enabled() ? KEXEC_JUMP_5LEVEL : 0;
}

#ifdef CONFIG_X86_64

static void *alloc_table(void *jump)
{
	struct page *page = kexec_jump_alloc_control_page(jump);

	return page ? page_address(page) : NULL;
}

/*
 * Two sets of page tables that share their lower half, all of physical memory
 * mapped to itself. The upper half is empty in the first, which is used while
 * the memory it would map may be the peer's (not even speculation may follow
 * it then), and the kernel's in the second.
 */
static int prepare_page_tables(struct kexec_jump *jump)
{
	struct x86_mapping_info info = {
		.alloc_pgt_page	= alloc_table,
		.context	= jump,
		/* Not global: nothing of it may stay when CR3 is written. */
		.page_flag	= __PAGE_KERNEL_LARGE_EXEC & ~_PAGE_GLOBAL,
		.kernpg_flag	= _KERNPG_TABLE_NOENC,
		.direct_gbpages	= direct_gbpages,
	};
	struct arch_kexec_jump *arch = &jump->arch;
	int error;

	arch->identity_pgd = alloc_table(jump);
	arch->kernel_pgd = alloc_table(jump);
	if (!arch->identity_pgd || !arch->kernel_pgd)
		return -ENOMEM;

	error = kexec_map_identity(&info, arch->identity_pgd);
	/* A peer's jump page may be in memory this kernel does not call RAM. */
	if (!error)
		error = kernel_ident_mapping_init(&info, arch->identity_pgd,
						  jump->entry & PAGE_MASK,
						  (jump->entry & PAGE_MASK) + PAGE_SIZE);
	if (error)
		return error;

	memcpy(arch->kernel_pgd, arch->identity_pgd, PAGE_SIZE / 2);
	memcpy(arch->kernel_pgd + PAGE_SIZE / 2,
	       (void *)init_top_pgt + PAGE_SIZE / 2, PAGE_SIZE / 2);
	return 0;
}

static void set_page_tables(struct kexec_jump *jump)
{
	struct kexec_jump_state *state = jump_state(jump);

	state->kernel_cr3 = __pa(jump->arch.kernel_pgd);
	state->identity_cr3 = __pa(jump->arch.identity_pgd);
	state->has_efer = 1;
}

static void clean_page_tables(struct kexec_jump *jump)
{
}

#else /* CONFIG_X86_32 */

/*
 * The trampoline runs without paging; initial_page_table leads there. It maps
 * all of low memory to itself only if the kernel's part of the address space is
 * not the larger one.
 */
static int prepare_page_tables(struct kexec_jump *jump)
{
	u64 end = (u64)min(KERNEL_PGD_PTRS, KERNEL_PGD_BOUNDARY) << PGDIR_SHIFT;

	if (page_to_phys(jump->page) >= end) {
		pr_err("jump page at %#llx cannot be mapped to itself with this VMSPLIT\n",
		       (u64)page_to_phys(jump->page));
		return -EOPNOTSUPP;
	}
	return set_memory_x((unsigned long)page_address(jump->page), 1);
}

static void set_page_tables(struct kexec_jump *jump)
{
	struct kexec_jump_state *state = jump_state(jump);

	state->kernel_cr3 = __pa_symbol(initial_page_table);
	state->has_efer = boot_cpu_has(X86_FEATURE_NX);
}

static void clean_page_tables(struct kexec_jump *jump)
{
	set_memory_nx((unsigned long)page_address(jump->page), 1);
}

#endif

int arch_kexec_jump_prepare(struct kexec_jump *jump)
{
	/* On a host of such guests, pages of the firmware or a guest must not be written. */
	if (cc_platform_has(CC_ATTR_MEM_ENCRYPT) || cc_platform_has(CC_ATTR_HOST_SEV_SNP) ||
	    cpu_feature_enabled(X86_FEATURE_TDX_HOST_PLATFORM)) {
		pr_err("not supported with encrypted memory\n");
		return -EOPNOTSUPP;
	}
	if (cpu_feature_enabled(X86_FEATURE_XENPV)) {
		pr_err("not supported in a Xen PV guest: it has no physical memory of its own\n");
		return -EOPNOTSUPP;
	}
	if (boot_cpu_data.cpuid_level < 0) {
		pr_err("not supported on a CPU without CPUID\n");
		return -EOPNOTSUPP;
	}
	/*
	 * Backends would go on with the rings that drivers have left, those of a peer that knows
	 * Xen, too: the machine is asked, not what this kernel makes of it.
	 */
	if (xen_cpuid_base() && !jump->no_devices) {
		pr_err("not supported in a Xen guest: its virtual devices do not come back (KEXEC_NO_DEVICES calls programs while they work)\n");
		return -EOPNOTSUPP;
	}
	if (WARN_ON(kexec_jump_trampoline_end - kexec_jump_trampoline >
		    KEXEC_JUMP_STATE - KEXEC_JUMP_CODE))
		return -EOPNOTSUPP;

	jump->arch.stack = kexec_jump_alloc_control_page(jump);
	if (!jump->arch.stack)
		return -ENOMEM;
	jump->arch.faults = kexec_jump_alloc_control_page(jump);
	if (!jump->arch.faults)
		return -ENOMEM;
	return prepare_page_tables(jump);
}

/* A GDT or IDT register: limit and linear address. */
static void set_table_register(u8 *reg, u64 address, u16 limit)
{
	memcpy(reg, &limit, sizeof(limit));
	memcpy(reg + sizeof(limit), &address, sizeof(address));
}

/* How pages are exchanged. What is in the registers then has been saved, or nobody's. */
static void set_simd(struct kexec_jump_state *state)
{
	if (boot_cpu_has(X86_FEATURE_AVX) &&
	    cpu_has_xfeatures(XFEATURE_MASK_SSE | XFEATURE_MASK_YMM, NULL)) {
		state->simd = KJ_AVX;
		state->xcr0 = xgetbv(XCR_XFEATURE_ENABLED_MASK);
	} else if (boot_cpu_has(X86_FEATURE_XMM2)) {
		state->simd = KJ_SSE2;
	}
}

void arch_kexec_jump_complete(struct kexec_jump *jump)
{
	struct kexec_jump_state *state = jump_state(jump);
	u64 state_pa = page_to_phys(jump->page) + KEXEC_JUMP_STATE;
	u16 idt_limit;
	u64 idt, debugctl;

	memcpy(page_address(jump->page) + KEXEC_JUMP_CODE, kexec_jump_trampoline,
	       kexec_jump_trampoline_end - kexec_jump_trampoline);

	state->map = kexec_jump_list_address(&jump->map);
	/* Room for a word above, whatever the word's size. */
	state->stack = page_to_phys(jump->arch.stack) + PAGE_SIZE - 16;
	state->resume = (unsigned long)kexec_jump_resume;
	set_page_tables(jump);

	/* Flat, 4 GB, present; code is 64-bit where the kernel is. */
	state->gdt[KJ_PEER_CS / 8] = IS_ENABLED(CONFIG_X86_64) ?
				     0x00af9b000000ffffULL : 0x00cf9b000000ffffULL;
	state->gdt[KJ_PEER_DS / 8] = 0x00cf93000000ffffULL;
	set_table_register(state->peer_gdt, state_pa + offsetof(struct kexec_jump_state, gdt),
			   sizeof(state->gdt) - 1);
	set_table_register(state->no_idt, 0, 0);
	idt = kexec_jump_faults_idt(jump->arch.faults, &idt_limit);
	set_table_register(state->peer_idt, idt, idt_limit);
	state->has_debugctl = !rdmsrq_safe(MSR_IA32_DEBUGCTLMSR, &debugctl);
	set_simd(state);
}

void arch_kexec_jump_cleanup(struct kexec_jump *jump)
{
	if (jump->arch.stack)
		clean_page_tables(jump);
}

unsigned long arch_kexec_jump_kernel_image(u64 *start, u64 *end)
{
	if (!IS_ENABLED(CONFIG_X86_64))
		return 0;
	*start = __pa_symbol(_text);
	*end = __pa_symbol(_end);
	return (unsigned long)_text;
}

void arch_kexec_jump_point_out_cpu(bool on)
{
	crashing_cpu = on ? smp_processor_id() : -1;
}

noinline void arch_kexec_jump_regs(struct pt_regs *regs)
{
	regs->ip = _RET_IP_;
	regs->sp = (unsigned long)__builtin_frame_address(0) + 2 * sizeof(long);
	regs->bp = *(unsigned long *)__builtin_frame_address(0);
	regs->cs = __KERNEL_CS;
	regs->ss = __KERNEL_DS;
	regs->flags = native_save_fl();
}

/* Real CPUs need some of it to leave a deep sleep state and take the INIT. */
#define INIT_SETTLE_US	200

int arch_kexec_jump_check_processor(void)
{
	/*
	 * Neither paging can be switched off then, nor VMX by CR4 (Intel SDM vol. 3C,
	 * Restrictions on VMX Operation).
	 */
	if (!(__read_cr4() & X86_CR4_VMXE))
		return 0;
	pr_err("a hypervisor has the processor's VMX on: end its virtual machines and unload it (kvm_intel)\n");
	return -EBUSY;
}

/*
 * A CPU that is offline rests in HLT or MWAIT, or, having said that it is dead, is
 * still on its way there, in memory that is about to be exchanged: an instruction
 * more would be fatal. After an INIT it executes nothing, and nothing but a startup
 * IPI wakes it (Intel SDM vol. 3A, 9.4, Multiple-Processor Initialization); that is
 * how the next kernel starts it, whichever it is. Those in MWAIT go to HLT before,
 * or a later kexec would wait for them to do so.
 *
 * This CPU is the bootstrap processor, for which INIT means reset, or this kernel
 * knows that it is not and has left that one alone.
 */
int arch_kexec_jump_hold_cpus(void)
{
	int error = 0;
#ifdef CONFIG_SMP
	unsigned int cpu;

	/* A discrete APIC (82489DX) knows no startup IPI: INIT alone is a start. */
	if (!APIC_INTEGRATED(boot_cpu_apic_version))
		return 0;
	smp_kick_mwait_play_dead();
	for_each_present_cpu(cpu) {
		if (cpu == smp_processor_id())
			continue;
		apic_icr_write(APIC_INT_LEVELTRIG | APIC_INT_ASSERT | APIC_DM_INIT,
			       apic->cpu_present_to_apicid(cpu));
		if (safe_apic_wait_icr_idle())
			error = -EIO;
	}
	udelay(INIT_SETTLE_US);
#endif
	return error;
}

/*
 * An interrupt that is in service when the machine changes hands would block
 * others in the kernel that gets it: it does not know of it. A kernel that
 * panicked may have left its handler at any point.
 */
static void end_interrupts_in_service(void)
{
#ifdef CONFIG_X86_LOCAL_APIC
	unsigned int i, word, tries = NR_VECTORS;

	if (!boot_cpu_has(X86_FEATURE_APIC))
		return;
	for (i = 0; i < NR_VECTORS / 32; i++)
		for (word = apic_read(APIC_ISR + i * 0x10); word && tries; tries--) {
			apic_eoi();
			word = apic_read(APIC_ISR + i * 0x10);
		}
#endif
}

/**
 * kexec_jump_interrupts_to_boot_mode - as a booting kernel expects them
 *
 * Timers and interrupt controllers. Interrupts are off.
 */
void kexec_jump_interrupts_to_boot_mode(void)
{
#ifdef CONFIG_X86_IO_APIC
	clear_IO_APIC();
#endif
	end_interrupts_in_service();
	lapic_shutdown();
	restore_boot_irq_mode();
#ifdef CONFIG_X86_LOCAL_APIC
	/* Nobody can handle an NMI while pages are exchanged; a kernel unmasks it. */
	if (boot_cpu_has(X86_FEATURE_APIC))
		apic_write(APIC_LVT1, APIC_DM_NMI | APIC_LVT_MASKED);
#endif
#ifdef CONFIG_HPET_TIMER
	hpet_disable();
#endif
}

/* What raises an NMI: a pin, and counters that kexec_jump_stop_counters() does not know. */
static const unsigned int nmi_sources[] = { APIC_LVT1, APIC_LVTPC };

static unsigned int nr_nmi_sources(void)
{
#ifdef CONFIG_X86_LOCAL_APIC
	if (boot_cpu_has(X86_FEATURE_APIC))
		return lapic_get_maxlvt() < 4 ? 1 : 2;
#endif
	return 0;
}

/* Nobody can handle an NMI there. @lvt: what to restore */
static void mask_nmi(u32 *lvt)
{
	unsigned int i;

	for (i = 0; i < nr_nmi_sources(); i++) {
		lvt[i] = apic_read(nmi_sources[i]);
		apic_write(nmi_sources[i], lvt[i] | APIC_LVT_MASKED);
	}
}

static void unmask_nmi(const u32 *lvt)
{
	unsigned int i;

	for (i = 0; i < nr_nmi_sources(); i++)
		apic_write(nmi_sources[i], lvt[i]);
}

/**
 * kexec_jump_leave - jump, with all prepared
 * @jump:	complete
 *
 * Interrupts are off.
 *
 * Return: what the peer left as its next entry.
 */
unsigned long kexec_jump_leave(struct kexec_jump *jump)
{
	kexec_jump_set_faults(jump->arch.faults, jump_state(jump), page_to_phys(jump->page));
	jump_state(jump)->entry = jump->entry;
	return kexec_jump_go(page_address(jump->page), page_to_phys(jump->page));
}

/*
 * The peer may have left the local APIC in x2APIC mode, for which a kernel that was told
 * not to use it does not look. The way out is by switching it off (Intel SDM vol. 3A,
 * x2APIC State Transitions).
 */
static void leave_x2apic(void)
{
#ifdef CONFIG_X86_LOCAL_APIC
	u64 base;

	if (x2apic_mode || !boot_cpu_has(X86_FEATURE_APIC) ||
	    rdmsrq_safe(MSR_IA32_APICBASE, &base) || !(base & X2APIC_ENABLE))
		return;
	wrmsrq(MSR_IA32_APICBASE, base & ~(u64)(X2APIC_ENABLE | XAPIC_ENABLE));
	wrmsrq(MSR_IA32_APICBASE, base & ~(u64)X2APIC_ENABLE);
#endif
}

/**
 * kexec_jump_enter - exchange the pages, run the peer, come back
 * @image:	with preserve_context
 *
 * The first thing machine_kexec() does with such an image, on the boot CPU with
 * interrupts off, devices and system devices suspended, or, for a program that
 * uses none, all other CPUs waiting, and the processor state saved. Restores the
 * processor state, and leaves the peer's next entry in @image->jump.
 */
void notrace kexec_jump_enter(struct kimage *image)
{
	int ftrace = __ftrace_enabled_save();
	u64 s_cet = 0;
	u32 lvt[ARRAY_SIZE(nmi_sources)];

	if (cpu_feature_enabled(X86_FEATURE_IBT))
		rdmsrq(MSR_IA32_S_CET, s_cet);
	hw_breakpoint_disable();
	cet_disable();
	kexec_jump_stop_counters();
	if (image->jump->no_devices) {
		mask_nmi(lvt);
	} else {
		vmware_hold_steal_clock(true);
		kexec_jump_interrupts_to_boot_mode();
	}

	image->jump->next_entry = kexec_jump_leave(image->jump);

	/*
	 * What was exchanged is in the caches of this CPU alone; IOMMUs that do not look
	 * there, and GPUs, have their tables in memory.
	 */
	if (!image->jump->no_devices)
		wbinvd();

	/* Until TR is right, no breakpoint or tracer may get in between. */
	restore_processor_state();
	if (!image->jump->no_devices)
		leave_x2apic();
	kexec_jump_start_counters();
	if (image->jump->no_devices)
		unmask_nmi(lvt);
	else
		vmware_hold_steal_clock(false);
	if (cpu_feature_enabled(X86_FEATURE_IBT))
		wrmsrq(MSR_IA32_S_CET, s_cet);
	hw_breakpoint_restore();
	__ftrace_enabled_restore(ftrace);
}
