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
struct notifier_block;

/*
 * Events for drivers of hardware that goes on by itself while another kernel runs,
 * which has no driver for it: at the first it is stopped, or the jump is refused.
 */
#define KEXEC_JUMP_PREPARE	1	/* a jump is to be made; may fail */
#define KEXEC_JUMP_DONE		2	/* it is over, or was not made */
#define KEXEC_JUMP_DEAD_PEER	3	/* it is over; what the peer used, nobody has stopped */

#ifdef CONFIG_KEXEC_JUMP
int kexec_jump_execute(struct kimage *image);
bool kexec_jump_in_progress(void);
int register_kexec_jump_notifier(struct notifier_block *block);
int unregister_kexec_jump_notifier(struct notifier_block *block);
#else
static inline int register_kexec_jump_notifier(struct notifier_block *block) { return 0; }
static inline int unregister_kexec_jump_notifier(struct notifier_block *block) { return 0; }
static inline bool kexec_jump_in_progress(void) { return false; }
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
struct kimage **kexec_jump_place(struct kimage **unnamed, unsigned long flags,
				 unsigned long nr_segments);
void kexec_jump_tidy_places(void);
struct kimage *kexec_jump_meant(struct kimage *unnamed);
int kexec_jump_would_run(struct kimage **unnamed);
void kexec_jump_panic(const char *message);
bool kexec_jump_may_crash(void);
bool kexec_jump_may_add_memory(u64 start, u64 size);
bool kexec_jump_may_eject(const char *name);
void __init kexec_jump_confine_memory(void);
void __init kexec_jump_confine_hotplug(void);
#else
static inline int kexec_jump_check_flags(unsigned long flags) { return 0; }
static inline void kexec_jump_load_refused(unsigned long flags) { }
static inline void kexec_jump_enter(struct kimage *image) { }
static inline bool kexec_jump_may_continue(unsigned long flags) { return false; }
static inline int kexec_jump_begin_load(unsigned long flags) { return 0; }
static inline void kexec_jump_abandon_load(unsigned long flags) { }
static inline struct kimage **kexec_jump_place(struct kimage **unnamed, unsigned long flags,
					       unsigned long nr_segments)
{
	return unnamed;
}

static inline void kexec_jump_tidy_places(void) { }
static inline struct kimage *kexec_jump_meant(struct kimage *unnamed) { return unnamed; }
static inline int kexec_jump_would_run(struct kimage **unnamed) { return !!*unnamed; }
static inline void kexec_jump_panic(const char *message) { }
static inline bool kexec_jump_may_crash(void) { return kexec_jump_in_progress(); }
static inline bool kexec_jump_may_add_memory(u64 start, u64 size) { return true; }
static inline bool kexec_jump_may_eject(const char *name) { return true; }
static inline void kexec_jump_confine_memory(void) { }
static inline void kexec_jump_confine_hotplug(void) { }
#endif

#if defined(CONFIG_KEXEC_JUMP) && defined(CONFIG_ACPI_SLEEP)
int kexec_jump_acpi_enter(void);
void kexec_jump_acpi_leave(bool jumped);
void kexec_jump_acpi_resumed(void);
#else
static inline int kexec_jump_acpi_enter(void) { return 0; }
static inline void kexec_jump_acpi_leave(bool jumped) { }
static inline void kexec_jump_acpi_resumed(void) { }
#endif

#endif /* LINUX_KEXEC_JUMP_H */
