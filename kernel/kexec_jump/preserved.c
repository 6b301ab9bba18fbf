// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: reading the memory of the kernel that jumped here.
 *
 * It is no RAM of this kernel, so it has no direct mapping. A 64-bit kernel
 * maps all of it, in large pages, and keeps it mapped; a 32-bit one has no room
 * for that and maps page by page, as it does with high memory of its own.
 */
#include "internal.h"

#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pfn.h>
#include <linux/slab.h>

#ifdef CONFIG_64BIT

/* A piece of the other kernel's memory outside the window, and its mapping. */
struct piece {
	unsigned long start;
	unsigned long end;
	void *address;
};

/* By last page frame; disjoint. */
static DEFINE_XARRAY(pieces);

static struct piece *find_piece(unsigned long pfn)
{
	unsigned long last = pfn;
	struct piece *piece = xa_find(&pieces, &last, ULONG_MAX, XA_PRESENT);

	return piece && piece->start <= pfn ? piece : NULL;
}

static int add_piece(unsigned long start, unsigned long end)
{
	struct piece *piece = kzalloc(sizeof(*piece), GFP_KERNEL);
	int error = -ENOMEM;

	if (!piece)
		return -ENOMEM;
	piece->start = start;
	piece->end = end;
	piece->address = memremap(PFN_PHYS(start), PFN_PHYS(end - start), MEMREMAP_WB);
	if (piece->address)
		error = xa_err(xa_store(&pieces, end - 1, piece, GFP_KERNEL));
	if (error) {
		if (piece->address)
			memunmap(piece->address);
		kfree(piece);
	}
	return error;
}

/**
 * kexec_jump_reach - map memory of the preserved kernel for good
 * @start:	first page frame
 * @end:	page frame after the last one, no page of the range is in the window
 *
 * Process context, under kexec_jump_lock. What is mapped already is skipped.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_reach(unsigned long start, unsigned long end)
{
	/* Large pages need both addresses aligned, so the piece before is apart. */
	unsigned long aligned = ALIGN(start, PTRS_PER_PTE);

	while (start < end) {
		unsigned long next = start < aligned && aligned < end ? aligned : end;
		struct piece *piece = find_piece(start);
		int error = 0;

		if (piece)
			next = piece->end;
		else
			error = add_piece(start, next);
		if (error)
			return error;
		start = next;
	}
	return 0;
}

static void *map_run(unsigned long pfn, unsigned long *nr)
{
	struct piece *piece = find_piece(pfn);

	if (piece) {
		*nr = min(*nr, piece->end - pfn);
		return piece->address + PFN_PHYS(pfn - piece->start);
	}
	*nr = 1;
	return memremap(PFN_PHYS(pfn), PAGE_SIZE, MEMREMAP_WB);
}

static void unmap_page(void *address)
{
	struct piece *piece;
	unsigned long last;

	xa_for_each(&pieces, last, piece)
		if (address >= piece->address &&
		    address < piece->address + PFN_PHYS(piece->end - piece->start))
			return;
	memunmap(address);
}

#else /* !CONFIG_64BIT */

int kexec_jump_reach(unsigned long start, unsigned long end)
{
	return 0;
}

#ifdef CONFIG_HIGHMEM

static void *map_run(unsigned long pfn, unsigned long *nr)
{
	*nr = 1;
	return kmap_local_pfn(pfn);
}

static void unmap_page(void *address)
{
	kunmap_local(address);
}

#else

static void *map_run(unsigned long pfn, unsigned long *nr)
{
	*nr = 1;
	return memremap(PFN_PHYS(pfn), PAGE_SIZE, MEMREMAP_WB);
}

static void unmap_page(void *address)
{
	memunmap(address);
}

#endif
#endif

/**
 * kexec_jump_reachable - can this kernel address a page of the other one?
 * @pfn:	page frame
 *
 * The other kernel may have PAE while this one has not.
 */
bool kexec_jump_reachable(unsigned long pfn)
{
	return pfn <= PHYS_PFN(~(phys_addr_t)0);
}

/**
 * kexec_jump_map_run - map pages of the preserved kernel
 * @pfn:	first page frame, outside the window
 * @nr:		pages that are wanted; set to the number that are mapped, 1 at least
 *
 * Process context. To be unmapped soon, by the same task, last mapped first.
 *
 * Return: the address of the first one, or NULL if that cannot be.
 */
void *kexec_jump_map_run(unsigned long pfn, unsigned long *nr)
{
	return kexec_jump_reachable(pfn) ? map_run(pfn, nr) : NULL;
}

/**
 * kexec_jump_map_preserved - map a page of the preserved kernel
 * @pfn:	page frame outside the window
 *
 * As kexec_jump_map_run().
 *
 * Return: its address, or NULL if that cannot be.
 */
void *kexec_jump_map_preserved(unsigned long pfn)
{
	unsigned long nr = 1;

	return kexec_jump_map_run(pfn, &nr);
}

/**
 * kexec_jump_unmap_preserved - undo kexec_jump_map_run()
 * @address:	what it returned
 */
void kexec_jump_unmap_preserved(void *address)
{
	unmap_page(address);
}

/**
 * kexec_jump_follow_list - follow a list of the preserved kernel
 * @list:	physical address of a kimage page list
 * @visit:	called for each page in it, with its number, its page frame, and
 *		the page frame it is exchanged with, if it is
 * @arg:	passed on
 *
 * Process context.
 *
 * Return: number of pages, the error of @visit, -ENOMEM, or -EIO if it is no
 * list.
 */
long kexec_jump_follow_list(u64 list,
			    int (*visit)(void *arg, unsigned long n,
					 unsigned long pfn,
					 unsigned long destination),
			    void *arg)
{
	unsigned long n = 0, destination = 0, pfn = PHYS_PFN(list);
	unsigned int i = offset_in_page(list) / sizeof(kimage_entry_t);

	while (i < PAGE_SIZE / sizeof(kimage_entry_t)) {
		kimage_entry_t *page = kexec_jump_map_preserved(pfn), entry;
		int error;

		if (!page)
			return -ENOMEM;
		entry = page[i++];
		kexec_jump_unmap_preserved(page);
		if (entry & IND_DONE)
			return n;
		if (entry & IND_DESTINATION) {
			destination = PHYS_PFN(entry);
		} else if (entry & IND_INDIRECTION) {
			pfn = PHYS_PFN(entry);
			i = 0;
		} else if (entry & IND_SOURCE) {
			error = visit(arg, n++, PHYS_PFN(entry), destination++);
			if (error)
				return error;
			cond_resched();
		} else {
			break;
		}
	}
	return -EIO;
}
