// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: /sys/kernel/kexec_jump/, see
 * Documentation/ABI/testing/sysfs-kernel-kexec_jump.
 */
#include "internal.h"

#include <linux/capability.h>
#include <linux/kobject.h>
#include <linux/kstrtox.h>
#include <linux/math64.h>
#include <linux/string.h>
#include <linux/sysfs.h>
#include <linux/time64.h>

static ssize_t show_jumps(char *buf)
{
	return sysfs_emit(buf, "%lu\n", kexec_jump_report.jumps);
}

static ssize_t show_last(char *buf)
{
	const struct kexec_jump_report *report = &kexec_jump_report;

	if (!report->attempts)
		return sysfs_emit(buf, "none\n");
	/* What it died of is told with addresses. */
	if (report->peer_died && !capable(CAP_SYS_BOOT))
		return sysfs_emit(buf, "peer died\n");
	if (report->peer_died)
		return sysfs_emit(buf, "peer died: %s\n", report->peer_message);
	if (report->error)
		return sysfs_emit(buf, "error %d at %s\n", report->error,
				  report->step);
	if (report->test)
		return sysfs_emit(buf, "test at %s\n", report->step);
	if (report->from_image)
		return sysfs_emit(buf, "ok, resumed from an image\n");
	return sysfs_emit(buf, "ok\n");
}

static ssize_t show_steps(char *buf)
{
	ssize_t len = 0;
	unsigned int i;

	for (i = 0; i < kexec_jump_nr_steps(); i++)
		len += sysfs_emit_at(buf, len, "%s %llu %llu\n",
			kexec_jump_step_name(i),
			div_u64(kexec_jump_step_ns(i, false), NSEC_PER_USEC),
			div_u64(kexec_jump_step_ns(i, true), NSEC_PER_USEC));
	return len;
}

#ifdef CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE

/* "0x", 16 digits, twice; "-", newline */
#define RANGE_CHARS	(2 * 18 + 2)

static ssize_t show_window(char *buf, const struct kexec_jump_range *window,
			   unsigned int nr_ranges)
{
	ssize_t len = 0;
	unsigned int i;

	/* The window of an image to be resumed can have more than fit. */
	for (i = 0; i < nr_ranges && len + RANGE_CHARS < PAGE_SIZE; i++)
		len += sysfs_emit_at(buf, len, "%#llx-%#llx\n", window[i].start,
				     window[i].end - 1);
	return len;
}

static ssize_t show_preserved(char *buf)
{
	const struct kexec_jump *jump = kexec_jump_loaded();

	return sysfs_emit(buf, "%d\n", !!kexec_jump_preserved_now() ||
			  (jump && jump->peer_preserved));
}

static ssize_t show_jump_back_entry(char *buf)
{
	const struct kexec_jump_header *header = kexec_jump_preserved_kernel();

	return sysfs_emit(buf, "%#llx\n", header ? header->entry : 0);
}

static ssize_t show_confined_to(char *buf)
{
	const struct kexec_jump_header *header = kexec_jump_preserved_kernel();

	return header ? show_window(buf, header->window, header->nr_ranges) : 0;
}

static ssize_t show_image_entry(char *buf)
{
	const struct kexec_jump *jump = kexec_jump_loaded();

	return sysfs_emit(buf, "%#lx\n", jump ? jump->entry : 0);
}

static ssize_t show_image_window(char *buf)
{
	const struct kexec_jump *jump = kexec_jump_loaded();

	return jump ? show_window(buf, jump->window.range,
				  jump->window.nr) : 0;
}

static ssize_t show_peer(char *buf)
{
	return kexec_jump_show_choice(buf);
}

static ssize_t store_peer(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t count)
{
	/* With room for a number */
	char name[KEXEC_JUMP_NAME_LEN + 16];
	int error;

	if (!capable(CAP_SYS_BOOT))
		return -EPERM;
	if (strscpy(name, buf) < 0)
		return -EINVAL;
	if (mutex_lock_interruptible(&kexec_jump_lock))
		return -ERESTARTSYS;
	error = kexec_jump_choose(strim(name));
	mutex_unlock(&kexec_jump_lock);
	return error ? error : count;
}

