// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: the memory that the preserved kernel shares with this one.
 */
#include "../internal.h"

#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/slab.h>

/*
 * Its @nr_theirs page frames, as listed at @list_of in the other kernel when this one
 * had made @jumps jumps. Under kexec_jump_lock.
 */
static unsigned long *their_pfns;
static unsigned long nr_theirs;
static u64 list_of;
static unsigned long jumps;

static int note_page(void *arg, unsigned long n, unsigned long pfn,
		     unsigned long destination)
{
	their_pfns[n] = pfn;
	return 0;
}

/**
 * kexec_jump_their_pages - look up the shared memory
 * @header:	of the preserved kernel
 *
 * Process context, under kexec_jump_lock. The list is read again after each
 * jump: it may have changed.
 *
 * Return: number of pages there are now, -ENOMEM, or -EIO.
 */
long kexec_jump_their_pages(const struct kexec_jump_header *header)
{
	/* Others may write to the header. */
	u64 list = READ_ONCE(header->shared), nr = READ_ONCE(header->shared_pages);
	long n;

	if (!list || !nr)
		return 0;
	if (their_pfns && list_of == list && nr_theirs == nr &&
	    jumps == kexec_jump_report.jumps)
		return nr;
	if (nr > PHYS_PFN(arch_kexec_jump_memory_end()))
		return -EIO;
	kvfree(their_pfns);
	their_pfns = kvcalloc(nr, sizeof(*their_pfns), GFP_KERNEL | __GFP_NOWARN);
	if (!their_pfns)
		return -ENOMEM;
	n = kexec_jump_follow_list(list, nr, note_page, NULL);
	if (n != nr) {
		kvfree(their_pfns);
		their_pfns = NULL;
		return n < 0 ? n : -EIO;
	}
	list_of = list;
	nr_theirs = nr;
	jumps = kexec_jump_report.jumps;
	return n;
}

/**
 * kexec_jump_map_their_page - map a page of the shared memory
 * @n:		below what kexec_jump_their_pages() has returned
 *
 * Return: as kexec_jump_map_preserved().
 */
void *kexec_jump_map_their_page(unsigned long n)
{
	return kexec_jump_map_preserved(their_pfns[n]);
}
