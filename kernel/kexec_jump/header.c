// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: writing the header of this kernel's jump page and checking the
 * header of another one. The format is in <linux/kexec_jump_abi.h>.
 */
#include "internal.h"

#include <linux/elf.h>
#include <linux/highmem.h>
#include <linux/io.h>
#include <linux/ioport.h>
#include <linux/mm.h>
#include <linux/uaccess.h>

/**
 * kexec_jump_header - header of this kernel's jump page
 * @jump:	prepared
 *
 * Return: the header, mapped for good.
 */
struct kexec_jump_header *kexec_jump_header(const struct kexec_jump *jump)
{
	return page_address(jump->page);
}

/**
 * kexec_jump_write_header - describe this kernel to its peer
 * @jump:	all pages are allocated
 */
void kexec_jump_write_header(struct kexec_jump *jump)
{
	struct kexec_jump_header *header = kexec_jump_header(jump);

	memset(header, 0, sizeof(*header));
	header->magic = KEXEC_JUMP_MAGIC;
	header->version = KEXEC_JUMP_VERSION;
	header->size = KEXEC_JUMP_HEADER_SIZE;
	header->machine = ELF_ARCH;
	header->flags = arch_kexec_jump_flags();
	header->entry = arch_kexec_jump_entry(jump);
	if (jump->nr_pages)
		header->backup_map = kexec_jump_list_address(&jump->map);
	/* Nobody reads the window of a jump into an image. */
	if (!jump->from_image) {
		header->nr_ranges = jump->window.nr;
		if (jump->window.nr)
			memcpy(header->window, jump->window.range,
			       jump->window.nr * sizeof(*header->window));
	}
	header->state = KEXEC_JUMP_RUNNING;
	kexec_jump_seal_header(header);
}

/* As Documentation/power/kexec-jump/abi.rst has it, in images that were saved, too. */
static_assert(offsetof(struct kexec_jump_header, state) == 608);
static_assert(offsetof(struct kexec_jump_header, peer_status) == 612);
static_assert(offsetof(struct kexec_jump_header, names) == 744);
static_assert(offsetof(struct kexec_jump_header, next_number) == 876);
static_assert(sizeof(struct kexec_jump_header) == 880);

/**
 * kexec_jump_seal_header - set the checksum of a header
 * @header:	complete
 */
void kexec_jump_seal_header(struct kexec_jump_header *header)
{
	header->checksum = kexec_jump_checksum(header);
}

/**
 * kexec_jump_check_header - may this kernel jump to that entry?
 * @header:	what is at the start of the entry's page
 * @entry:	physical address
 * @state:	KEXEC_JUMP_AWAY or KEXEC_JUMP_IMAGE: what it must be
 *
 * Any context that may print.
 *
 * Return: 0, or with a message: -ENOEXEC if this is no jump page, -EBADMSG if
 * it is damaged, -EPROTONOSUPPORT if its kernel speaks another version or is
 * of another kind, -ESTALE if that kernel has not jumped away.
 */
int kexec_jump_check_header(const struct kexec_jump_header *header, u64 entry,
			    u32 state)
{
	if (header->magic != KEXEC_JUMP_MAGIC) {
		pr_err("entry %#llx: no preserved kernel there (no jump page)\n",
		       entry);
		return -ENOEXEC;
	}
	if (header->version != KEXEC_JUMP_VERSION) {
		pr_err("entry %#llx: jump page of version %u, this kernel knows %u\n",
		       entry, header->version, KEXEC_JUMP_VERSION);
		return -EPROTONOSUPPORT;
	}
	if (!kexec_jump_header_intact(header)) {
		pr_err("entry %#llx: jump page is damaged\n", entry);
		return -EBADMSG;
	}
	if (header->entry != entry) {
		pr_err("entry %#llx: the preserved kernel there is entered at %#llx\n",
		       entry, header->entry);
		return -ENOEXEC;
	}
	if (!kexec_jump_alike(header)) {
		pr_err("entry %#llx: preserved kernel for machine %u with flags %#llx, this one is for %u with %#llx\n",
		       entry, header->machine, header->flags, ELF_ARCH,
		       arch_kexec_jump_flags());
		return -EPROTONOSUPPORT;
	}
	if (header->state != state) {
		pr_err("entry %#llx: %s\n", entry, state == KEXEC_JUMP_AWAY ?
		       "its kernel has not jumped away" :
		       "its kernel was loaded, but not from an image that can be resumed");
		return -ESTALE;
	}
	return 0;
}

