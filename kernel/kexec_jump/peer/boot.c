// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: the side of a kernel that was jumped to.
 *
 * Its command line carries the entry of the preserved kernel. From the jump
 * page there it learns which memory it may use.
 */
#include "../internal.h"

#include <linux/cache.h>
#include <linux/crash_dump.h>
#include <linux/init.h>
#include <linux/io.h>
#include <linux/kernel.h>
#include <linux/mm.h>
#include <linux/string.h>
#include <linux/suspend.h>

static u64 back_entry __ro_after_init;

#ifdef CONFIG_CRASH_DUMP
/* elfcorehdr= as it was when the entry was parsed, which kexec put behind it. */
static unsigned long long elfcorehdr_before __initdata;
#endif

/* Copy taken at boot; fields after the checksum are those of that time. */
static struct kexec_jump_header preserved_header __ro_after_init;

/* All memory but its window is that kernel's: until this one is resumed from an image. */
static bool confined;

/* The header itself. */
static struct kexec_jump_header *live_header;

static int __init parse_back_entry(char *arg)
{
	if (!arg || kstrtoull(arg, 0, &back_entry))
		pr_warn("%s=%s is not an address\n", KEXEC_JUMP_BACK_ENTRY, arg);
	/* Other parameters may be fatal before it is looked at. */
	kexec_jump_panic_early(back_entry);
#ifdef CONFIG_CRASH_DUMP
	elfcorehdr_before = elfcorehdr_addr;
#endif
	return 0;
}
early_param(KEXEC_JUMP_BACK_ENTRY, parse_back_entry);

/*
 * kexec passes an ELF core header as to a crash kernel. It describes the memory
 * before the jump, with the window where this kernel is now, and notes that are
 * only written by a crash: what it shows would be wrong. One that follows later
 * on the command line is another one: this is the crash kernel of a kernel that
 * was jumped to, started with that kernel's command line.
 */
static void __init ignore_elfcorehdr(void)
{
#ifdef CONFIG_CRASH_DUMP
	if (elfcorehdr_addr == elfcorehdr_before)
		elfcorehdr_addr = ELFCORE_ADDR_MAX;
#endif
}

/**
 * kexec_jump_find_preserved - look up the kernel that jumped here, at boot
 * @word:	its entry as the boot loader put it on the command line, or NULL. Nobody
 *		parses parameters behind a "--", or within quotes that are not closed
 *
 * Called once, after parse_early_param() and before memory is handed out.
 *
 * Return: its header or NULL if this kernel was not jumped to.
 */
const struct kexec_jump_header * __init kexec_jump_find_preserved(char *word)
{
	struct kexec_jump_header *header;
	bool waits, intact;
	u64 by_word;

	/* That is the last one, by which the decompressor has found its place. */
	if (word && !kstrtoull(word, 0, &by_word) && by_word != back_entry)
		parse_back_entry(word);
	if (!back_entry)
		return NULL;
	header = early_memremap(back_entry & PAGE_MASK, PAGE_SIZE);
	/* Without a window, this kernel might overwrite another one. */
	if (!header)
		panic("kexec_jump: entry %#llx: cannot be mapped", back_entry);
	memcpy(&preserved_header, header, sizeof(preserved_header));
	waits = header->magic == KEXEC_JUMP_MAGIC && kexec_jump_may_wait(header);
	early_memunmap(header, PAGE_SIZE);

	/* Whether this kernel can jump back there does not matter here. */
	intact = kexec_jump_header_intact(&preserved_header);
	if (intact && preserved_header.entry == back_entry) {
		confined = true;
		ignore_elfcorehdr();
		return &preserved_header;
	}
	/* Some kernel is preserved there, and this one would overwrite it. */
	if (waits && intact) {
		kexec_jump_panic_early(preserved_header.entry);
		panic("cannot be confined: the entry it was told is another one");
	}
	if (waits)
		panic("cannot be confined: the jump page is damaged or of another version");
	pr_err("entry %#llx: no jump page there, not confined to a window\n", back_entry);
	kexec_jump_panic_early(0);
	return NULL;
}

