// SPDX-License-Identifier: GPL-2.0
/*
 * Whether the next boot will resume what is saved now. See next_boot.h.
 *
 * A kernel that was installed since is what GRUB starts; if that one does not resume, it
 * mounts the disks, and the saved system is lost.
 */
#include "resume/next_boot.h"
#include "common/kjump.h"
#include "devices/dm.h"
#include "devices/names.h"
#include "peer/bzimage.h"
#include "peer/initramfs.h"
#include "peer/peer.h"
#include "resume/grub.h"
#include "resume/opens.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* It is there, and cannot: whatever else is called /boot/vmlinuz-X may be anything. */
static bool cannot_jump(const char *boot, const char *name)
{
	char *file = xasprintf("%s/%s", boot, name);
	struct bzimage kernel;
	bool cannot = bzimage_read_alike(file, &kernel) == KJ_REFUSED;

	fail_clear();
	free(file);
	return cannot;
}

/* The one of these files of @boot that resumes nothing, if that is so of all; to be freed. */
static char *without_kjump(const char *boot, const char *initrds, struct next_boot *next)
{
	char *names = xasprintf("%s", initrds), *rest = names, *name, *last = NULL;
	struct initramfs fs = { 0 };
	bool any;

	while ((name = strsep(&rest, " \t"))) {
		if (!*name)
			continue;
		free(last);
		last = xasprintf("%s/%s", boot, basename(name));
		/* One that cannot be looked into may have anything. */
		any = initramfs_scan(last, &fs);
		if (any || fs.has_kjump) {
			next->bytes += fs.unpacked;
			next->opens = any ? NULL : opened_by_initramfs(&fs);
			fail_clear();
			free(last);
			last = NULL;
			break;
		}
	}
	free(names);
	return last;
}

/* Whether the name @from is that of another device than @device; not if it is none here. */
static bool is_another(const char *from, const char *device)
{
	struct stat this, that;
	bool another = false;

	if (!stat(device, &this) && !device_named(&from, 0) && !stat(from, &that))
		another = this.st_rdev != that.st_rdev;
	fail_clear();
	return another;
}

/*
 * An initramfs sets up no volume of LVM that neither holds the root file system nor is
 * named; what is encrypted it opens if it is told to (opens.c).
 */
static bool is_volume(const char *device)
{
	struct stat st;

	if (stat(device, &st))
		return !strncmp(device, "/dev/mapper/", 12);
	return S_ISBLK(st.st_mode) && dm_is(st.st_rdev) && !dm_encrypts(st.st_rdev);
}

/* LVM's, by a name from which an initramfs cannot tell which one to set up. */
static bool is_hidden_volume(const char *from, const char *device)
{
	const char *slash = !strncmp(from, "/dev/", 5) ? strchr(from + 5, '/') : NULL;
	struct stat st;

	if (!is_volume(device) || (slash && slash[1] && strncmp(from, "/dev/disk/", 10)))
		return false;
	return stat(device, &st) || dm_is_lvm(st.st_rdev);
}

/* Whether @words say that what is on @device is to be resumed; @cfg: where they are. */
static int check_words(const char *words, const char *device, const char *name, const char *cfg)
{
	char *from = command_line_value(words, "kjump.restore=");
	int rc = KJ_OK;

	if (!from && !command_line_has(words, "kjump.restore"))
		rc = fail(KJ_REFUSED,
			  "the next boot, %s by %s, does not have kjump.restore=%s and would not resume this system: kjump setup %s, or --any-boot",
			  name, cfg, device, device);
	else if ((!from || !*from) && is_volume(device))
		rc = fail(KJ_REFUSED,
			  "the next boot, %s by %s, has kjump.restore without a name, would not set up %s and not resume this system: kjump setup %s, or --any-boot",
			  name, cfg, device, device);
	else if (from && *from && (!strcmp(from, "no") || is_another(from, device)))
		rc = fail(KJ_REFUSED,
			  "the next boot, %s by %s, has kjump.restore=%s and would not resume this system from %s: kjump setup %s, or --any-boot",
			  name, cfg, from, device, device);
	else if (from && *from && is_hidden_volume(from, device))
		rc = fail(KJ_REFUSED,
			  "the next boot, %s by %s, has kjump.restore=%s, would not set up %s by that name and not resume this system: kjump setup %s, or --any-boot",
			  name, cfg, from, device, device);
	free(from);
	return rc;
}

/* What initramfs-tools runs on its way to a root file system elsewhere is not kjump's. */
static int check_root(const char *words, const char *what)
{
	char *boot = command_line_value(words, "boot="), *root = command_line_value(words, "root=");
	bool nfs = root && !strcmp(root, "/dev/nfs");
	bool elsewhere = boot && (!strcmp(boot, "nfs") || !strcmp(boot, "live") ||
				  !strcmp(boot, "casper"));
	int rc = KJ_OK;

	if (nfs || elsewhere)
		rc = fail(KJ_REFUSED,
			  "%s does not boot from a local disk (%s%s): its initramfs does not look for what was saved, and would not resume this system; --any-boot, if yours does",
			  what, nfs ? "root=" : "boot=", nfs ? root : boot);
	free(root);
	free(boot);
	return rc;
}

