// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: The window
 *
 * The window is the memory the peer may use: the segments that kexec_load(2) was
 * given, and on x86 the low memory below 640 KB, as any kernel needs it to start
 * its other CPUs; that is given to the peer with the content it has.
 *
 * For each page of the window there is a backup page outside of it, allocated when
 * the image is loaded, and at each jump the two change places. So while the peer
 * runs, it owns the window, and this kernel's content of it waits in the backup
 * pages; while this kernel runs, they hold the peer's content.
 *
 * A page of the window that is free when the image is loaded, or whose content can
 * be moved elsewhere, is claimed for the image: it keeps the peer's content in its
 * place and needs no backup page and no exchange. What cannot be moved is what the
 * kernel has addresses of: its text and data, slabs, page tables. The page allocator
 * gives memory away in blocks of 2 or 4 MB, aligned to their size, so one such page
 * keeps its block from being claimed. If a page cannot be moved as somebody holds it,
 * as for DMA, or the journal of a file system, part of its block is claimed. Some
 * memory of a zone that only few can do without (such as the first 16 MB) is left to
 * the running system.
 *
 * Only ordinary RAM can be a window: pages that are poisoned, offline (as a balloon
 * takes them) or of a device are refused when the image is loaded. Memory of the
 * window cannot be taken offline while the image is loaded; a page of it that was
 * poisoned since refuses the jump.
 */
#include "internal.h"

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/sched.h>

/*
 * Pages that are left to the running system: the way to the jump needs some, and
 * for describing this kernel there are three bitmaps of all page frames (two of
 * hibernation's, with the radix trees they are in), and a fourth for good measure.
 */
static unsigned long reserve_pages(void)
{
	return (SZ_8M >> PAGE_SHIFT) + 4 * DIV_ROUND_UP(max_pfn, 8 * PAGE_SIZE);
}

/**
 * kexec_jump_add_range - add memory to the window
 * @jump:	the jump, no control page of it allocated yet
 * @start:	physical, page aligned
 * @end:	physical, page aligned, exclusive, above @start
 *
 * Process context. Quick if ranges come in ascending order.
 *
 * Return: 0, -EINVAL if the range overlaps the window, -ENOMEM.
 */
int kexec_jump_add_range(struct kexec_jump *jump, u64 start, u64 end)
{
	int error;

	if (kexec_jump_ranges_reserve(&jump->window) ||
	    kexec_jump_ranges_reserve(&jump->unbacked))
		return -ENOMEM;
	error = kexec_jump_ranges_add(&jump->window, start, end);
	if (error)
		return error;
	kexec_jump_ranges_append(&jump->unbacked, start, end);
	jump->nr_pages += (end - start) >> PAGE_SHIFT;
	return 0;
}

/**
 * kexec_jump_window_holds - does memory lie in the window?
 * @jump:	the jump
 * @start:	physical
 * @end:	physical, exclusive, above @start
 *
 * Return: true if all of it does.
 */
bool kexec_jump_window_holds(const struct kexec_jump *jump, u64 start, u64 end)
{
	return kexec_jump_ranges_hold(&jump->window, start, end);
}

/**
 * kexec_jump_in_window - does an address lie in the window?
 * @jump:	the jump
 * @addr:	physical address
 *
 * Return: whether it does.
 */
bool kexec_jump_in_window(const struct kexec_jump *jump, u64 addr)
{
	return kexec_jump_window_holds(jump, addr, addr + 1);
}

/**
 * kexec_jump_window_page - where the peer's content of the window is now
 * @jump:	a jump whose window is backed; this kernel is running
 * @addr:	physical address in the window
 *
 * Return: the page.
 */
struct page *kexec_jump_window_page(struct kexec_jump *jump, u64 addr)
{
	return pfn_to_page(xa_to_value(xa_load(&jump->backup, PFN_DOWN(addr))));
}

