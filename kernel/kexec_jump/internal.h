/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump: what its files share.
 */
#ifndef KEXEC_JUMP_INTERNAL_H
#define KEXEC_JUMP_INTERNAL_H

/* Prefix of every message, so that a user can grep for them. */
#ifndef pr_fmt
#define pr_fmt(fmt) "kexec_jump: " fmt
#endif

#include <linux/kexec.h>
#include <linux/kexec_jump.h>
#include <linux/kexec_jump_abi.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pm.h>

#include "../kexec_internal.h"

/* --- sequence.c --- */

/**
 * struct kexec_jump_report - what is known about the jumps of this kernel
 * @jumps:	jumps that left this kernel and came back
 * @attempts:	calls of kexec_jump_execute()
 * @error:	result of the last attempt: 0 or a negative errno
 * @step:	name of the step at which the last attempt stopped, or NULL if it
 *		reached the peer
 * @test:	the last attempt was stopped by /sys/power/pm_test
 * @from_image:	the last attempt came back because this kernel was resumed from
 *		an image of it
 * @peer_died:	the last attempt came back because the peer panicked
 * @peer_message: what the peer said when it died
 *
 * Written under the kexec lock; readers hold kexec_jump_lock and may see an
 * attempt half done only if it is going on.
 */
struct kexec_jump_report {
	unsigned long jumps;
	unsigned long attempts;
	int error;
	const char *step;
	bool test;
	bool from_image;
	bool peer_died;
	char peer_message[256];
};

extern struct kexec_jump_report kexec_jump_report;

/* Of one reboot(2). Nothing else runs until all of them are over. */
#define KEXEC_JUMP_MAX_TIMES	10000

/* Nests inside the kexec lock. An image is not freed while it is held. */
extern struct mutex kexec_jump_lock;

/**
 * struct kexec_jump_attempt - a call of kexec_jump_execute(), while it lasts
 * @image:	what is jumped to
 * @message:	what devices are resumed with: depends on why the way leads back
 * @jumped:	it reached a peer, and came back
 * @cpus_held:	offline CPUs were made to wait for a startup IPI
 * @processor_saved: the processor's state is to be restored
 * @peer_died:	the peer came back because it panicked, or by an exception
 * @peer_panicked: it is a kernel that panicked, and stopped the DMA of its devices
 * @from_image:	this kernel came back from an image of it
 * @more_times:	how many more times @image is to be jumped to
 * @next_number: the peer that is to run next: before the jump, which one this kernel
 *		asks for where it jumps back to; after it, what the peer asked for. 0: none
 */
struct kexec_jump_attempt {
	struct kimage *image;
	pm_message_t message;
	bool jumped;
	bool cpus_held;
	bool processor_saved;
	bool peer_died;
	bool peer_panicked;
	bool from_image;
	unsigned int more_times;
	u32 next_number;
};

unsigned int kexec_jump_nr_steps(void);
const char *kexec_jump_step_name(unsigned int step);
u64 kexec_jump_step_ns(unsigned int step, bool leaving);

/* --- notify.c --- */
int kexec_jump_watchdogs_enter(struct kexec_jump_attempt *attempt);
void kexec_jump_watchdogs_leave(struct kexec_jump_attempt *attempt);

/* --- fault.c --- */

#ifdef CONFIG_KEXEC_JUMP_DEBUG
bool kexec_jump_should_fail(const char *step);
#else
static inline bool kexec_jump_should_fail(const char *step) { return false; }
#endif

#ifdef CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE

#include <linux/kexec_jump_arch.h>

/* Mark of pages in kexec_jump.backup */
#define KEXEC_JUMP_EMPTY	XA_MARK_1

/* --- ranges.c --- */
int kexec_jump_ranges_reserve(struct kexec_jump_ranges *ranges);
void kexec_jump_ranges_append(struct kexec_jump_ranges *ranges, u64 start, u64 end);
int kexec_jump_ranges_add(struct kexec_jump_ranges *ranges, u64 start, u64 end);
bool kexec_jump_ranges_hold(const struct kexec_jump_ranges *ranges, u64 start, u64 end);
bool kexec_jump_ranges_touch(const struct kexec_jump_ranges *ranges, u64 start, u64 end);
void kexec_jump_ranges_free(struct kexec_jump_ranges *ranges);

/* --- pages.c --- */
unsigned long kexec_jump_available(void);
void kexec_jump_pool_init(struct kexec_jump_pool *pool,
			  const struct kexec_jump_ranges *window);
int kexec_jump_take_page(struct kexec_jump_pool *pool, gfp_t gfp,
			 struct list_head *pages);
