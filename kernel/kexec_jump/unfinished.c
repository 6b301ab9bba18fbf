// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Loading in several calls
 *
 * kexec_load(2) takes 16 segments (KEXEC_SEGMENT_MAX). With KEXEC_PRESERVE_CONTEXT,
 * an image with more can be loaded in several calls:
 *
 * ===================== =====================================
 * call                  flags
 * ===================== =====================================
 * first                 KEXEC_LOAD_MORE
 * in between            KEXEC_LOAD_MORE | KEXEC_LOAD_CONTINUE
 * last                  KEXEC_LOAD_CONTINUE
 * ===================== =====================================
 *
 * A segment without content (bufsz 0) announces memory, which is zeroed. A later
 * segment of the same load may lie in it and fill it. Pages are found for all of
 * the window when the first content comes; so who announces all memory first, in
 * ascending order, has the most of it filled in its place and the least staged.
 * The entry is that of the last call, which may have no segment.
 *
 * The image belongs to the process that loads it, by its address space; there is
 * one at most. Between two calls it is freed if that process exits or calls
 * execve(2), when a call is refused, and when another image is loaded or unloaded
 * by kexec_load(2) in the meantime; CONTINUE fails with ESTALE then. EBUSY from a
 * call that continues a load says that the call has to be made again, as somebody
 * else is at work in the kernel's kexec code. While one process loads in several
 * calls, another one cannot begin to (EBUSY, too). Nothing replaces the image that
 * was loaded before until the last call has succeeded.
 *
 * kernel.kexec_load_limit_reboot counts the first call only. The first call may be
 * interrupted by a signal (EINTR); it can be repeated.
 */
#include "internal.h"

#include <linux/err.h>
#include <linux/mmu_notifier.h>
#include <linux/sched.h>
#include <linux/sched/mm.h>
#include <linux/slab.h>

/**
 * struct owner - the address space an unfinished image belongs to
 * @notifier:	tells of its end
 */
struct owner {
	struct mmu_notifier notifier;
};

/*
 * Protects the two below. While a call is at work on the image, it is not here,
 * but has its owner still.
 */
static DEFINE_MUTEX(unfinished_lock);
static struct kexec_jump *unfinished;
static struct owner *owner;

/* Call with the lock held; the image, if it is here, is the caller's then. */
static struct kexec_jump *let_go(void)
{
	struct kexec_jump *jump = unfinished;

	unfinished = NULL;
	if (owner)
		mmu_notifier_put(&owner->notifier);
	owner = NULL;
	return jump;
}

static bool owned_by_caller(void)
{
	return owner && owner->notifier.mm == current->mm;
}

static void owner_ends(struct mmu_notifier *notifier, struct mm_struct *mm)
{
	struct kexec_jump *jump = NULL;

	mutex_lock(&unfinished_lock);
	if (owner && notifier == &owner->notifier)
		jump = let_go();
	mutex_unlock(&unfinished_lock);
	if (jump)
		pr_notice("load abandoned: its process has ended\n");
	kexec_jump_destroy(jump);
}

static struct mmu_notifier *alloc_owner(struct mm_struct *mm)
{
	struct owner *new = kzalloc_obj(*new);

	return new ? &new->notifier : ERR_PTR(-ENOMEM);
}

static void free_owner(struct mmu_notifier *notifier)
{
	kfree(container_of(notifier, struct owner, notifier));
}

static const struct mmu_notifier_ops owner_ops = {
	.release = owner_ends,
	.alloc_notifier = alloc_owner,
	.free_notifier = free_owner,
};

/**
 * kexec_jump_take_unfinished - go on loading
 *
 * Process context, kexec lock held.
 *
 * Return: the image this process has begun to load, which the caller owns now,
 * or ERR_PTR(-ESTALE), with a message.
 */
struct kexec_jump *kexec_jump_take_unfinished(void)
{
	struct kexec_jump *jump = NULL;

