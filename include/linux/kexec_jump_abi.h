/* SPDX-License-Identifier: GPL-2.0 */
/**
 * DOC: What two kernels tell each other
 *
 * This interface is a contract between kernels of different builds, and with
 * images that were written long ago. It has three parts, all in the byte order
 * of the machine, all addresses physical:
 *
 * The jump page
 *	The address that resumes a preserved kernel (its entry) lies in its jump
 *	page. The page starts with struct kexec_jump_header, so whoever knows the
 *	entry finds the header at (entry & PAGE_MASK). The rest of the page, the
 *	trampoline and the CPU state, is private to its kernel.
 * Lists of pages
 *	The backup map, the description, and the shared memory are lists: words
 *	(unsigned long of the preserved kernel) in pages, a page address with
 *	IND_* flags of <linux/kexec.h> in the low bits. IND_SOURCE (bit 3): the
 *	next page of the list; IND_INDIRECTION (bit 1): the list goes on in that
 *	page; IND_DONE (bit 2): the end; IND_DESTINATION (bit 0), in the backup
 *	map alone: the pages that follow are exchanged with those from here on.
 *	A page of the window that is not in the backup map was claimed: it held
 *	nothing.
 * The description
 *	The pages of that list put together: an ELF core header, complete with
 *	notes, for a file of the preserved kernel's memory, and behind that a
 *	bitmap of the pages that are worth saving.
 *
 * In every version the header begins with @magic, @version, and @size, and the
 * fields of struct kexec_jump_tail follow behind @size bytes.
 * KEXEC_JUMP_VERSION is raised by every change after which one side would read
 * something wrong: a field that moves or changes its meaning, another format of
 * a list. A kernel takes a header of its own version only; a peer that finds
 * another one gives the machine back. What is appended, before @state, to mean
 * something only if it is not 0 changes @size and with it the checksum, so it
 * raises the version as well.
 *
 * Also included by the boot decompressor: nothing but types may be needed here.
 */
#ifndef LINUX_KEXEC_JUMP_ABI_H
#define LINUX_KEXEC_JUMP_ABI_H

/* Also in the file of a kernel, for who loads it: Documentation/arch/x86/boot.rst, kernel_info. */
#define KEXEC_JUMP_VERSION	1

#ifndef __ASSEMBLER__

#include <linux/bits.h>
#include <linux/stddef.h>
#include <linux/types.h>

#define KEXEC_JUMP_MAGIC	0x504d4a434558454bULL	/* "KEXECJMP" */
#define KEXEC_JUMP_MAX_RANGES	32

/* Images that have a name, loaded at the same time; room for a name and a 0. */
#define KEXEC_JUMP_MAX_PEERS	8
#define KEXEC_JUMP_NAME_LEN	16

/* Name of the command line parameter that carries the entry to the peer. */
#define KEXEC_JUMP_BACK_ENTRY	"kexec_jump_back_entry"

/* kexec_jump_header.flags */
#define KEXEC_JUMP_5LEVEL	BIT_ULL(0)	/* x86_64: runs with CR4.LA57 */

/* kexec_jump_header.state: may the entry be jumped to? */
#define KEXEC_JUMP_RUNNING	0	/* no: its kernel is running */
#define KEXEC_JUMP_AWAY		1	/* yes: its kernel has jumped away */
#define KEXEC_JUMP_IMAGE	2	/* yes: all its memory is in place */

/* kexec_jump_header.peer_status: how the peer came back */
#define KEXEC_JUMP_PEER_ALIVE	0
#define KEXEC_JUMP_PEER_DIED	1	/* it panicked: see peer_message; its DMA is stopped */
#define KEXEC_JUMP_PEER_DIED_EARLY 2	/* likewise, before it has used any device */

/**
 * struct kexec_jump_range - a piece of the window
 * @start:	physical address of the first byte, page aligned
 * @end:	physical address after the last byte, page aligned
 */
struct kexec_jump_range {
	__u64 start;
	__u64 end;
};

