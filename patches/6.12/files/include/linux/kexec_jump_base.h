/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump: what later kernels call otherwise, or have elsewhere.
 */
#ifndef LINUX_KEXEC_JUMP_BASE_H
#define LINUX_KEXEC_JUMP_BASE_H

#include <linux/console.h>
#include <linux/suspend.h>
#include <linux/sysfs.h>

/* Of alloc_contig_range(): nothing special */
#define ACR_FLAGS_NONE		MIGRATE_MOVABLE

#define page_has_movable_ops	__PageMovable

#define console_suspend_all	suspend_console
#define console_resume_all	resume_console

/* No file system is frozen, and nobody waits for a wakeup event meanwhile. */
#define filesystem_freeze_enabled	false
static inline void filesystems_freeze(bool all) {}
static inline void filesystems_thaw(void) {}

static inline int pm_sleep_fs_sync(void)
{
	ksys_sync_helper();
	return 0;
}

/* What the operations of a binary attribute are given of it */
#define kexec_jump_bin_attr	struct bin_attribute

#ifdef CONFIG_X86
#include <asm/cpuid.h>
#include <asm/msr.h>
#include <asm/reboot.h>

#define rdmsrq			rdmsrl
#define rdmsrq_safe		rdmsrl_safe
#define wrmsrq			wrmsrl
#define wrmsrq_safe		wrmsrl_safe

#define x86_virt_emergency_disable_virtualization_cpu	cpu_emergency_disable_virtualization
#endif

#endif /* LINUX_KEXEC_JUMP_BASE_H */
