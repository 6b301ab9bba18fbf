// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: drivers of what goes on by itself, as watchdogs do, are told of jumps.
 */
#include "internal.h"

#include <linux/export.h>
#include <linux/kexec_jump.h>
#include <linux/notifier.h>

static BLOCKING_NOTIFIER_HEAD(jump_notifiers);

/**
 * register_kexec_jump_notifier - be told of jumps
 * @block:	called in process context, while user space is frozen and devices are at
 *		work, with KEXEC_JUMP_PREPARE and, if it did not refuse, KEXEC_JUMP_DONE
 *		or KEXEC_JUMP_DEAD_PEER
 *
 * Calls of programs with KEXEC_NO_DEVICES are not told of.
 *
 * Return: 0 or -EEXIST.
 */
int register_kexec_jump_notifier(struct notifier_block *block)
{
	return blocking_notifier_chain_register(&jump_notifiers, block);
}
EXPORT_SYMBOL_GPL(register_kexec_jump_notifier);

/**
 * unregister_kexec_jump_notifier - undo register_kexec_jump_notifier()
 * @block:	registered
 *
 * Return: 0 or -ENOENT.
 */
int unregister_kexec_jump_notifier(struct notifier_block *block)
{
	return blocking_notifier_chain_unregister(&jump_notifiers, block);
}
EXPORT_SYMBOL_GPL(unregister_kexec_jump_notifier);

/**
 * kexec_jump_watchdogs_enter - tell those who want to know that there will be a jump
 * @attempt:	at its beginning
 *
 * Return: 0, or what one of them objects with: then those that had been told before it
 * were told that it is over.
 */
int kexec_jump_watchdogs_enter(struct kexec_jump_attempt *attempt)
{
	int ret = blocking_notifier_call_chain_robust(&jump_notifiers, KEXEC_JUMP_PREPARE,
						      KEXEC_JUMP_DONE, NULL);

	return notifier_to_errno(ret);
}

/**
 * kexec_jump_watchdogs_leave - tell them that it is over
 * @attempt:	at its end, whatever came of it
 */
void kexec_jump_watchdogs_leave(struct kexec_jump_attempt *attempt)
{
	blocking_notifier_call_chain(&jump_notifiers, attempt->peer_died ?
				     KEXEC_JUMP_DEAD_PEER : KEXEC_JUMP_DONE, NULL);
}
