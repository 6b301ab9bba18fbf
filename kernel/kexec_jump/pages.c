// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: pages that lie outside a window, or outside all of them.
 *
 * The page allocator cannot be asked for one. So pages are allocated one by one
 * and sorted, and those in the window are kept until no more are wanted: else
 * the allocator would hand out the same ones again. So the time this takes is
 * linear in the size of the window however the allocator orders its pages.
 */
#include "internal.h"

#include <linux/gfp.h>
#include <linux/mm.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/vmstat.h>

/**
 * kexec_jump_available - how much memory an image, or what is shared, can have
 *
 * Its pages stay where they are. What is free for pages that move only, in ZONE_MOVABLE
 * (memory that was plugged in, kernelcore=) or for CMA, is no help, and must not hide that
 * all the rest is in use, where the kernel needs some for itself.
 *
 * Any context.
 *
 * Return: number of pages that are free or can be reclaimed, an estimate.
 */
unsigned long kexec_jump_available(void)
{
	unsigned long available = 0, cached = 0, keep_cached = 0, slabs;
	enum zone_type top = gfp_zone(GFP_HIGHUSER);
	struct zone *zone;

	for_each_populated_zone(zone) {
		unsigned long free, keep;

		if (zone_idx(zone) > top)
			continue;
		free = zone_page_state(zone, NR_FREE_PAGES);
		keep = high_wmark_pages(zone) + zone->lowmem_reserve[top] +
		       zone_page_state(zone, NR_FREE_CMA_PAGES);
		available += free - min(free, keep);
		cached += zone_page_state(zone, NR_ZONE_ACTIVE_FILE) +
			  zone_page_state(zone, NR_ZONE_INACTIVE_FILE);
		keep_cached += low_wmark_pages(zone);
	}
	slabs = global_node_page_state_pages(NR_SLAB_RECLAIMABLE_B) +
		global_node_page_state(NR_KERNEL_MISC_RECLAIMABLE);
	/* Of both, some is in use all the time. */
	return available + cached - min(cached / 2, keep_cached) +
	       slabs - min(slabs / 2, keep_cached);
}

/**
 * kexec_jump_pool_init - begin to allocate
 * @pool:	the pool
 * @window:	sorted; may grow while nothing is being allocated
 */
void kexec_jump_pool_init(struct kexec_jump_pool *pool,
			  const struct kexec_jump_ranges *window)
{
	pool->window = window;
	pool->holds = NULL;
	pool->keep = 0;
	pool->taken = 0;
	INIT_LIST_HEAD(&pool->inside);
	INIT_LIST_HEAD(&pool->unusable);
}

static bool is_inside(const struct kexec_jump_pool *pool, u64 addr)
{
	return pool->holds ? pool->holds(addr) :
			     kexec_jump_ranges_hold(pool->window, addr, addr + 1);
}

/* Others take memory, too, and what is of no use to us is not free meanwhile. */
static bool leaves_enough(struct kexec_jump_pool *pool)
{
	unsigned long available;

	if (!pool->keep || ++pool->taken % PTRS_PER_PTE)
		return true;
	available = kexec_jump_available();
	if (available >= pool->keep)
		return true;
	pr_err("given up, as others need memory, too: %lu kB are left to the kernel, %lu kB must stay free\n",
	       available << (PAGE_SHIFT - 10), pool->keep << (PAGE_SHIFT - 10));
	return false;
}

/**
 * kexec_jump_take_page - allocate one page and sort it
 * @pool:	one in the window goes to its list @inside, one that is of no use
 *		to @unusable
 * @gfp:	where from
 * @pages:	any other goes here
 *
 * Process context. Who wants a page calls until the list has grown.
 *
 * Return: 0, -ENOMEM, or -EINTR after a fatal signal.
 */
int kexec_jump_take_page(struct kexec_jump_pool *pool, gfp_t gfp,
			 struct list_head *pages)
{
	struct page *page;
	phys_addr_t addr;

	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();
	if (!leaves_enough(pool))
		return -ENOMEM;
	page = alloc_page(gfp | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	if (!page)
		return -ENOMEM;

	addr = page_to_phys(page);
	if (is_inside(pool, addr))
		pages = &pool->inside;
	else if (addr >= KEXEC_SOURCE_MEMORY_LIMIT)
		pages = &pool->unusable;
	list_add_tail(&page->lru, pages);
	return 0;
}

/**
 * kexec_jump_alloc_outside - allocate a page outside the window
 * @pool:	its window is complete
 * @gfp:	where from, GFP_KERNEL if it is to be directly mapped
 * @pages:	the list it is added to
 *
 * Process context, takes time if the window is large.
 * kexec_jump_free_unusable() is to be called when no more pages are wanted.
 *
 * Return: the page, not zeroed, or NULL.
 */
struct page *kexec_jump_alloc_outside(struct kexec_jump_pool *pool, gfp_t gfp,
				      struct list_head *pages)
{
	struct list_head *last = pages->prev;

	while (pages->prev == last)
		if (kexec_jump_take_page(pool, gfp, pages))
			return NULL;
	return list_last_entry(pages, struct page, lru);
}

/**
 * kexec_jump_free_pages - free all pages of a list linked by page->lru
 * @pages:	empty afterwards
 *
 * Process context.
 */
void kexec_jump_free_pages(struct list_head *pages)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, pages, lru) {
		list_del(&page->lru);
		__free_page(page);
		cond_resched();
	}
}

/**
 * kexec_jump_free_unusable - let go of pages that were only in the way
 * @pool:	of a window that is backed, or is given up
 *
 * Process context.
 */
void kexec_jump_free_unusable(struct kexec_jump_pool *pool)
{
	kexec_jump_free_pages(&pool->inside);
	kexec_jump_free_pages(&pool->unusable);
}
