// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: this kernel describes itself to whoever saves its memory.
 *
 * The description is made at each jump: an ELF core header with a PT_LOAD for
 * each piece of RAM, a register note for each CPU and vmcoreinfo, and a bitmap
 * of the pages that a hibernation would save. Only this kernel knows which they
 * are. The peer finds it through the header of the jump page.
 */
#include "internal.h"

#include <linux/cpumask.h>
#include <linux/crash_core.h>
#include <linux/elf.h>
#include <linux/elfcore.h>
#include <linux/gfp.h>
#include <linux/hugetlb.h>
#include <linux/ioport.h>
#include <linux/memblock.h>
#include <linux/memory_hotplug.h>
#include <linux/mm.h>
#include <linux/nmi.h>
#include <linux/page-flags.h>
#include <linux/pfn.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/smp.h>
#include <linux/suspend.h>
#include <linux/vmalloc.h>
#include <linux/vmcore_info.h>

#include "../power/power.h"

/* The name of a register note, as every core file has it */
#define CPU_NOTE_NAME	"CORE"

/* A note: its header, its name with padding, its content with padding. */
#define NOTE_BYTES(name, bytes) \
	(sizeof(struct elf_note) + ALIGN(sizeof(name), 4) + ALIGN(bytes, 4))
#define CPU_NOTE_BYTES	NOTE_BYTES(CPU_NOTE_NAME, sizeof(struct elf_prstatus))

/**
 * struct description - what is made for a jump
 * @prepared:	there is something to clean up
 * @pages:	pages it is in, outside the window
 * @nr_pages:	number of them
 * @list:	the list that leads the peer there
 * @buffer:	where they are mapped
 * @cpu_notes:	in @buffer: the notes of the present CPUs, in order
 * @elf_bytes:	bytes of the ELF core header, whole pages
 * @bitmap:	in @buffer: a page frame whose bit is set is to be saved
 * @beside:	the same of good parts of huge pages with a bad one, NULL if nothing is bad
 * @nr_pfns:	bits of @bitmap
 */
struct description {
	bool prepared;
	struct list_head pages;
	unsigned long nr_pages;
	struct kexec_jump_list list;
	void *buffer;
	void *cpu_notes;
	size_t elf_bytes;
	unsigned long *bitmap;
	unsigned long *beside;
	unsigned long nr_pfns;
};

/* Under the kexec lock, while a jump is going on. */
static struct description description;

/*
 * Pieces of RAM. A PT_LOAD has one virtual address, so a piece ends where the
 * direct mapping does, and where the kernel is mapped in a place of its own:
 * debuggers look for that.
 */
struct ram_walk {
	struct elf64_phdr *phdr;
	u64 offset;
	unsigned int pieces;
	unsigned long end;
	unsigned long image_start;
	unsigned long image_end;
	unsigned long image_address;
};

static u64 virtual_address(const struct ram_walk *walk, unsigned long pfn)
{
	if (pfn >= walk->image_start && pfn < walk->image_end)
		return walk->image_address + PFN_PHYS(pfn - walk->image_start);
	return pfn < max_low_pfn ? (unsigned long)__va(PFN_PHYS(pfn)) : -1ULL;
}

static void add_piece(struct ram_walk *walk, unsigned long start, unsigned long end)
{
	struct elf64_phdr *phdr = walk->phdr;
	u64 size = (u64)(end - start) << PAGE_SHIFT;

	walk->pieces++;
	walk->end = end;
	if (!phdr)
		return;
	memset(phdr, 0, sizeof(*phdr));
	phdr->p_type = PT_LOAD;
	phdr->p_flags = PF_R | PF_W | PF_X;
	phdr->p_offset = walk->offset;
	phdr->p_paddr = PFN_PHYS(start);
	phdr->p_vaddr = virtual_address(walk, start);
	phdr->p_filesz = size;
	phdr->p_memsz = size;
	walk->offset += size;
	walk->phdr++;
}

static int add_ram(unsigned long pfn, unsigned long nr_pages, void *arg)
{
	struct ram_walk *walk = arg;
	const unsigned long cuts[] = {
		max_low_pfn, walk->image_start, walk->image_end
	};
	unsigned long start = pfn, end = pfn + nr_pages, next;
	unsigned int i;

	for (; start < end; start = next) {
		next = end;
		for (i = 0; i < ARRAY_SIZE(cuts); i++)
			if (cuts[i] > start && cuts[i] < next)
				next = cuts[i];
		add_piece(walk, start, next);
	}
	return 0;
}

