// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump on x86: leaving a kernel that panicked. Nothing was suspended, any lock
 * may be held, and nobody comes back.
 */
#define pr_fmt(fmt) "kexec_jump: " fmt

#include <linux/delay.h>
#include <linux/dmar.h>
#include <linux/efi.h>
#include <linux/kernel.h>
#include <linux/kexec_jump_arch.h>
#include <linux/kexec_jump_base.h>
#include <linux/kvm_para.h>
#include <linux/mm.h>
#include <linux/pci.h>
#include <linux/pgtable.h>
#include <linux/smp.h>

#include <asm/cpu.h>
#include <asm/debugreg.h>
#include <asm/apic.h>
#include <asm/hypervisor.h>
#include <asm/io_apic.h>
#include <asm/mshyperv.h>
#include <asm/msr.h>
#include <asm/pci-direct.h>
#include <asm/pci_x86.h>
#include <asm/reboot.h>
#include <asm/setup.h>
#include <asm/vmware.h>
#include <asm/x86_init.h>

#ifdef CONFIG_PCI
/*
 * Configuration mechanism #1 (PCI Local Bus Specification 3.0, 3.2.2.3.2). Once memory
 * mapped configuration space is in use, early_pci_allowed() says no.
 */
static bool pci_config_by_ports(void)
{
#ifdef CONFIG_PCI_DIRECT
	if (raw_pci_ops == &pci_direct_conf1)
		return true;
#endif
	return early_pci_allowed();
}
#endif

/*
 * Devices of a kernel that panicked were not suspended. Their DMA must not go on
 * into memory that is the preserved kernel's a moment later; nor that of what is
 * behind a bridge, should a device not listen. Configuration space is accessed
 * without locks, as any may be held.
 */
static void stop_dma_by_ports(void)
{
#ifdef CONFIG_PCI
	unsigned int bus, slot, func;

	if (!pci_config_by_ports())
		return;
	for (bus = 0; bus < 256; bus++) {
		for (slot = 0; slot < 32; slot++) {
			for (func = 0; func < 8; func++) {
				u16 command;
				u8 type;

				if (read_pci_config_16(bus, slot, func,
						       PCI_VENDOR_ID) == 0xffff) {
					if (!func)
						break;
					continue;
				}
				type = read_pci_config_byte(bus, slot, func,
							    PCI_HEADER_TYPE);
				command = read_pci_config_16(bus, slot, func,
							     PCI_COMMAND);
				write_pci_config_16(bus, slot, func, PCI_COMMAND,
						    command & ~PCI_COMMAND_MASTER);
				if (!func && !(type & PCI_HEADER_TYPE_MFD))
					break;
			}
		}
	}
#endif
}

/* The same where only memory mapped configuration space reaches. */
static void stop_dma_by_memory(void)
{
#if defined(CONFIG_PCI_MMCONFIG) && defined(CONFIG_X86_64)
	bool by_ports = pci_config_by_ports();
	struct pci_mmcfg_region *region;
	unsigned int bus, devfn;

	if (!raw_pci_ext_ops)
		return;
	list_for_each_entry(region, &pci_mmcfg_list, list) {
		if (!region->segment && by_ports)
			continue;
		for (bus = region->start_bus; bus <= region->end_bus; bus++) {
			for (devfn = 0; devfn < 256; devfn++) {
				u32 id, command;

				if (raw_pci_ext_ops->read(region->segment, bus, devfn,
							  PCI_VENDOR_ID, 4, &id) ||
				    id == ~0U)
					continue;
				raw_pci_ext_ops->read(region->segment, bus, devfn,
						      PCI_COMMAND, 2, &command);
				raw_pci_ext_ops->write(region->segment, bus, devfn,
						       PCI_COMMAND, 2,
						       command & ~PCI_COMMAND_MASTER);
			}
		}
	}
#endif
}

/*
 * KVM writes clock, steal time, and the like into this CPU's memory, whosever it is
 * (Documentation/virt/kvm/x86/msr.rst).
 */
