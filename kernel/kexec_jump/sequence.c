// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: the sequence from a running system to the jump and back.
 *
 * The sequence is a table of steps. Entering walks down the table, coming
 * back walks up; a step that fails has undone itself, and the walk up begins
 * above it. So there is one loop for each direction, and whatever concerns all
 * steps (timing, tracing, tests, faults) is said once.
 */
#include "internal.h"

#include <linux/delay.h>
#include <linux/freezer.h>
#include <linux/irqflags.h>
#include <linux/kernel.h>
#include <linux/kexec_jump_base.h>
#include <linux/nmi.h>
#include <linux/pm.h>
#include <linux/rcupdate.h>
#include <linux/reboot.h>
#include <linux/sched.h>
#include <linux/sched/clock.h>
#include <linux/suspend.h>
#include <linux/syscore_ops.h>

#include "../power/power.h"

#define CREATE_TRACE_POINTS
#include <trace/events/kexec_jump.h>

/* How long a pm_test level stays where it stopped, as in hibernation. */
#define TEST_SECONDS	5

struct kexec_jump_report kexec_jump_report;
/* Keeps the report and the loaded image in place while they are looked at. */
DEFINE_MUTEX(kexec_jump_lock);

/*
 * struct step - a part of the system that is put to rest
 * @name:	as shown to users
 * @enter:	put it to rest. On error everything is as before the call
 * @leave:	bring it back
 * @test_level:	the /sys/power/pm_test level that stops after this step
 * @abortable:	a wakeup event stops after this step. Not before tasks are
 *		frozen, which forgets the events that came before
 */
struct step {
	const char *name;
	int (*enter)(struct kexec_jump_attempt *attempt);
	void (*leave)(struct kexec_jump_attempt *attempt);
	int test_level;
	bool abortable;
};

/*
 * system_transition_mutex, the sleep lock, is held by reboot(2) around all of
 * this; hibernate_acquire() keeps users of /dev/snapshot away.
 */
static int notifiers_enter(struct kexec_jump_attempt *attempt)
{
	int error;

	if (!hibernate_acquire())
		return -EBUSY;
	error = pm_notifier_call_chain_robust(PM_HIBERNATION_PREPARE,
					      PM_POST_HIBERNATION);
	if (error)
		hibernate_release();
	return error;
}

static void notifiers_leave(struct kexec_jump_attempt *attempt)
{
	pm_notifier_call_chain(PM_POST_HIBERNATION);
	hibernate_release();
}

static int console_enter(struct kexec_jump_attempt *attempt)
{
	pm_prepare_console();
	return 0;
}

static void console_leave(struct kexec_jump_attempt *attempt)
{
	pm_restore_console();
}

/*
 * The peer may crash the machine: leave the disks in a good state. What is thawed then also
 * looks again at what it keeps of the firmware's.
 */
static int filesystems_enter(struct kexec_jump_attempt *attempt)
{
	int error = pm_sleep_fs_sync();

	if (!error)
		filesystems_freeze(filesystem_freeze_enabled);
	return error;
}

static void filesystems_leave(struct kexec_jump_attempt *attempt)
{
	filesystems_thaw();
}

static int tasks_enter(struct kexec_jump_attempt *attempt)
{
	int error = freeze_processes();

	if (!error)
		lock_device_hotplug();
	return error;
}

static void tasks_leave(struct kexec_jump_attempt *attempt)
{
	unlock_device_hotplug();
	thaw_processes();
}

/* Drivers allocate memory for what they move away: before threads that make room are frozen. */
static int prepare_enter(struct kexec_jump_attempt *attempt)
{
	int error = dpm_prepare(PMSG_FREEZE);

	if (error)
		dpm_complete(PMSG_RECOVER);
	return error;
}

static void prepare_leave(struct kexec_jump_attempt *attempt)
{
	dpm_complete(attempt->message);
}

static int kthreads_enter(struct kexec_jump_attempt *attempt)
{
	return freeze_kernel_threads();
}

static void kthreads_leave(struct kexec_jump_attempt *attempt)
{
	thaw_kernel_threads();
}

