// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: a kernel that was jumped to and panics jumps back, so that the
 * machine is not lost with it.
 */
#include "../internal.h"

#include <linux/atomic.h>
#include <linux/init.h>
#include <linux/kernel.h>
#include <linux/string.h>

/* A jump to the preserved kernel that needs no preparation. */
static struct kexec_jump *panic_jump;

/**
 * kexec_jump_panic - a panicking kernel gives the machine back
 * @message:	why it panics
 *
 * Called by panic() in any context, with interrupts off on this CPU, while the
 * others still run. Returns if this kernel was not jumped to, if the preserved
 * kernel is gone, or if a crash kernel is loaded, which then has precedence.
 */
void kexec_jump_panic(const char *message)
{
	struct kexec_jump_header *header = kexec_jump_preserved_now();
	static atomic_t jumping = ATOMIC_INIT(0);

	if (!panic_jump || !header || kexec_crash_loaded())
		return;
	if (atomic_xchg(&jumping, 1))
		return;

	pr_emerg("jumping back to the preserved kernel at %#lx\n",
		 panic_jump->entry);
	strscpy(header->peer_message, message);
	header->peer_status = KEXEC_JUMP_PEER_DIED;
	arch_kexec_jump_from_panic(panic_jump);
}

/**
 * kexec_jump_prepare_panic - allocate all that a panic will need
 * @entry:	physical address that resumes the preserved kernel
 *
 * Process context, at boot.
 *
 * Return: 0 or, with a message, a negative errno.
 */
int __init kexec_jump_prepare_panic(unsigned long entry)
{
	struct kexec_jump *jump = kexec_jump_create(entry);
	int error = jump ? kexec_jump_prepare(jump) : -ENOMEM;

	if (error) {
		pr_warn("no memory to jump back from a panic: error %d\n", error);
		kexec_jump_destroy(jump);
		return error;
	}
	kexec_jump_complete(jump);
	panic_jump = jump;
	return 0;
}
