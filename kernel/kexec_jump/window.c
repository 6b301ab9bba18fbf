// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: the window and the pages it is exchanged with.
 *
 * While the peer runs, it owns the window; this kernel's content of the window
 * waits in backup pages outside of it. While this kernel runs, the same pages
 * hold the peer's content. A page of the window that is free when the image is
 * loaded is claimed for the image: it keeps the peer's content in its place
 * and needs no backup page and no exchange.
 *
 * Every page that is ever allocated here is either claimed or lies outside the
 * window, and is kept until loading is over. So loading takes time linear in
 * the size of the window however the page allocator orders its pages.
 */
#include "internal.h"

#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/sched/signal.h>

/* Memory that is left to the running system: the way to the jump needs some. */
#define RESERVE_PAGES	(SZ_8M >> PAGE_SHIFT)

#define MAP_ENTRIES	(PAGE_SIZE / sizeof(kimage_entry_t))

/**
 * kexec_jump_add_range - add memory to the window
 * @jump:	the jump, nothing of it allocated yet
 * @start:	physical, page aligned
 * @end:	physical, page aligned, exclusive, above @start
 *
 * Return: 0, -EINVAL if the range overlaps the window, -ENOSPC if the header
 * has no room for it.
 */
int kexec_jump_add_range(struct kexec_jump *jump, u64 start, u64 end)
{
	struct kexec_jump_range *window = jump->window;
	unsigned int i, at = 0;

	while (at < jump->nr_ranges && window[at].start < start)
		at++;
	if ((at > 0 && window[at - 1].end > start) ||
	    (at < jump->nr_ranges && window[at].start < end))
		return -EINVAL;

	jump->nr_pages += (end - start) >> PAGE_SHIFT;
	if (at > 0 && window[at - 1].end == start) {
		window[at - 1].end = end;
		if (at < jump->nr_ranges && window[at].start == end) {
			window[at - 1].end = window[at].end;
			jump->nr_ranges--;
			for (i = at; i < jump->nr_ranges; i++)
				window[i] = window[i + 1];
		}
		return 0;
	}
	if (at < jump->nr_ranges && window[at].start == end) {
		window[at].start = start;
		return 0;
	}
	if (jump->nr_ranges == KEXEC_JUMP_MAX_RANGES)
		return -ENOSPC;
	for (i = jump->nr_ranges; i > at; i--)
		window[i] = window[i - 1];
	window[at].start = start;
	window[at].end = end;
	jump->nr_ranges++;
	return 0;
}

/* Number of the window's page that holds @addr, or -1. */
static long window_index(const struct kexec_jump *jump, u64 addr)
{
	unsigned long before = 0;
	unsigned int i;

	for (i = 0; i < jump->nr_ranges; i++) {
		const struct kexec_jump_range *range = &jump->window[i];

		if (addr >= range->start && addr < range->end)
			return before + ((addr - range->start) >> PAGE_SHIFT);
		before += (range->end - range->start) >> PAGE_SHIFT;
	}
	return -1;
}

/**
 * kexec_jump_in_window - does an address lie in the window?
 * @jump:	the jump
 * @addr:	physical address
 */
bool kexec_jump_in_window(const struct kexec_jump *jump, u64 addr)
{
	return window_index(jump, addr) >= 0;
}

/**
 * kexec_jump_window_page - where the peer's content of the window is now
 * @jump:	a loaded jump; this kernel is running
 * @addr:	physical address in the window
 */