static void devices_leave(struct kexec_jump_attempt *attempt)
{
	dpm_resume(attempt->message);
	pm_restore_gfp_mask();
	console_resume_all();
}

static int devices_enter(struct kexec_jump_attempt *attempt)
{
	int error;

	console_suspend_all();
	pm_restrict_gfp_mask();
	error = dpm_suspend(PMSG_FREEZE);
	if (error) {
		attempt->message = PMSG_RECOVER;
		devices_leave(attempt);
	}
	return error;
}

static int late_devices_enter(struct kexec_jump_attempt *attempt)
{
	int error = dpm_suspend_end(PMSG_FREEZE);

	if (!error)
		kexec_jump_stop_devices();
	return error;
}

static void late_devices_leave(struct kexec_jump_attempt *attempt)
{
	if (attempt->peer_died)
		kexec_jump_reset_devices(attempt->peer_panicked);
	dpm_resume_start(attempt->message);
}

static int platform_enter(struct kexec_jump_attempt *attempt)
{
	return kexec_jump_acpi_enter();
}

static void platform_leave(struct kexec_jump_attempt *attempt)
{
	kexec_jump_acpi_leave(attempt->jumped);
}

static void cpus_leave(struct kexec_jump_attempt *attempt)
{
	pm_sleep_enable_secondary_cpus();
	/* CPUs that nosmt keeps offline wait for a startup IPI: back to their rest. */
	if (attempt->cpus_held && arch_resume_nosmt())
		pr_warn("not all CPUs that nosmt keeps offline are at rest\n");
}

static int cpus_enter(struct kexec_jump_attempt *attempt)
{
	int error;

	kexec_jump_describe_cpus();
	error = pm_sleep_disable_secondary_cpus();
	if (!error) {
		attempt->cpus_held = true;
		error = arch_kexec_jump_hold_cpus();
	}
	if (error)
		cpus_leave(attempt);
	return error;
}

static int interrupts_enter(struct kexec_jump_attempt *attempt)
{
	local_irq_disable();
	system_state = SYSTEM_SUSPEND;
	return 0;
}

static void interrupts_leave(struct kexec_jump_attempt *attempt)
{
	system_state = SYSTEM_RUNNING;
	local_irq_enable();
}

static int syscore_enter(struct kexec_jump_attempt *attempt)
{
	return syscore_suspend();
}

static void syscore_leave(struct kexec_jump_attempt *attempt)
{
	/* While the peer ran, the watchdogs' clocks may have gone on. */
	touch_softlockup_watchdog();
	rcu_cpu_stall_reset();
	syscore_resume();
}

static const struct step steps[] = {
	{ "notifiers",	  notifiers_enter,    notifiers_leave },
	{ "console",	  console_enter,      console_leave },
	{ "filesystems",  filesystems_enter,  filesystems_leave },
	{ "tasks",	  tasks_enter,	      tasks_leave,	  0, true },
	{ "watchdogs",	  kexec_jump_watchdogs_enter,
			  kexec_jump_watchdogs_leave,		  0, true },
	{ "prepare",	  prepare_enter,      prepare_leave,	  0, true },
	{ "memory",	  kexec_jump_memory_enter,
			  kexec_jump_memory_leave,		  0, true },
	{ "kthreads",	  kthreads_enter,     kthreads_leave,	  TEST_FREEZER, true },
	{ "devices",	  devices_enter,      devices_leave,	  TEST_DEVICES, true },
	{ "late-devices", late_devices_enter, late_devices_leave, 0, true },
	{ "platform",	  platform_enter,     platform_leave,	  TEST_PLATFORM, true },
	{ "cpus",	  cpus_enter,	      cpus_leave,	  TEST_CPUS, true },
	{ "interrupts",	  interrupts_enter,   interrupts_leave,	  0, true },
	{ "syscore",	  syscore_enter,      syscore_leave,	  TEST_CORE, true },
	{ "processor",	  kexec_jump_processor_enter,
			  kexec_jump_processor_leave,		  0, true },
	{ "description",  kexec_jump_describe, kexec_jump_described, 0, true },
};

static bool in_progress;

/* How long each step took last time, in ns: [0] going in, [1] coming back. */
static u64 step_ns[2][ARRAY_SIZE(steps)];

