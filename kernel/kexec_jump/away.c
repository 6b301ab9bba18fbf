// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: this kernel leaves, and what it finds when it is back.
 */
#include "internal.h"

#include <linux/ctype.h>
#include <linux/string.h>
#include <linux/suspend.h>

/*
 * What may have changed since it was loaded: memory that fails, is taken away, or is
 * added, which a kernel that does not know of it would not save.
 */
static int check_memory(struct kexec_jump *jump)
{
	if (jump->may_look && kexec_jump_outgrown(jump)) {
		pr_err("memory was added since the other kernel was loaded, and it does not know of it: load it again\n");
		return -ESTALE;
	}
	return kexec_jump_recheck_window(jump);
}

/**
 * kexec_jump_check_target - can the next jump go where it is meant to go?
 * @image:	what is loaded
 *
 * Return: 0, or with a message the errors of kexec_jump_check_entry(), of
 * kexec_jump_check_ranges(), of kexec_jump_check_call() and of
 * kexec_jump_recheck_window(), or -ESTALE if it does not know all of this kernel's
 * memory.
 */
int kexec_jump_check_target(struct kimage *image)
{
	return check_memory(image->jump) ?: kexec_jump_check_entry(image->jump) ?:
	       kexec_jump_check_ranges(image->jump) ?: kexec_jump_check_call(image->jump);
}

static bool anybody_may_look(void)
{
	unsigned int n;

	for (n = 0; n <= KEXEC_JUMP_MAX_PEERS; n++) {
		const struct kimage *image = kexec_jump_image(n);

		if (image && image->jump->may_look)
			return true;
	}
	return false;
}

/*
 * Is this kernel to be described? It takes time, with interrupts off, for each page
 * there is, so not to a program, which cannot ask. And not when all that memory must
 * not be seen.
 */
static bool may_be_shown(const struct kexec_jump *jump)
{
	if (!anybody_may_look())
		return false;
	if (hibernation_available())
		return true;
	if (jump->may_look)
		pr_notice("what forbids hibernation (nohibernate, lockdown, memfd_secret(2), or CXL memory in use) forbids to show this kernel's memory to the peer\n");
	return false;
}

static int describe_prepare(const struct kexec_jump *jump)
{
	int error = kexec_jump_describe_prepare();

	if (!error || jump->may_look)
		return error;
	/* It would be for the next one, if any. */
	kexec_jump_describe_cleanup();
	return 0;
}

/**
 * kexec_jump_tell - write into the header what the peer is told
 * @jump:	the jump to be made; kexec_jump_share() was called
 *
 * Process context, kexec lock held. A description of this kernel follows when nothing of
 * it changes any more. All else is written anew, too: a peer may have damaged it.
 */
void kexec_jump_tell(struct kexec_jump *jump)
{
	struct kexec_jump_header *header = kexec_jump_header(jump);

	kexec_jump_complete(jump);
	kexec_jump_tell_names(jump);
	kexec_jump_tell_shared(header);
	header->description = 0;
	kexec_jump_seal_header(header);
}

/**
 * kexec_jump_memory_enter - allocate what peers are told about this kernel
 * @attempt:	a jump is to be made
 *
 * Process context, tasks frozen, devices at work, and there is still a kswapd:
 * who allocates when memory is short may wait for it without end. It is enough for
 * all peers that there are: one may lead to the next.
 *
 * Return: 0, -ENOMEM, or what has become of the memory meanwhile.
 */
int kexec_jump_memory_enter(struct kexec_jump_attempt *attempt)
{
	struct kexec_jump *jump = attempt->image->jump;
	int error;

	/* From here on memory is not added, and nobody gives any away. */
	error = check_memory(jump);
	if (error)
		return error;
	if (!kexec_jump_is_told(jump))
		return 0;
	error = kexec_jump_share();
	if (!error && may_be_shown(jump))
		error = describe_prepare(jump);
	if (error)
		kexec_jump_memory_leave(attempt);
	else
		kexec_jump_tell(jump);
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
	if (attempt->jumped)
		kexec_jump_close_views();
	kexec_jump_describe_cleanup();
	kexec_jump_unshare(attempt->from_image);
}

/**
 * kexec_jump_turn_to - there is another jump to be made
 * @attempt:	it came back from a peer
 * @next:	the image of the next one, or the same
 *
 * Process context. Either it is the boot CPU, the only one at work, devices suspended;
 * or the image is a program that is called while they work.
 *
 * Return: 0, or with a message the errors of kexec_jump_check_target(), -EINVAL if the
 * image is held, or -EPERM if nobody comes back from there: that is no peer's to decide.
 */
int kexec_jump_turn_to(struct kexec_jump_attempt *attempt, struct kimage *next)
{
	int error = kexec_jump_check_target(next);

	attempt->image = next;
	attempt->next_number = 0;
	if (error)
		return error;
	if (kexec_jump_image_held(next)) {
		pr_err("the next peer is held (/sys/kernel/kexec_jump/held)\n");
		return -EINVAL;
	}
	if (next->jump->from_image) {
		pr_err("the next peer is an image of another kernel, in which this one would be lost\n");
		return -EPERM;
	}
	if (kexec_jump_is_told(next->jump))
		kexec_jump_tell(next->jump);
	return 0;
}

/**
 * kexec_jump_processor_enter - save the processor's state
 * @attempt:	a jump is to be made
 *
 * On the boot CPU, the only one at work, with interrupts off.
 *
 * Return: 0, or the error of arch_kexec_jump_check_processor()
 */
int kexec_jump_processor_enter(struct kexec_jump_attempt *attempt)
{
	int error = arch_kexec_jump_check_processor();

	if (error)
		return error;
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

/* Whoever wrote them, with an end or not, they are one line of text for log and sysfs. */
static void note_last_words(const char *message)
{
	char *to = kexec_jump_report.peer_message;

	strscpy(to, message, sizeof_field(struct kexec_jump_header, peer_message));
	for (; *to; to++)
		if (!isascii(*to) || !isprint(*to))
			*to = '?';
}

/* The kernel that jumped here does the rest. */
static void ask_for_next(const struct kexec_jump_attempt *attempt)
{
	struct kexec_jump_header *preserved;

	if (!attempt->next_number)
		return;
	preserved = kexec_jump_preserved_now();
	if (preserved)
		preserved->next_number = attempt->next_number;
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

	header->peer_status = KEXEC_JUMP_PEER_ALIVE;
	header->state = KEXEC_JUMP_AWAY;
	ask_for_next(attempt);
	machine_kexec(attempt->image);
	attempt->processor_saved = false;
	attempt->from_image = header->state == KEXEC_JUMP_IMAGE;
	header->state = KEXEC_JUMP_RUNNING;
	if (attempt->from_image) {
		kexec_jump_acpi_resumed();
		kexec_jump_forget_preserved();
		return;
	}

	attempt->next_number = header->next_number;
	jump->peer_preserved = jump->next_entry != 0;
	if (jump->next_entry)
		jump->entry = jump->next_entry;
	if (arch_kexec_jump_fault(jump, kexec_jump_report.peer_message,
				  sizeof(kexec_jump_report.peer_message))) {
		attempt->peer_died = true;
	} else if (header->peer_status != KEXEC_JUMP_PEER_ALIVE) {
		attempt->peer_died = true;
		attempt->peer_panicked = header->peer_status == KEXEC_JUMP_PEER_DIED;
		note_last_words(header->peer_message);
	}
}