static void forget_kvm(void)
{
#ifdef CONFIG_KVM_GUEST
	if (!kvm_para_available())
		return;
	if (kvm_para_has_feature(KVM_FEATURE_STEAL_TIME))
		wrmsrq_safe(MSR_KVM_STEAL_TIME, 0);
	if (kvm_para_has_feature(KVM_FEATURE_PV_EOI))
		wrmsrq_safe(MSR_KVM_PV_EOI_EN, 0);
	if (kvm_para_has_feature(KVM_FEATURE_ASYNC_PF))
		wrmsrq_safe(MSR_KVM_ASYNC_PF_EN, 0);
	if (kvm_para_has_feature(KVM_FEATURE_CLOCKSOURCE2))
		wrmsrq_safe(MSR_KVM_SYSTEM_TIME_NEW, 0);
	if (kvm_para_has_feature(KVM_FEATURE_CLOCKSOURCE))
		wrmsrq_safe(MSR_KVM_SYSTEM_TIME, 0);
#endif
}

/*
 * Hyper-V lays pages of its own over this CPU's memory (Hypervisor Top-Level
 * Functional Specification 6.0b, 5.2.1 GPA overlay pages).
 */
static void forget_hyperv(void)
{
#if IS_ENABLED(CONFIG_HYPERV)
	if (!hypervisor_is_type(X86_HYPER_MS_HYPERV))
		return;
	wrmsrq_safe(HV_X64_MSR_SCONTROL, 0);
	wrmsrq_safe(HV_X64_MSR_SIMP, 0);
	wrmsrq_safe(HV_X64_MSR_SIEFP, 0);
	wrmsrq_safe(HV_X64_MSR_VP_ASSIST_PAGE, 0);
#endif
}

/* The same for the pages that all CPUs share; nobody makes a hypercall any more. */
static void forget_shared_pages(void)
{
#if IS_ENABLED(CONFIG_HYPERV)
	if (!hypervisor_is_type(X86_HYPER_MS_HYPERV))
		return;
	wrmsrq_safe(HV_X64_MSR_REFERENCE_TSC, 0);
	/* Not the guest's identity: who is resumed relies on it. */
	wrmsrq_safe(HV_X64_MSR_HYPERCALL, 0);
#endif
}

/*
 * While the machine check that ended this kernel counts as one that is being handled,
 * another one resets the machine.
 */
static void forget_machine_check(void)
{
	if (boot_cpu_has(X86_FEATURE_MCE))
		wrmsrq_safe(MSR_IA32_MCG_STATUS, 0);
}

/* The table of the processor's hardware feedback is in memory (SDM vol. 3B, 15.6). */
static void forget_hardware_feedback(void)
{
	if (cpu_feature_enabled(X86_FEATURE_HFI))
		wrmsrq_safe(MSR_IA32_HW_FEEDBACK_CONFIG, 0);
}

/* What of this kernel would go on with this CPU. */
static void let_go_of_cpu(void)
{
	forget_kvm();
	forget_hyperv();
	vmware_hold_steal_clock(true);
	forget_machine_check();
	forget_hardware_feedback();
}

static void stop_cpu(void)
{
	kexec_jump_drop_counters();
	let_go_of_cpu();
}

static bool iommu_is_locked(void)
{
#ifdef CONFIG_DMAR_TABLE
	return rwsem_is_locked(&dmar_global_lock);
#else
	return false;
#endif
}

static struct kexec_jump *panic_jump;
static bool others_stopped;
/* Who decides what becomes of this machine: the CPU that leaves, or the one that panicked. */
static atomic_t decided = ATOMIC_INIT(0);

/* The boot CPU may be in an NMI, and sees no other one. */
#define BOOT_CPU_MS	10000

/* DMA that a device has begun is over by then. */
#define DMA_SETTLE_MS	100

static void __noreturn leave_for_good(void)
{
	x86_virt_emergency_disable_virtualization_cpu();
	stop_cpu();
	stop_dma_by_ports();
	stop_dma_by_memory();
	mdelay(DMA_SETTLE_MS);
	/*
	 * Its tables are this kernel's; with bus mastering off nobody needs them. Whoever
	 * holds its lock was stopped.
	 */
	if (!iommu_is_locked())
		x86_platform.iommu_shutdown();
	arch_kexec_jump_hold_cpus();
#ifdef CONFIG_X86_IO_APIC
	/* Whoever held them was stopped. */
	ioapic_zap_locks();
#endif
	hw_breakpoint_disable();
	cet_disable();
	kexec_jump_interrupts_to_boot_mode();
	forget_shared_pages();
	kexec_jump_leave(panic_jump);
	/* Nobody resumes a kernel that died. */
	for (;;)
		halt();
}