static int check_entry(const char *boot, const char *cfg, const struct boot_entry *entry,
		       const char *device, struct next_boot *next)
{
	const char *name = basename(entry->kernel);
	char *initrd;
	int rc;

	if (cannot_jump(boot, name))
		return fail(KJ_REFUSED,
			    "the next boot starts %s, by %s: it has no kexec jump (CONFIG_KEXEC_JUMP), or another version of it, or is for another architecture, and would not resume this system; remove it, or have another one started, or --any-boot",
			    name, cfg);
	rc = check_words(entry->words, device, name, cfg);
	if (!rc)
		rc = check_root(entry->words, name);
	if (rc)
		return rc;
	if (!entry->initrds)
		return fail(KJ_REFUSED,
			    "the next boot, %s by %s, has no initramfs and would not resume this system: make one (update-initramfs -c -k, update-grub), or --any-boot",
			    name, cfg);
	initrd = without_kjump(boot, entry->initrds, next);
	if (initrd)
		rc = fail(KJ_REFUSED,
			  "the next boot, %s, has no kjump in its initramfs, %s, and would not resume this system: have it made again (update-initramfs -u -k all), or --any-boot",
			  name, initrd);
	free(initrd);
	return rc;
}

/* Most boots are like this one. */
static void judge_by(const char *own, const char *device)
{
	if (!command_line_has(own, "kjump.restore") && !command_line_has(own, "kjump.restore=")) {
		step("the next boot must have kjump.restore=%s on its command line, unlike this,",
		     device);
		step("else nothing is resumed, and what is in memory now is lost");
	}
}

/*
 * A GRUB has started this kernel without kjump.restore, though this system's own had it by
 * then: that of another system on this machine did, with an entry that is older.
 */
static int check_grub(const char *own, const char *cfg, const char *device)
{
	struct timespec up, now;
	struct stat st;

	if (!command_line_has(own, "BOOT_IMAGE=") || command_line_has(own, "kjump.restore") ||
	    command_line_has(own, "kjump.restore=") || stat(cfg, &st) ||
	    clock_gettime(CLOCK_BOOTTIME, &up) || clock_gettime(CLOCK_REALTIME, &now) ||
	    st.st_mtime >= now.tv_sec - up.tv_sec)
		return KJ_OK;
	return fail(KJ_REFUSED,
		    "this boot had no kjump.restore=%s, which %s had by then: that is not what started it, and what did (a GRUB of another system, another entry, kexec) would not resume it; update-grub in the system whose GRUB it was, or reboot once, or --any-boot",
		    device, cfg);
}

/* It is named after GRUB's program, which is grub2-install elsewhere; one may be left over. */
static const char *grub_folder(const char *boot)
{
	char *plain = xasprintf("%s/grub/grub.cfg", boot);
	char *numbered = xasprintf("%s/grub2/grub.cfg", boot);
	struct stat one = { 0 }, other = { 0 };

	stat(plain, &one);
	stat(numbered, &other);
	free(numbered);
	free(plain);
	return other.st_mtime > one.st_mtime ? "grub2" : "grub";
}

int next_boot_check(const char *boot, const char *device, struct next_boot *next)
{
	const char *grub = grub_folder(boot);
	char *cfg_file = xasprintf("%s/%s/grub.cfg", boot, grub), *cfg = read_text(cfg_file);
	char *env_file = xasprintf("%s/%s/grubenv", boot, grub), *env = read_text(env_file);
	char *own = read_text("/proc/cmdline");
	struct boot_entry entry = { 0 };
	int rc = KJ_OK;
	bool known = cfg && grub_next(cfg, env, &entry);

	if (known)
		rc = check_entry(boot, cfg_file, &entry, device, next);
	if (known && own && !rc)
		rc = check_grub(own, cfg_file, device);
	/* A grub.cfg may be left over from before another boot loader; GRUB itself says so. */
	if (own && (!known || (!rc && !command_line_has(own, "BOOT_IMAGE=")))) {
		judge_by(own, device);
		rc = check_root(own, "the next boot, if it is like this one,");
	}
	boot_entry_free(&entry);
	free(own);
	free(env);
	free(env_file);
	free(cfg);
	free(cfg_file);
	return rc;
}

/*
 * What the boot loader reads there was written by now, but it may be in the file system's
 * journal alone, which boot loaders do not look into.
 */
void next_boot_settle(const char *boot)
{
	int fd = open(boot, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	sigset_t all, before;

	if (fd < 0)
		return;
	sigfillset(&all);
	sigprocmask(SIG_SETMASK, &all, &before);
	if (!ioctl(fd, FIFREEZE, 0))
		ioctl(fd, FITHAW, 0);
	sigprocmask(SIG_SETMASK, &before, NULL);
	close(fd);
}