/**
 * DOC: Layout of the header
 *
 * ====== ==== ============= ===================================================
 * offset size field         meaning
 * ====== ==== ============= ===================================================
 * 0      8    magic         "KEXECJMP"
 * 8      4    version       1
 * 12     4    size          bytes from magic up to state
 * 16     4    checksum      FNV-1a (32 bits) of these bytes, itself taken as 0
 * 20     4    machine       ELF machine: 3 (i386), 62 (x86_64)
 * 24     8    flags         bit 0: paging with 5 levels
 * 32     8    entry         resumes the kernel
 * 40     8    backup_map    the backup map, 0 if the window is empty
 * 48     4    nr_ranges     entries of window that are used, at most 32
 * 52     4    nr_names      names that are used, at most 8
 * 56     512  window        pairs of first address and address after the last
 * 568    8    description   list of the pages that describe the preserved kernel
 * 576    8    elf_pages     those of its ELF core header
 * 584    8    nr_pfns       bits of the bitmap behind it
 * 592    8    shared        list of the shared pages
 * 600    8    shared_pages  number of them
 * 608    4    state         0 its kernel is running, 1 it has jumped away, 2 it
 *                           is from an image, all its memory is in place
 * 612    4    peer_status   0 the peer lives; 1 it died, 2 before it used a device
 * 616    128  peer_message  why it died
 * 744    128  names         those of all peers that have one, 16 bytes each
 * 872    4    own_number    which of them was jumped to, counted from 1; 0 none
 * 876    4    next_number   which of them is to run next, 0 none
 * ====== ==== ============= ===================================================
 */

/**
 * struct kexec_jump_header - start of the jump page
 * @magic:	KEXEC_JUMP_MAGIC
 * @version:	KEXEC_JUMP_VERSION
 * @size:	bytes from @magic up to @state: what @checksum covers
 * @checksum:	kexec_jump_checksum() of them, computed with @checksum 0
 * @machine:	ELF machine number of the preserved kernel (EM_386, EM_X86_64)
 * @flags:	KEXEC_JUMP_5LEVEL
 * @entry:	physical address that resumes the preserved kernel
 * @backup_map:	physical address of the first page of the backup map, 0 if the
 *		window is empty. The map is a kimage page list: for a page of
 *		the window the page it is exchanged with. A page that is not in
 *		the list held nothing worth keeping.
 * @nr_ranges:	number of valid entries in @window
 * @nr_names:	number of valid entries in @names
 * @window:	the memory the peer may use, sorted, disjoint
 * @description: physical address of a kimage page list of the pages that
 *		describe the preserved kernel, 0 if there are none. Put together
 *		they are an ELF core header, complete with notes, for a file of
 *		its memory, and behind that a bitmap: a page frame whose bit is
 *		set has content worth saving
 * @elf_pages:	pages of the ELF core header
 * @nr_pfns:	bits of the bitmap, unsigned longs of the preserved kernel
 * @shared:	physical address of a kimage page list of the pages that both
 *		kernels may write, 0 if there are none
 * @shared_pages: number of them
 * @state:	KEXEC_JUMP_RUNNING, KEXEC_JUMP_AWAY or KEXEC_JUMP_IMAGE, written
 *		by the owner, in an image by who makes it
 * @peer_status: KEXEC_JUMP_PEER_*, written by a peer that jumps back
 * @peer_message: NUL-terminated reason, written with @peer_status
 * @names:	names of peers, padded with zeros
 * @own_number:	which of them this one is
 * @next_number: which of them it wants to run next, written by a peer that jumps back
 *
 * What is behind @peer_message is 0, and is not written by anybody, if @nr_names is 0,
 * as in a kernel that knows nothing of it.
 */
struct kexec_jump_header {
	__u64 magic;
	__u32 version;
	__u32 size;
	__u32 checksum;
	__u32 machine;
	__u64 flags;
	__u64 entry;
	__u64 backup_map;
	__u32 nr_ranges;
	__u32 nr_names;
	struct kexec_jump_range window[KEXEC_JUMP_MAX_RANGES];
	__u64 description;
	__u64 elf_pages;
	__u64 nr_pfns;
	__u64 shared;
	__u64 shared_pages;
	/* Not covered by the checksum: changes while others look. */
	__u32 state;
	__u32 peer_status;
	char peer_message[128];
	char names[KEXEC_JUMP_MAX_PEERS][KEXEC_JUMP_NAME_LEN];
	__u32 own_number;
	__u32 next_number;
};