/**
 * kexec_jump_page_to_fill - the same for a page that gets its content now
 * @jump:	a jump whose window is backed; this kernel is running
 * @addr:	physical address in the window
 *
 * Return: the page, or NULL if it has been filled already.
 */
struct page *kexec_jump_page_to_fill(struct kexec_jump *jump, u64 addr)
{
	XA_STATE(xas, &jump->backup, PFN_DOWN(addr));
	struct page *page = NULL;
	void *entry;

	xas_lock(&xas);
	entry = xas_load(&xas);
	if (xas_get_mark(&xas, KEXEC_JUMP_EMPTY)) {
		xas_clear_mark(&xas, KEXEC_JUMP_EMPTY);
		page = pfn_to_page(xa_to_value(entry));
	}
	xas_unlock(&xas);
	return page;
}

struct ram_walk {
	int (*visit)(unsigned long pfn, unsigned long nr_pages, void *arg);
	void *arg;
	u64 start;
	u64 end;
};

static int visit_ram(const struct ram_walk *walk)
{
	unsigned long start = PFN_UP(walk->start), end = PFN_DOWN(walk->end);

	return start < end ? walk->visit(start, end - start, walk->arg) : 0;
}

static int next_resource(struct resource *res, void *arg)
{
	struct ram_walk *walk = arg;
	int ret = 0;

	if (walk->end != res->start) {
		ret = visit_ram(walk);
		walk->start = res->start;
	}
	walk->end = (u64)res->end + 1;
	return ret;
}

/**
 * kexec_jump_walk_ram - call a function for each piece of RAM of this kernel
 * @start:	physical, where to begin
 * @end:	physical, exclusive
 * @visit:	given page frames and @arg; anything but 0 ends the walk
 * @arg:	passed on
 *
 * As walk_system_ram_range(), but resources that touch are one piece. What a
 * boot loader passed on (setup_data) is a resource of its own and need not end
 * with a page.
 *
 * Process context.
 *
 * Return: 0, or what @visit returned last.
 */
int kexec_jump_walk_ram(u64 start, u64 end,
			int (*visit)(unsigned long pfn, unsigned long nr_pages,
				     void *arg), void *arg)
{
	struct ram_walk walk = { .visit = visit, .arg = arg };
	int ret = walk_system_ram_res(start, end - 1, &walk, next_resource);

	/* Nothing found is -EINVAL. */
	return ret > 0 || (ret && walk.end) ? ret : visit_ram(&walk);
}

/*
 * What keeps a page from being given away, or NULL: reading it may kill, or it is
 * not there now.
 */
static const char *why_not(unsigned long pfn)
{
	struct page *page = pfn_to_online_page(pfn);

	if (!page)
		return "offline";
	if (is_page_hwpoison(page))
		return "poisoned (a hardware error)";
	if (PageOffline(page))
		return "taken by a balloon, or unplugged";
	if (is_zone_device_page(page))
		return "device memory";
	return NULL;
}

static int check_pages(unsigned long pfn, unsigned long end)
{
	for (; pfn < end; pfn++) {
		const char *why = why_not(pfn);

		if (why) {
			pr_err("window: the page at %#llx is %s; choose another window\n",
			       (u64)PFN_PHYS(pfn), why);
			return -EADDRNOTAVAIL;
		}
		if (!(pfn % 1024))
			cond_resched();
	}
	return 0;
}

static int check_list(const struct list_head *pages)
{
	const struct page *page;

	list_for_each_entry(page, pages, lru) {
		int error = check_pages(page_to_pfn(page), page_to_pfn(page) + 1);

		if (error)
			return error;
	}
	return 0;
}

/**
 * kexec_jump_memory_failed - whether any memory has failed
 *
 * Any context. If so, each page has to be asked.
 *
 * Return: true if a page is poisoned.
 */
bool kexec_jump_memory_failed(void)
{
	return IS_ENABLED(CONFIG_MEMORY_FAILURE) && atomic_long_read(&num_poisoned_pages);
}