/**
 * kexec_jump_may_add_memory - may memory become this kernel's after boot?
 * @start:	physical
 * @size:	bytes
 *
 * Process context. Firmware and hypervisors offer memory to whoever runs; to a
 * kernel that was jumped to, all outside its window is the preserved kernel's.
 *
 * Return: false, with a message, if some of it lies outside the window.
 */
bool kexec_jump_may_add_memory(u64 start, u64 size)
{
	u64 end = start + size;

	if (!confined || kexec_jump_window_has(&preserved_header, start, end))
		return true;
	pr_warn("memory [%#llx-%#llx] is not added: it is not in the window of this kernel\n",
		start, end - 1);
	return false;
}

/**
 * kexec_jump_may_eject - may hardware be ejected?
 * @name:	of the device
 *
 * Process context. A memory module, or whatever else the firmware or a hypervisor wants
 * back, is the preserved kernel's, which is not asked while it is away.
 *
 * Return: false, with a message, in a kernel that was jumped to.
 */
bool kexec_jump_may_eject(const char *name)
{
	if (!confined)
		return true;
	pr_warn("%s is not ejected: the preserved kernel may use it; jump back first\n", name);
	return false;
}

/**
 * kexec_jump_preserved_kernel - the kernel that jumped to this one
 *
 * Return: its header as it was at boot, or NULL if there is none, or it is gone.
 */
const struct kexec_jump_header *kexec_jump_preserved_kernel(void)
{
	return confined ? &preserved_header : NULL;
}

/**
 * kexec_jump_preserved_now - the kernel that jumped here, if this one may use it
 *
 * Any context that may print.
 *
 * Return: its header as it is now, or NULL if kexec_jump_judge() objects.
 */
struct kexec_jump_header *kexec_jump_preserved_now(void)
{
	return live_header && !kexec_jump_judge(live_header) ? live_header : NULL;
}

/**
 * kexec_jump_forget_preserved - the kernel that jumped here is gone
 *
 * Any context. Called when this kernel is resumed from an image: that one was
 * not part of it.
 */
void kexec_jump_forget_preserved(void)
{
	live_header = NULL;
	confined = false;
}

/*
 * Hibernation would power the machine off with the preserved kernel in it, and resume
 * this one alone. Its notifiers are called before a jump, too.
 */
static int hibernation_begins(struct notifier_block *block, unsigned long action, void *arg)
{
	bool preserved;

	if (action != PM_HIBERNATION_PREPARE || kexec_jump_in_progress())
		return NOTIFY_OK;
	mutex_lock(&kexec_jump_lock);
	preserved = kexec_jump_preserved_now();
	mutex_unlock(&kexec_jump_lock);
	if (!preserved)
		return NOTIFY_OK;
	pr_err("no hibernation: the kernel that jumped here would be lost; jump back (kjump back) and hibernate that one\n");
	return notifier_from_errno(-EBUSY);
}

static struct notifier_block hibernation_notifier = {
	.notifier_call = hibernation_begins,
};

static int __init kexec_jump_guard_owner(void)
{
	return confined ? register_pm_notifier(&hibernation_notifier) : 0;
}
late_initcall(kexec_jump_guard_owner);

/* Before other CPUs are started: until then a panic needs nothing. */
static int __init kexec_jump_peer_init(void)
{
	const char *why_not;

	if (!confined)
		return 0;
	live_header = memremap(back_entry & PAGE_MASK, PAGE_SIZE, MEMREMAP_WB);
	why_not = live_header ? kexec_jump_judge(live_header) : "it cannot be mapped";
	if (why_not) {
		pr_warn("the preserved kernel is left alone: %s; no way back, no /proc/vmcore, no shared memory\n",
			why_not);
		if (live_header)
			memunmap(live_header);
		live_header = NULL;
	}
	kexec_jump_prepare_panic(why_not ? 0 : back_entry);
	return 0;
}
early_initcall(kexec_jump_peer_init);
