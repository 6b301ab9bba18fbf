// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: reading the memory of the kernel that jumped here.
 *
 * It is no RAM of this kernel, so it has no direct mapping. A 64-bit kernel
 * maps all of it, in large pages, and keeps it mapped; a 32-bit one has no room
 * for that and maps a part at a time.
 */
#include "../internal.h"

#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/mm.h>
#include <linux/mutex.h>
#include <linux/pfn.h>
#include <linux/slab.h>

/* The last page frame this kernel can address. */
#define LAST_PFN ((unsigned long)min_t(u64, (phys_addr_t)~0ULL >> PAGE_SHIFT, ULONG_MAX))

/**
 * kexec_jump_reachable - can this kernel address a page of the other one?
 * @pfn:	page frame
 *
 * The other kernel may have PAE while this one has not.
 *
 * Return: whether it can.
 */
bool kexec_jump_reachable(unsigned long pfn)
{
	return pfn <= LAST_PFN;
}

/* A piece of the other kernel's memory outside the window, and its mapping. */
struct piece {
	unsigned long start;
	unsigned long end;
	void *address;
};

/* By last page frame; disjoint. */
static DEFINE_XARRAY(pieces);

/* The first one that ends above @pfn. */
static struct piece *piece_above(unsigned long pfn)
{
	unsigned long last = pfn;

	return xa_find(&pieces, &last, ULONG_MAX, XA_PRESENT);
}

static struct piece *find_piece(unsigned long pfn)
{
	struct piece *piece = piece_above(pfn);

	return piece && piece->start <= pfn ? piece : NULL;
}

static void *remap(unsigned long start, unsigned long end)
{
	return memremap(PFN_PHYS(start), PFN_PHYS(end - start), MEMREMAP_WB);
}

static int add_piece(unsigned long start, unsigned long end)
{
	struct piece *piece = kzalloc_obj(*piece);
	int error = -ENOMEM;

	if (!piece)
		return -ENOMEM;
	piece->start = start;
	piece->end = end;
	if (IS_ENABLED(CONFIG_64BIT))
		piece->address = remap(start, end);
	if (piece->address || !IS_ENABLED(CONFIG_64BIT))
		error = xa_err(xa_store(&pieces, end - 1, piece, GFP_KERNEL));
	if (error) {
		if (piece->address)
			memunmap(piece->address);
		kfree(piece);
	}
	return error;
}

/**
 * kexec_jump_reach - make memory of the preserved kernel quick to map
 * @start:	first page frame
 * @end:	page frame after the last one, no page of the range is in the window
 *
 * Process context, under kexec_jump_lock. What was reached before is skipped.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_reach(unsigned long start, unsigned long end)
{
	/* Large pages need both addresses aligned, so the piece before is apart. */
	unsigned long aligned = ALIGN(start, PTRS_PER_PTE);

	if (start < end && !kexec_jump_reachable(end - 1))
		end = LAST_PFN + 1;
	while (start < end) {
		unsigned long next = start < aligned && aligned < end ? aligned : end;
		struct piece *piece = piece_above(start);
		int error = 0;

		if (piece && piece->start <= start) {
			next = piece->end;
		} else {
			if (piece)
				next = min(next, piece->start);
			error = add_piece(start, next);
		}
		if (error)
			return error;
		start = next;
	}
	return 0;
}

#ifdef CONFIG_64BIT

static void *map_in_piece(const struct piece *piece, unsigned long pfn,
			  unsigned long *nr)
{
	*nr = min(*nr, piece->end - pfn);
	return piece->address + PFN_PHYS(pfn - piece->start);
}

static bool unmap_in_piece(void *address)
{
	struct piece *piece;
	unsigned long last;

	xa_for_each(&pieces, last, piece)
		if (address >= piece->address &&
		    address < piece->address + PFN_PHYS(piece->end - piece->start))
			return true;
	return false;
}

#else

/* Pages that are mapped at once, of 128 MB of address space at best. */
#define VIEW_PAGES	256

/*
 * The part of a piece that was read last stays mapped: who reads on, even in
 * small steps, finds it.
 */
