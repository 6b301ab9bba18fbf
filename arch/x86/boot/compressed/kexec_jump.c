// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: the decompressor of a kernel that was jumped to.
 *
 * The memory map the boot loader passed may list all of the machine's RAM, but
 * only the window is this kernel's. It is described in the jump page of the
 * kernel that jumped here, see <linux/kexec_jump_abi.h>. Nothing but the place
 * this kernel was loaded to has been written yet: if it cannot know its window,
 * this is the time to give the machine back.
 */
#include "misc.h"
#include "error.h"
#include "../string.h"

#include <linux/elf-em.h>
#include <linux/kexec_jump_abi.h>

#include <asm/setup.h>	/* For COMMAND_LINE_SIZE */

unsigned long get_cmd_line_ptr(void);

/* efi_secureboot_mode_enabled of <linux/efi.h>, which cannot be included here */
#define SECURE_BOOT_ENABLED	3

/* Physical address that resumes the preserved kernel, 0 if there is none. */
static unsigned long back_entry;
static struct kexec_jump_header *header;

static unsigned long find_entry(void)
{
	unsigned long entry;
	char arg[32];
	int len;

	len = cmdline_find_option(KEXEC_JUMP_BACK_ENTRY, arg, sizeof(arg));
	if (len <= 0 || len >= sizeof(arg) || boot_kstrtoul(arg, 0, &entry))
		return 0;
	return entry;
}

/*
 * Is this kernel to be locked down, as far as is known by now? Whoever chooses command
 * line and initrd could have put code and what looks like a jump page in front of it
 * into memory, to have it run.
 */
static bool locked_down(void)
{
	return IS_ENABLED(CONFIG_LOCK_DOWN_KERNEL_FORCE_INTEGRITY) ||
	       IS_ENABLED(CONFIG_LOCK_DOWN_KERNEL_FORCE_CONFIDENTIALITY) ||
	       boot_params_ptr->secure_boot == SECURE_BOOT_ENABLED;
}

/* Could the preserved kernel be entered in the mode that this one is in? */
static bool is_alike(const struct kexec_jump_header *h)
{
#ifdef CONFIG_X86_64
	u64 flags = native_read_cr4() & X86_CR4_LA57 ? KEXEC_JUMP_5LEVEL : 0;

	return h->machine == EM_X86_64 && h->flags == flags;
#else
	return h->machine == EM_386;
#endif
}

/*
 * The kernel gets the word with the entry from a command line of this size, and
 * after what is built in, or not at all.
 */
static bool kernel_will_see_entry(void)
{
	const char *line = (const char *)get_cmd_line_ptr();
	size_t used = strlen(line);

#ifdef CONFIG_CMDLINE_BOOL
	used += sizeof(CONFIG_CMDLINE);
#endif
	return used < COMMAND_LINE_SIZE && !IS_ENABLED(CONFIG_CMDLINE_OVERRIDE);
}

/**
 * kexec_jump_find_window - was this kernel jumped to, and what is its window?
 *
 * Called before any memory is chosen. Does not return if a kernel is preserved
 * but the window cannot be known.
 */
void kexec_jump_find_window(void)
{
	unsigned long entry = find_entry();
	struct kexec_jump_header *h = (void *)(entry & PAGE_MASK);

	if (!entry || h->magic != KEXEC_JUMP_MAGIC)
		return;
	if (!locked_down())
		back_entry = entry;
	if (kexec_jump_header_intact(h) && h->entry == entry) {
		header = h;
		/* From here nobody can come back to it, but it must not be written to. */
		if (!is_alike(h))
			back_entry = 0;
		if (!kernel_will_see_entry())
			error("cannot be confined: its command line is too long");
		return;
	}
	if (!kexec_jump_may_wait(h)) {
		back_entry = 0;
		return;
	}
	if (kexec_jump_header_intact(h)) {
		if (back_entry)
			back_entry = h->entry;
		error("cannot be confined: the entry it was told is another one");
	}
	error(h->version == KEXEC_JUMP_VERSION ?
	      "cannot be confined: the jump page is damaged" :
	      "cannot be confined: the jump page is of another version");
}

/**
 * kexec_jump_give_back - jump back to the preserved kernel, for good
 * @why:	told as the reason this kernel died
 *
 * The mode is the one the entry asks for: on i386 without paging, else with all
 * memory mapped to itself on demand. Returns if this kernel was not jumped to.
 */
void kexec_jump_give_back(const char *why)
{
	static unsigned long stack[2] __aligned(16);
	struct kexec_jump_tail *tail;
	unsigned int i;

	if (!back_entry)
		return;
	warn(why);
	error_putstr(" -- jumping back to the preserved kernel\n");
	tail = kexec_jump_find_tail((void *)(back_entry & PAGE_MASK));
	if (tail) {
		for (i = 0; i < sizeof(tail->peer_message) - 1 && why[i]; i++)
			tail->peer_message[i] = why[i];
		tail->peer_message[i] = '\0';
		tail->peer_status = KEXEC_JUMP_PEER_DIED_EARLY;
	}
	/* At the top of the stack: there is no next entry. */
	asm volatile("cli\n\t"
		     "mov %0, %%" _ASM_SP "\n\t"
		     "jmp *%1"
		     : : "r" (stack), "r" (back_entry) : "memory");
	unreachable();
}

/**
 * kexec_jump_check_output - is the place for this kernel in its window?
 * @start:	physical address it is decompressed to
 * @size:	bytes it needs there
 *
 * Nothing was written there yet. Does not return if it is not.
 */
void kexec_jump_check_output(unsigned long start, unsigned long size)
{
	if (header && !kexec_jump_window_has(header, start, start + size))
		error("cannot be confined: there is no room for it in its window");
}

#ifdef CONFIG_RANDOMIZE_BASE
/**
 * kexec_jump_clip - the part of a memory region this kernel may use
 * @region:	a region of the boot loader's memory map
 * @n:		0, 1, ...: the n-th part of @region is asked for
 * @part:	result
 *
 * In a kernel that was not jumped to, @region is its own only part.
 *
 * Return: false if there is no n-th part.
 */
bool kexec_jump_clip(const struct mem_vector *region, unsigned int n,
		     struct mem_vector *part)
{
	unsigned int i;

	if (!header) {
		*part = *region;
		return n == 0;
	}
	for (i = 0; i < header->nr_ranges; i++) {
		u64 start = max_t(u64, region->start, header->window[i].start);
		u64 end = min_t(u64, region->start + region->size,
				header->window[i].end);

		if (start < end && n-- == 0) {
			part->start = start;
			part->size = end - start;
			return true;
		}
	}
	return false;
}
#endif
