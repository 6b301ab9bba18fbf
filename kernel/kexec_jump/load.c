// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: kexec_load(2) of a context-preserving image.
 *
 * The segments are the window: memory without a buffer (memsz larger than
 * bufsz) is given to the peer zeroed. Low memory that any peer needs is added
 * and given to it as it is. An image without any memory, as loaded by
 * kexec --load-jump-back-helper, leads back to a preserved kernel.
 *
 * An image may be loaded in several calls: see unfinished.c.
 */
#include "internal.h"

#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

/**
 * kexec_jump_check_flags - does a load with these flags make sense?
 * @flags:	flags of kexec_load(2)
 *
 * Return: 0 or, with a message, -EINVAL, or -EOPNOTSUPP if this kernel cannot do that.
 */
int kexec_jump_check_flags(unsigned long flags)
{
	if (flags & KEXEC_PRESERVE_CONTEXT) {
		if (flags & KEXEC_NO_DEVICES && !IS_ENABLED(CONFIG_CONTIG_ALLOC)) {
			pr_err("this kernel cannot move pages out of a window (CONFIG_CONTIG_ALLOC), so devices have to be suspended\n");
			return -EOPNOTSUPP;
		}
		if (!(flags & KEXEC_ON_CRASH))
			return 0;
		pr_err("a crash kernel cannot preserve the context of a crashed one\n");
		return -EINVAL;
	}
	if (flags & KEXEC_NO_DEVICES) {
		pr_err("only what preserves the context can be called while devices are at work\n");
		return -EINVAL;
	}
	if (flags & (KEXEC_LOAD_MORE | KEXEC_LOAD_CONTINUE)) {
		pr_err("only an image that preserves the context can be loaded in several calls\n");
		return -EINVAL;
	}
	return 0;
}

/**
 * kexec_jump_load_refused - say why a context-preserving load is not permitted
 * @flags:	flags of kexec_load(2)
 *
 * Called when the caller is not root or loading was disabled; the caller is
 * told -EPERM for either.
 */
void kexec_jump_load_refused(unsigned long flags)
{
	if (!(flags & KEXEC_PRESERVE_CONTEXT))
		return;
	if (!capable(CAP_SYS_BOOT))
		pr_notice_ratelimited("load refused: CAP_SYS_BOOT is needed\n");
	else
		pr_notice_ratelimited("load refused: disabled by kernel.kexec_load_disabled or kernel.kexec_load_limit_reboot\n");
}

static bool overlap(const struct kexec_segment *a, const struct kexec_segment *b)
{
	return a->mem < b->mem + b->memsz && b->mem < a->mem + a->memsz;
}

static int check_segment(const struct kexec_segment *segments, unsigned long i)
{
	u64 start = segments[i].mem;
	u64 end = start + segments[i].memsz;
	unsigned long other;

	if (!PAGE_ALIGNED(start) || !PAGE_ALIGNED(end)) {
		pr_err("segment %lu [%#llx-%#llx): not page aligned\n",
		       i, start, end);
		return -EADDRNOTAVAIL;
	}
	if (end < start || end > KEXEC_DESTINATION_MEMORY_LIMIT) {
		pr_err("segment %lu [%#llx-%#llx): beyond the addressable memory\n",
		       i, start, end);
		return -EADDRNOTAVAIL;
	}
	if (segments[i].bufsz > segments[i].memsz) {
		pr_err("segment %lu [%#llx-%#llx): buffer of %#zx bytes is larger\n",
		       i, start, end, segments[i].bufsz);
		return -EINVAL;
	}
	for (other = 0; other < i; other++) {
		if (!overlap(&segments[i], &segments[other]))
			continue;
		pr_err("segment %lu [%#llx-%#llx): overlaps another one\n",
		       i, start, end);
		return -EINVAL;
	}
	return 0;
}

/*
 * The segments, checked one by one, become the window. Those with content may
 * also lie in memory that an earlier call has added.
 */