struct page *kexec_jump_alloc_outside(struct kexec_jump_pool *pool, gfp_t gfp,
				      struct list_head *pages);
void kexec_jump_free_pages(struct list_head *pages);
void kexec_jump_free_unusable(struct kexec_jump_pool *pool);

/* --- list.c --- */
void kexec_jump_list_init(struct kexec_jump_list *list);
int kexec_jump_list_alloc(struct kexec_jump_pool *pool,
			  struct kexec_jump_list *list, unsigned long entries);
void kexec_jump_list_add(struct kexec_jump_list *list, unsigned long entry);
void kexec_jump_list_free(struct kexec_jump_list *list);

/* --- claim.c --- */
#ifdef CONFIG_CONTIG_ALLOC
int kexec_jump_claim(struct kexec_jump *jump);
#else
static inline int kexec_jump_claim(struct kexec_jump *jump) { return 0; }
#endif

/* --- window.c --- */
bool kexec_jump_window_holds(const struct kexec_jump *jump, u64 start, u64 end);
struct page *kexec_jump_page_to_fill(struct kexec_jump *jump, u64 addr);
int kexec_jump_walk_ram(u64 start, u64 end,
			int (*visit)(unsigned long pfn, unsigned long nr_pages,
				     void *arg), void *arg);
bool kexec_jump_memory_failed(void);
int kexec_jump_check_window(struct kexec_jump *jump);
int kexec_jump_recheck_window(struct kexec_jump *jump);
int kexec_jump_move_backups(struct kexec_jump *jump);
int kexec_jump_back_window(struct kexec_jump *jump);
int kexec_jump_add_claimed(struct kexec_jump *jump, unsigned long pfn, unsigned long nr);
int kexec_jump_make_map(struct kexec_jump *jump);
void kexec_jump_free_window(struct kexec_jump *jump);

/* --- jump.c --- */
struct kexec_jump *kexec_jump_create(unsigned long entry);
int kexec_jump_prepare(struct kexec_jump *jump);
void kexec_jump_complete(struct kexec_jump *jump);
void kexec_jump_destroy(struct kexec_jump *jump);
bool kexec_jump_outgrown(const struct kexec_jump *jump);
int kexec_jump_check_call(struct kexec_jump *jump);
int kexec_jump_hold(bool hold);

static inline bool kexec_jump_image_held(const struct kimage *image)
{
	return image->jump->held;
}

/* --- names.c --- */
ssize_t kexec_jump_show_choice(char *buf);
int kexec_jump_choose(char *name);
struct kimage *kexec_jump_image(unsigned int n);
bool kexec_jump_in_any_window(u64 addr);
extern struct kexec_jump_pool kexec_jump_outside_all;
struct kexec_jump *kexec_jump_loaded(void);
int kexec_jump_plan(struct kexec_jump_attempt *attempt);
void kexec_jump_tell_names(struct kexec_jump *jump);
struct kimage *kexec_jump_next(struct kexec_jump_attempt *attempt);
void kexec_jump_unload(const struct kimage *image);
ssize_t kexec_jump_list_peers(char *buf);

/* --- unfinished.c --- */
struct kexec_jump *kexec_jump_take_unfinished(void);
int kexec_jump_keep_unfinished(struct kexec_jump *jump, bool first);
void kexec_jump_end_load(void);

/* --- header.c --- */
void kexec_jump_write_header(struct kexec_jump *jump);
void kexec_jump_seal_header(struct kexec_jump_header *header);
struct kexec_jump_header *kexec_jump_header(const struct kexec_jump *jump);
int kexec_jump_check_header(const struct kexec_jump_header *header, u64 entry,
			    u32 state);
int kexec_jump_check_ranges(const struct kexec_jump *jump);
int kexec_jump_check_entry(struct kexec_jump *jump);

/* --- describe.c --- */
int kexec_jump_describe_prepare(void);
void kexec_jump_describe_cpus(void);
int kexec_jump_describe(struct kexec_jump_attempt *attempt);
void kexec_jump_described(struct kexec_jump_attempt *attempt);
void kexec_jump_describe_cleanup(void);

/* --- shared.c --- */
int kexec_jump_share(void);
void kexec_jump_tell_shared(struct kexec_jump_header *header);
void kexec_jump_unshare(bool from_image);
bool kexec_jump_shared_page(unsigned long n, unsigned long *pfn);
int kexec_jump_shared_init(struct kobject *dir);

