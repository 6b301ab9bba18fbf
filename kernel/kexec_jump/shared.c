// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Shared memory
 *
 * Memory that both kernels can read and write: through it the two can talk, and a
 * peer can leave there what it has made. The kernel that jumps away chooses its size
 * beforehand and allocates it, outside the window. It is no part of what that kernel
 * looks like from outside (/proc/vmcore), and gone after a resume from an image.
 * Otherwise nothing outside the window is ever written by the peer, but for the last
 * fields of the header. To read or write it takes CAP_SYS_RAWIO, to choose its size
 * CAP_SYS_BOOT.
 */
#include "internal.h"

#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/fs.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/kexec_jump_base.h>
#include <linux/kobject.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include <linux/sysfs.h>

/* Memory that is left to the running system, if much of it is to be shared. */
#define RESERVE_PAGES	(SZ_16M >> PAGE_SHIFT)

/* Under kexec_jump_lock; while a jump is going on nobody else runs. */
static LIST_HEAD(own_pages);
static unsigned long *own_pfns;
static unsigned long nr_own;

/* The list that leads the peer there, while a jump is going on. */
static struct kexec_jump_list list;

static void free_own(void)
{
	kexec_jump_free_pages(&own_pages);
	kvfree(own_pfns);
	own_pfns = NULL;
	nr_own = 0;
}

static int alloc_own(unsigned long nr)
{
	unsigned long available = kexec_jump_available();
	unsigned long reserve = min(nr, RESERVE_PAGES);
	struct page *page;

	if (nr + reserve > available) {
		pr_err("%lu kB to share do not fit: %lu kB of memory are available to the kernel, %lu kB must stay free\n",
		       nr << (PAGE_SHIFT - 10),
		       available << (PAGE_SHIFT - 10),
		       reserve << (PAGE_SHIFT - 10));
		return -ENOMEM;
	}
	own_pfns = kvcalloc(nr, sizeof(*own_pfns), GFP_KERNEL);
	if (!own_pfns)
		return -ENOMEM;
	kexec_jump_outside_all.keep = reserve;
	while (nr_own < nr) {
		page = kexec_jump_alloc_outside(&kexec_jump_outside_all,
						GFP_HIGHUSER | __GFP_ZERO, &own_pages);
		if (!page)
			break;
		own_pfns[nr_own++] = page_to_pfn(page);
	}
	kexec_jump_outside_all.keep = 0;
	kexec_jump_free_unusable(&kexec_jump_outside_all);
	if (nr_own == nr)
		return 0;
	free_own();
	return fatal_signal_pending(current) ? -EINTR : -ENOMEM;
}

/**
 * kexec_jump_shared_page - a page this kernel shares with its peer
 * @n:		its number
 * @pfn:	set to its page frame number
 *
 * Return: whether there is such a page.
 */
bool kexec_jump_shared_page(unsigned long n, unsigned long *pfn)
{
	if (n >= nr_own)
		return false;
	*pfn = own_pfns[n];
	return true;
}

/* Images may have been loaded after the pages were allocated. */
static int move_out_of_windows(void)
{
	struct page *page, *next;
	unsigned long n = 0;

	list_for_each_entry_safe(page, next, &own_pages, lru) {
		unsigned long pfn = page_to_pfn(page);
		LIST_HEAD(outside);
		struct page *new;

		if (kexec_jump_in_any_window(PFN_PHYS(pfn)) ||
		    PFN_PHYS(pfn) >= KEXEC_SOURCE_MEMORY_LIMIT) {
			new = kexec_jump_alloc_outside(&kexec_jump_outside_all,
						       GFP_HIGHUSER, &outside);
			if (!new)
				return -ENOMEM;
			copy_highpage(new, page);
			list_replace(&page->lru, &new->lru);
			__free_page(page);
			own_pfns[n] = page_to_pfn(new);
		}
		n++;
	}
	return 0;
}

/**
 * kexec_jump_share - make ready what leads peers to the shared memory
 *
 * Process context, devices at work, the kexec lock held, and kexec_jump_lock unless
 * tasks are frozen. The memory and the list stay outside all windows until
 * kexec_jump_unshare(), which must be called on error, too.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_share(void)
{
	unsigned long n;
	int error;

	kexec_jump_list_init(&list);
	if (!nr_own)
		return 0;
	error = move_out_of_windows();
	if (!error)
		error = kexec_jump_list_alloc(&kexec_jump_outside_all, &list, nr_own);
	if (!error) {
		for (n = 0; n < nr_own; n++)
			kexec_jump_list_add(&list, PFN_PHYS(own_pfns[n]) | IND_SOURCE);
		kexec_jump_list_add(&list, IND_DONE);
	}
	kexec_jump_free_unusable(&kexec_jump_outside_all);
	return error;
}

/**
 * kexec_jump_tell_shared - let a peer find the shared memory
 * @header:	of the jump to be made; to be sealed afterwards
 *
 * After kexec_jump_share(), or there is nothing to find.
 */