static void walk_ram(struct ram_walk *walk)
{
	u64 start = 0, end = 0;

	walk->image_address = arch_kexec_jump_kernel_image(&start, &end);
	walk->image_start = PHYS_PFN(start);
	walk->image_end = PFN_UP(end);
	kexec_jump_walk_ram(0, (u64)max_pfn << PAGE_SHIFT, add_ram, walk);
}

static size_t notes_size(void)
{
	return num_present_cpus() * CPU_NOTE_BYTES +
	       NOTE_BYTES(VMCOREINFO_NOTE_NAME, vmcoreinfo_size);
}

static size_t notes_offset(unsigned int pieces)
{
	return sizeof(struct elf64_hdr) + (1 + pieces) * sizeof(struct elf64_phdr);
}

static int alloc_pages_outside(size_t bytes)
{
	struct description *d = &description;
	unsigned long i = 0, nr = PFN_UP(bytes);
	struct page **pages, *page;

	if (kexec_jump_list_alloc(&kexec_jump_outside_all, &d->list, nr))
		return -ENOMEM;
	pages = kvmalloc_array(nr, sizeof(*pages), GFP_KERNEL);
	if (!pages)
		return -ENOMEM;
	for (d->nr_pages = 0; d->nr_pages < nr; d->nr_pages++)
		if (!kexec_jump_alloc_outside(&kexec_jump_outside_all, GFP_KERNEL, &d->pages))
			goto out;
	list_for_each_entry(page, &d->pages, lru) {
		kexec_jump_list_add(&d->list, page_to_phys(page) | IND_SOURCE);
		pages[i++] = page;
	}
	kexec_jump_list_add(&d->list, IND_DONE);
	d->buffer = vmap(pages, nr, VM_MAP, PAGE_KERNEL);
out:
	kvfree(pages);
	return d->buffer ? 0 : -ENOMEM;
}

static void write_elf_header(unsigned int pieces)
{
	struct description *d = &description;
	struct elf64_hdr *ehdr = d->buffer;
	struct elf64_phdr *phdr = d->buffer + sizeof(*ehdr);
	struct ram_walk walk = {
		.phdr = phdr + 1,
		.offset = d->elf_bytes,
	};

	memcpy(ehdr->e_ident, ELFMAG, SELFMAG);
	ehdr->e_ident[EI_CLASS] = ELFCLASS64;
	ehdr->e_ident[EI_DATA] = ELF_DATA;
	ehdr->e_ident[EI_VERSION] = EV_CURRENT;
	ehdr->e_ident[EI_OSABI] = ELF_OSABI;
	ehdr->e_type = ET_CORE;
	ehdr->e_machine = ELF_ARCH;
	ehdr->e_version = EV_CURRENT;
	ehdr->e_phoff = sizeof(*ehdr);
	ehdr->e_ehsize = sizeof(*ehdr);
	ehdr->e_phentsize = sizeof(*phdr);
	ehdr->e_phnum = 1 + pieces;

	phdr->p_type = PT_NOTE;
	phdr->p_offset = notes_offset(pieces);
	phdr->p_filesz = notes_size();
	phdr->p_memsz = phdr->p_filesz;
	walk_ram(&walk);
}

/*
 * Note the registers of a CPU, none if it is offline. Any context. As debuggers
 * believe only what this kernel's own crash notes say too, these are written as
 * well.
 */
static void describe_cpu(unsigned int cpu, struct pt_regs *regs)
{
	struct elf_prstatus status = {};
	unsigned int before = 0, other;

	for_each_present_cpu(other) {
		if (other == cpu)
			break;
		before++;
	}
	if (regs) {
		status.common.pr_pid = current->pid;
		elf_core_copy_regs(&status.pr_reg, regs);
		crash_save_cpu(regs, cpu);
	}
	append_elf_note(description.cpu_notes + before * CPU_NOTE_BYTES,
			CPU_NOTE_NAME, NT_PRSTATUS, &status,
			sizeof(status));
}

