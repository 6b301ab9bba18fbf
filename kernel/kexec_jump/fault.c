// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: let a chosen step fail, to test the way back.
 *
 * Write the name of a step to /sys/kernel/debug/kexec_jump/fail_step: the next
 * time that step has been entered it fails with -EIO, once. "NAME N": not the next
 * time, but the Nth.
 */
#include "internal.h"

#include <linux/debugfs.h>
#include <linux/fs.h>
#include <linux/kstrtox.h>
#include <linux/string.h>
#include <linux/uaccess.h>

static char fail_step[32];
/* How many times it does not fail before. */
static unsigned int passes;

/**
 * kexec_jump_should_fail - is this step to fail now?
 * @step:	name of the step that has just been entered
 *
 * Any context. Forgets the request when it says yes.
 *
 * Return: whether it is.
 */
bool kexec_jump_should_fail(const char *step)
{
	if (strcmp(step, fail_step))
		return false;
	if (passes) {
		passes--;
		return false;
	}
	pr_info("step %s made to fail\n", step);
	fail_step[0] = '\0';
	return true;
}

static bool is_step(const char *name)
{
	unsigned int i;

	for (i = 0; i < kexec_jump_nr_steps(); i++)
		if (!strcmp(name, kexec_jump_step_name(i)))
			return true;
	return false;
}

static ssize_t fail_step_write(struct file *file, const char __user *buf,
			       size_t count, loff_t *ppos)
{
	char buffer[sizeof(fail_step)] = "";
	char *name, *number;
	unsigned int nth = 1;
	loff_t begin = 0;
	ssize_t len;

	/* Each call asks for something of its own. */
	len = simple_write_to_buffer(buffer, sizeof(buffer) - 1, &begin, buf, count);
	if (len < 0)
		return len;
	number = strim(buffer);
	name = strsep(&number, " ");
	if (name[0] && !is_step(name))
		return -EINVAL;
	if (number && (kstrtouint(number, 10, &nth) || !nth))
		return -EINVAL;
	strscpy(fail_step, name);
	passes = nth - 1;
	return count;
}

static ssize_t fail_step_read(struct file *file, char __user *buf,
			      size_t count, loff_t *ppos)
{
	return simple_read_from_buffer(buf, count, ppos, fail_step,
				       strlen(fail_step));
}

static const struct file_operations fail_step_fops = {
	.open	= simple_open,
	.read	= fail_step_read,
	.write	= fail_step_write,
};

static int __init kexec_jump_fault_init(void)
{
	struct dentry *dir = debugfs_create_dir("kexec_jump", NULL);

	debugfs_create_file("fail_step", 0600, dir, NULL, &fail_step_fops);
	return 0;
}
late_initcall(kexec_jump_fault_init);