static int add_segments(struct kexec_jump *jump, unsigned long nr_segments,
			const struct kexec_segment *segments)
{
	unsigned long i;
	int error;

	for (i = 0; i < nr_segments; i++) {
		u64 start = segments[i].mem;
		u64 end = start + segments[i].memsz;

		error = check_segment(segments, i);
		if (error)
			return error;
		/* Stock kexec loads such ones, the jump-back helper among them. */
		if (start == end)
			continue;
		if (segments[i].bufsz && kexec_jump_window_holds(jump, start, end))
			continue;
		error = kexec_jump_add_range(jump, start, end);
		if (error == -EINVAL)
			pr_err("segment %lu [%#llx-%#llx): overlaps memory of an earlier call\n",
			       i, start, end);
		if (error)
			return error;
	}
	return 0;
}

static int fill_segment(struct kexec_jump *jump,
			const struct kexec_segment *segment)
{
	u64 end = (u64)segment->mem + segment->memsz;
	const u8 __user *buf = segment->buf;
	size_t left = segment->bufsz;
	u64 addr;

	for (addr = segment->mem; addr < end && left; addr += PAGE_SIZE) {
		struct page *page = kexec_jump_page_to_fill(jump, addr);
		size_t chunk = min_t(size_t, left, PAGE_SIZE);
		unsigned long missed;
		void *to;

		if (!page) {
			pr_err("memory at %#llx: filled twice\n", addr);
			return -EINVAL;
		}
		to = kmap_local_page(page);
		if (chunk < PAGE_SIZE)
			memset(to + chunk, 0, PAGE_SIZE - chunk);
		missed = copy_from_user(to, buf, chunk);
		kunmap_local(to);
		if (missed)
			return -EFAULT;
		buf += chunk;
		left -= chunk;
		cond_resched();
	}
	return 0;
}

/* Memory that was announced and not filled is given to the peer zeroed. */
static void fill_rest(struct kexec_jump *jump)
{
	unsigned long pfn;
	void *entry;

	xa_for_each_marked(&jump->backup, pfn, entry, KEXEC_JUMP_EMPTY) {
		clear_highpage(pfn_to_page(xa_to_value(entry)));
		xa_clear_mark(&jump->backup, pfn, KEXEC_JUMP_EMPTY);
		cond_resched();
	}
}

/* Pages no segment covers are given to the peer with the content they have. */
static void fill_low_window(struct kexec_jump *jump)
{
	unsigned long pfn;
	void *entry;

	xa_for_each_marked(&jump->backup, pfn, entry, KEXEC_JUMP_EMPTY)
		if (pfn != xa_to_value(entry))
			copy_highpage(pfn_to_page(xa_to_value(entry)),
				      pfn_to_page(pfn));
}

/* Pages for what has been added to the window: its own, as far as they can be had. */
static int back_window(struct kexec_jump *jump)
{
	int error;

	if (!jump->unbacked.nr)
		return 0;
	error = kexec_jump_move_backups(jump);
	/* Not only in the parts that are new: a block may be cut in two there. */
	if (!error)
		error = kexec_jump_claim(jump);
	return error ?: kexec_jump_back_window(jump);
}

/*
 * Add segments to an image and fill them. Pages are allocated for all of the
 * window when the first content comes: what is known of it by then is placed
 * best.
 */
static int load_segments(struct kexec_jump *jump, unsigned long nr_segments,
			 const struct kexec_segment *segments, bool last)
{
	bool content = last;
	unsigned long i;
	int error;

	error = add_segments(jump, nr_segments, segments);
	if (!error)
		error = kexec_jump_check_window(jump);
	for (i = 0; i < nr_segments; i++)
		content |= segments[i].bufsz != 0;
	if (error || !content)
		return error;

	error = back_window(jump);
	for (i = 0; !error && i < nr_segments; i++) {
		error = fill_segment(jump, &segments[i]);
		if (!error && segments[i].bufsz &&
		    arch_kexec_jump_is_kernel(jump, segments[i].mem))
			jump->may_look = true;
	}
	return error;
}

