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
#include <linux/list.h>
#include <linux/mutex.h>

/* --- sequence.c --- */

/**
 * struct kexec_jump_report - what is known about the jumps of this kernel
 * @jumps:	jumps that left this kernel and came back
 * @attempts:	calls of kexec_jump_execute()
 * @error:	result of the last attempt: 0 or a negative errno
 * @step:	name of the step at which the last attempt stopped, or NULL if it
 *		reached the peer
 * @test:	the last attempt was stopped by /sys/power/pm_test
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
 * struct kexec_jump - a loaded context-preserving image
 * @entry:	physical address the next jump goes to
 * @first_entry: the one it was loaded with
 * @peer_preserved: @entry resumes a peer that jumped back to this kernel
 * @page:	the jump page
 * @window:	memory that is exchanged at the jump, sorted, disjoint
 * @nr_ranges:	number of entries of @window
 * @nr_pages:	pages in the window
 * @nr_claimed:	pages of them that were free and now belong to the image, so
 *		that nothing of this kernel has to be kept
 * @backup:	by page of the window: the page frame it is exchanged with
 * @map_pages:	pages of the backup map, in order
 * @control_pages: all other pages outside the window that the jump needs
 * @unusable_pages: pages the architecture cannot address, kept while loading
 * @arch:	the architecture's part
 */
struct kexec_jump {
	unsigned long entry;
	unsigned long first_entry;
	bool peer_preserved;
	struct page *page;
	struct kexec_jump_range window[KEXEC_JUMP_MAX_RANGES];
	unsigned int nr_ranges;
	unsigned long nr_pages;
	unsigned long nr_claimed;
	unsigned long *backup;
	struct list_head map_pages;
	struct list_head control_pages;
	struct list_head unusable_pages;
	struct arch_kexec_jump arch;
};

/* --- window.c --- */
int kexec_jump_add_range(struct kexec_jump *jump, u64 start, u64 end);
bool kexec_jump_in_window(const struct kexec_jump *jump, u64 addr);
struct page *kexec_jump_window_page(const struct kexec_jump *jump, u64 addr);
int kexec_jump_check_window(const struct kexec_jump *jump);
int kexec_jump_alloc_map(struct kexec_jump *jump);
int kexec_jump_back_window(struct kexec_jump *jump);
void kexec_jump_write_map(struct kexec_jump *jump);
u64 kexec_jump_map_address(const struct kexec_jump *jump);
struct page *kexec_jump_alloc_control_page(struct kexec_jump *jump);
void kexec_jump_free_window(struct kexec_jump *jump);

/* --- load.c --- */
struct kexec_jump *kexec_jump_create(unsigned long entry);
int kexec_jump_prepare(struct kexec_jump *jump);
void kexec_jump_complete(struct kexec_jump *jump);
void kexec_jump_destroy(struct kexec_jump *jump);

/* --- header.c --- */
void kexec_jump_write_header(struct kexec_jump *jump);
struct kexec_jump_header *kexec_jump_header(const struct kexec_jump *jump);
int kexec_jump_check_header(const struct kexec_jump_header *header, u64 entry);
int kexec_jump_check_entry(const struct kexec_jump *jump);

/* --- peer.c --- */
const struct kexec_jump_header *kexec_jump_find_preserved(void);
const struct kexec_jump_header *kexec_jump_preserved_kernel(void);
bool kexec_jump_preserved_now(void);

/* --- the architecture --- */

/**
 * arch_kexec_jump_low_window - add what any peer needs besides its window
 * @jump:	a jump whose window is being put together
 *
 * Return: 0, or the error of kexec_jump_add_range().
 */
int arch_kexec_jump_low_window(struct kexec_jump *jump);

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
int arch_kexec_jump_check_image(const struct kexec_jump *jump,
				unsigned long nr_segments,
				const struct kexec_segment *segments);

/**
 * arch_kexec_jump_park_cpus - send CPUs that were offline before to rest, too
 *
 * Called with all but the boot CPU offline, interrupts enabled, before any
 * page is exchanged.
 */
void arch_kexec_jump_park_cpus(void);

/**
 * arch_kexec_jump - exchange the pages, run the peer, come back
 * @jump:	the jump; @jump->entry is where it goes
 *
 * Called on the boot CPU with interrupts off, devices and system devices
 * suspended and the processor state saved. Restores the processor state.
 *
 * Return: the address the peer left for its next entry, 0 if it left none.
 */
unsigned long arch_kexec_jump(struct kexec_jump *jump);

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