	mutex_lock(&unfinished_lock);
	if (owned_by_caller())
		swap(jump, unfinished);
	mutex_unlock(&unfinished_lock);
	if (jump)
		return jump;
	pr_err("no unfinished load of this process to continue: it was replaced, has failed, or never began\n");
	return ERR_PTR(-ESTALE);
}

/**
 * kexec_jump_may_continue - is this a call that continues a permitted load?
 * @flags:	flags of kexec_load(2)
 *
 * The first call of a load has been counted, the others are not.
 *
 * Return: whether it is.
 */
bool kexec_jump_may_continue(unsigned long flags)
{
	bool owned;

	if (!(flags & KEXEC_LOAD_CONTINUE))
		return false;
	mutex_lock(&unfinished_lock);
	owned = owned_by_caller();
	mutex_unlock(&unfinished_lock);
	return owned;
}

/**
 * kexec_jump_keep_unfinished - keep an image until its next call
 * @jump:	still the caller's if this fails
 * @first:	this was the first call
 *
 * Process context, kexec lock held.
 *
 * Return: 0, -ESTALE if the load was abandoned while this call was at work, or,
 * at the first call, an error of mmu_notifier_get_locked().
 */
int kexec_jump_keep_unfinished(struct kexec_jump *jump, bool first)
{
	struct mmu_notifier *notifier;
	int error = 0;

	if (first) {
		mmap_write_lock(current->mm);
		notifier = mmu_notifier_get_locked(&owner_ops, current->mm);
		mmap_write_unlock(current->mm);
		if (IS_ERR(notifier))
			return PTR_ERR(notifier);
	}
	mutex_lock(&unfinished_lock);
	if (first)
		owner = container_of(notifier, struct owner, notifier);
	/* Another thread's call may have failed in the meantime. */
	if (owned_by_caller())
		unfinished = jump;
	else
		error = -ESTALE;
	mutex_unlock(&unfinished_lock);
	return error;
}

/**
 * kexec_jump_end_load - a load in several calls is over, or has failed
 *
 * Process context, kexec lock held. The image is the caller's.
 */
void kexec_jump_end_load(void)
{
	mutex_lock(&unfinished_lock);
	WARN_ON(let_go());
	mutex_unlock(&unfinished_lock);
}

/**
 * kexec_jump_begin_load - make way for a load
 * @flags:	flags of kexec_load(2)
 *
 * Process context, kexec lock held. A call that does not continue a load begins
 * another one, or unloads: what this process has not finished is freed. What
 * another process has not finished is freed, too, unless this one is to take
 * several calls as well: then the first one may finish.
 *
 * Return: 0 or -EBUSY, with a message.
 */
int kexec_jump_begin_load(unsigned long flags)
{
	struct kexec_jump *jump = NULL;
	int error = 0;

	if (flags & (KEXEC_LOAD_CONTINUE | KEXEC_ON_CRASH))
		return 0;
	mutex_lock(&unfinished_lock);
	if (owner && (flags & KEXEC_LOAD_MORE) && !owned_by_caller()) {
		pr_err("another process is loading an image in several calls\n");
		error = -EBUSY;
	} else {
		jump = let_go();
	}
	mutex_unlock(&unfinished_lock);
	if (jump)
		pr_notice("load abandoned: replaced by another one\n");
	kexec_jump_destroy(jump);
	return error;
}

/**
 * kexec_jump_abandon_load - a call was refused before it was looked at
 * @flags:	flags of kexec_load(2)
 *
 * Process context. If it should have continued a load, that has failed.
 */
void kexec_jump_abandon_load(unsigned long flags)
{
	struct kexec_jump *jump = NULL;

	if (!(flags & KEXEC_LOAD_CONTINUE))
		return;
	mutex_lock(&unfinished_lock);
	if (owned_by_caller())
		jump = let_go();
	mutex_unlock(&unfinished_lock);
	kexec_jump_destroy(jump);
}
