/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump: what its files share, and what an architecture provides.
 */
#ifndef KEXEC_JUMP_INTERNAL_H
#define KEXEC_JUMP_INTERNAL_H

/* Prefix of every message, so that a user can grep for them. */
#ifndef pr_fmt
#define pr_fmt(fmt) "kexec_jump: " fmt
#endif

#include <linux/kexec.h>
#include <linux/kexec_jump.h>
#include <linux/kexec_jump_page.h>
#include <linux/kobject.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/xarray.h>

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
	char peer_message[sizeof_field(struct kexec_jump_header, peer_message)];
};

extern struct kexec_jump_report kexec_jump_report;

/* Nests inside the kexec lock. An image is not freed while it is held. */
extern struct mutex kexec_jump_lock;

unsigned int kexec_jump_nr_steps(void);
const char *kexec_jump_step_name(unsigned int step);
u64 kexec_jump_step_ns(unsigned int step, bool leaving);

/* --- fault.c --- */

#ifdef CONFIG_KEXEC_JUMP_DEBUG
bool kexec_jump_should_fail(const char *step);
#else
static inline bool kexec_jump_should_fail(const char *step) { return false; }
#endif

#ifdef CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE

#include <asm/kexec_jump.h>

/**
 * struct kexec_jump_list - a list of pages that another kernel can follow
 * @pages:	pages the list is in
 * @page:	the one the next entry goes to
 * @entry:	number of that entry in @page
 *
 * A kimage page list: IND_DESTINATION and IND_SOURCE entries, IND_INDIRECTION
 * from one page to the next, IND_DONE at the end.
 */
struct kexec_jump_list {
	struct list_head pages;
	struct page *page;
	unsigned int entry;
};

/**
 * struct kexec_jump_ranges - some ranges of memory
 * @range:	the ranges
 * @nr:		number of them
 * @max:	room in @range
 */
struct kexec_jump_ranges {
	struct kexec_jump_range *range;
	unsigned int nr;
	unsigned int max;
};

/**
 * struct kexec_jump - a loaded context-preserving image
 * @entry:	physical address the next jump goes to
 * @first_entry: the one it was loaded with
 * @next_entry:	what the peer left when it came back, 0 if it left none
 * @peer_preserved: @entry resumes a peer that jumped back to this kernel
 * @from_image:	@entry resumes a kernel from an image of it: nobody comes back
 * @page:	the jump page
 * @window:	memory that is exchanged at the jump, sorted, disjoint
 * @unbacked:	the part of it that kexec_jump_back_window() has not seen
 * @nr_checked:	ranges of @unbacked that kexec_jump_check_window() has seen
 * @nr_pages:	pages in the window
 * @nr_backed:	pages of them that are in @backup
 * @nr_claimed:	pages of them that were free and now belong to the image, so
 *		that nothing of this kernel has to be kept
 * @backup:	by page frame of the window: the page frame it is exchanged with,
 *		itself if it is claimed; KEXEC_JUMP_EMPTY while it has no content
 * @backs:	the other way round, without the claimed ones
 * @map:	the backup map
 * @control_pages: all other pages outside the window that the jump needs
 * @unusable_pages: pages that are of no use here, kept while loading
 * @arch:	the architecture's part
 */
struct kexec_jump {
	unsigned long entry;
	unsigned long first_entry;
	unsigned long next_entry;
	bool peer_preserved;
	bool from_image;
	struct page *page;
	struct kexec_jump_ranges window;
	struct kexec_jump_ranges unbacked;
	unsigned int nr_checked;
	unsigned long nr_pages;
	unsigned long nr_backed;
	unsigned long nr_claimed;
	struct xarray backup;
	struct xarray backs;
	struct kexec_jump_list map;
	struct list_head control_pages;
	struct list_head unusable_pages;
	struct arch_kexec_jump arch;
};

/* Mark of pages in kexec_jump.backup */
#define KEXEC_JUMP_EMPTY	XA_MARK_1

/* --- window.c --- */
int kexec_jump_add_range(struct kexec_jump *jump, u64 start, u64 end);
bool kexec_jump_in_window(const struct kexec_jump *jump, u64 addr);
bool kexec_jump_window_holds(const struct kexec_jump *jump, u64 start, u64 end);
struct page *kexec_jump_window_page(struct kexec_jump *jump, u64 addr);
struct page *kexec_jump_page_to_fill(struct kexec_jump *jump, u64 addr);
int kexec_jump_walk_ram(u64 start, u64 end,
			int (*visit)(unsigned long pfn, unsigned long nr_pages,
				     void *arg), void *arg);
int kexec_jump_check_window(struct kexec_jump *jump);
int kexec_jump_back_window(struct kexec_jump *jump);
int kexec_jump_make_map(struct kexec_jump *jump);
struct page *kexec_jump_alloc_outside(struct kexec_jump *jump, gfp_t gfp,
				      struct list_head *pages);
struct page *kexec_jump_alloc_control_page(struct kexec_jump *jump);
void kexec_jump_free_unusable(struct kexec_jump *jump);
void kexec_jump_free_window(struct kexec_jump *jump);

/* --- list.c --- */
void kexec_jump_list_init(struct kexec_jump_list *list);
int kexec_jump_list_alloc(struct kexec_jump *jump, struct kexec_jump_list *list,
			  unsigned long entries);
void kexec_jump_list_add(struct kexec_jump_list *list, unsigned long entry);
u64 kexec_jump_list_address(const struct kexec_jump_list *list);
void kexec_jump_list_free(struct kexec_jump_list *list);
void kexec_jump_free_pages(struct list_head *pages);