/*
 * Make a jump of an image with all its segments. Those of the call are looked
 * at only if it was a single one.
 */
static int finish_load(struct kexec_jump *jump, unsigned long nr_segments,
		       const struct kexec_segment *segments)
{
	int error;

	fill_rest(jump);
	error = kexec_jump_check_entry(jump);
	if (!error)
		error = kexec_jump_check_call(jump);
	if (!error && jump->nr_pages && !jump->from_image) {
		error = arch_kexec_jump_check_image(jump, nr_segments, segments);
		/* What is called while devices are at work gets what it asks for alone. */
		if (!error && !jump->no_devices)
			error = arch_kexec_jump_low_window(jump);
		if (!error)
			error = kexec_jump_check_ranges(jump);
		if (!error)
			error = back_window(jump);
		if (!error)
			fill_low_window(jump);
	}
	if (!error)
		error = kexec_jump_prepare(jump);
	/* It may have gone offline between two calls: nobody holds it until this is published. */
	if (!error)
		error = kexec_jump_recheck_window(jump);
	if (error)
		return error;
	kexec_jump_complete(jump);
	pr_info("loaded: entry %#lx, window of %lu kB, %lu kB to exchange\n",
		jump->entry, jump->nr_pages << (PAGE_SHIFT - 10),
		(jump->nr_pages - jump->nr_claimed) << (PAGE_SHIFT - 10));
	return 0;
}

/**
 * kexec_jump_load - load a context-preserving image
 * @entry:	physical address to jump to
 * @nr_segments: number of @segments
 * @segments:	as given to kexec_load(2)
 * @flags:	KEXEC_LOAD_MORE, KEXEC_LOAD_CONTINUE, KEXEC_NO_DEVICES
 *
 * Process context, kexec lock held, permission already checked. Everything the
 * jump will need is allocated here. On error all of it is freed, a message has
 * said why (but for -EFAULT and -EINTR), and what was loaded before is untouched.
 *
 * Return: the image, NULL if more calls have to follow, or an ERR_PTR: -EINVAL,
 * -EADDRNOTAVAIL, -ENOMEM, -EFAULT, -EINTR, -ENOSPC, -EOPNOTSUPP, -EBUSY if another
 * process is loading in several calls, -ESTALE if there is nothing to continue, or one
 * of kexec_jump_check_entry(), kexec_jump_check_call() and arch_kexec_jump_check_image().
 */
struct kimage *kexec_jump_load(unsigned long entry, unsigned long nr_segments,
			       struct kexec_segment *segments,
			       unsigned long flags)
{
	bool continued = flags & KEXEC_LOAD_CONTINUE;
	bool last = !(flags & KEXEC_LOAD_MORE);
	struct kexec_jump *jump;
	struct kimage *image;
	int error;

	if (continued)
		jump = kexec_jump_take_unfinished();
	else
		jump = kexec_jump_create(entry);
	if (IS_ERR_OR_NULL(jump))
		return jump ? ERR_CAST(jump) : ERR_PTR(-ENOMEM);
	jump->entry = entry;
	jump->first_entry = entry;
	jump->no_devices = flags & KEXEC_NO_DEVICES;

	image = do_kimage_alloc_init();
	error = image ? 0 : -ENOMEM;
	if (!error)
		error = load_segments(jump, nr_segments, segments, last);
	if (!error && last)
		error = finish_load(jump, continued ? 0 : nr_segments, segments);
	if (!error && !last) {
		error = kexec_jump_keep_unfinished(jump, !continued);
		if (!error) {
			kfree(image);
			return NULL;
		}
	}
	if (continued)
		kexec_jump_end_load();
	if (error) {
		if (error == -ENOMEM)
			pr_err("load failed: not enough memory\n");
		kexec_jump_destroy(jump);
		kfree(image);
		return ERR_PTR(error);
	}
	image->preserve_context = 1;
	image->start = entry;
	image->jump = jump;
	return image;
}
