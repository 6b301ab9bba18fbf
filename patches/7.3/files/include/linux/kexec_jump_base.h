/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump: what earlier kernels call otherwise, or have elsewhere.
 */
#ifndef LINUX_KEXEC_JUMP_BASE_H
#define LINUX_KEXEC_JUMP_BASE_H

#include <linux/console.h>
#include <linux/sysfs.h>

/* What the operations of a binary attribute are given of it */
#define kexec_jump_bin_attr	const struct bin_attribute

#ifdef CONFIG_X86
#include <asm/cpuid/api.h>
#include <asm/msr.h>
#include <asm/virt.h>
#endif

#endif /* LINUX_KEXEC_JUMP_BASE_H */