static int check_window(const struct kexec_jump *jump)
{
	unsigned int i;
	int error = 0;

	for (i = 0; !error && i < jump->window.nr; i++)
		error = check_pages(PFN_DOWN(jump->window.range[i].start),
				    PFN_DOWN(jump->window.range[i].end));
	return error;
}

/**
 * kexec_jump_recheck_window - is all the memory of a jump still there?
 * @jump:	loaded
 *
 * Process context. The trampoline goes through the window, what it is exchanged
 * with, and its own pages where no machine check is handled. What is claimed is the
 * image's own: as long as no memory has failed it is there, and not looked at, so that
 * a jump takes no longer if the window is large.
 *
 * Return: 0, or -EADDRNOTAVAIL with a message.
 */
int kexec_jump_recheck_window(struct kexec_jump *jump)
{
	unsigned long backup;
	void *pfn;
	int error;

	error = kexec_jump_memory_failed() ? check_window(jump) : 0;
	error = error ?: check_list(&jump->control_pages) ?: check_list(&jump->map.pages);
	if (error)
		return error;
	xa_for_each(&jump->backs, backup, pfn) {
		error = check_pages(backup, backup + 1) ?:
			check_pages(xa_to_value(pfn), xa_to_value(pfn) + 1);
		if (error)
			return error;
	}
	return 0;
}

static int next_ram(unsigned long pfn, unsigned long nr_pages, void *arg)
{
	unsigned long *covered_to = arg;

	if (pfn != *covered_to)
		return 1;
	*covered_to = pfn + nr_pages;
	return 0;
}

/**
 * kexec_jump_check_window - can this system give the window away?
 * @jump:	nothing allocated yet for the part that is not backed
 *
 * Return: 0, -EADDRNOTAVAIL if part of the window is not RAM this kernel owns,
 * -ENOMEM if there is too little memory to back it up. Both with a message.
 */
int kexec_jump_check_window(struct kexec_jump *jump)
{
	const struct kexec_jump_ranges *unbacked = &jump->unbacked;
	unsigned long needed = jump->nr_pages - jump->nr_backed;
	unsigned long available, reserve;
	unsigned int i;
	int error;

	for (i = jump->nr_checked; i < unbacked->nr; i++) {
		unsigned long start = PFN_DOWN(unbacked->range[i].start);
		unsigned long end = PFN_DOWN(unbacked->range[i].end);
		unsigned long covered_to = start;

		kexec_jump_walk_ram(unbacked->range[i].start,
				    unbacked->range[i].end, next_ram, &covered_to);
		if (covered_to < end) {
			pr_err("window [%#llx-%#llx]: no system RAM at %#llx, see /proc/iomem\n",
			       unbacked->range[i].start,
			       unbacked->range[i].end - 1,
			       (u64)PFN_PHYS(covered_to));
			return -EADDRNOTAVAIL;
		}
		error = check_pages(start, end);
		if (error)
			return error;
	}
	jump->nr_checked = unbacked->nr;

	if (!needed)
		return 0;
	available = kexec_jump_available();
	reserve = reserve_pages();
	if (needed + reserve <= available)
		return 0;
	pr_err("window of %lu MB does not fit: %lu MB of memory are available to the kernel, %lu MB must stay free; choose a smaller --mem-max\n",
	       needed >> (20 - PAGE_SHIFT), available >> (20 - PAGE_SHIFT),
	       reserve >> (20 - PAGE_SHIFT));
	return -ENOMEM;
}