#define KEXEC_JUMP_HEADER_SIZE	offsetof(struct kexec_jump_header, state)

/**
 * struct kexec_jump_tail - the fields of the header behind the checksum
 * @state:	as in struct kexec_jump_header
 * @peer_status: likewise
 * @peer_message: likewise
 *
 * In a header of any version they are found @size bytes behind its start, so that a
 * peer that does not know the version can say why it goes back.
 */
struct kexec_jump_tail {
	__u32 state;
	__u32 peer_status;
	char peer_message[128];
};

/**
 * kexec_jump_checksum - checksum of a header, FNV-1a over 32 bits
 * @header:	the header; the checksum field itself counts as 0
 *
 * Finds damage, not forgery. Any context, no side effects.
 *
 * Return: the checksum of what is there now.
 */
static inline __u32 kexec_jump_checksum(const struct kexec_jump_header *header)
{
	const __u8 *bytes = (const __u8 *)header;
	const size_t skip = offsetof(struct kexec_jump_header, checksum);
	__u32 hash = 2166136261U;
	size_t i;

	for (i = 0; i < KEXEC_JUMP_HEADER_SIZE; i++) {
		if (i < skip || i >= skip + sizeof(header->checksum))
			hash ^= bytes[i];
		hash *= 16777619U;
	}
	return hash;
}

/**
 * kexec_jump_header_intact - is this a header this kernel understands?
 * @header:	what was found at the start of the entry's page
 *
 * Any context. The callers that can print say which part is wrong, see
 * kexec_jump_check_header().
 *
 * Return: whether it is.
 */
static inline bool kexec_jump_header_intact(const struct kexec_jump_header *header)
{
	return header->magic == KEXEC_JUMP_MAGIC &&
	       header->version == KEXEC_JUMP_VERSION &&
	       header->size == KEXEC_JUMP_HEADER_SIZE &&
	       header->nr_ranges <= KEXEC_JUMP_MAX_RANGES &&
	       header->checksum == kexec_jump_checksum(header);
}

/**
 * kexec_jump_window_has - is memory in one range of the window a header tells of?
 * @header:	with the right checksum
 * @start:	physical
 * @end:	physical, exclusive, above @start
 *
 * Any context.
 *
 * Return: whether one range of the window has all of it.
 */
static inline bool kexec_jump_window_has(const struct kexec_jump_header *header,
					 __u64 start, __u64 end)
{
	__u32 i;

	for (i = 0; i < header->nr_ranges; i++)
		if (start >= header->window[i].start && end <= header->window[i].end)
			return true;
	return false;
}

/* Room for the header in the jump page, whatever its version. */
#define KEXEC_JUMP_HEADER_MAX	0x400

/**
 * kexec_jump_find_tail - where a header of any version has its last fields
 * @header:	with the right magic
 *
 * Any context.
 *
 * Return: NULL if not even that makes sense.
 */
static inline struct kexec_jump_tail *kexec_jump_find_tail(struct kexec_jump_header *header)
{
	__u32 size = header->version == KEXEC_JUMP_VERSION ? KEXEC_JUMP_HEADER_SIZE :
							     header->size;

	if (size < offsetofend(struct kexec_jump_header, entry) ||
	    size > KEXEC_JUMP_HEADER_MAX - sizeof(struct kexec_jump_tail))
		return NULL;
	return (void *)header + size;
}

/**
 * kexec_jump_may_wait - may a kernel be preserved by a header that cannot be used?
 * @header:	with the right magic, damaged or of any version
 *
 * Any context.
 *
 * Return: false if it says clearly that nobody waits.
 */
static inline bool kexec_jump_may_wait(struct kexec_jump_header *header)
{
	struct kexec_jump_tail *tail = kexec_jump_find_tail(header);

	return !tail || (tail->state != KEXEC_JUMP_RUNNING &&
			 tail->state != KEXEC_JUMP_IMAGE);
}

#endif /* __ASSEMBLER__ */

#endif /* LINUX_KEXEC_JUMP_ABI_H */
