// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Calling while devices work
 *
 * A program that uses no devices can be called while they stay at work, in a small
 * part of the time: an image that is loaded with KEXEC_NO_DEVICES. All of its window
 * must be claimed: then nothing is exchanged, and no device can know of its memory,
 * so that there is nothing to be put to rest but the CPUs. They wait, with interrupts
 * off, as for other work that wants the machine alone; the program runs on the boot
 * CPU, and what it takes long for waits that long. The low memory that is added for
 * other images on x86 is not there for it, and interrupt controllers are as the kernel
 * uses them: it must not switch interrupts on. If it dies of an exception, that is
 * told as usual, and nobody has to reset a device.
 *
 * If part of the window is in use by the kernel and cannot be moved, or if what is
 * loaded is a kernel, the load is refused.
 */
#include "internal.h"

#include <linux/clocksource.h>
#include <linux/cpu.h>
#include <linux/cpumask.h>
#include <linux/nmi.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/sched/signal.h>
#include <linux/stop_machine.h>

/* On the boot CPU. All others spin, interrupts are off everywhere. */
static int call_alone(void *data)
{
	struct kexec_jump_attempt *attempt = data;
	int error = kexec_jump_processor_enter(attempt);

	if (error)
		return error;
	kexec_jump_enter_peer(attempt);
	kexec_jump_processor_leave(attempt);
	/* Whoever watches for progress has seen none. */
	touch_softlockup_watchdog();
	clocksource_touch_watchdog();
	rcu_cpu_stall_reset();
	return 0;
}

/**
 * kexec_jump_call - call a program while devices are at work
 * @attempt:	of an image with KEXEC_NO_DEVICES; says afterwards how it came back
 *
 * Process context, kexec lock held. Others are at work until the program runs: they
 * must not change the shared memory meanwhile.
 *
 * Return: 0, -ENOMEM, the errors of kexec_jump_processor_enter(), or in a series those of
 * kexec_jump_turn_to(), or -EINTR after a fatal signal.
 */
int kexec_jump_call(struct kexec_jump_attempt *attempt)
{
	int error;

	cpus_read_lock();
	mutex_lock(&kexec_jump_lock);
	error = kexec_jump_share();
	if (!error)
		kexec_jump_tell(attempt->image->jump);
	while (!error) {
		error = stop_machine_cpuslocked(call_alone, attempt,
						cpumask_of(cpumask_first(cpu_online_mask)));
		kexec_jump_report.jumps += !error;
		if (error || attempt->peer_died || !attempt->more_times--)
			break;
		cond_resched();
		error = fatal_signal_pending(current) ? -EINTR :
			kexec_jump_turn_to(attempt, attempt->image);
	}
	kexec_jump_unshare(false);
	mutex_unlock(&kexec_jump_lock);
	cpus_read_unlock();
	return error;
}