#ifdef CONFIG_SMP
/* Runs in NMI context on every CPU but the one that panicked. */
static void stop_this_cpu_for_jump(int cpu, struct pt_regs *regs)
{
	stop_cpu();
	if (cpu)
		return;
	/* The preserved kernel is to be resumed on the boot CPU: on this one. */
	while (!READ_ONCE(others_stopped))
		cpu_relax();
	if (!atomic_xchg(&decided, 1))
		leave_for_good();
}
#endif

#ifdef CONFIG_X86_64

/* Enough for the jump page and the stack, 5 levels deep. */
#define EARLY_TABLES	9

static unsigned long early_tables[EARLY_TABLES][PTRS_PER_PTE] __page_aligned_bss;
static unsigned int nr_early_tables;

static unsigned long __init *new_early_table(void)
{
	return early_tables[nr_early_tables++];
}

/* Map the large page that @addr is in to itself. */
static void __init map_to_itself(unsigned long *table, unsigned long addr)
{
	int level = pgtable_l5_enabled() ? 5 : 4;

	for (; level > 2; level--) {
		unsigned int shift = PAGE_SHIFT + 9 * (level - 1);
		unsigned long *entry = &table[(addr >> shift) % PTRS_PER_PTE];

		if (!*entry)
			*entry = __pa_symbol(new_early_table()) | _KERNPG_TABLE_NOENC;
		table = early_tables[((*entry & PTE_PFN_MASK) -
				      __pa_symbol(early_tables)) / PAGE_SIZE];
	}
	table[(addr >> PMD_SHIFT) % PTRS_PER_PTE] =
		(addr & PMD_MASK) | (__PAGE_KERNEL_LARGE_EXEC & ~_PAGE_GLOBAL);
}

/* Page tables with this kernel above, and below the jump page and @stack. */
static unsigned long __init early_identity(u64 entry, unsigned long stack)
{
	unsigned long *top = new_early_table();

	memcpy(top + PTRS_PER_PGD / 2,
	       (unsigned long *)__va(read_cr3_pa()) + PTRS_PER_PGD / 2, PAGE_SIZE / 2);
	map_to_itself(top, entry);
	map_to_itself(top, stack);
	return __pa_symbol(top);
}

#else

static unsigned long __init early_identity(u64 entry, unsigned long stack)
{
	return __pa_symbol(initial_page_table);
}

#endif

bool arch_kexec_jump_locked_down_early(void)
{
	return IS_ENABLED(CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY) ||
	       IS_ENABLED(CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY) ||
	       boot_params.secure_boot == efi_secureboot_mode_enabled;
}

void __ref arch_kexec_jump_back_early(u64 entry)
{
	/* The word at its top says that there is no next entry. */
	static unsigned long stack[2] __aligned(16);

	local_irq_disable();
	/* Before interrupts were ever enabled, none can be in service. */
	if (!early_boot_irqs_disabled)
		kexec_jump_interrupts_to_boot_mode();
	/* Where clocks and the like are, hypervisors are told early. */
	let_go_of_cpu();
	forget_shared_pages();
	/* The entry begins with no ENDBR. */
	cet_disable();
	kexec_jump_back_early(entry, early_identity(entry, __pa_symbol(stack)),
			      __pa_symbol(stack));
	for (;;)
		halt();
}

void arch_kexec_jump_from_panic(struct kexec_jump *jump)
{
	bool on_boot_cpu = !smp_processor_id();
	unsigned int ms;

	panic_jump = jump;
#ifdef CONFIG_SMP
	nmi_shootdown_cpus(stop_this_cpu_for_jump);
#endif
	if (on_boot_cpu)
		leave_for_good();
	stop_cpu();
	/* VMX would keep the INIT away; the others did this when they were stopped. */
	x86_virt_emergency_disable_virtualization_cpu();
	WRITE_ONCE(others_stopped, true);
	for (ms = 0; ms < BOOT_CPU_MS && !atomic_read(&decided); ms++)
		mdelay(1);
	if (!atomic_xchg(&decided, 1)) {
		pr_emerg("the boot CPU does not answer: the preserved kernel is lost\n");
		return;
	}
	/* For good; but objtool has a list of all global functions that do not return. */
	while (READ_ONCE(others_stopped))
		halt();
}
