// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: KASLR in a kernel that was jumped to.
 *
 * The memory map the boot loader passed may list all of the machine's RAM, but
 * only the window is this kernel's. It is described in the jump page of the
 * kernel that jumped here, see <linux/kexec_jump_abi.h>.
 */
#include "misc.h"
#include "../string.h"

#include <linux/kexec_jump_abi.h>

static const struct kexec_jump_header *find_preserved(void)
{
	const struct kexec_jump_header *header;
	char arg[32];
	unsigned long entry;
	int len;

	len = cmdline_find_option(KEXEC_JUMP_BACK_ENTRY, arg, sizeof(arg));
	if (len <= 0 || len >= sizeof(arg))
		return NULL;
	if (boot_kstrtoul(arg, 0, &entry) || !entry)
		return NULL;
	header = (const struct kexec_jump_header *)(entry & PAGE_MASK);
	if (!kexec_jump_header_intact(header) || header->entry != entry)
		return NULL;
	return header;
}

/**
 * kexec_jump_clip - the part of a memory region this kernel may use
 * @region:	a region of the boot loader's memory map
 * @n:		0, 1, ...: the n-th part of @region is asked for
 * @part:	result
 *
 * In a kernel that was not jumped to, @region is its own only part.
 *
 * Return: false if there is no n-th part.
 */
bool kexec_jump_clip(const struct mem_vector *region, unsigned int n,
		     struct mem_vector *part)
{
	static const struct kexec_jump_header *header;
	static bool looked_up;
	unsigned int i;

	if (!looked_up) {
		header = find_preserved();
		looked_up = true;
	}
	if (!header) {
		*part = *region;
		return n == 0;
	}
	for (i = 0; i < header->nr_ranges; i++) {
		u64 start = max_t(u64, region->start, header->window[i].start);
		u64 end = min_t(u64, region->start + region->size,
				header->window[i].end);

		if (start < end && n-- == 0) {
			part->start = start;
			part->size = end - start;
			return true;
		}
	}
	return false;
}
