// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: the memory that the preserved kernel shares with this one.
 */
#include "../internal.h"

#include <linux/mm.h>
#include <linux/slab.h>

/*
 * Its page frames, as listed in the other kernel's header at @list_of when this
 * kernel had made @jumps jumps. Under kexec_jump_lock.
 */
static unsigned long *their_pfns;
static u64 list_of;
static unsigned long jumps;

static int note_page(void *arg, unsigned long n, unsigned long pfn,
		     unsigned long destination)
{
	const struct kexec_jump_header *header = arg;

	if (n >= header->shared_pages)
		return -EIO;
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
	long n;

	if (!header->shared)
		return 0;
	if (their_pfns && list_of == header->shared &&
	    jumps == kexec_jump_report.jumps)
		return header->shared_pages;
	kvfree(their_pfns);
	their_pfns = kvcalloc(header->shared_pages, sizeof(*their_pfns),
			      GFP_KERNEL | __GFP_NOWARN);
	if (!their_pfns)
		return -ENOMEM;
	n = kexec_jump_follow_list(header->shared, header->shared_pages,
				   note_page, (void *)header);
	if (n != header->shared_pages) {
		kvfree(their_pfns);
		their_pfns = NULL;
		return n < 0 ? n : -EIO;
	}
	list_of = header->shared;
	jumps = kexec_jump_report.jumps;
	return n;
}

/**
 * kexec_jump_map_their_page - map a page of the shared memory
 * @n:		below what kexec_jump_their_pages() has returned
 *
 * As kexec_jump_map_preserved().
 */
void *kexec_jump_map_their_page(unsigned long n)
{
	return kexec_jump_map_preserved(their_pfns[n]);
}