/*
 * Look at the header in @page, which anybody may have pointed at: a page that is
 * free with DEBUG_PAGEALLOC, or belongs to memfd_secret(2), is not mapped.
 */
static int check_header_in(const void *page, u64 entry, u32 state)
{
	/* Under the kexec lock; too large for the stack. */
	static struct kexec_jump_header copy;

	if (copy_from_kernel_nofault(&copy, page, sizeof(copy))) {
		pr_err("entry %#llx: no memory that can be read\n", entry);
		return -ENOEXEC;
	}
	return kexec_jump_check_header(&copy, entry, state);
}

/* The kernel that jumped here: may this one still use it? */
static int judge(const struct kexec_jump_header *header, u64 entry)
{
	const char *why_not = kexec_jump_judge(header);

	if (!why_not)
		return 0;
	pr_err("entry %#llx: %s\n", entry, why_not);
	return -EBADMSG;
}

/* The entry is not in the window: only a preserved kernel can be there. */
static int check_preserved(u64 entry)
{
	const struct kexec_jump_header *boot = kexec_jump_preserved_kernel();
	bool jumped_here = boot && boot->entry == entry;
	unsigned long pfn = PHYS_PFN(entry);
	void *header;
	int error;

	/*
	 * A kernel preserved in our own memory, or what is left of it, is part
	 * of an image, and only that image leads to it.
	 */
	if (page_is_ram(pfn)) {
		header = kmap_local_page(pfn_to_page(pfn));
		error = check_header_in(header, entry, KEXEC_JUMP_AWAY);
		kunmap_local(header);
		if (!error) {
			pr_err("entry %#llx: is in this kernel's memory; a peer that was left is resumed by its own image\n",
			       entry);
			error = -ESTALE;
		}
		return error;
	}
	/*
	 * Reading a device's registers may change its state (but whoever jumped here
	 * lies in memory, of which the map need not tell); and of a page that is
	 * partly ours nobody else can be in the rest.
	 */
	header = (jumped_here || arch_kexec_jump_memory_at(PFN_PHYS(pfn))) &&
		 region_intersects(PFN_PHYS(pfn), PAGE_SIZE, IORESOURCE_SYSTEM_RAM,
				   IORES_DESC_NONE) == REGION_DISJOINT ?
		 memremap(PFN_PHYS(pfn), PAGE_SIZE, MEMREMAP_WB) : NULL;
	if (!header) {
		pr_err("entry %#llx: no memory that can be read\n", entry);
		return -ENOEXEC;
	}
	error = check_header_in(header, entry, KEXEC_JUMP_AWAY);
	if (!error && jumped_here)
		error = judge(header, entry);
	memunmap(header);
	return error;
}

/**
 * kexec_jump_check_ranges - can the peer be told of its window?
 * @jump:	loaded; kexec_jump_check_entry() has looked at it
 *
 * Any context. An image may have any number of pieces, and what was one when it was
 * loaded need not be any more at the next jump.
 *
 * Return: 0 or, with a message, -ENOSPC.
 */
int kexec_jump_check_ranges(const struct kexec_jump *jump)
{
	if (jump->from_image || jump->window.nr <= KEXEC_JUMP_MAX_RANGES)
		return 0;
	pr_err("window of %u pieces, a peer can be told of %u\n",
	       jump->window.nr, KEXEC_JUMP_MAX_RANGES);
	return -ENOSPC;
}

/**
 * kexec_jump_check_entry - can the next jump go where it is meant to go?
 * @jump:	loaded
 *
 * Process context. Called when an image is loaded and again before each jump:
 * in between the peer may have changed.
 *
 * Return: 0, or the errors of kexec_jump_check_header(), with a message.
 */
int kexec_jump_check_entry(struct kexec_jump *jump)
{
	struct kexec_jump_header *header;
	int error = 0;

	jump->from_image = false;
	if (!kexec_jump_in_window(jump, jump->entry)) {
		if (jump->entry != jump->first_entry) {
			pr_err("entry %#lx: left by the peer, but outside its window\n",
			       jump->entry);
			return -ENOEXEC;
		}
		return check_preserved(jump->entry);
	}

	/* A program may be entered anywhere, a kernel only at its jump page. */
	header = kmap_local_page(kexec_jump_window_page(jump, jump->entry));
	if (header->magic == KEXEC_JUMP_MAGIC) {
		jump->from_image = !jump->peer_preserved;
		error = kexec_jump_check_header(header, jump->entry,
						jump->from_image ?
						KEXEC_JUMP_IMAGE : KEXEC_JUMP_AWAY);
	}
	kunmap_local(header);
	return error;
}