/* Whether a page is a good part of a page of hugetlbfs with a bad one. It may sleep. */
static bool beside_a_bad_one(struct page *page)
{
#ifdef CONFIG_HUGETLB_PAGE
	return PageHuge(page) && is_page_hwpoison(page) && !is_raw_hwpoison_page_in_hugepage(page);
#else
	return false;
#endif
}

static int mark_beside_bad_ones(unsigned long pfn, unsigned long nr_pages, void *unused)
{
	unsigned long end = pfn + nr_pages;

	for (; pfn < end; pfn++) {
		struct page *page = pfn_to_online_page(pfn);

		if (page && beside_a_bad_one(page))
			__set_bit(pfn, description.beside);
		if (!(pfn % 1024))
			cond_resched();
	}
	return 0;
}

/**
 * kexec_jump_describe_prepare - allocate what describing this kernel needs
 *
 * Process context, tasks frozen, devices at work. The number of CPUs and the
 * RAM there is do not change until kexec_jump_describe_cleanup(), which must be
 * called on error, too.
 *
 * Return: 0 or -ENOMEM.
 */
int kexec_jump_describe_prepare(void)
{
	struct description *d = &description;
	struct ram_walk walk = {};
	unsigned int cpu;
	int error;

	INIT_LIST_HEAD(&d->pages);
	kexec_jump_list_init(&d->list);
	error = create_basic_memory_bitmaps();
	if (error)
		return error;
	d->prepared = true;
	walk_ram(&walk);
	d->nr_pfns = walk.end;
	d->elf_bytes = PAGE_ALIGN(notes_offset(walk.pieces) + notes_size());
	error = alloc_pages_outside(d->elf_bytes + BITS_TO_LONGS(d->nr_pfns) * sizeof(long));
	kexec_jump_free_unusable(&kexec_jump_outside_all);
	if (error)
		return error;

	memset(d->buffer, 0, d->nr_pages << PAGE_SHIFT);
	d->cpu_notes = d->buffer + notes_offset(walk.pieces);
	d->bitmap = d->buffer + d->elf_bytes;
	write_elf_header(walk.pieces);
	/* One that is offline keeps an empty note. */
	for_each_present_cpu(cpu)
		describe_cpu(cpu, NULL);
	append_elf_note(d->cpu_notes + num_present_cpus() * CPU_NOTE_BYTES,
			VMCOREINFO_NOTE_NAME, 0, vmcoreinfo_data,
			vmcoreinfo_size);
	/*
	 * A huge page is poisoned as a whole when a part of it fails, but files in it
	 * can still be read beside that. Which part it is, is told only to who may sleep.
	 */
	if (IS_ENABLED(CONFIG_HUGETLB_PAGE) && kexec_jump_memory_failed()) {
		d->beside = kvcalloc(BITS_TO_LONGS(d->nr_pfns), sizeof(long), GFP_KERNEL);
		if (!d->beside)
			return -ENOMEM;
		kexec_jump_walk_ram(0, (u64)d->nr_pfns << PAGE_SHIFT, mark_beside_bad_ones, NULL);
	}
	return 0;
}

static void describe_this_cpu(void *unused)
{
	struct pt_regs regs = {};

	arch_kexec_jump_regs(&regs);
	describe_cpu(smp_processor_id(), &regs);
}

/**
 * kexec_jump_describe_cpus - note the registers of all CPUs
 *
 * Process context, before they are taken offline.
 */
void kexec_jump_describe_cpus(void)
{
	if (description.buffer)
		on_each_cpu(describe_this_cpu, NULL, 1);
}

static void mark_to_save(unsigned long pfn, void *unused)
{
	/* Who reads one of these dies. */
	if (is_page_hwpoison(pfn_to_page(pfn)))
		return;
	if (!WARN_ON_ONCE(pfn >= description.nr_pfns))
		__set_bit(pfn, description.bitmap);
}

static void clear_crash_notes(void)
{
#ifdef CONFIG_CRASH_DUMP
	unsigned int cpu;

	for_each_possible_cpu(cpu)
		if (crash_notes)
			memset(per_cpu_ptr(crash_notes, cpu), 0, sizeof(note_buf_t));
#endif
}