/* --- load.c --- */
struct kexec_jump *kexec_jump_create(unsigned long entry);
int kexec_jump_prepare(struct kexec_jump *jump);
void kexec_jump_complete(struct kexec_jump *jump);
void kexec_jump_destroy(struct kexec_jump *jump);
struct kexec_jump *kexec_jump_loaded(void);

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
int kexec_jump_check_entry(struct kexec_jump *jump);

/* --- describe.c --- */
int kexec_jump_describe_prepare(struct kexec_jump *jump);
void kexec_jump_describe_cpus(void);
void kexec_jump_describe(struct kexec_jump *jump);
void kexec_jump_described(bool from_image);
void kexec_jump_describe_cleanup(void);

/* --- shared.c --- */
int kexec_jump_share(struct kexec_jump *jump);
void kexec_jump_unshare(bool from_image);
bool kexec_jump_shared_page(unsigned long n, unsigned long *pfn);
int kexec_jump_shared_init(struct kobject *dir);

/* --- preserved.c --- */
int kexec_jump_reach(unsigned long start, unsigned long end);
bool kexec_jump_reachable(unsigned long pfn);
void *kexec_jump_map_run(unsigned long pfn, unsigned long *nr);
void *kexec_jump_map_preserved(unsigned long pfn);
void kexec_jump_unmap_preserved(void *address);
long kexec_jump_follow_list(u64 list,
			    int (*visit)(void *arg, unsigned long n,
					 unsigned long pfn,
					 unsigned long destination),
			    void *arg);

/* --- peer.c --- */
const struct kexec_jump_header *kexec_jump_find_preserved(void);
const struct kexec_jump_header *kexec_jump_preserved_kernel(void);
const struct kexec_jump_header *kexec_jump_preserved_now(void);
void kexec_jump_forget_preserved(void);

/* --- the architecture --- */

/**
 * arch_kexec_jump_low_window - add what any peer needs besides its window
 * @jump:	a jump whose window is being put together
 *
 * Return: 0, or the error of kexec_jump_add_range().
 */
int arch_kexec_jump_low_window(struct kexec_jump *jump);

/**
 * arch_kexec_jump_memory_at - is there memory, though none of this kernel?
 * @addr:	physical, page aligned
 *
 * Return: whether the memory map this kernel was booted with says so.
 */
bool arch_kexec_jump_memory_at(u64 addr);

/**
 * arch_kexec_jump_prepare - make the jump page and its page tables
 * @jump:	window and entry are known, no page is exchanged with another yet
 *
 * Process context. All pages come from kexec_jump_alloc_control_page().
 *
 * Return: 0, -ENOMEM, or -EOPNOTSUPP with a message if this machine cannot.
 */
int arch_kexec_jump_prepare(struct kexec_jump *jump);

/**
 * arch_kexec_jump_complete - write what the trampoline reads into the jump page
 * @jump:	prepared, the map is written
 */
void arch_kexec_jump_complete(struct kexec_jump *jump);

/**
 * arch_kexec_jump_cleanup - undo arch_kexec_jump_prepare()
 * @jump:	prepared or half prepared
 */
void arch_kexec_jump_cleanup(struct kexec_jump *jump);

/**
 * arch_kexec_jump_entry - physical address that resumes this kernel
 * @jump:	prepared
 */
u64 arch_kexec_jump_entry(const struct kexec_jump *jump);

/**
 * arch_kexec_jump_flags - kexec_jump_header.flags of this kernel
 */
u64 arch_kexec_jump_flags(void);

/**
 * arch_kexec_jump_check_image - will what is loaded keep to the window?
 * @jump:	loaded
 * @nr_segments: number of @segments
 * @segments:	what was loaded
 *
 * A kernel image may say how much memory it will take before it can know about
 * windows.
 *
 * Return: 0, or -EADDRNOTAVAIL with a message.
 */
int arch_kexec_jump_check_image(struct kexec_jump *jump,
				unsigned long nr_segments,
				const struct kexec_segment *segments);

/**
 * arch_kexec_jump_kernel_image - is this kernel mapped apart from other memory?
 * @start:	set to the physical address of its first byte, page aligned
 * @end:	set to the physical address after its last byte
 *
 * Return: the virtual address of its first byte, or 0 if it is where the direct
 * mapping has it; @start and @end are untouched then.
 */
unsigned long arch_kexec_jump_kernel_image(u64 *start, u64 *end);

/**
 * arch_kexec_jump_point_out_cpu - name this CPU to debuggers, as after a crash
 * @on:		or take that back
 *
 * They read the registers of no other task that was running. Interrupts are off.
 */
void arch_kexec_jump_point_out_cpu(bool on);

/**
 * arch_kexec_jump_regs - registers a stack trace of the caller can begin with
 * @regs:	zeroed; where to put them
 *
 * Any context.
 */
void arch_kexec_jump_regs(struct pt_regs *regs);

/**
 * arch_kexec_jump_hold_cpus - see that no other CPU executes anything
 *
 * Called on the boot CPU with all others offline or stopped, before any page is
 * exchanged. They stay like that until a kernel starts them anew. Any context.
 *
 * Return: 0, or -EIO if one cannot be reached.
 */
int arch_kexec_jump_hold_cpus(void);

/**
 * arch_kexec_jump_from_panic - leave a kernel that panicked, for good
 * @jump:	a jump with an empty window to the preserved kernel
 *
 * Stops the other CPUs and the DMA of all devices, which nobody suspended.
 * Any context. Does not return.
 */
void arch_kexec_jump_from_panic(struct kexec_jump *jump);

#endif /* CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE */

#endif /* KEXEC_JUMP_INTERNAL_H */