/**
 * kexec_jump_nr_steps - number of steps of the sequence
 *
 * Return: their number.
 */
unsigned int kexec_jump_nr_steps(void)
{
	return ARRAY_SIZE(steps);
}

/**
 * kexec_jump_step_name - name of a step
 * @step:	its number, below kexec_jump_nr_steps()
 *
 * Return: the name, a constant.
 */
const char *kexec_jump_step_name(unsigned int step)
{
	return steps[step].name;
}

/**
 * kexec_jump_step_ns - how long a step took in the last attempt
 * @step:	its number, below kexec_jump_nr_steps()
 * @leaving:	coming back rather than going in
 *
 * Return: nanoseconds, 0 if the step was not reached. Read under
 * kexec_jump_lock.
 */
u64 kexec_jump_step_ns(unsigned int step, bool leaving)
{
	return step_ns[leaving][step];
}

/* The clock of another CPU, or a clock set back, is no reason for nonsense. */
static u64 ns_since(u64 start)
{
	u64 now = sched_clock();

	return now > start ? now - start : 0;
}

static bool stopped_by_test(const struct step *step)
{
	int i;

	if (!step->test_level || pm_test_level != step->test_level)
		return false;
	pr_info("pm_test: stopped after step %s, going back in %d seconds\n",
		step->name, TEST_SECONDS);
	for (i = 0; i < TEST_SECONDS && !pm_wakeup_pending(); i++)
		mdelay(MSEC_PER_SEC);
	return true;
}

static int enter_step(unsigned int i, struct kexec_jump_attempt *attempt)
{
	u64 start = sched_clock();
	int error;

	trace_kexec_jump_step(steps[i].name, false, true, 0);
	error = steps[i].enter(attempt);
	trace_kexec_jump_step(steps[i].name, false, false, error);
	step_ns[0][i] = ns_since(start);
	return error;
}

static void leave_step(unsigned int i, struct kexec_jump_attempt *attempt)
{
	u64 start = sched_clock();

	trace_kexec_jump_step(steps[i].name, true, true, 0);
	steps[i].leave(attempt);
	trace_kexec_jump_step(steps[i].name, true, false, 0);
	step_ns[1][i] = ns_since(start);
}

/* Why not to go on after a step that has been entered. */
static int reason_to_stop(const struct step *step)
{
	if (kexec_jump_should_fail(step->name))
		return -EIO;
	if (step->abortable && pm_wakeup_pending())
		return -EBUSY;
	return 0;
}

/* Walk down the steps. @entered says how far; the report, where that ended if it did. */
static int walk_down(struct kexec_jump_attempt *attempt, unsigned int *entered)
{
	struct kexec_jump_report *report = &kexec_jump_report;
	int error = 0;

	while (*entered < ARRAY_SIZE(steps)) {
		const struct step *step = &steps[*entered];

		error = enter_step(*entered, attempt);
		if (!error) {
			(*entered)++;
			error = reason_to_stop(step);
			report->test = !error && stopped_by_test(step);
		}
		if (error || report->test) {
			report->step = step->name;
			/* Nor after a test: PMSG_THAW would bring back what writes an image. */
			if (!attempt->jumped)
				attempt->message = PMSG_RECOVER;
			break;
		}
	}
	return error;
}

static void walk_up(struct kexec_jump_attempt *attempt, unsigned int *entered,
		    unsigned int to)
{
	while (*entered > to)
		leave_step(--*entered, attempt);
}

/*
 * Between two jumps devices and other CPUs rest on. Only what this kernel needs to look
 * at the next one is brought back: system devices, and interrupts on the boot CPU.
 */
static unsigned int nr_steps_that_stay(void)
{
	unsigned int i = 0;

	while (i < ARRAY_SIZE(steps) && steps[i].enter != interrupts_enter)
		i++;
	return i;
}

/*
 * Walk down the steps, into the peer if none of them objects, and up again; or into it
 * once more, or on to another one, if that was asked for. Returns how the attempt ended
 * and leaves the details in the report.
 */
