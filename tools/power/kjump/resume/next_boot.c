// SPDX-License-Identifier: GPL-2.0
/*
 * Whether the next boot will resume what is saved now. See next_boot.h.
 *
 * A kernel that was installed since is what GRUB starts; if that one does not resume, it
 * mounts the disks, and the saved system is lost.
 */
#include "resume/next_boot.h"
#include "common/conf.h"
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

/*
 * Whether one of these files of @boot resumes what is saved now; one that cannot be looked
 * into may have anything. @name: of the kernel they are for.
 */
static int check_initrds(const char *boot, const char *initrds, const char *name,
			 struct next_boot *next)
{
	char *names = xasprintf("%s", initrds), *rest = names, *word, *file = NULL;
	struct initramfs fs = { 0 };
	bool found = false, any = false;
	int rc = KJ_OK;

	while (!found && (word = strsep(&rest, " \t"))) {
		if (!*word)
			continue;
		free(file);
		file = xasprintf("%s/%s", boot, basename(word));
		any = initramfs_scan(file, &fs);
		fail_clear();
		found = any || fs.has_kjump;
	}
	next->bytes = found ? fs.unpacked : 0;
	free(next->opens);
	next->opens = found && !any ? opened_by_initramfs(&fs) : NULL;
	if (file && !found)
		rc = fail(KJ_REFUSED,
			  "the next boot, %s, has no kjump in its initramfs, %s, and would not resume this system: have it made again (update-initramfs -u -k all), or --any-boot",
			  name, file);
	/* Each knows images of one version. */
	else if (found && !any && !fs.knows_image)
		rc = fail(KJ_REFUSED,
			  "the next boot, %s, has a kjump in its initramfs, %s, that does not know what this one saves: have it made again (update-initramfs -u -k all), or --any-boot",
			  name, file);
	free(file);
	free(names);
	return rc;
}

/* The running kernel's, by what distributions call it; one that is not there is not judged. */
static int check_own_initrd(const char *boot, const char *name, struct next_boot *next)
{
	static const char * const names[] = { "initrd.img-%s", "initramfs-%s.img", "initrd-%s" };
	char *folder = xasprintf("%s/", boot);
	char *file = first_there(folder, names, ARRAY_SIZE(names));
	int rc = file ? check_initrds(boot, basename(file), name, next) : KJ_OK;

	free(file);
	free(folder);
	return rc;
}

