/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Kexec jump: what an architecture provides (arch_kexec_jump_*), and what it may
 * use for that. For kernel/kexec_jump/ and the architecture only.
 */
#ifndef LINUX_KEXEC_JUMP_ARCH_H
#define LINUX_KEXEC_JUMP_ARCH_H

#include <linux/kexec.h>
#include <linux/kexec_jump.h>
#include <linux/kexec_jump_abi.h>
#include <linux/list.h>
#include <linux/types.h>
#include <linux/xarray.h>

#include <asm/kexec_jump.h>

struct pt_regs;

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
 * struct kexec_jump_pool - allocates pages that lie outside a window, or several
 * @window:	where they must not lie
 * @holds:	asked instead, if not NULL: whether that address lies where they must not
 * @inside:	pages met on the way that lie there
 * @unusable:	pages that are of no use, kept until no more are wanted
 * @keep:	so many pages must stay free while many are taken; 0: all may be taken
 * @taken:	so many have been, with @keep set
 */
struct kexec_jump_pool {
	const struct kexec_jump_ranges *window;
	bool (*holds)(u64 addr);
	struct list_head inside;
	struct list_head unusable;
	unsigned long keep;
	unsigned long taken;
};

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
 * struct kexec_jump - a loaded context-preserving image
 * @entry:	physical address the next jump goes to
 * @first_entry: the one it was loaded with
 * @next_entry:	what the peer left when it came back, 0 if it left none
 * @peer_preserved: @entry resumes a peer that jumped back to this kernel
 * @from_image:	@entry resumes a kernel from an image of it: nobody comes back
 * @may_look:	what was loaded is a kernel, which may look at this one's memory
 * @no_devices:	a program that uses none is called, while they stay at work
 * @memory_added: how often memory had been added when loading began
 * @memory_back: how often some had come back that had gone offline
 * @memory_gone: pages that were offline then
 * @held:	nobody jumps until this is taken back, see kexec_jump_hold()
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
 * @pool:	where those that lie outside the window come from
 * @arch:	the architecture's part
 */
struct kexec_jump {
	unsigned long entry;
	unsigned long first_entry;
	unsigned long next_entry;
	bool peer_preserved;
	bool from_image;
	bool may_look;
	bool no_devices;
	unsigned long memory_added, memory_back, memory_gone;
	bool held;
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
	struct kexec_jump_pool pool;
	struct arch_kexec_jump arch;
};

/* --- for the architecture's use --- */

int kexec_jump_add_range(struct kexec_jump *jump, u64 start, u64 end);
bool kexec_jump_in_window(const struct kexec_jump *jump, u64 addr);
struct page *kexec_jump_window_page(struct kexec_jump *jump, u64 addr);
struct page *kexec_jump_alloc_control_page(struct kexec_jump *jump);
u64 kexec_jump_list_address(const struct kexec_jump_list *list);
const struct kexec_jump_header *kexec_jump_find_preserved(char *word);

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
 * arch_kexec_jump_memory_end - where the machine's memory ends
 *
 * Any context.
 *
 * Return: the physical address after the last memory there was at boot, of
 * whichever kernel.
 */
u64 arch_kexec_jump_memory_end(void);

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
 *
 * Return: the address.
 */
u64 arch_kexec_jump_entry(const struct kexec_jump *jump);

/**
 * arch_kexec_jump_flags - kexec_jump_header.flags of this kernel
 *
 * Return: the flags.
 */
u64 arch_kexec_jump_flags(void);

/**
 * arch_kexec_jump_is_kernel - does a Linux kernel's setup header lie there?
 * @jump:	its window is backed
 * @addr:	physical, in the window, where a segment begins
 *
 * Return: whether it does.
 */
bool arch_kexec_jump_is_kernel(struct kexec_jump *jump, u64 addr);

/**
 * arch_kexec_jump_check_image - will what is loaded keep to the window?
 * @jump:	loaded
 * @nr_segments: number of @segments
 * @segments:	what was loaded
 *
 * A kernel image may say how much memory it will take before it can know about
 * windows.
 *
 * Return: 0, or with a message -EADDRNOTAVAIL, or -ENOEXEC for a kernel that could not
 * come back to this one.
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
 * arch_kexec_jump_fault - did the peer come back because of an exception?
 * @jump:	that has just come back
 * @text:	set to a description of it
 * @size:	of @text, in bytes
 *
 * Any context.
 *
 * Return: whether it did.
 */
bool arch_kexec_jump_fault(const struct kexec_jump *jump, char *text, size_t size);

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
 * arch_kexec_jump_check_processor - can this CPU be left to somebody else as it is?
 *
 * On the boot CPU, the only one at work, with interrupts off.
 *
 * Return: 0, or -EBUSY with a message.
 */
int arch_kexec_jump_check_processor(void);

/**
 * arch_kexec_jump_locked_down_early - is this kernel going to be locked down?
 *
 * Any context, once boot parameters have been read. Lockdown may not be in force yet.
 *
 * Return: what is known of it without asking anybody.
 */
bool arch_kexec_jump_locked_down_early(void);

/**
 * arch_kexec_jump_back_early - leave a kernel that has hardly begun, for good
 * @entry:	physical address that resumes the preserved kernel
 *
 * Any context, while no other CPU has been started. Needs nothing that would have
 * to be allocated. Does not return.
 */
void arch_kexec_jump_back_early(u64 entry);

/**
 * arch_kexec_jump_from_panic - leave a kernel that panicked, for good
 * @jump:	a jump with an empty window to the preserved kernel
 *
 * Stops the other CPUs and the DMA of all devices, which nobody suspended.
 * Any context. Returns only if no CPU can leave.
 */
void arch_kexec_jump_from_panic(struct kexec_jump *jump);

#endif /* LINUX_KEXEC_JUMP_ARCH_H */
