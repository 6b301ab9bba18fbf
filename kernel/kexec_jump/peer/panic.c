// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: When the peer dies
 *
 * A kernel that was jumped to and panics jumps back, so that the machine is not lost
 * with it. It stops its CPUs (with an NMI, and an INIT before their memory changes) and
 * the DMA of its PCI devices, in all segments. The preserved kernel resets the PCI
 * functions, as far as they can be reset, before their drivers resume them; reboot(2)
 * returns EOWNERDEAD, the log and /sys/kernel/kexec_jump/last say why the peer died,
 * and its image is unloaded. If a crash kernel is loaded in the peer, that is started
 * instead.
 *
 * A peer that finds its jump page damaged or of another version does not know which
 * memory it may use, and goes back at once in the same way. So does one that meets an
 * exception, or has no memory, before it has handlers for that.
 */
#include "../internal.h"

#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/panic.h>
#include <linux/security.h>
#include <linux/string.h>

/* A jump to the preserved kernel that needs no preparation. */
static struct kexec_jump *panic_jump;

/* Until there is one: the entry of a kernel that waits to be resumed, or 0. */
static u64 early_entry;

/*
 * Will panic() start a crash kernel after its notifiers? Not while somebody holds
 * the kexec lock: with interrupts off and others about to be stopped, nobody would
 * ever let go of it.
 */
static bool crash_kernel_follows(void)
{
	if (!crash_kexec_post_notifiers || !kexec_crash_loaded() || !kexec_trylock())
		return false;
	kexec_unlock();
	return true;
}

/*
 * Give the machine back before this kernel can do anything, and no other CPU was started.
 * Returns if nobody waits at @entry, or if this kernel must not go there.
 */
static void __ref die_early(u64 entry, const char *why)
{
	struct kexec_jump_header *header;
	struct kexec_jump_tail *tail;

	/* The judge cannot be asked yet, nor may lockdown be known: ask what can be. */
	if (security_locked_down(LOCKDOWN_KEXEC) || arch_kexec_jump_locked_down_early())
		return;
	header = early_memremap(entry & PAGE_MASK, PAGE_SIZE);
	if (!header || header->magic != KEXEC_JUMP_MAGIC)
		return;
	if (!kexec_jump_may_wait(header))
		return;
	if (kexec_jump_header_intact(header) &&
	    (kexec_jump_window_has(header, entry, entry + 1) || !kexec_jump_alike(header)))
		return;
	pr_emerg("%s; jumping back to the preserved kernel at %#llx\n", why, entry);
	tail = kexec_jump_find_tail(header);
	if (tail) {
		strscpy(tail->peer_message, why);
		tail->peer_status = KEXEC_JUMP_PEER_DIED_EARLY;
	}
	/* If that fails, it is not tried again. */
	early_entry = 0;
	arch_kexec_jump_back_early(entry);
}

/**
 * kexec_jump_panic_early - from now on a panic leads back
 * @entry:	physical address that resumes the preserved kernel, or 0: none does
 */
void __init kexec_jump_panic_early(u64 entry)
{
	early_entry = entry;
}

/**
 * kexec_jump_panic - a panicking kernel gives the machine back
 * @message:	why it panics
 *
 * Called by panic() in any context, with interrupts off on this CPU, while the
 * others still run, after the crash kernel has had its chance. Returns if this
 * kernel was not jumped to, if the preserved kernel is gone, or if a crash kernel
 * is to be started later (crash_kexec_post_notifiers).
 */
void kexec_jump_panic(const char *message)
{
	struct kexec_jump_header *header;
	static atomic_t jumping = ATOMIC_INIT(0);

	if (crash_kernel_follows())
		return;
	if (early_entry)
		die_early(early_entry, message);
	header = kexec_jump_preserved_now();
	if (!panic_jump || !header || atomic_xchg(&jumping, 1))
		return;

	pr_emerg("jumping back to the preserved kernel at %#lx\n",
		 panic_jump->entry);
	strscpy(header->peer_message, message);
	header->peer_status = KEXEC_JUMP_PEER_DIED;
	arch_kexec_jump_from_panic(panic_jump);
}

/**
 * kexec_jump_prepare_panic - allocate all that a panic will need
 * @entry:	physical address that resumes the preserved kernel, or 0: a panic does
 *		not lead back
 *
 * Process context, at boot, before other CPUs are started. Panics, which still leads back
 * as it does early, if nothing would later: not even kexec_load(2) and reboot(2).
 */
void __init kexec_jump_prepare_panic(unsigned long entry)
{
	struct kexec_jump *jump;
	int error;

	if (!entry) {
		early_entry = 0;
		return;
	}
	jump = kexec_jump_create(entry);
	error = jump ? kexec_jump_prepare(jump) : -ENOMEM;
	if (error)
		panic("kexec_jump: this kernel cannot jump back: error %d", error);
	kexec_jump_complete(jump);
	panic_jump = jump;
	early_entry = 0;
}

/**
 * kexec_jump_may_crash - may a crash kernel be started although the kexec lock is held?
 *
 * Any context. Who jumps holds it, and loads nothing. A kernel that was jumped to goes
 * back instead.
 *
 * Return: whether a jump is being made, and nobody waits for this kernel.
 */
bool kexec_jump_may_crash(void)
{
	return kexec_jump_in_progress() && !(panic_jump && kexec_jump_preserved_now());
}
