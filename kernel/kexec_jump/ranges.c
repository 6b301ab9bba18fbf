// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: sets of ranges of physical memory. Nothing here knows what they
 * are for.
 */
#include "internal.h"

#include <linux/mm.h>
#include <linux/slab.h>

/**
 * kexec_jump_ranges_reserve - have room for one more range
 * @ranges:	the ranges
 *
 * Process context. Adding one then does not fail for want of memory.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_ranges_reserve(struct kexec_jump_ranges *ranges)
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
 * kexec_jump_ranges_append - note a range behind those that are there
 * @ranges:	with room, not necessarily sorted
 * @start:	physical
 * @end:	physical, exclusive
 */
void kexec_jump_ranges_append(struct kexec_jump_ranges *ranges, u64 start, u64 end)
{
	insert_range(ranges, ranges->nr, start, end);
}

/**
 * kexec_jump_ranges_add - add a range to a sorted set
 * @ranges:	sorted, disjoint, with room; they stay so, and those that touch
 *		become one
 * @start:	physical
 * @end:	physical, exclusive, above @start
 *
 * Any context. Quick if ranges come in ascending order.
 *
 * Return: 0, or -EINVAL if some of it is there already.
 */
int kexec_jump_ranges_add(struct kexec_jump_ranges *ranges, u64 start, u64 end)
{
	unsigned int at = find_range(ranges, start);
	struct kexec_jump_range *before, *after;

	if (at < ranges->nr && ranges->range[at].start < end)
		return -EINVAL;
	before = at > 0 && ranges->range[at - 1].end == start ?
		 &ranges->range[at - 1] : NULL;
	after = at < ranges->nr && ranges->range[at].start == end ?
		&ranges->range[at] : NULL;
	if (before && after) {
		before->end = after->end;
		ranges->nr--;
		memmove(after, after + 1, (ranges->nr - at) * sizeof(*after));
	} else if (before) {
		before->end = end;
	} else if (after) {
		after->start = start;
	} else {
		insert_range(ranges, at, start, end);
	}
	return 0;
}

/**
 * kexec_jump_ranges_hold - does memory lie in a sorted set?
 * @ranges:	sorted, disjoint
 * @start:	physical
 * @end:	physical, exclusive, above @start
 *
 * Any context.
 *
 * Return: true if all of it does.
 */
bool kexec_jump_ranges_hold(const struct kexec_jump_ranges *ranges, u64 start, u64 end)
{
	unsigned int at = find_range(ranges, start);

	return at < ranges->nr && ranges->range[at].start <= start &&
	       ranges->range[at].end >= end;
}

/**
 * kexec_jump_ranges_touch - does any of some memory lie in a sorted set?
 * @ranges:	sorted, disjoint
 * @start:	physical
 * @end:	physical, exclusive, above @start
 *
 * Any context.
 *
 * Return: whether any of it does.
 */
bool kexec_jump_ranges_touch(const struct kexec_jump_ranges *ranges, u64 start, u64 end)
{
	unsigned int at = find_range(ranges, start);

	return at < ranges->nr && ranges->range[at].start < end;
}

/**
 * kexec_jump_ranges_free - free a set of ranges
 * @ranges:	empty afterwards
 */
void kexec_jump_ranges_free(struct kexec_jump_ranges *ranges)
{
	kvfree(ranges->range);
	memset(ranges, 0, sizeof(*ranges));
}
