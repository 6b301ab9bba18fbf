// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: kexec_load(2) of a context-preserving image.
 *
 * The segments are the window: memory without a buffer (memsz larger than
 * bufsz) is given to the peer zeroed. Low memory that any peer needs is added
 * and given to it as it is. An image without any memory, as loaded by
 * kexec --load-jump-back-helper, leads back to a preserved kernel.
 */
#include "internal.h"

#include <linux/err.h>
#include <linux/highmem.h>
#include <linux/mm.h>
#include <linux/ratelimit.h>
#include <linux/security.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "../kexec_internal.h"

/**
 * kexec_jump_check_flags - does a context-preserving load make sense?
 * @flags:	flags of kexec_load(2)
 *
 * Return: 0 or, with a message, -EINVAL.
 */
int kexec_jump_check_flags(unsigned long flags)
{
	if (!(flags & KEXEC_PRESERVE_CONTEXT) || !(flags & KEXEC_ON_CRASH))
		return 0;
	pr_err("a crash kernel cannot preserve the context of a crashed one\n");
	return -EINVAL;
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

/**
 * kexec_jump_create - begin a jump
 * @entry:	physical address to jump to
 *
 * Return: a jump with an empty window, or NULL.
 */
struct kexec_jump *kexec_jump_create(unsigned long entry)
{
	struct kexec_jump *jump = kzalloc(sizeof(*jump), GFP_KERNEL);

	if (!jump)
		return NULL;
	jump->entry = entry;
	jump->first_entry = entry;
	INIT_LIST_HEAD(&jump->map_pages);
	INIT_LIST_HEAD(&jump->control_pages);
	INIT_LIST_HEAD(&jump->unusable_pages);
	return jump;
}

/**
 * kexec_jump_prepare - allocate all a jump needs
 * @jump:	with its window complete
 *
 * Process context.
 *
 * Return: 0 or a negative errno; then kexec_jump_destroy() is all to be done.
 */
int kexec_jump_prepare(struct kexec_jump *jump)
{
	int error;

	jump->backup = kvcalloc(jump->nr_pages, sizeof(*jump->backup), GFP_KERNEL);
	if (!jump->backup)
		return -ENOMEM;
	jump->page = kexec_jump_alloc_control_page(jump);
	if (!jump->page)
		return -ENOMEM;
	error = arch_kexec_jump_prepare(jump);
	if (!error)
		error = kexec_jump_alloc_map(jump);
	if (!error)
		error = kexec_jump_back_window(jump);
	return error;
}

/**
 * kexec_jump_complete - make a jump ready to go
 * @jump:	prepared
 */
void kexec_jump_complete(struct kexec_jump *jump)
{
	kexec_jump_write_map(jump);
	arch_kexec_jump_complete(jump);
	kexec_jump_write_header(jump);
}

/**
 * kexec_jump_destroy - free a jump
 * @jump:	in any state of preparation, or NULL
 */
void kexec_jump_destroy(struct kexec_jump *jump)
{
	if (!jump)
		return;
	if (jump->page)
		arch_kexec_jump_cleanup(jump);
	kexec_jump_free_window(jump);
	kfree(jump);
}

/* The segments, checked one by one, become the window. */
static int add_segments(struct kexec_jump *jump, unsigned long nr_segments,
			const struct kexec_segment *segments)
{
	unsigned long i;
	int error;

	for (i = 0; i < nr_segments; i++) {
		u64 start = segments[i].mem;
		u64 end = start + segments[i].memsz;

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
		/* Stock kexec loads such ones, the jump-back helper among them. */
		if (start == end)
			continue;
		error = kexec_jump_add_range(jump, start, end);
		if (error) {
			pr_err("segment %lu [%#llx-%#llx): %s\n", i, start, end,
			       error == -EINVAL ? "overlaps another one" :
						  "too many pieces");
			return error;
		}
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

	for (addr = segment->mem; addr < end; addr += PAGE_SIZE) {
		struct page *page = kexec_jump_window_page(jump, addr);
		size_t chunk = min_t(size_t, left, PAGE_SIZE);
		unsigned long missed = 0;
		void *to = kmap_local_page(page);

		if (chunk < PAGE_SIZE)
			memset(to + chunk, 0, PAGE_SIZE - chunk);
		if (chunk)
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

/* Pages no segment covers are given to the peer with the content they have. */
static void fill_low_window(struct kexec_jump *jump,
			    const struct kexec_jump *segments)
{
	unsigned int i;
	u64 addr;

	for (i = 0; i < jump->nr_ranges; i++) {
		for (addr = jump->window[i].start; addr < jump->window[i].end;
		     addr += PAGE_SIZE) {
			struct page *to;

			if (kexec_jump_in_window(segments, addr))
				continue;
			to = kexec_jump_window_page(jump, addr);
			if (page_to_phys(to) != addr)
				copy_highpage(to, pfn_to_page(PFN_DOWN(addr)));
		}
	}
}

static int load_window(struct kexec_jump *jump, unsigned long nr_segments,
		       const struct kexec_segment *segments)
{
	struct kexec_jump *only_segments;
	unsigned long i;
	int error;

	error = add_segments(jump, nr_segments, segments);
	if (error)
		return error;
	error = kexec_jump_check_window(jump);
	if (error)
		return error;

	/* What the window was before the architecture added to it. */
	only_segments = kmemdup(jump, sizeof(*jump), GFP_KERNEL);
	if (!only_segments)
		return -ENOMEM;
	if (jump->nr_pages)
		error = arch_kexec_jump_low_window(jump);
	if (!error)
		error = kexec_jump_prepare(jump);
	for (i = 0; !error && i < nr_segments; i++)
		error = fill_segment(jump, &segments[i]);
	if (!error)
		error = arch_kexec_jump_check_image(jump, nr_segments, segments);
	if (!error)
		fill_low_window(jump, only_segments);
	kfree(only_segments);
	return error;
}

/**
 * kexec_jump_load - load a context-preserving image
 * @entry:	physical address to jump to
 * @nr_segments: number of @segments
 * @segments:	as given to kexec_load(2)
 *
 * Process context, kexec lock held, permission already checked. Everything the
 * jump will need is allocated here. On error all of it is freed, a message has
 * said why, and what was loaded before is untouched.
 *
 * Return: the image or an ERR_PTR: -EINVAL, -EADDRNOTAVAIL, -ENOMEM, -EFAULT,
 * -EINTR, or one of kexec_jump_check_entry().
 */
struct kimage *kexec_jump_load(unsigned long entry, unsigned long nr_segments,
			       struct kexec_segment *segments)
{
	struct kexec_jump *jump;
	struct kimage *image;
	int error;

	image = do_kimage_alloc_init();
	if (!image)
		return ERR_PTR(-ENOMEM);
	image->preserve_context = 1;
	image->start = entry;
	jump = kexec_jump_create(entry);
	image->jump = jump;
	if (!jump) {
		error = -ENOMEM;
		goto out;
	}

	error = load_window(jump, nr_segments, segments);
	if (!error)
		error = kexec_jump_check_entry(jump);
	if (!error) {
		kexec_jump_complete(jump);
		pr_info("loaded: entry %#lx, window of %lu kB, %lu kB to exchange\n",
			entry, jump->nr_pages << (PAGE_SHIFT - 10),
			(jump->nr_pages - jump->nr_claimed) << (PAGE_SHIFT - 10));
	}
out:
	if (error) {
		if (error == -ENOMEM)
			pr_err("load failed: not enough memory\n");
		kexec_jump_free_image(image);
		return ERR_PTR(error);
	}
	return image;
}

/**
 * kexec_jump_free_image - free a context-preserving image
 * @image:	made by kexec_jump_load()
 */
void kexec_jump_free_image(struct kimage *image)
{
	mutex_lock(&kexec_jump_lock);
	kexec_jump_destroy(image->jump);
	kfree(image);
	mutex_unlock(&kexec_jump_lock);
}