/* --- away.c --- */
/* A kernel that is jumped back to, or that comes from an image, does not ask. */
static inline bool kexec_jump_is_told(const struct kexec_jump *jump)
{
	return jump->nr_pages && !jump->from_image;
}

int kexec_jump_check_target(struct kimage *image);
int kexec_jump_memory_enter(struct kexec_jump_attempt *attempt);
void kexec_jump_memory_leave(struct kexec_jump_attempt *attempt);
void kexec_jump_tell(struct kexec_jump *jump);
int kexec_jump_turn_to(struct kexec_jump_attempt *attempt, struct kimage *next);
int kexec_jump_processor_enter(struct kexec_jump_attempt *attempt);
void kexec_jump_processor_leave(struct kexec_jump_attempt *attempt);
void kexec_jump_enter_peer(struct kexec_jump_attempt *attempt);

/* --- dma.c --- */
void kexec_jump_stop_devices(void);
void kexec_jump_reset_devices(bool stopped_before);

/* --- call.c --- */
static inline bool kexec_jump_is_call(const struct kimage *image)
{
	return image->jump->no_devices;
}

int kexec_jump_call(struct kexec_jump_attempt *attempt);

/* --- peer/memory.c --- */
int kexec_jump_reach(unsigned long start, unsigned long end);
bool kexec_jump_reachable(unsigned long pfn);
void *kexec_jump_map_run(unsigned long pfn, unsigned long *nr);
void *kexec_jump_map_preserved(unsigned long pfn);
void kexec_jump_unmap_preserved(void *address);
long kexec_jump_follow_list(u64 list, u64 max,
			    int (*visit)(void *arg, unsigned long n,
					 unsigned long pfn,
					 unsigned long destination),
			    void *arg);

/* --- peer/shared.c --- */
long kexec_jump_their_pages(const struct kexec_jump_header *header);
void *kexec_jump_map_their_page(unsigned long n);

/* --- peer/vmcore.c --- */
#ifdef CONFIG_PROC_FS
void kexec_jump_close_views(void);
#else
static inline void kexec_jump_close_views(void) { }
#endif

/* --- peer/judge.c --- */
bool kexec_jump_is_own(unsigned long pfn);
bool kexec_jump_alike(const struct kexec_jump_header *header);
const char *kexec_jump_judge(const struct kexec_jump_header *header);

/* --- peer/panic.c --- */
void kexec_jump_panic_early(u64 entry);
void kexec_jump_prepare_panic(unsigned long entry);

/* --- peer/boot.c --- */
const struct kexec_jump_header *kexec_jump_preserved_kernel(void);
struct kexec_jump_header *kexec_jump_preserved_now(void);
void kexec_jump_forget_preserved(void);

#else

/* The architecture does all of it in machine_kexec(). */
static inline bool kexec_jump_image_held(const struct kimage *image) { return false; }
static inline int kexec_jump_plan(struct kexec_jump_attempt *attempt) { return 0; }
static inline void kexec_jump_unload(const struct kimage *image)
{
	kimage_free(xchg(&kexec_image, NULL));
}

static inline struct kimage *kexec_jump_next(struct kexec_jump_attempt *attempt)
{
	return NULL;
}

static inline int kexec_jump_check_target(struct kimage *image) { return 0; }
static inline int kexec_jump_memory_enter(struct kexec_jump_attempt *attempt) { return 0; }
static inline void kexec_jump_memory_leave(struct kexec_jump_attempt *attempt) { }
static inline int kexec_jump_turn_to(struct kexec_jump_attempt *attempt, struct kimage *next)
{
	return -EINVAL;
}

static inline void kexec_jump_describe_cpus(void) { }
static inline int kexec_jump_describe(struct kexec_jump_attempt *attempt) { return 0; }
static inline void kexec_jump_described(struct kexec_jump_attempt *attempt) { }
static inline void kexec_jump_stop_devices(void) { }
static inline void kexec_jump_reset_devices(bool stopped_before) { }
static inline int arch_kexec_jump_hold_cpus(void) { return 0; }
static inline int kexec_jump_processor_enter(struct kexec_jump_attempt *attempt) { return 0; }
static inline void kexec_jump_processor_leave(struct kexec_jump_attempt *attempt) { }
static inline void kexec_jump_enter_peer(struct kexec_jump_attempt *attempt)
{
	machine_kexec(attempt->image);
}

static inline bool kexec_jump_is_call(const struct kimage *image) { return false; }
static inline int kexec_jump_call(struct kexec_jump_attempt *attempt) { return -EINVAL; }

#endif /* CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE */

#endif /* KEXEC_JUMP_INTERNAL_H */