void next_boot_as_this(const char *boot, struct next_boot *next)
{
	check_own_initrd(boot, "", next);
	fail_clear();
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

/* The volume that is meant may have had that name, before another one got its place. */
static bool is_other_volume(const char *from, const char *device)
{
	struct stat st;
	bool none = !stat(device, &st) && is_volume(device) && device_named(&from, 0);

	fail_clear();
	return none;
}

/*
 * What a kernel was told once is not for each boot to come: with these words also a system
 * would be resumed whose disks others have written to since.
 */
static bool ignores_changes(const char *words)
{
	char *ignored = command_line_values(words, "kjump.ignore=");
	bool it_does = ignored && (strstr(ignored, "changed") || strstr(ignored, "mounts"));

	free(ignored);
	return it_does;
}

static bool has_restore(const char *words)
{
	return command_line_has(words, "kjump.restore") ||
	       command_line_has(words, "kjump.restore=");
}

/* Whether @words say that what is on @device is to be resumed; @cfg: where they are. */
static int check_words(const char *words, const char *device, const char *name, const char *cfg)
{
	char *from = command_line_value(words, "kjump.restore=");
	int rc = KJ_OK;

	if (!has_restore(words))
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
	else if (from && *from && is_other_volume(from, device))
		rc = fail(KJ_REFUSED,
			  "the next boot, %s by %s, has kjump.restore=%s, which is not there, would not set up %s and not resume this system: kjump setup %s, or --any-boot",
			  name, cfg, from, device, device);
	else if (ignores_changes(words))
		rc = fail(KJ_REFUSED,
			  "the next boot, %s by %s, has kjump.ignore=, so that it would resume a system although others have changed its disks: take that out, or --any-boot",
			  name, cfg);
	free(from);
	return rc;
}

/* What makes a kernel refuse the image of this one: less memory or CPUs, or being confined. */
static int check_limits(const char *words, const char *own, const char *name, const char *cfg)
{
	static const char * const limits[] = {
		"lockdown=", "mem=", "memmap=", "nr_cpus=", "maxcpus=", "no5lvl", "nosmp",
	};
	int rc = KJ_OK;

	for (unsigned int i = 0; !rc && i < ARRAY_SIZE(limits); i++) {
		bool valued = strchr(limits[i], '=');
		char *next = valued ? command_line_values(words, limits[i]) : NULL;
		char *now = valued ? command_line_values(own, limits[i]) : NULL;

		if (command_line_has(words, limits[i]) &&
		    (!command_line_has(own, limits[i]) || (next && now && strcmp(next, now))))
			rc = fail(KJ_REFUSED,
				  "the next boot, %s by %s, has %s%s, unlike this one, and might refuse what was saved: take that out, or --any-boot",
				  name, cfg, limits[i], next ? next : "");
		free(now);
		free(next);
	}
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
		       const char *own, const char *device, struct next_boot *next)
{
	const char *name = basename(entry->kernel);
	int rc;

	if (cannot_jump(boot, name))
		return fail(KJ_REFUSED,
			    "the next boot starts %s, by %s: it has no kexec jump (CONFIG_KEXEC_JUMP), or another version of it, or is for another architecture, and would not resume this system; remove it, or have another one started, or --any-boot",
			    name, cfg);
	rc = check_words(entry->words, device, name, cfg);
	if (!rc)
		rc = check_root(entry->words, name);
	if (!rc && own)
		rc = check_limits(entry->words, own, name, cfg);
	if (rc)
		return rc;
	if (!entry->initrds)
		return fail(KJ_REFUSED,
			    "the next boot, %s by %s, has no initramfs and would not resume this system: make one (update-initramfs -c -k, update-grub), or --any-boot",
			    name, cfg);
	return check_initrds(boot, entry->initrds, name, next);
}

/* What boot loaders have that are not read here; to be freed, NULL if there is nothing. */
static char *other_loader(const char *boot, const char *efivars)
{
	static const char * const files[] = {
		"loader/entries", "efi/loader/entries", "../efi/loader/entries", "EFI/Linux",
		"efi/EFI/Linux", "../efi/EFI/Linux", "extlinux/extlinux.conf",
		"syslinux/syslinux.cfg", "refind_linux.conf", "limine.conf",
	};
	/* Of systemd-boot, and of what it starts (Boot Loader Interface). */
	static const char info[] = "LoaderInfo-4a67b082-0a4c-41cf-b6c7-440b29bb8c4f";
	char *path = xasprintf("%s/%s", efivars, info);

	for (unsigned int i = 0; access(path, F_OK) && i < ARRAY_SIZE(files); i++) {
		free(path);
		path = xasprintf("%s/%s", boot, files[i]);
	}
	if (!access(path, F_OK))
		return path;
	free(path);
	return NULL;
}

/* Most boots are like this one. @unread: what would say more, NULL if nothing would. */
static int check_alike(const char *boot, const char *own, const char *device, const char *unread,
		       struct next_boot *next)
{
	static const char name[] = "if it is like this one";
	char *from = command_line_value(own, "kjump.restore=");
	/* Somebody wanted this boot to be a fresh one. */
	bool resumes = has_restore(own) && !(from && !strcmp(from, "no"));
	int rc = check_root(own, "the next boot, if it is like this one,");

	if (!rc && resumes) {
		rc = check_words(own, device, name, "/proc/cmdline");
	} else if (!rc && unread) {
		rc = fail(KJ_REFUSED,
			  "what the next boot starts is not known from %s; this one had no kjump.restore=%s, and would not resume this system: add that there and reboot once, or --any-boot",
			  unread, device);
	}
	/* It may be left over: that of a boot that resumes has looked for an image. */
	if (!rc && resumes)
		next_boot_as_this(boot, next);
	else if (!rc)
		rc = check_own_initrd(boot, name, next);
	if (!rc && !resumes) {
		step("the next boot must have kjump.restore=%s on its command line, unlike this,",
		     device);
		step("else nothing is resumed, and what is in memory now is lost");
	}
	free(from);
	return rc;
}

/* A global variable of UEFI: four bytes of attributes, and a number. */
static bool efi_number(const char *efivars, const char *name, uint64_t *number)
{
	char *path = xasprintf("%s/%s-8be4df61-93ca-11d2-aa0d-00e098032b8c", efivars, name);
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t data[4 + sizeof(*number)] = { 0 };
	bool there = fd >= 0 && read(fd, data, sizeof(data)) > 4;

	memcpy(number, data + 4, sizeof(*number));
	if (fd >= 0)
		close(fd);
	free(path);
	return there;
}

/* What the firmware was asked to do first (UEFI 3.3, 8.5.4). */
static int check_firmware(const char *efivars)
{
	/* EFI_OS_INDICATIONS_FILE_CAPSULE_DELIVERY_SUPPORTED */
	const uint64_t capsule = 4;
	uint64_t next, current, indications;

	if (efi_number(efivars, "BootNext", &next) &&
	    !(efi_number(efivars, "BootCurrent", &current) && current == next))
		return fail(KJ_REFUSED,
			    "the firmware is to start something else first (BootNext), after which it might not be as this system knows it: efibootmgr --delete-bootnext, or reboot once, or --any-boot");
	if (efi_number(efivars, "OsIndications", &indications) && (indications & capsule))
		return fail(KJ_REFUSED,
			    "the next boot is to update the firmware, and would refuse what was saved: reboot once, or --any-boot");
	return KJ_OK;
}

/*
 * A GRUB has started this kernel without kjump.restore, though this system's own had it by
 * then: that of another system on this machine did, with an entry that is older.
 */
static int check_grub(const char *own, const char *cfg, const char *device)
{
	struct timespec up, now;
	struct stat st;

	if (!command_line_has(own, "BOOT_IMAGE=") || has_restore(own) || stat(cfg, &st) ||
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

int next_boot_check(const char *boot, const char *efivars, const char *device,
		    struct next_boot *next)
{
	const char *grub = grub_folder(boot);
	char *cfg_file = xasprintf("%s/%s/grub.cfg", boot, grub), *cfg = read_text(cfg_file);
	char *env_file = xasprintf("%s/%s/grubenv", boot, grub), *env = read_text(env_file);
	char *own = read_text("/proc/cmdline");
	struct boot_entry entry = { 0 };
	bool known = cfg && grub_next(cfg, env, &entry);
	int rc = check_firmware(efivars);

	if (!rc && known)
		rc = check_entry(boot, cfg_file, &entry, own, device, next);
	if (!rc && known && own)
		rc = check_grub(own, cfg_file, device);
	/* A grub.cfg may be left over from before another boot loader; GRUB itself says so. */
	if (!rc && own && (!known || !command_line_has(own, "BOOT_IMAGE="))) {
		char *unread = other_loader(boot, efivars);

		rc = check_alike(boot, own, device, cfg && !known ? cfg_file : unread, next);
		free(unread);
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
