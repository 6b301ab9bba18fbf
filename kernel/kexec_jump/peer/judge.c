// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: What a kernel that was jumped to may do
 *
 * The entry comes from the command line, and what it leads to is memory that this
 * kernel does not control: whoever chooses command line and initramfs can put
 * something there that looks like a preserved kernel, to have any page written, read
 * or run. That is what lockdown is to prevent. And a jump page may be damaged, or
 * change.
 *
 * So a kernel that was jumped to may jump back, read the preserved kernel's memory,
 * and write the shared memory, only if all of this holds, which is asked at boot,
 * before each jump, when the view is opened, and at each access to shared memory:
 *
 * * it is not locked down;
 * * there is a jump page at its entry, of this version, with the right checksum, whose
 *   kernel waits to be resumed, and it tells of the same window as at boot;
 * * the page is none of this kernel's own memory.
 *
 * A list that leads to this kernel's own memory is not followed: there is no view, or no
 * shared memory, but a way back, which needs no list.
 *
 * If not, the log says why, and this kernel goes on in its window, without a way back.
 * The preserved kernel stays as it is. Whatever the answer, this kernel keeps to its
 * window: memory that is offered to it while it runs (ACPI hotplug, virtio-mem, CXL) is
 * refused unless it lies there.
 */
#include "../internal.h"

#include <linux/elf.h>
#include <linux/mm.h>
#include <linux/pfn.h>
#include <linux/security.h>

/**
 * kexec_jump_is_own - is a page this kernel's memory?
 * @pfn:	page frame
 *
 * Any context. All RAM of a kernel that was jumped to is in its window.
 *
 * Return: whether it is; false in a kernel that was not jumped to.
 */
bool kexec_jump_is_own(unsigned long pfn)
{
	const struct kexec_jump_header *header = kexec_jump_preserved_kernel();
	u64 start = (u64)pfn << PAGE_SHIFT;

	return header && kexec_jump_window_has(header, start, start + PAGE_SIZE);
}

/**
 * kexec_jump_alike - could this kernel's instructions run at the entry of that one?
 * @header:	intact
 *
 * Any context.
 *
 * Return: whether both are for the same architecture and depth of paging.
 */
bool kexec_jump_alike(const struct kexec_jump_header *header)
{
	return header->machine == ELF_ARCH && header->flags == arch_kexec_jump_flags();
}

/**
 * kexec_jump_judge - may this kernel use what is at its entry?
 * @header:	what is there now
 *
 * Any context that may print.
 *
 * Return: NULL if it may, or why not.
 */
const char *kexec_jump_judge(const struct kexec_jump_header *header)
{
	const struct kexec_jump_header *boot = kexec_jump_preserved_kernel();

	if (!boot)
		return "this kernel was not jumped to";
	if (security_locked_down(LOCKDOWN_KEXEC))
		return "this kernel is locked down";
	if (header->magic != KEXEC_JUMP_MAGIC)
		return "there is no jump page any more";
	if (header->version != KEXEC_JUMP_VERSION)
		return "its jump page is of another version";
	if (!kexec_jump_header_intact(header))
		return "its jump page is damaged";
	/* Only with the same instructions and page tables its entry can be run. */
	if (!kexec_jump_alike(header))
		return "its kernel is for another architecture, or another depth of paging";
	if (header->entry != boot->entry)
		return "its jump page is that of another entry";
	if (header->nr_ranges != boot->nr_ranges ||
	    memcmp(header->window, boot->window, sizeof(boot->window)))
		return "its jump page tells of another window than at boot";
	if (kexec_jump_is_own(header->entry >> PAGE_SHIFT))
		return "its jump page is in this kernel's own memory";
	if (READ_ONCE(header->state) != KEXEC_JUMP_AWAY)
		return "its kernel is not waiting to be resumed";
	return NULL;
}