static int run_sequence(struct kexec_jump_attempt *attempt)
{
	struct kexec_jump_report *report = &kexec_jump_report;
	struct kimage *next;
	unsigned int entered = 0;
	int error;

	for (;;) {
		error = walk_down(attempt, &entered);
		if (report->step)
			break;
		kexec_jump_enter_peer(attempt);
		attempt->message = PMSG_RESTORE;
		attempt->jumped = true;
		report->jumps++;
		events_check_enabled = false;

		next = kexec_jump_next(attempt);
		if (!next)
			break;
		walk_up(attempt, &entered, nr_steps_that_stay());
		cond_resched();
		error = kexec_jump_turn_to(attempt, next);
		if (error) {
			report->step = "check";
			break;
		}
	}

	walk_up(attempt, &entered, 0);
	return error;
}

/**
 * kexec_jump_in_progress - is a jump being made?
 *
 * Any context. The kexec lock is held meanwhile, and CPUs go and come back.
 *
 * Return: whether one is.
 */
bool kexec_jump_in_progress(void)
{
	return READ_ONCE(in_progress);
}

/**
 * kexec_jump_execute - jump to the peer, again or to others if asked for, and come back
 * @image:	the loaded context-preserving image
 *
 * Called by reboot(2) in process context with the sleep lock and the kexec
 * lock held. When it returns, the system runs as before the call, whatever the
 * result; only if the peer has died its image is freed, or, if this kernel was resumed
 * from an image, those of all peers, as there is nothing left to jump to.
 *
 * Return: 0 after a jump and back (or a pm_test), -EINVAL if the image is held, -EBUSY
 * if a wakeup event was pending or hibernation is going on, -EOWNERDEAD if the peer
 * panicked, the errors of kexec_jump_plan(), kexec_jump_check_target() and
 * kexec_jump_turn_to(), or the error of the step that failed.
 */
int kexec_jump_execute(struct kimage *image)
{
	struct kexec_jump_report *report = &kexec_jump_report;
	struct kexec_jump_attempt attempt = { .image = image };
	unsigned long before = report->jumps;
	int error;

	if (kexec_jump_image_held(image)) {
		pr_notice("not jumped: the loaded image is held (/sys/kernel/kexec_jump/held)\n");
		return -EINVAL;
	}
	/* Not held while tasks are frozen: its waiters could not be. */
	mutex_lock(&kexec_jump_lock);
	report->attempts++;
	report->error = 0;
	report->step = NULL;
	report->test = false;
	report->from_image = false;
	report->peer_died = false;
	memset(step_ns, 0, sizeof(step_ns));

	error = kexec_jump_plan(&attempt) ?: kexec_jump_check_target(image);
	if (error) {
		report->step = "check";
		report->error = error;
	}
	mutex_unlock(&kexec_jump_lock);
	if (error)
		return error;

	WRITE_ONCE(in_progress, true);
	if (kexec_jump_is_call(image)) {
		error = kexec_jump_call(&attempt);
		report->step = error ? "call" : NULL;
	} else {
		pm_suspend_clear_flags();
		error = run_sequence(&attempt);
	}
	WRITE_ONCE(in_progress, false);
	mutex_lock(&kexec_jump_lock);
	report->peer_died = attempt.peer_died;
	report->from_image = attempt.from_image;
	if (report->peer_died)
		error = -EOWNERDEAD;
	report->error = error;
	mutex_unlock(&kexec_jump_lock);
	if (report->peer_died) {
		pr_err("the peer died: %s\n", report->peer_message);
		pr_err("its image is unloaded, load one again to jump\n");
		kexec_jump_unload(attempt.image);
	} else if (report->from_image) {
		pr_info("resumed from an image; the peer was not part of it and is unloaded\n");
		kexec_jump_unload(NULL);
	} else if (error && report->jumps != before) {
		pr_err("no jump after %lu: step %s: error %d\n", report->jumps - before,
		       report->step, error);
	} else if (error) {
		pr_err("not jumped: step %s: error %d\n", report->step, error);
	} else if (kexec_jump_is_call(image)) {
		pr_debug("back from the program, jump %lu\n", report->jumps);
	} else if (!report->test) {
		pr_info("back from the peer, jump %lu\n", report->jumps);
	}
	return error;
}