static struct {
	struct mutex lock;	/* held from map to unmap */
	struct task_struct *owner;
	struct piece part;
} view = {
	.lock = __MUTEX_INITIALIZER(view.lock),
};

static void move_view(const struct piece *piece, unsigned long pfn)
{
	if (view.part.address)
		memunmap(view.part.address);
	view.part.start = pfn;
	view.part.end = min(pfn + VIEW_PAGES, piece->end);
	view.part.address = remap(view.part.start, view.part.end);
}

/* There is one of it: NULL if it is in use. */
static void *map_in_piece(const struct piece *piece, unsigned long pfn,
			  unsigned long *nr)
{
	if (!mutex_trylock(&view.lock))
		return NULL;
	if (!view.part.address || pfn < view.part.start || pfn >= view.part.end)
		move_view(piece, pfn);
	if (!view.part.address) {
		mutex_unlock(&view.lock);
		return NULL;
	}
	WRITE_ONCE(view.owner, current);
	*nr = min(*nr, view.part.end - pfn);
	return view.part.address + PFN_PHYS(pfn - view.part.start);
}

static bool unmap_in_piece(void *address)
{
	if (READ_ONCE(view.owner) != current || address < view.part.address ||
	    address >= view.part.address + PFN_PHYS(view.part.end - view.part.start))
		return false;
	WRITE_ONCE(view.owner, NULL);
	mutex_unlock(&view.lock);
	return true;
}

#endif

#ifdef CONFIG_HIGHMEM

static void *map_one(unsigned long pfn)
{
	return kmap_local_pfn(pfn);
}

static void unmap_one(void *address)
{
	kunmap_local(address);
}

#else

static void *map_one(unsigned long pfn)
{
	return remap(pfn, pfn + 1);
}

static void unmap_one(void *address)
{
	memunmap(address);
}

#endif

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
	struct piece *piece = find_piece(pfn);
	void *address = NULL;

	if (!kexec_jump_reachable(pfn))
		return NULL;
	if (piece)
		address = map_in_piece(piece, pfn, nr);
	if (!address) {
		*nr = 1;
		address = map_one(pfn);
	}
	return address;
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
	if (!unmap_in_piece(address))
		unmap_one(address);
}

/*
 * May a list of the preserved kernel lead there? To memory of the machine, as no
 * device is to be read, and not to this kernel's.
 */
static bool may_be_theirs(unsigned long pfn)
{
	return kexec_jump_reachable(pfn) && !kexec_jump_is_own(pfn) &&
	       arch_kexec_jump_memory_at(PFN_PHYS(pfn));
}

/**
 * kexec_jump_follow_list - follow a list of the preserved kernel
 * @list:	physical address of a kimage page list
 * @max:	pages that may be in it
 * @visit:	called for each page in it, with its number, its page frame, and
 *		the page frame it is exchanged with, if it is
 * @arg:	passed on
 *
 * Process context. The list may have been damaged, or forged: what is in it, and each
 * page of it, must be memory, and not this kernel's, and it has an end.
 *
 * Return: number of pages, the error of @visit, -ENOMEM, or -EIO if it is no
 * list.
 */
long kexec_jump_follow_list(u64 list, u64 max,
			    int (*visit)(void *arg, unsigned long n,
					 unsigned long pfn,
					 unsigned long destination),
			    void *arg)
{
	/* A destination for each page, and words that lead to the next one. */
	const unsigned int words = PAGE_SIZE / sizeof(kimage_entry_t);
	u64 left = 2 * max + DIV_ROUND_UP_ULL(2 * max + 1, words - 1) + 1;
	unsigned long n = 0, destination = 0, pfn = PHYS_PFN(list);
	unsigned int i = offset_in_page(list) / sizeof(kimage_entry_t);

	for (; i < words && left; left--) {
		kimage_entry_t *page, entry;
		int error;

		if (!may_be_theirs(pfn))
			return -EIO;
		page = kexec_jump_map_preserved(pfn);
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
			unsigned long source = PHYS_PFN(entry);

			if (n == max || !may_be_theirs(source))
				return -EIO;
			error = visit(arg, n++, source, destination++);
			if (error)
				return error;
			cond_resched();
		} else {
			break;
		}
	}
	return -EIO;
}
