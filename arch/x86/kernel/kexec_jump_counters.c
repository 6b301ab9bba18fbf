// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump on x86: performance counters and traces of the boot CPU.
 *
 * Those of the other CPUs are stopped when these go offline, or die. Nothing may count,
 * raise an NMI, or write samples, branches or traces to memory that is another kernel's
 * by then; and what that one does with them must not stay.
 *
 * The registers: Intel SDM vol. 3B, 20.2 (architectural performance monitoring),
 * 20.6.2.4 (PEBS), 18.4 (branch trace store), vol. 3C, 33.2.8 (Processor Trace);
 * Intel Architecture Instruction Set Extensions Programming Reference (architectural PEBS);
 * AMD APM vol. 2, 13.2 (performance counters), 13.3 (instruction-based sampling).
 */
#define pr_fmt(fmt) "kexec_jump: " fmt

#include <linux/cpufeature.h>
#include <linux/kernel.h>
#include <linux/kexec_jump_arch.h>
#include <linux/kexec_jump_base.h>

#include <asm/msr.h>
#include <asm/perf_event.h>

/* Room for 7 global ones, 32 counters with three controls each, as many fixed ones with two */
#define MAX_MSRS	(16 + 4 * 32 + 3 * 32)

/* CPUID: what of the counters is extended, and bit masks of them */
#define EXTENDED_LEAF		0x23
#define EXTENDED_COUNTERS	1
#define EXTENDED_PEBS		4

/* Architectural PEBS: the physical address of its buffer, and how full that is */
#define PEBS_BUFFER		0x3f4
#define PEBS_POSITION		0x3f5
/* What reloads a counter, and what it writes there: of the first one, the next is 4 further */
#define COUNTER_RELOAD		0x1902
#define COUNTER_PEBS		0x1903
#define FIXED_RELOAD		0x1982
#define FIXED_PEBS		0x1983
#define COUNTER_STEP		4

/* IA32_PERF_CAPABILITIES: counters can be written in full, as MSR_IA32_PMC0 and on */
#define PERF_CAP_FULL_WIDTH	BIT_ULL(13)

/* In the order in which they are cleared: what starts others first. */
struct stopped_msrs {
	unsigned int nr;
	struct {
		u32 msr;
		u64 value;
	} list[MAX_MSRS];
};

static struct stopped_msrs boot_cpu_msrs;

/* @saved: NULL if they are cleared for good */
static void save_and_clear(struct stopped_msrs *saved, u32 msr)
{
	u64 value;

	if ((saved && saved->nr == MAX_MSRS) || rdmsrq_safe(msr, &value))
		return;
	if ((value && wrmsrq_safe(msr, 0)) || !saved)
		return;
	saved->list[saved->nr].msr = msr;
	saved->list[saved->nr++].value = value;
}

/*
 * A trace that was running has ended. Where it would be written to, the peer may have
 * changed, and perf knows its own registers without looking.
 */
static void end_trace(const struct stopped_msrs *saved)
{
	u64 control;

	if (rdmsrq_safe(MSR_IA32_RTIT_CTL, &control) || !(control & RTIT_CTL_TRACEEN))
		return;
	wrmsrq_safe(MSR_IA32_RTIT_CTL, control & ~RTIT_CTL_TRACEEN);
	if (saved)
		pr_notice("the Processor Trace that was running has ended\n");
}

/* The other name of the counters writes only their lower half (SDM vol. 3, 20.2.8). */
static u32 first_counter(void)
{
	u64 capabilities;

	if (boot_cpu_has(X86_FEATURE_PDCM) &&
	    !rdmsrq_safe(MSR_IA32_PERF_CAPABILITIES, &capabilities) &&
	    capabilities & PERF_CAP_FULL_WIDTH)
		return MSR_IA32_PMC0;
	return MSR_ARCH_PERFMON_PERFCTR0;
}

/* Bit masks of the counters there are, and whether they have extended controls, and PEBS's. */
struct counters {
	unsigned int general, fixed;
	bool extended, pebs;
};

static void look_for_more(struct counters *c)
{
	unsigned int has, general, fixed, unused;

	if (boot_cpu_data.cpuid_level < EXTENDED_LEAF)
		return;
	cpuid_count(EXTENDED_LEAF, 0, &has, &unused, &unused, &unused);
	if (!(has & BIT(EXTENDED_COUNTERS)))
		return;
	cpuid_count(EXTENDED_LEAF, EXTENDED_COUNTERS, &general, &fixed, &unused, &unused);
	c->general |= general;
	c->fixed |= fixed;
	c->extended = true;
	c->pebs = has & BIT(EXTENDED_PEBS);
}

/* One register of each of these counters. */
static void save_and_clear_all(struct stopped_msrs *saved, unsigned int counters, u32 first,
			       unsigned int step)
{
	unsigned int i;

	for (i = 0; i < 32; i++)
		if (counters & BIT(i))
			save_and_clear(saved, first + i * step);
}

