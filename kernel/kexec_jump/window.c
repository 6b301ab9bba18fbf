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

static int make_room(struct kexec_jump_ranges *ranges)
{
	unsigned int max = ranges->max ? 2 * ranges->max : KEXEC_JUMP_MAX_RANGES;
	struct kexec_jump_range *range;

	if (ranges->nr < ranges->max)
		return 0;
	range = kvmalloc_array(max, sizeof(*range), GFP_KERNEL);
	if (!range)
		return -ENOMEM;
	if (ranges->nr)
		memcpy(range, ranges->range, ranges->nr * sizeof(*range));
	kvfree(ranges->range);
	ranges->range = range;
	ranges->max = max;
	return 0;
}

/* Number of the first range that ends above @addr, or the number of ranges. */
static unsigned int find_range(const struct kexec_jump_ranges *ranges, u64 addr)
{
	unsigned int low = 0, high = ranges->nr;

	while (low < high) {
		unsigned int middle = low + (high - low) / 2;

		if (ranges->range[middle].end > addr)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static void insert_range(struct kexec_jump_ranges *ranges, unsigned int at,
			 u64 start, u64 end)
{
	memmove(&ranges->range[at + 1], &ranges->range[at],
		(ranges->nr - at) * sizeof(*ranges->range));
	ranges->range[at].start = start;
	ranges->range[at].end = end;
	ranges->nr++;
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
	struct kexec_jump_ranges *window = &jump->window;
	unsigned int at = find_range(window, start);
	struct kexec_jump_range *before, *after;

	if (at < window->nr && window->range[at].start < end)
		return -EINVAL;
	if (make_room(window) || make_room(&jump->unbacked))
		return -ENOMEM;
	insert_range(&jump->unbacked, jump->unbacked.nr, start, end);
	jump->nr_pages += (end - start) >> PAGE_SHIFT;

	before = at > 0 && window->range[at - 1].end == start ?
		 &window->range[at - 1] : NULL;
	after = at < window->nr && window->range[at].start == end ?
		&window->range[at] : NULL;
	if (before && after) {
		before->end = after->end;
		window->nr--;
		memmove(after, after + 1, (window->nr - at) * sizeof(*after));
	} else if (before) {
		before->end = end;
	} else if (after) {
		after->start = start;
	} else {
		insert_range(window, at, start, end);
	}
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
	const struct kexec_jump_ranges *window = &jump->window;
	unsigned int at = find_range(window, start);

	return at < window->nr && window->range[at].start <= start &&
	       window->range[at].end >= end;
}

/**
 * kexec_jump_in_window - does an address lie in the window?
 * @jump:	the jump
 * @addr:	physical address
 */
bool kexec_jump_in_window(const struct kexec_jump *jump, u64 addr)
{
	return kexec_jump_window_holds(jump, addr, addr + 1);
}

/**
 * kexec_jump_window_page - where the peer's content of the window is now
 * @jump:	a jump whose window is backed; this kernel is running
 * @addr:	physical address in the window
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
	unsigned long available;
	unsigned int i;

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
	}
	jump->nr_checked = unbacked->nr;

	if (!needed)
		return 0;
	available = si_mem_available();
	if (needed + RESERVE_PAGES > available) {
		pr_err("window of %lu MB does not fit: %lu MB of memory are available, %lu MB must stay free; choose a smaller --mem-max\n",
		       needed >> (20 - PAGE_SHIFT),
		       available >> (20 - PAGE_SHIFT),
		       (unsigned long)RESERVE_PAGES >> (20 - PAGE_SHIFT));
		return -ENOMEM;
	}
	return 0;
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

/*
 * Allocate one page and sort it: a page of the window is claimed, one that is
 * of no use is put aside, any other goes to @pages. So a caller that wants a
 * page calls until the list has grown.
 */
static int take_page(struct kexec_jump *jump, gfp_t gfp, struct list_head *pages)
{
	unsigned long pfn;
	struct page *page;

	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();
	page = alloc_page(gfp | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	if (!page)
		return -ENOMEM;

	pfn = page_to_pfn(page);
	if (!kexec_jump_in_window(jump, PFN_PHYS(pfn)))
		list_add_tail(&page->lru,
			      PFN_PHYS(pfn) < KEXEC_SOURCE_MEMORY_LIMIT ?
			      pages : &jump->unusable_pages);
	else if (xa_load(&jump->backup, pfn))
		list_add(&page->lru, &jump->unusable_pages);
	else
		return add_backup(jump, pfn, pfn);
	return 0;
}

/**
 * kexec_jump_alloc_outside - allocate a page outside the window
 * @jump:	the window is complete
 * @gfp:	where from, GFP_KERNEL if it is to be directly mapped
 * @pages:	the list it is added to
 *
 * Process context, takes time if the window is large.
 * kexec_jump_free_unusable() is to be called when no more pages are wanted.
 *
 * Return: the page, not zeroed, or NULL.
 */
struct page *kexec_jump_alloc_outside(struct kexec_jump *jump, gfp_t gfp,
				      struct list_head *pages)
{
	struct list_head *last = pages->prev;

	while (pages->prev == last)
		if (take_page(jump, gfp, pages))
			return NULL;
	return list_last_entry(pages, struct page, lru);
}

/**
 * kexec_jump_alloc_control_page - a page the trampoline may use at any time
 * @jump:	the window is complete
 *
 * Process context. The page lies outside the window, is directly mapped,
 * zeroed, and freed with @jump.
 *
 * Return: the page or NULL.
 */
struct page *kexec_jump_alloc_control_page(struct kexec_jump *jump)
{
	struct page *page = kexec_jump_alloc_outside(jump, GFP_KERNEL,
						     &jump->control_pages);

	if (page)
		clear_page(page_address(page));
	return page;
}

/**
 * kexec_jump_free_unusable - let go of pages that were only in the way
 * @jump:	in any state
 */
void kexec_jump_free_unusable(struct kexec_jump *jump)
{
	kexec_jump_free_pages(&jump->unusable_pages);
}

/*
 * The window has grown over a page that holds the backup of another one, as it
 * was loaded before. Find that one another page; the page itself is claimed.
 */
static int move_backup(struct kexec_jump *jump, unsigned long pfn,
		       struct list_head *outside)
{
	unsigned long backed = xa_to_value(xa_load(&jump->backs, pfn));
	struct page *page;
	int error;

	page = kexec_jump_alloc_outside(jump, GFP_HIGHUSER, outside);
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
 * kexec_jump_back_window - find a page for every page of the window
 * @jump:	no control page is allocated yet
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

	for (i = 0; i < unbacked->nr; i++) {
		struct kexec_jump_range *range = &unbacked->range[i];
		unsigned long last = PFN_DOWN(range->end - 1);
		void *entry;

		xa_for_each_range(&jump->backs, pfn, entry,
				  PFN_DOWN(range->start), last) {
			error = move_backup(jump, pfn, &outside);
			if (error)
				goto out;
		}
	}

	while (jump->nr_backed + nr_outside < jump->nr_pages) {
		struct list_head *last = outside.prev;

		error = take_page(jump, GFP_HIGHUSER, &outside);
		if (error)
			goto out;
		if (outside.prev != last)
			nr_outside++;
	}

	for (i = 0; i < unbacked->nr; i++) {
		struct kexec_jump_range *range = &unbacked->range[i];

		for (pfn = PFN_DOWN(range->start); pfn < PFN_DOWN(range->end); pfn++) {
			struct page *page;

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
	kexec_jump_free_pages(&outside);
	kexec_jump_free_unusable(jump);
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
	int error = kexec_jump_list_alloc(jump, &jump->map, walk_map(jump, NULL));

	if (error)
		return error;
	walk_map(jump, &jump->map);
	kexec_jump_list_add(&jump->map, IND_DONE);
	return 0;
}

/**
 * kexec_jump_free_window - free every page of a jump
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
	kvfree(jump->window.range);
	kvfree(jump->unbacked.range);
	kexec_jump_list_free(&jump->map);
	kexec_jump_free_pages(&jump->control_pages);
	kexec_jump_free_unusable(jump);
}
