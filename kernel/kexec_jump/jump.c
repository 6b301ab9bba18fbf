// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Life of a context
 *
 * A context is what a struct kexec_jump leads to and back from: a kernel, or a
 * program, with its window and the pages the window is exchanged with. Seen from the
 * kernel that loaded it, which preserves itself when it jumps:
 *
 * unfinished
 *	kexec_load(2) was called with KEXEC_LOAD_MORE and another call has to
 *	follow. Belongs to the address space that made the call (unfinished.c).
 * loaded
 *	The image is kexec_image, or one that has a name (names.c). Every page the
 *	jump needs is allocated, the trampoline and the header are written.
 *	header->state is KEXEC_JUMP_RUNNING: this kernel runs.
 * away
 *	KEXEC_JUMP_AWAY. The peer has the machine. Nothing of this kernel is
 *	touched but the jump page, which resumes it, and by the peer the last
 *	fields of the header and the shared memory.
 * loaded again
 *	The peer came back. If it left its next entry it is preserved in turn
 *	(jump->peer_preserved), and the next jump resumes it; else the next jump
 *	enters the image where the last one did.
 * gone
 *	Unloaded by kexec_load(2), replaced by another image, or because the peer
 *	died. Also if this kernel comes back from an image of it
 *	(KEXEC_JUMP_IMAGE): the peer was no part of that.
 *
 * Locks, outermost first:
 *
 * system_transition_mutex
 *	The sleep lock: held by reboot(2) around a jump.
 * the kexec lock (kexec_trylock())
 *	Whoever loads, unloads, or jumps. It is never waited for.
 * the CPU hotplug lock (cpus_read_lock())
 *	A program that is called while devices work; memory hotplug.
 * kexec_jump_lock
 *	Who looks at the loaded image (kexec_jump_loaded()) or at the report.
 *	Taken to free an image, to check it, and for each access through sysfs;
 *	of the peer's view, to open and to close it. Not held while tasks are
 *	frozen, as those who wait for it could not be.
 * unfinished_lock
 *	The image that is being loaded in several calls, and whose it is.
 *
 * During a jump, from the step "interrupts" on, nothing else runs, and nothing
 * is locked.
 */
#include "internal.h"

#include <linux/atomic.h>
#include <linux/gfp.h>
#include <linux/memory.h>
#include <linux/mm.h>
#include <linux/notifier.h>
#include <linux/pfn.h>
#include <linux/slab.h>

/*
 * Memory that comes and goes: how often some was added since this kernel booted, and how
 * often some came back that had gone offline.
 */
static struct {
	struct mutex lock;			/* of all this */
	unsigned long added, back;
	unsigned long pages_gone;		/* of @known, now */
	struct kexec_jump_ranges known;		/* has been offline, now or before */
} memory = {
	.lock = __MUTEX_INITIALIZER(memory.lock),
};

/**
 * kexec_jump_create - begin a jump
 * @entry:	physical address to jump to
 *
 * Return: a jump with an empty window, or NULL.
 */
struct kexec_jump *kexec_jump_create(unsigned long entry)
{
	struct kexec_jump *jump = kzalloc_obj(*jump);

	if (!jump)
		return NULL;
	jump->entry = entry;
	jump->first_entry = entry;
	mutex_lock(&memory.lock);
	jump->memory_added = memory.added;
	jump->memory_back = memory.back;
	jump->memory_gone = memory.pages_gone;
	mutex_unlock(&memory.lock);
	xa_init(&jump->backup);
	xa_init(&jump->backs);
	kexec_jump_list_init(&jump->map);
	INIT_LIST_HEAD(&jump->control_pages);
	kexec_jump_pool_init(&jump->pool, &jump->window);
	return jump;
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
	struct page *page = kexec_jump_alloc_outside(&jump->pool, GFP_KERNEL,
						     &jump->control_pages);

	if (page)
		clear_page(page_address(page));
	return page;
}

/**
 * kexec_jump_prepare - allocate all else a jump needs
 * @jump:	with its window complete and backed
 *
 * Process context.
 *
 * Return: 0 or a negative errno; then kexec_jump_destroy() is all to be done.
 */
int kexec_jump_prepare(struct kexec_jump *jump)
{
	int error;

	jump->page = kexec_jump_alloc_control_page(jump);
	if (!jump->page)
		return -ENOMEM;
	error = arch_kexec_jump_prepare(jump);
	if (!error)
		error = kexec_jump_make_map(jump);
	kexec_jump_free_unusable(&jump->pool);
	return error;
}

/**
 * kexec_jump_complete - make a jump ready to go
 * @jump:	prepared
 */
void kexec_jump_complete(struct kexec_jump *jump)
{
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
	kexec_jump_free_pages(&jump->control_pages);
	kexec_jump_free_window(jump);
	kfree(jump);
}

/**
 * kexec_jump_hold - hold the loaded image, or let it go
 * @hold:	nobody is to jump to it
 *
 * Process context. While a peer waits to be asked for something, "reboot" means a
 * reboot: what shuts the system down takes a loaded image for a kernel to start
 * instead.
 *
 * Return: 0, -ENODATA if no image that preserves the context is loaded, -EBUSY
 * while somebody loads one or jumps.
 */