/*
 * Of the window what is exchanged holds memory of this kernel now, and the page it is
 * exchanged with holds the peer's; the rest was claimed, and is the peer's. Its length
 * does not matter: meanwhile the bit of the one page is where that of the other is.
 */
static void leave_out(struct kexec_jump *jump)
{
	struct description *d = &description;
	unsigned long backup;
	unsigned int i;
	void *pfn;

	/* An image whose memory is gone is refused when it is jumped to; this is for others. */
	xa_for_each(&jump->backs, backup, pfn)
		if (xa_to_value(pfn) < d->nr_pfns)
			__assign_bit(backup, d->bitmap, test_bit(xa_to_value(pfn), d->bitmap));
	for (i = 0; i < jump->window.nr; i++) {
		unsigned long start = min(PFN_DOWN(jump->window.range[i].start), d->nr_pfns);
		unsigned long end = min(PFN_DOWN(jump->window.range[i].end), d->nr_pfns);

		bitmap_clear(d->bitmap, start, end - start);
	}
	xa_for_each(&jump->backs, backup, pfn)
		if (xa_to_value(pfn) < d->nr_pfns)
			__assign_bit(xa_to_value(pfn), d->bitmap,
				     __test_and_clear_bit(backup, d->bitmap));
}

/* What belongs to the peer, or to others, is not to be saved. */
static void leave_out_peers(void)
{
	struct description *d = &description;
	unsigned long pfn;
	unsigned int n;

	for (n = 0; n <= KEXEC_JUMP_MAX_PEERS; n++) {
		struct kimage *image = kexec_jump_image(n);

		if (image)
			leave_out(image->jump);
		touch_nmi_watchdog();
	}
	for (n = 0; kexec_jump_shared_page(n, &pfn); n++)
		if (pfn < d->nr_pfns)
			__clear_bit(pfn, d->bitmap);
}

/**
 * kexec_jump_describe - say which pages are to be saved, and where it is said
 * @attempt:	a jump is to be made
 *
 * Called on the boot CPU, the others offline, with interrupts off, the system
 * devices suspended. No page may be allocated or freed until the jump, not by who is
 * attached to the tracepoint that marks the end of this step either.
 *
 * Return: 0.
 */
int kexec_jump_describe(struct kexec_jump_attempt *attempt)
{
	struct kexec_jump *jump = attempt->image->jump;
	struct kexec_jump_header *header = kexec_jump_header(jump);
	struct description *d = &description;
	struct elf64_hdr *ehdr = d->buffer;

	if (!ehdr || !jump->may_look)
		return 0;
	ehdr->e_entry = arch_kexec_jump_entry(jump);
	describe_this_cpu(NULL);
	arch_kexec_jump_point_out_cpu(true);
	bitmap_zero(d->bitmap, d->nr_pfns);
	swsusp_visit_saveable_pages(mark_to_save, NULL);
	if (d->beside)
		bitmap_or(d->bitmap, d->bitmap, d->beside, d->nr_pfns);
	leave_out_peers();
	header->description = kexec_jump_list_address(&d->list);
	header->elf_pages = PFN_DOWN(d->elf_bytes);
	header->nr_pfns = d->nr_pfns;
	kexec_jump_seal_header(header);
	return 0;
}

/**
 * kexec_jump_described - nobody looks at this kernel any more
 * @attempt:	says whether it was resumed from an image
 *
 * The first step on the way back, with interrupts off, one CPU online, and no
 * page allocated since the jump. In an image, pages that were left out have any content,
 * which the page allocator may not expect.
 */
void kexec_jump_described(struct kexec_jump_attempt *attempt)
{
	if (!description.prepared)
		return;
	arch_kexec_jump_point_out_cpu(false);
	if (attempt->from_image)
		clear_or_poison_free_pages();
}

/**
 * kexec_jump_describe_cleanup - undo kexec_jump_describe_prepare()
 *
 * Process context. Does nothing if there is nothing to undo.
 */
void kexec_jump_describe_cleanup(void)
{
	struct description *d = &description;

	if (!d->prepared)
		return;
	clear_crash_notes();
	kvfree(d->beside);
	vunmap(d->buffer);
	kexec_jump_free_pages(&d->pages);
	kexec_jump_list_free(&d->list);
	memset(d, 0, sizeof(*d));
	free_basic_memory_bitmaps();
}