static void intel(struct stopped_msrs *saved)
{
	struct counters c = {};
	union cpuid10_eax eax;
	union cpuid10_edx edx;
	unsigned int unused;

	if (boot_cpu_has(X86_FEATURE_INTEL_PT))
		end_trace(saved);
	if (boot_cpu_data.cpuid_level < 10)
		return;
	cpuid(10, &eax.full, &unused, &unused, &edx.full);
	if (!eax.split.version_id)
		return;
	c.general = GENMASK_ULL(min_t(unsigned int, eax.split.num_counters, 32), 0) >> 1;
	if (eax.split.version_id >= 2) {
		c.fixed = GENMASK_ULL(edx.split.num_counters_fixed, 0) >> 1;
		look_for_more(&c);
		save_and_clear(saved, MSR_CORE_PERF_GLOBAL_CTRL);
	}
	if (boot_cpu_has(X86_FEATURE_DS)) {
		save_and_clear(saved, MSR_IA32_PEBS_ENABLE);
		save_and_clear(saved, MSR_IA32_DS_AREA);
	}
	if (c.extended) {
		save_and_clear_all(saved, c.general, COUNTER_PEBS, COUNTER_STEP);
		save_and_clear_all(saved, c.general, COUNTER_RELOAD, COUNTER_STEP);
		save_and_clear_all(saved, c.fixed, FIXED_PEBS, COUNTER_STEP);
		save_and_clear_all(saved, c.fixed, FIXED_RELOAD, COUNTER_STEP);
	}
	if (c.pebs) {
		save_and_clear(saved, PEBS_POSITION);
		save_and_clear(saved, PEBS_BUFFER);
	}
	save_and_clear_all(saved, c.general, MSR_ARCH_PERFMON_EVENTSEL0, 1);
	save_and_clear_all(saved, c.general, first_counter(), 1);
	if (!c.fixed)
		return;
	save_and_clear(saved, MSR_CORE_PERF_FIXED_CTR_CTRL);
	save_and_clear_all(saved, c.fixed, MSR_CORE_PERF_FIXED_CTR0, 1);
}

static void amd(struct stopped_msrs *saved)
{
	bool extended = boot_cpu_has(X86_FEATURE_PERFCTR_CORE);
	u32 counters = GENMASK((extended ? AMD64_NUM_COUNTERS_CORE : AMD64_NUM_COUNTERS) - 1, 0);
	u32 control = extended ? MSR_F15H_PERF_CTL : MSR_K7_EVNTSEL0;
	u32 counter = extended ? MSR_F15H_PERF_CTR : MSR_K7_PERFCTR0;
	unsigned int step = extended ? 2 : 1;

	if (boot_cpu_has(X86_FEATURE_PERFMON_V2))
		save_and_clear(saved, MSR_AMD64_PERF_CNTR_GLOBAL_CTL);
	if (boot_cpu_has(X86_FEATURE_IBS)) {
		save_and_clear(saved, MSR_AMD64_IBSFETCHCTL);
		save_and_clear(saved, MSR_AMD64_IBSOPCTL);
	}
	save_and_clear_all(saved, counters, control, step);
	save_and_clear_all(saved, counters, counter, step);
}

static void stop_counters(struct stopped_msrs *saved)
{
	if (boot_cpu_data.x86 >= 6)
		save_and_clear(saved, MSR_IA32_DEBUGCTLMSR);
	if (boot_cpu_data.x86_vendor == X86_VENDOR_INTEL)
		intel(saved);
	else if (boot_cpu_data.x86_vendor == X86_VENDOR_AMD ||
		 boot_cpu_data.x86_vendor == X86_VENDOR_HYGON)
		amd(saved);
}

/**
 * kexec_jump_stop_counters - stop all counters and traces of the boot CPU
 *
 * Called there, with interrupts off.
 */
void kexec_jump_stop_counters(void)
{
	boot_cpu_msrs.nr = 0;
	stop_counters(&boot_cpu_msrs);
}

/**
 * kexec_jump_drop_counters - stop all counters and traces of this CPU for good
 *
 * Any context, on any number of CPUs. Of a kernel that panicked none went offline.
 */
void kexec_jump_drop_counters(void)
{
	stop_counters(NULL);
}

/**
 * kexec_jump_start_counters - undo kexec_jump_stop_counters()
 *
 * Interrupts are off. What the peer has left running is stopped first.
 */
void kexec_jump_start_counters(void)
{
	struct stopped_msrs *saved = &boot_cpu_msrs;
	unsigned int i;

	for (i = 0; i < saved->nr; i++)
		wrmsrq_safe(saved->list[i].msr, 0);
	while (saved->nr) {
		saved->nr--;
		wrmsrq_safe(saved->list[saved->nr].msr, saved->list[saved->nr].value);
	}
}
