// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump on x86: a kernel that was jumped to keeps to its window.
 */
#define pr_fmt(fmt) "kexec_jump: " fmt

#include <linux/init.h>
#include <linux/kexec_jump.h>
#include <linux/kexec_jump_arch.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>

#include <asm/cmdline.h>
#include <asm/e820/api.h>
#include <asm/setup.h>

static bool confined __initdata;

/* What lies between the pieces of the window is no RAM of this kernel. */
static void __init take_away(u64 start, u64 end)
{
	if (start < end)
		e820__range_update(start, end - start, E820_TYPE_RAM,
				   E820_TYPE_RESERVED);
}

/**
 * kexec_jump_confine_memory - trim the memory map to the window
 *
 * Called by setup_arch() when the command line has been parsed and no memory
 * has been handed out. Does nothing in a kernel that was not jumped to.
 */
void __init kexec_jump_confine_memory(void)
{
	const struct kexec_jump_header *header;
	u64 covered_to = 0;
	unsigned int i;
	char word[32];
	int length;

	/* As the decompressor does, which has found its place by it. */
	length = cmdline_find_option(boot_command_line, KEXEC_JUMP_BACK_ENTRY, word, sizeof(word));
	header = kexec_jump_find_preserved(length > 0 && length < sizeof(word) ? word : NULL);
	if (!header)
		return;
	confined = true;
	/* Enclaves, cache partitions and their monitors are the preserved kernel's, too. */
	setup_clear_cpu_cap(X86_FEATURE_SGX);
	setup_clear_cpu_cap(X86_FEATURE_RDT_A);
	setup_clear_cpu_cap(X86_FEATURE_CQM);
	setup_clear_cpu_cap(X86_FEATURE_CQM_LLC);
	for (i = 0; i < header->nr_ranges; i++) {
		take_away(covered_to, header->window[i].start);
		covered_to = header->window[i].end;
	}
	take_away(covered_to, U64_MAX);
	e820__update_table(e820_table);
#ifdef CONFIG_MEMORY_HOTPLUG
	/* Firmware may offer the rest as hot-pluggable memory at boot. */
	max_mem_size = covered_to;
#endif
	pr_info("confined to the window of the kernel preserved at %#llx:\n",
		header->entry);
	for (i = 0; i < header->nr_ranges; i++)
		pr_info("window: [mem %#018llx-%#018llx]\n",
			header->window[i].start, header->window[i].end - 1);
}

/**
 * kexec_jump_confine_hotplug - there will be no other memory than the window
 *
 * Called by setup_arch() when the firmware has said (ACPI's SRAT) where memory may be
 * added later: none is, and for what would lie above 4 GB bounce buffers would take most
 * of the window.
 */
void __init kexec_jump_confine_hotplug(void)
{
	if (confined)
		max_possible_pfn = max_pfn;
}