static ssize_t show_peers(char *buf)
{
	return kexec_jump_list_peers(buf);
}

static ssize_t show_held(char *buf)
{
	const struct kexec_jump *jump = kexec_jump_loaded();

	return sysfs_emit(buf, "%d\n", jump && jump->held);
}

static ssize_t store_held(struct kobject *kobj, struct kobj_attribute *attr,
			  const char *buf, size_t count)
{
	bool hold;
	int error = capable(CAP_SYS_BOOT) ? kstrtobool(buf, &hold) : -EPERM;

	if (!error)
		error = kexec_jump_hold(hold);
	return error ? error : count;
}

#endif

/* A file of the directory; @show_value is called under kexec_jump_lock. */
struct jump_attribute {
	struct kobj_attribute attr;
	ssize_t (*show_value)(char *buf);
};

static ssize_t show_locked(struct kobject *kobj, struct kobj_attribute *attr,
			   char *buf)
{
	ssize_t len;

	/* Who may not jump, as root of a container, has no use for addresses. */
	if (!(attr->attr.mode & 0004) && !capable(CAP_SYS_BOOT))
		return -EPERM;
	/* It may be held for as long as a program is called again and again. */
	if (mutex_lock_interruptible(&kexec_jump_lock))
		return -ERESTARTSYS;
	len = container_of(attr, struct jump_attribute, attr)->show_value(buf);
	mutex_unlock(&kexec_jump_lock);
	return len;
}

#define JUMP_ATTRIBUTE_RW(_name, _mode, _store)			\
	static struct jump_attribute _name##_attribute = {	\
		.attr = __ATTR(_name, _mode, show_locked, _store), \
		.show_value = show_##_name,			\
	}
#define JUMP_ATTRIBUTE(_name, _mode)	JUMP_ATTRIBUTE_RW(_name, _mode, NULL)

JUMP_ATTRIBUTE(jumps, 0444);
JUMP_ATTRIBUTE(last, 0444);
JUMP_ATTRIBUTE(steps, 0444);
#ifdef CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE
JUMP_ATTRIBUTE(preserved, 0444);
/* Physical addresses are for root, as in /proc/iomem. */
JUMP_ATTRIBUTE(jump_back_entry, 0400);
JUMP_ATTRIBUTE(confined_to, 0400);
JUMP_ATTRIBUTE(image_entry, 0400);
JUMP_ATTRIBUTE(image_window, 0400);
JUMP_ATTRIBUTE_RW(held, 0600, store_held);
JUMP_ATTRIBUTE_RW(peer, 0600, store_peer);
JUMP_ATTRIBUTE(peers, 0444);
#endif

static const struct attribute * const attributes[] = {
	&jumps_attribute.attr.attr,
	&last_attribute.attr.attr,
	&steps_attribute.attr.attr,
#ifdef CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE
	&preserved_attribute.attr.attr,
	&jump_back_entry_attribute.attr.attr,
	&confined_to_attribute.attr.attr,
	&image_entry_attribute.attr.attr,
	&image_window_attribute.attr.attr,
	&held_attribute.attr.attr,
	&peer_attribute.attr.attr,
	&peers_attribute.attr.attr,
#endif
	NULL
};

static int __init kexec_jump_sysfs_init(void)
{
	struct kobject *dir = kobject_create_and_add("kexec_jump", kernel_kobj);
	int error;

	if (!dir)
		return -ENOMEM;
	error = sysfs_create_files(dir, attributes);
#ifdef CONFIG_ARCH_HAS_KEXEC_JUMP_PAGE
	if (!error)
		error = kexec_jump_shared_init(dir);
#endif
	if (error)
		kobject_put(dir);
	return error;
}
late_initcall(kexec_jump_sysfs_init);
