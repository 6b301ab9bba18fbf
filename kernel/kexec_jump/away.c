// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: this kernel leaves, and what it finds when it is back.
 */
#include "internal.h"

#include <linux/string.h>
#include <linux/suspend.h>

/**
 * kexec_jump_check_target - can the next jump go where it is meant to go?
 * @image:	what is loaded
 *
 * As kexec_jump_check_entry().
 */
int kexec_jump_check_target(struct kimage *image)
{
	return kexec_jump_check_entry(image->jump);
}

/**
 * kexec_jump_memory_enter - allocate what the peer is told about this kernel
 * @attempt:	a jump is to be made
 *
 * Process context, tasks frozen, devices at work, and there is still a kswapd:
 * who allocates when memory is short may wait for it without end. A kernel that
 * is jumped back to, or that comes from an image, will not look.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_memory_enter(struct kexec_jump_attempt *attempt)
{
	struct kexec_jump *jump = attempt->image->jump;
	int error;

	if (jump->from_image || !jump->nr_pages)
		return 0;
	error = kexec_jump_share(jump);
	if (!error)
		error = kexec_jump_describe_prepare(jump);
	if (error)
		kexec_jump_memory_leave(attempt);
	return error;
}

/**
 * kexec_jump_memory_leave - undo kexec_jump_memory_enter()
 * @attempt:	as it ended
 *
 * Process context.
 */
void kexec_jump_memory_leave(struct kexec_jump_attempt *attempt)
{
	kexec_jump_describe_cleanup();
	kexec_jump_unshare(attempt->from_image);
}

/**
 * kexec_jump_processor_enter - save the processor's state
 * @attempt:	a jump is to be made
 *
 * On the boot CPU, the only one at work, with interrupts off.
 *
 * Return: 0
 */
int kexec_jump_processor_enter(struct kexec_jump_attempt *attempt)
{
	save_processor_state();
	attempt->processor_saved = true;
	return 0;
}

/**
 * kexec_jump_processor_leave - restore the processor's state
 * @attempt:	as it ended
 *
 * After a jump kexec_jump_enter() has done it, before any other C code ran.
 */
void kexec_jump_processor_leave(struct kexec_jump_attempt *attempt)
{
	if (attempt->processor_saved)
		restore_processor_state();
	attempt->processor_saved = false;
}

/**
 * kexec_jump_enter_peer - jump, and come back
 * @attempt:	all steps have been entered; says afterwards how it came back
 *
 * On the boot CPU, the only one at work, with interrupts off.
 */
void kexec_jump_enter_peer(struct kexec_jump_attempt *attempt)
{
	struct kexec_jump *jump = attempt->image->jump;
	struct kexec_jump_header *header = kexec_jump_header(jump);

	kexec_jump_describe(jump);
	header->peer_status = KEXEC_JUMP_PEER_ALIVE;
	header->state = KEXEC_JUMP_AWAY;
	machine_kexec(attempt->image);
	attempt->processor_saved = false;
	attempt->from_image = header->state == KEXEC_JUMP_IMAGE;
	header->state = KEXEC_JUMP_RUNNING;
	kexec_jump_described(attempt->from_image);
	if (attempt->from_image) {
		kexec_jump_forget_preserved();
		return;
	}

	jump->peer_preserved = jump->next_entry != 0;
	if (jump->next_entry)
		jump->entry = jump->next_entry;
	if (header->peer_status == KEXEC_JUMP_PEER_DIED) {
		attempt->peer_died = true;
		strscpy(kexec_jump_report.peer_message, header->peer_message);
	}
}