int kexec_jump_hold(bool hold)
{
	struct kexec_jump *jump;
	int error = 0;

	if (!kexec_trylock())
		return -EBUSY;
	mutex_lock(&kexec_jump_lock);
	jump = kexec_jump_loaded();
	if (jump)
		jump->held = hold;
	else
		error = -ENODATA;
	mutex_unlock(&kexec_jump_lock);
	kexec_unlock();
	return error;
}

static void note_gone(u64 start, u64 end)
{
	mutex_lock(&memory.lock);
	/* Without room for it, it counts as added when it is back. */
	if (!kexec_jump_ranges_reserve(&memory.known))
		kexec_jump_ranges_add(&memory.known, start, end);
	if (kexec_jump_ranges_hold(&memory.known, start, end))
		memory.pages_gone += PFN_DOWN(end - start);
	mutex_unlock(&memory.lock);
}

static void note_added(u64 start, u64 end)
{
	mutex_lock(&memory.lock);
	if (kexec_jump_ranges_hold(&memory.known, start, end)) {
		memory.pages_gone -= PFN_DOWN(end - start);
		memory.back++;
	} else {
		memory.added++;
	}
	mutex_unlock(&memory.lock);
}

/*
 * Memory of the window is this system's while the image is loaded, but will be
 * read and written at the jump.
 */
static int memory_changes(struct notifier_block *block, unsigned long action, void *arg)
{
	const struct memory_notify *notify = arg;
	u64 start = PFN_PHYS(notify->start_pfn), end = start + PFN_PHYS(notify->nr_pages);
	bool needed = false;
	unsigned int n;

	if (action == MEM_OFFLINE)
		note_gone(start, end);
	if (action == MEM_ONLINE)
		note_added(start, end);
	if (action != MEM_GOING_OFFLINE)
		return NOTIFY_OK;
	mutex_lock(&kexec_jump_lock);
	for (n = 0; n <= KEXEC_JUMP_MAX_PEERS; n++) {
		struct kimage *image = kexec_jump_image(n);

		if (image)
			needed |= kexec_jump_ranges_touch(&image->jump->window, start, end);
	}
	mutex_unlock(&kexec_jump_lock);
	if (!needed)
		return NOTIFY_OK;
	pr_notice("memory at %#llx stays online: it is in the window of a loaded image (kexec -u, or kjump unload, unloads it)\n",
		  start);
	return NOTIFY_BAD;
}

/**
 * kexec_jump_outgrown - was memory added since an image's loading began?
 * @jump:	the image
 *
 * Process context. A kernel that was loaded knows of what was there then, and that may go
 * and come back.
 *
 * Return: whether it was; a kernel that was loaded cannot know of it.
 */
bool kexec_jump_outgrown(const struct kexec_jump *jump)
{
	bool outgrown;

	mutex_lock(&memory.lock);
	outgrown = jump->memory_added != memory.added ||
		   (jump->memory_gone && jump->memory_back != memory.back);
	mutex_unlock(&memory.lock);
	return outgrown;
}

static int __init kexec_jump_memory_init(void)
{
	return hotplug_memory_notifier(memory_changes, DEFAULT_CALLBACK_PRI);
}
late_initcall(kexec_jump_memory_init);

static bool in_another_window(const struct kexec_jump *jump, u64 addr)
{
	unsigned int n;

	for (n = 0; n <= KEXEC_JUMP_MAX_PEERS; n++) {
		const struct kimage *image = kexec_jump_image(n);

		if (image && image->jump != jump && kexec_jump_in_window(image->jump, addr))
			return true;
	}
	return false;
}

/**
 * kexec_jump_check_call - can an image be called while devices are at work?
 * @jump:	its window is backed, its entry has been checked
 *
 * Process context, under the kexec lock, so what is loaded stays.
 *
 * Return: 0 if it can, or is not meant to be; with a message, -EINVAL if it is no
 * program, -EADDRNOTAVAIL if part of its window is in use by this kernel.
 */
int kexec_jump_check_call(struct kexec_jump *jump)
{
	unsigned long pfn;
	void *entry;

	if (!jump->no_devices)
		return 0;
	if (jump->may_look || jump->from_image || !kexec_jump_in_window(jump, jump->entry)) {
		pr_err("entry %#lx: only a program is called while devices are at work, not a kernel\n",
		       jump->entry);
		return -EINVAL;
	}
	if (jump->nr_claimed == jump->nr_pages)
		return 0;
	xa_for_each(&jump->backup, pfn, entry) {
		if (xa_to_value(entry) == pfn)
			continue;
		pr_err("window: the page at %#llx %s\n", (u64)PFN_PHYS(pfn),
		       in_another_window(jump, PFN_PHYS(pfn)) ?
		       "belongs to what is loaded now; unload it first (kexec -u)" :
		       "is in use and cannot be moved, so devices must not be at work meanwhile; choose another address");
		break;
	}
	return -EADDRNOTAVAIL;
}

/**
 * kexec_jump_free_image - free a context-preserving image
 * @image:	any image, that nobody finds any more
 *
 * Process context. If it is another image, wait until nobody looks at it who came
 * to it by kexec_jump_loaded().
 *
 * Return: whether it was one that preserves the context, and is freed.
 */
bool kexec_jump_free_image(struct kimage *image)
{
	bool freed = image->preserve_context;

	mutex_lock(&kexec_jump_lock);
	if (freed) {
		kexec_jump_destroy(image->jump);
		kfree(image);
	}
	mutex_unlock(&kexec_jump_lock);
	return freed;
}