/* Marks an entry that is new as one without content; others keep their mark. */
static int set_backup(struct kexec_jump *jump, unsigned long pfn,
		      unsigned long backup)
{
	XA_STATE(xas, &jump->backup, pfn);
	int error;

	do {
		xas_lock(&xas);
		if (!xas_store(&xas, xa_mk_value(backup)) && !xas_error(&xas))
			xas_set_mark(&xas, KEXEC_JUMP_EMPTY);
		xas_unlock(&xas);
	} while (xas_nomem(&xas, GFP_KERNEL));
	error = xas_error(&xas);
	if (!error && backup != pfn)
		error = xa_err(xa_store(&jump->backs, backup, xa_mk_value(pfn),
					GFP_KERNEL));
	return error;
}

/* The page @backup, which is this image's, is the backup of the page @pfn. */
static int add_backup(struct kexec_jump *jump, unsigned long pfn,
		      unsigned long backup)
{
	int error = set_backup(jump, pfn, backup);

	if (error) {
		/* Only what is in @backup is freed with the image. */
		if (!xa_load(&jump->backup, pfn))
			__free_page(pfn_to_page(backup));
		return error;
	}
	jump->nr_backed++;
	if (pfn == backup)
		jump->nr_claimed++;
	return 0;
}

/**
 * kexec_jump_add_claimed - pages of the window are the image's
 * @jump:	jump, not all of its window is backed
 * @pfn:	first page frame; the caller's, allocated one by one
 * @nr:		number of page frames
 *
 * Process context.
 *
 * Return: 0, or -ENOMEM: they will be freed with the image, or have been.
 */
int kexec_jump_add_claimed(struct kexec_jump *jump, unsigned long pfn,
			   unsigned long nr)
{
	for (; nr; pfn++, nr--) {
		int error = add_backup(jump, pfn, pfn);

		if (error) {
			while (--nr)
				__free_page(pfn_to_page(++pfn));
			return error;
		}
	}
	return 0;
}

/*
 * Free pages of the window that were met are claimed, but for those of a page
 * that has its backup elsewhere already.
 */
static int claim_inside(struct kexec_jump *jump)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, &jump->pool.inside, lru) {
		unsigned long pfn = page_to_pfn(page);
		int error;

		if (xa_load(&jump->backup, pfn)) {
			list_move(&page->lru, &jump->pool.unusable);
			continue;
		}
		list_del(&page->lru);
		error = add_backup(jump, pfn, pfn);
		if (error)
			return error;
	}
	return 0;
}

/*
 * The window has grown over a page that holds the backup of another one, as it
 * was loaded before. Find that one another page; the page itself is claimed.
 */
static int move_backup(struct kexec_jump *jump, unsigned long pfn)
{
	unsigned long backed = xa_to_value(xa_load(&jump->backs, pfn));
	struct page *page;
	LIST_HEAD(outside);
	int error;

	page = kexec_jump_alloc_outside(&jump->pool, GFP_HIGHUSER, &outside);
	if (!page)
		return -ENOMEM;
	copy_highpage(page, pfn_to_page(pfn));
	list_del(&page->lru);
	/* Does not allocate for an entry that exists; the mark stays. */
	error = set_backup(jump, backed, page_to_pfn(page));
	if (error) {
		__free_page(page);
		set_backup(jump, backed, pfn);
		return error;
	}
	xa_erase(&jump->backs, pfn);
	return add_backup(jump, pfn, pfn);
}

/**
 * kexec_jump_move_backups - no page that holds a backup may lie in the window
 * @jump:	no control page is allocated yet
 *
 * Process context, takes time. To be called when the window has grown.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_move_backups(struct kexec_jump *jump)
{
	const struct kexec_jump_ranges *unbacked = &jump->unbacked;
	unsigned long pfn;
	unsigned int i;
	void *entry;
	int error;

	for (i = 0; i < unbacked->nr; i++) {
		const struct kexec_jump_range *range = &unbacked->range[i];

		xa_for_each_range(&jump->backs, pfn, entry, PFN_DOWN(range->start),
				  PFN_DOWN(range->end - 1)) {
			error = move_backup(jump, pfn);
			if (error)
				return error;
		}
	}
	/* Those in the window can be claimed, as all others that are free. */
	kexec_jump_free_unusable(&jump->pool);
	return 0;
}