struct page *kexec_jump_window_page(const struct kexec_jump *jump, u64 addr)
{
	return pfn_to_page(jump->backup[window_index(jump, addr)]);
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
 * @jump:	window complete, nothing allocated yet
 *
 * Return: 0, -EADDRNOTAVAIL if part of the window is not RAM this kernel owns,
 * -ENOMEM if there is too little memory to back it up. Both with a message.
 */
int kexec_jump_check_window(const struct kexec_jump *jump)
{
	unsigned long available;
	unsigned int i;

	for (i = 0; i < jump->nr_ranges; i++) {
		unsigned long start = PFN_DOWN(jump->window[i].start);
		unsigned long end = PFN_DOWN(jump->window[i].end);
		unsigned long covered_to = start;

		walk_system_ram_range(start, end - start, &covered_to, next_ram);
		if (covered_to < end) {
			pr_err("window [%#llx-%#llx]: no system RAM at %#llx, see /proc/iomem\n",
			       jump->window[i].start, jump->window[i].end - 1,
			       (u64)PFN_PHYS(covered_to));
			return -EADDRNOTAVAIL;
		}
	}

	if (!jump->nr_pages)
		return 0;
	available = si_mem_available();
	if (jump->nr_pages + RESERVE_PAGES > available) {
		pr_err("window of %lu MB does not fit: %lu MB of memory are available, %lu MB must stay free; choose a smaller --mem-max\n",
		       jump->nr_pages >> (20 - PAGE_SHIFT),
		       available >> (20 - PAGE_SHIFT),
		       (unsigned long)RESERVE_PAGES >> (20 - PAGE_SHIFT));
		return -ENOMEM;
	}
	return 0;
}

/*
 * Allocate one page and sort it: a page of the window is claimed, one out of
 * reach is put aside, any other goes to @pages. So a caller that wants a page
 * calls until the list has grown.
 */
static int take_page(struct kexec_jump *jump, gfp_t gfp, struct list_head *pages)
{
	struct page *page;
	long index;

	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();
	page = alloc_page(gfp | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	if (!page)
		return -ENOMEM;

	index = window_index(jump, page_to_phys(page));
	if (index >= 0) {
		jump->backup[index] = page_to_pfn(page);
		jump->nr_claimed++;
	} else if (page_to_phys(page) >= KEXEC_SOURCE_MEMORY_LIMIT) {
		list_add(&page->lru, &jump->unusable_pages);
	} else {
		list_add_tail(&page->lru, pages);
	}
	return 0;
}

static struct page *take_control_page(struct kexec_jump *jump,
				      struct list_head *pages)
{
	struct list_head *last = pages->prev;
	struct page *page;

	while (pages->prev == last)
		if (take_page(jump, GFP_KERNEL, pages))
			return NULL;
	page = list_last_entry(pages, struct page, lru);
	clear_page(page_address(page));
	return page;
}

/**
 * kexec_jump_alloc_control_page - a page the trampoline may use at any time
 * @jump:	window complete, kexec_jump_back_window() not called yet
 *
 * Process context. The page lies outside the window, is directly mapped,
 * zeroed, and freed with @jump.
 *
 * Return: the page or NULL.
 */
struct page *kexec_jump_alloc_control_page(struct kexec_jump *jump)
{
	return take_control_page(jump, &jump->control_pages);
}

/**
 * kexec_jump_alloc_map - allocate the pages of the backup map
 * @jump:	window complete, kexec_jump_back_window() not called yet
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_alloc_map(struct kexec_jump *jump)
{
	/* A page's last entry leads to the next page. */
	unsigned long entries = jump->nr_ranges + jump->nr_pages + 1;
	unsigned long pages = DIV_ROUND_UP(entries, MAP_ENTRIES - 1);

	while (pages--)
		if (!take_control_page(jump, &jump->map_pages))
			return -ENOMEM;
	return 0;
}

static void free_list(struct list_head *pages)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, pages, lru) {
		list_del(&page->lru);
		__free_page(page);
	}
}

/**
 * kexec_jump_back_window - find a page for every page of the window
 * @jump:	all control pages are allocated
 *
 * Process context, takes time. Afterwards no page of @jump->backup is missing.
 *
 * Return: 0, -ENOMEM, or -EINTR after a fatal signal. What was allocated is
 * freed by kexec_jump_free_window().
 */
int kexec_jump_back_window(struct kexec_jump *jump)
{
	LIST_HEAD(outside);
	unsigned long nr_outside = 0, i;
	int error = 0;

	while (jump->nr_claimed + nr_outside < jump->nr_pages) {
		struct list_head *last = outside.prev;

		error = take_page(jump, GFP_HIGHUSER, &outside);
		if (error)
			goto out;
		if (outside.prev != last)
			nr_outside++;
	}

	for (i = 0; i < jump->nr_pages; i++) {
		struct page *page;

		if (jump->backup[i])
			continue;
		page = list_first_entry(&outside, struct page, lru);
		list_del(&page->lru);
		jump->backup[i] = page_to_pfn(page);
	}
out:
	free_list(&outside);
	free_list(&jump->unusable_pages);
	return error;
}

/* Where the next entry of the map goes. */
struct map_cursor {
	struct page *page;
	unsigned int entry;
};

static void map_add(struct map_cursor *cursor, kimage_entry_t entry)
{
	kimage_entry_t *entries = page_address(cursor->page);

	if (cursor->entry == MAP_ENTRIES - 1) {
		cursor->page = list_next_entry(cursor->page, lru);
		entries[cursor->entry] = page_to_phys(cursor->page) |
					 IND_INDIRECTION;
		entries = page_address(cursor->page);
		cursor->entry = 0;
	}
	entries[cursor->entry++] = entry;
}

/**
 * kexec_jump_write_map - write the backup map
 * @jump:	all pages are allocated
 */
void kexec_jump_write_map(struct kexec_jump *jump)
{
	struct map_cursor cursor = {
		.page = list_first_entry(&jump->map_pages, struct page, lru),
	};
	unsigned long index = 0;
	unsigned int i;
	u64 addr;

	for (i = 0; i < jump->nr_ranges; i++) {
		map_add(&cursor, jump->window[i].start | IND_DESTINATION);
		for (addr = jump->window[i].start; addr < jump->window[i].end;
		     addr += PAGE_SIZE)
			map_add(&cursor, PFN_PHYS(jump->backup[index++]) |
					 IND_SOURCE);
	}
	map_add(&cursor, IND_DONE);
}

/**
 * kexec_jump_map_address - physical address of the backup map's first page
 * @jump:	kexec_jump_alloc_map() has been called
 */
u64 kexec_jump_map_address(const struct kexec_jump *jump)
{
	return page_to_phys(list_first_entry(&jump->map_pages, struct page, lru));
}

/**
 * kexec_jump_free_window - free every page of a jump
 * @jump:	in any state of preparation
 */
void kexec_jump_free_window(struct kexec_jump *jump)
{
	unsigned long i;

	for (i = 0; jump->backup && i < jump->nr_pages; i++)
		if (jump->backup[i])
			__free_page(pfn_to_page(jump->backup[i]));
	kvfree(jump->backup);
	free_list(&jump->map_pages);
	free_list(&jump->control_pages);
	free_list(&jump->unusable_pages);
}