void kexec_jump_tell_shared(struct kexec_jump_header *header)
{
	bool ready = !list_empty(&list.pages);

	header->shared = ready ? kexec_jump_list_address(&list) : 0;
	header->shared_pages = ready ? nr_own : 0;
}

/**
 * kexec_jump_unshare - undo kexec_jump_share()
 * @from_image:	this kernel was resumed from an image, which is without the
 *		content of the shared memory
 *
 * Process context.
 */
void kexec_jump_unshare(bool from_image)
{
	kexec_jump_list_free(&list);
	if (from_image)
		free_own();
}

/* Page @n of the memory, mapped; in the peer it is another kernel's. */
static void *map_shared(const struct kexec_jump_header *header, unsigned long n)
{
	if (!header)
		return kmap_local_page(pfn_to_page(own_pfns[n]));
	return kexec_jump_map_their_page(n);
}

static void unmap_shared(const struct kexec_jump_header *header, void *address)
{
	if (!header)
		kunmap_local(address);
	else
		kexec_jump_unmap_preserved(address);
}

static ssize_t transfer(struct file *file, char *buf, loff_t pos, size_t count,
			bool write)
{
	const struct kexec_jump_header *header;
	size_t done = 0;
	long pages;

	/* User 0 of a container is not root of the machine. */
	if (!file_ns_capable(file, &init_user_ns, CAP_SYS_RAWIO))
		return -EPERM;
	if (mutex_lock_interruptible(&kexec_jump_lock))
		return -ERESTARTSYS;
	header = kexec_jump_preserved_now();
	pages = header ? kexec_jump_their_pages(header) : nr_own;
	while (pages > 0 && done < count && (pos >> PAGE_SHIFT) < pages) {
		size_t chunk = min_t(size_t, count - done,
				     PAGE_SIZE - offset_in_page(pos));
		void *page = map_shared(header, pos >> PAGE_SHIFT);

		if (!page) {
			pages = -EIO;
			break;
		}
		if (write)
			memcpy(page + offset_in_page(pos), buf + done, chunk);
		else
			memcpy(buf + done, page + offset_in_page(pos), chunk);
		unmap_shared(header, page);
		done += chunk;
		pos += chunk;
	}
	mutex_unlock(&kexec_jump_lock);
	if (!done && pages < 0)
		return pages;
	return !done && write ? -ENOSPC : done;
}

static ssize_t shared_read(struct file *file, struct kobject *kobj,
			   kexec_jump_bin_attr *attr, char *buf, loff_t pos,
			   size_t count)
{
	return transfer(file, buf, pos, count, false);
}

static ssize_t shared_write(struct file *file, struct kobject *kobj,
			    kexec_jump_bin_attr *attr, char *buf, loff_t pos,
			    size_t count)
{
	return transfer(file, buf, pos, count, true);
}

static BIN_ATTR_ADMIN_RW(shared, 0);

static ssize_t shared_size_show(struct kobject *kobj,
				struct kobj_attribute *attr, char *buf)
{
	const struct kexec_jump_header *header;
	u64 pages;

	if (mutex_lock_interruptible(&kexec_jump_lock))
		return -ERESTARTSYS;
	header = kexec_jump_preserved_now();
	pages = header ? header->shared_pages : nr_own;
	mutex_unlock(&kexec_jump_lock);
	return sysfs_emit(buf, "%llu\n", pages << PAGE_SHIFT);
}

static ssize_t shared_size_store(struct kobject *kobj,
				 struct kobj_attribute *attr, const char *buf,
				 size_t count)
{
	unsigned long long size;
	int error;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	error = kstrtoull(buf, 0, &size);
	if (error)
		return error;
	if (size > (unsigned long long)totalram_pages() << PAGE_SHIFT)
		return -EFBIG;
	if (mutex_lock_interruptible(&kexec_jump_lock))
		return -ERESTARTSYS;
	if (kexec_jump_preserved_now()) {
		pr_err("shared memory belongs to the preserved kernel, which sets its size\n");
		error = -EINVAL;
	} else {
		free_own();
		if (size)
			error = alloc_own(PFN_UP(size));
	}
	mutex_unlock(&kexec_jump_lock);
	return error ?: count;
}

static struct kobj_attribute shared_size_attribute = __ATTR_RW_MODE(shared_size, 0600);

/**
 * kexec_jump_shared_init - make the files for it
 * @dir:	/sys/kernel/kexec_jump
 *
 * Return: 0 or an error of sysfs.
 */
int __init kexec_jump_shared_init(struct kobject *dir)
{
	int error;

	kexec_jump_list_init(&list);
	error = sysfs_create_bin_file(dir, &bin_attr_shared);
	if (error)
		return error;
	return sysfs_create_file(dir, &shared_size_attribute.attr);
}