/**
 * kexec_jump_back_window - find a page for every page of the window that has none
 * @jump:	no control page is allocated yet, no backup lies in the window
 *
 * Process context, takes time. May be called again when the window has grown.
 *
 * Return: 0, -ENOMEM, or -EINTR after a fatal signal. What was allocated is
 * freed by kexec_jump_free_window().
 */
int kexec_jump_back_window(struct kexec_jump *jump)
{
	struct kexec_jump_ranges *unbacked = &jump->unbacked;
	unsigned long nr_outside = 0, pfn;
	LIST_HEAD(outside);
	unsigned int i;
	int error = 0;

	jump->pool.keep = reserve_pages();
	while (jump->nr_backed + nr_outside < jump->nr_pages) {
		struct list_head *last = outside.prev;

		error = kexec_jump_take_page(&jump->pool, GFP_HIGHUSER, &outside);
		if (!error)
			error = claim_inside(jump);
		if (error)
			goto out;
		if (outside.prev != last)
			nr_outside++;
	}

	for (i = 0; i < unbacked->nr; i++) {
		struct kexec_jump_range *range = &unbacked->range[i];

		for (pfn = PFN_DOWN(range->start); pfn < PFN_DOWN(range->end); pfn++) {
			struct page *page;

			if (!(pfn % PTRS_PER_PTE))
				cond_resched();
			if (xa_load(&jump->backup, pfn))
				continue;
			page = list_first_entry(&outside, struct page, lru);
			list_del(&page->lru);
			error = add_backup(jump, pfn, page_to_pfn(page));
			if (error)
				goto out;
		}
	}
	unbacked->nr = 0;
	jump->nr_checked = 0;
out:
	jump->pool.keep = 0;
	kexec_jump_free_pages(&outside);
	kexec_jump_free_unusable(&jump->pool);
	return error;
}

/* Go through the backup map; returns the number of entries. */
static unsigned long walk_map(struct kexec_jump *jump,
			      struct kexec_jump_list *list)
{
	unsigned long pfn, expected = ULONG_MAX, entries = 0;
	void *entry;

	xa_for_each(&jump->backup, pfn, entry) {
		unsigned long backup = xa_to_value(entry);

		if (!(pfn % PTRS_PER_PTE))
			cond_resched();
		if (backup == pfn)
			continue;
		if (pfn != expected) {
			entries++;
			if (list)
				kexec_jump_list_add(list, PFN_PHYS(pfn) |
						    IND_DESTINATION);
		}
		entries++;
		if (list)
			kexec_jump_list_add(list, PFN_PHYS(backup) | IND_SOURCE);
		expected = pfn + 1;
	}
	return entries;
}

/**
 * kexec_jump_make_map - write the backup map
 * @jump:	the window is backed
 *
 * Claimed pages are not in it.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_make_map(struct kexec_jump *jump)
{
	int error = kexec_jump_list_alloc(&jump->pool, &jump->map,
					  walk_map(jump, NULL));

	if (error)
		return error;
	walk_map(jump, &jump->map);
	kexec_jump_list_add(&jump->map, IND_DONE);
	return 0;
}

/**
 * kexec_jump_free_window - free the window, the pages it is exchanged with, and
 * the backup map
 * @jump:	in any state of preparation
 */
void kexec_jump_free_window(struct kexec_jump *jump)
{
	unsigned long pfn;
	void *entry;

	xa_for_each(&jump->backup, pfn, entry) {
		__free_page(pfn_to_page(xa_to_value(entry)));
		cond_resched();
	}
	xa_destroy(&jump->backup);
	xa_destroy(&jump->backs);
	kexec_jump_ranges_free(&jump->window);
	kexec_jump_ranges_free(&jump->unbacked);
	kexec_jump_list_free(&jump->map);
	kexec_jump_free_unusable(&jump->pool);
}
