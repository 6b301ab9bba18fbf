// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: claiming pages of the window.
 *
 * A page that is claimed belongs to the image: the peer's content is loaded to
 * where the peer will look for it, and is never exchanged. So the pages of the
 * window that are free are taken, and the content of those that can be moved is
 * moved out of it. What is left is what the kernel has addresses of: its text,
 * slabs, page tables, pinned pages.
 */
#include "internal.h"

#include <linux/gfp.h>
#include <linux/kexec_jump_base.h>
#include <linux/migrate.h>
#include <linux/mm.h>
#include <linux/mmzone.h>
#include <linux/page-isolation.h>
#include <linux/pfn.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/sizes.h>
#include <linux/swap.h>

/*
 * Pages taken at once: those in the way are not moved to others of them, and other
 * CPUs give up the pages they keep for themselves only once.
 */
#define CLAIM_AT_ONCE	(SZ_64M >> PAGE_SHIFT)

/*
 * Pages of a zone that are left to the running system. Only some memory will do for a
 * device that reaches no more than 16 MB or 4 GB, or, on 32-bit, for the kernel itself.
 */
static unsigned long keep_free(struct zone *zone)
{
	unsigned long keep = high_wmark_pages(zone);
	struct zone *above = zone + 1;
	enum zone_type type;

	for (type = zone_idx(zone) + 1; type < MAX_NR_ZONES; type++, above++)
		if (managed_zone(above))
			return keep + zone_managed_pages(zone) / 8;
	return keep;
}

static bool has_room(struct zone *zone, unsigned long nr)
{
	return zone_page_state(zone, NR_FREE_PAGES) >= keep_free(zone) + nr;
}

/* Looked at without holding it: who takes it in earnest looks again. */
static bool may_claim(struct kexec_jump *jump, unsigned long pfn, struct zone *zone)
{
	struct page *page = pfn_to_online_page(pfn);

	if (!page || page_zone(page) != zone || PageReserved(page) ||
	    xa_load(&jump->backup, pfn))
		return false;
	/* Programs that drive devices themselves take those in use to stay where they are. */
	if (PageHuge(page))
		return !folio_ref_count(page_folio(page));
	if (PageLRU(page) || PageBuddy(page) || page_has_movable_ops(page))
		return true;
	/* A part of a larger one that is free; slabs need not have a reference either. */
	return !page_count(page) && !page_has_type(compound_head(page));
}

/*
 * Claim page frames. Returns 0; -EBUSY if one of them does not move just now, or -ENOSPC
 * if too little is free, and none is claimed; or what kexec_jump_claim() fails with.
 */
static int claim_all(struct kexec_jump *jump, unsigned long pfn, unsigned long end)
{
	struct page *page;
	int error;

	if (fatal_signal_pending(current))
		return -EINTR;
	cond_resched();
	/* Memory may have been taken away since it was looked at. */
	page = pfn_to_online_page(pfn);
	if (!page)
		return -EBUSY;
	if (!has_room(page_zone(page), end - pfn))
		return -ENOSPC;
	error = alloc_contig_range(pfn, end, ACR_FLAGS_NONE,
				   GFP_KERNEL | __GFP_NOWARN | __GFP_RETRY_MAYFAIL);
	if (!error)
		return kexec_jump_add_claimed(jump, pfn, end - pfn);
	if (error == -ENOMEM)
		return -ENOSPC;
	return error == -EINTR ? error : -EBUSY;
}

/*
 * Of a block, a page of which did not move: all of it, as it may have been busy for a
 * moment only; or half of it, or a quarter, unless nothing but all is of use.
 */
static int claim_part(struct kexec_jump *jump, unsigned long pfn, unsigned long end)
{
	unsigned int parts, most = jump->no_devices ? 1 : 4;
	unsigned long nr, at;
	int error = -EBUSY;

	for (parts = 1; error == -EBUSY && parts <= most; parts *= 2) {
		nr = (end - pfn) / parts;
		for (at = pfn; error == -EBUSY && nr && at + nr <= end; at += nr) {
			/* Until that page is back on its list it holds up all of the block. */
			lru_add_drain_all();
			error = claim_all(jump, at, at + nr);
		}
	}
	return error == -EBUSY || error == -ENOSPC ? 0 : error;
}

/*
 * Claim page frames, or all but the blocks of those that do not move, and of these a
 * part: metadata of a file system is held by its journal for a while.
 */
static int claim(struct kexec_jump *jump, unsigned long pfn, unsigned long end)
{
	unsigned long middle = max(pageblock_start_pfn(pfn + (end - pfn) / 2),
				   pageblock_end_pfn(pfn));
	int error = claim_all(jump, pfn, end);

	if (error != -EBUSY && error != -ENOSPC)
		return error;
	if (middle < end)
		return claim(jump, pfn, middle) ?: claim(jump, middle, end);
	return error == -EBUSY ? claim_part(jump, pfn, end) : 0;
}

static bool may_claim_all(struct kexec_jump *jump, unsigned long pfn, unsigned long end,
			  struct zone *zone)
{
	cond_resched();
	while (pfn < end && may_claim(jump, pfn, zone))
		pfn++;
	return pfn == end;
}

static int claim_range(struct kexec_jump *jump, unsigned long pfn, unsigned long end)
{
	int error = 0;

	while (!error && pfn < end) {
		/* It may have been taken away since it was looked at. */
		struct page *page = pfn_to_online_page(pfn);
		struct zone *zone = page ? page_zone(page) : NULL;
		unsigned long last = min(end, ALIGN(pfn + 1, CLAIM_AT_ONCE));
		unsigned long next = pfn, block_end;

		/* What is in there may be taken away, and is not held up by the image. */
		while (next < last && zone && zone_idx(zone) != ZONE_MOVABLE) {
			block_end = min(last, pageblock_end_pfn(next));
			if (!may_claim_all(jump, next, block_end, zone))
				break;
			next = block_end;
		}
		if (next > pfn)
			error = claim(jump, pfn, next);
		pfn = max(next, min(last, pageblock_end_pfn(pfn)));
	}
	return error;
}

/**
 * kexec_jump_claim - claim what can be claimed of the window
 * @jump:	jump, not all of its window is backed
 *
 * Process context, takes time. The page allocator gives away page frames that it
 * is told, but of a block, in which it keeps together what can be moved, only once,
 * and only if all of it can be moved. That takes as long for a page as for a block: parts
 * of blocks are claimed only if it matters, or if no more of one can be had.
 *
 * Return: 0, however little could be; -ENOMEM, or -EINTR after a signal.
 */
int kexec_jump_claim(struct kexec_jump *jump)
{
	unsigned int i;
	int error = 0;

	/* A page on its way to a list of those in use looks as if it could not move. */
	lru_add_drain_all();
	for (i = 0; !error && i < jump->window.nr; i++) {
		unsigned long start = PFN_DOWN(jump->window.range[i].start);
		unsigned long end = PFN_DOWN(jump->window.range[i].end);

		if (!jump->no_devices) {
			start = pageblock_align(start);
			end = pageblock_start_pfn(end);
		}
		error = claim_range(jump, start, end);
	}
	return error;
}
