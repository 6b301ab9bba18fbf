/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump: kexec that comes back. What the rest of the kernel calls.
 */
#ifndef LINUX_KEXEC_JUMP_H
#define LINUX_KEXEC_JUMP_H

#include <linux/errno.h>
#include <linux/init.h>
#include <linux/types.h>

struct kexec_segment;
struct kimage;

#ifdef CONFIG_KEXEC_JUMP
int kexec_jump_execute(struct kimage *image);
#else
static inline int kexec_jump_execute(struct kimage *image) { return -EOPNOTSUPP; }
#endif

/* Only called with CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE */
struct kimage *kexec_jump_load(unsigned long entry, unsigned long nr_segments,
			       struct kexec_segment *segments,
			       unsigned long flags);
bool kexec_jump_free_image(struct kimage *image);

#ifdef CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE
int kexec_jump_check_flags(unsigned long flags);
void kexec_jump_load_refused(unsigned long flags);
void kexec_jump_enter(struct kimage *image);
bool kexec_jump_may_continue(unsigned long flags);
int kexec_jump_begin_load(unsigned long flags);
void kexec_jump_abandon_load(unsigned long flags);
void kexec_jump_panic(const char *message);
void __init kexec_jump_confine_memory(void);
#else
static inline int kexec_jump_check_flags(unsigned long flags) { return 0; }
static inline void kexec_jump_load_refused(unsigned long flags) { }
static inline void kexec_jump_enter(struct kimage *image) { }
static inline bool kexec_jump_may_continue(unsigned long flags) { return false; }
static inline int kexec_jump_begin_load(unsigned long flags) { return 0; }
static inline void kexec_jump_abandon_load(unsigned long flags) { }
static inline void kexec_jump_panic(const char *message) { }
static inline void kexec_jump_confine_memory(void) { }
#endif

#endif /* LINUX_KEXEC_JUMP_H */
