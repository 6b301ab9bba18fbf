// SPDX-License-Identifier: GPL-2.0
/* Whether a device or file may be written to. */
#include "devices/device.h"
#include "devices/disks.h"
#include "devices/dm.h"
#include "devices/map.h"
#include "devices/users.h"
#include "devices/volume.h"
#include "image/image.h"

#include <blkid/blkid.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A target must be blank this far to be taken without --force. */
#define BLANK_SIZE	(128 * 1024u)

/* @kinds: how names begin, up to a NULL. */
static bool is_one_of(const char *name, const char * const *kinds)
{
	for (; name && *kinds; kinds++)
		if (!strncmp(name, *kinds, strlen(*kinds)))
			return true;
	return false;
}

bool device_in_memory(dev_t dev)
{
	static const char * const kinds[] = { "ram", "zram", "loop", "nbd", "rbd", NULL };
	char *name = device_name(dev);
	bool in_memory = is_one_of(name, kinds);

	free(name);
	return in_memory;
}

/* That there is one is all that matters. */
static void any_piece(void *ctx, const struct identity *piece)
{
	(void)ctx;
	(void)piece;
}

int device_on_hardware(const char *path)
{
	static const char * const made_up[] = {
		"md", "loop", "zram", "ram", "nbd", "rbd", "drbd", "bcache", NULL,
	};
	char *name = NULL;
	struct stat st;
	int rc = KJ_OK;

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return fail(KJ_USAGE, "%s is not a block device", path);
	name = device_name(st.st_rdev);
	rc = volume_check(path, st.st_rdev);
	/* Of other such devices it is known that no disk can be found below. */
	if (!rc && (is_one_of(name, made_up) || !map_to_hardware(st.st_rdev, any_piece, NULL)))
		rc = fail(KJ_REFUSED,
			  "%s (%s) is set up by this system, the peer would not find it; take a disk or partition",
			  path, name);
	free(name);
	return rc;
}

static int check_unused(const char *path, dev_t dev, const char *busy)
{
	struct users users;
	char *above;
	int fd, rc;
	const char *what;

	rc = busy ? disks_check_target(busy, path, dev) : KJ_OK;
	if (rc)
		return rc;
	rc = users_find(&users, 0);
	what = users_what(&users, dev);
	if (rc) {
		/* Not to be told. */
	} else if (what) {
		rc = fail(KJ_REFUSED, "%s is in use: %s; take another device, or free it first",
			  path, what);
	} else {
		above = device_held_by(dev);
		if (above)
			rc = fail(KJ_REFUSED, "%s is in use: part of %s", path, above);
		free(above);
	}
	users_free(&users);
	if (rc)
		return rc;
	/* Whoever else holds it. */
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return fail(errno == EBUSY ? KJ_REFUSED : KJ_FAILED, "%s: %s", path,
			    errno == EBUSY ? "in use" : strerror(errno));
	close(fd);
	return KJ_OK;
}

/* --- what is on it ------------------------------------------------------ */

/* What libblkid knows, at either end of it; to be freed, NULL for nothing. */
static char *looks_like(const char *path)
{
	static const struct {
		const char *usage, *form;
	} usages[] = {
		{ "filesystem", "a file system (%s)" },
		{ "raid", "a part of a RAID or of LVM (%s)" },
		{ "crypto", "an encrypted device (%s)" },
		{ "other", "%s space" },
	};
	blkid_probe probe = blkid_new_probe_from_filename(path);
	const char *type, *usage;
	char *text = NULL;
	int rc;

	if (!probe)
		return NULL;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE | BLKID_SUBLKS_USAGE);
	blkid_probe_enable_partitions(probe, 1);
	rc = blkid_do_safeprobe(probe);
	if (rc == -2) {
		text = xasprintf("more than one thing");
	} else if (!rc && !blkid_probe_lookup_value(probe, "TYPE", &type, NULL)) {
		if (blkid_probe_lookup_value(probe, "USAGE", &usage, NULL))
			usage = "";
		for (unsigned int i = 0; !text && i < ARRAY_SIZE(usages); i++)
			if (!strcmp(usage, usages[i].usage))
				text = xasprintf(usages[i].form, type);
		if (!text)
			text = xasprintf("%s", type);
	} else if (!rc && !blkid_probe_lookup_value(probe, "PTTYPE", &type, NULL)) {
		text = xasprintf("a partition table (%s)", type);
	}
	blkid_free_probe(probe);
	return text;
}

/* Whether what is known to have been written whole still is an image behind its first sector. */
static bool has_data(const struct image *image, const struct chunk_header *first)
{
	return image->super.state < IMAGE_COMPLETE || first->magic == CHUNK_MAGIC;
}

/* What its system had in use and this one has changed, to be freed; NULL if nothing is. */
static char *why_lost(struct image *image)
{
	struct disks disks, now, busy;
	char *names = NULL;

	if (!image_read_all(image, true) && image->index.disks &&
	    disks_parse(image->index.disks, &disks)) {
		if (!disks_in_use(&now, &busy))
			names = disks_taken_over(&disks, &now);
		disks_free(&busy);
		disks_free(&now);
		disks_free(&disks);
	}
	fail_clear();
	return names;
}

/*
 * One that can still be resumed is as much as a file system; and one that is none any more
 * may be @what somebody has made of the device since, leaving some of it. (What an image
 * was forced onto may also be seen, at the device's end: it is no more.)
 */
static int check_image(const char *path, const char *what, const struct chunk_header *first)
{
	struct image image;
	char when[32], *lost = NULL;
	static bool said;
	int rc = image_open(&image, path, false), bad = rc ? rc : image_read_super(&image);

	if (!bad && image.super.state == IMAGE_COMPLETE)
		lost = why_lost(&image);
	if (lost) {
		image_when(&image, when, sizeof(when));
		/* It is looked at twice. */
		if (!said) {
			step("the system that was saved on %s %s was not resumed,", path, when);
			step("and cannot be any more: this one writes to %s", lost);
		}
		said = true;
		free(lost);
	} else if (!bad && image.super.state == IMAGE_COMPLETE) {
		image_when(&image, when, sizeof(when));
		rc = fail(KJ_REFUSED,
			  "%s holds the image of a system saved %s that was not resumed; --force overwrites it, and that system is lost",
			  path, when);
	} else if (bad == KJ_BAD_IMAGE && image.super.version != IMAGE_VERSION) {
		fail_clear();
		rc = fail(KJ_REFUSED,
			  "%s may hold the image of a system, of another version of kjump (%u; this is %u); --force overwrites it",
			  path, image.super.version, IMAGE_VERSION);
	} else if (bad && bad != KJ_BAD_IMAGE && bad != KJ_NONE) {
		rc = bad;
	} else if (what && (bad || !has_data(&image, first))) {
		fail_clear();
		rc = fail(KJ_REFUSED,
			  "%s holds %s, and what is left of an old image; --force overwrites it",
			  path, what);
	} else if (!rc) {
		/* Damaged, or no good any more. */
		fail_clear();
	}
	image_close(&image);
	return rc;
}

/* A page of an encrypted device that nobody has written to yet: as good as random. */
static bool is_noise(const uint8_t *page)
{
	/* 16 times each value, give or take 4; by chance none comes as often as this. */
	const unsigned int too_often = 64;
	unsigned int times[256] = { 0 };

	for (unsigned int i = 0; i < PAGE; i++)
		if (++times[page[i]] == too_often)
			return false;
	return true;
}

/*
 * Whether there is nothing: zeroes. But for the first page, which who makes a volume has
 * cleared, what is encrypted is noise until it is written to.
 */
static bool is_blank(const char *path, const uint8_t *data, size_t length)
{
	if (is_zero(data, length))
		return true;
	if (length < BLANK_SIZE || !is_zero(data, PAGE) || !volume_encrypted(path))
		return false;
	for (size_t at = PAGE; at < BLANK_SIZE; at += PAGE)
		if (!is_noise(data + at) && !is_zero(data + at, PAGE))
			return false;
	return true;
}

static int check_content(const char *path)
{
	char *what = looks_like(path);
	uint8_t *data;
	ssize_t n;
	int fd, rc = KJ_OK;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		free(what);
		return fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	}
	data = xalloc(BLANK_SIZE);
	n = pread_full(fd, data, BLANK_SIZE, 0);
	if (n < 0)
		rc = fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	else if ((n >= 8 && !memcmp(data, IMAGE_MAGIC, 8)) || (!what && volume_is(path)))
		rc = check_image(path, what, (const struct chunk_header *)(data + IMAGE_DATA));
	else if (what || !is_blank(path, data, (size_t)n))
		rc = fail(KJ_REFUSED, "%s holds %s; --force overwrites it", path,
			  what ? what : "something");
	free(what);
	free(data);
	close(fd);
	return rc;
}

/* The file system that @at is on may be mounted by the preserved kernel. */
static int check_file(const char *path, const char *at, const char *busy)
{
	bool known;
	dev_t dev = file_system_of(at, &known);

	if (!dev && !known)
		return fail(KJ_REFUSED,
			    "%s may be in use by the preserved kernel: which disk its file system is on cannot be told; take another place",
			    path);
	return dev ? disks_check_target(busy, path, dev) : KJ_OK;
}

static int check_new_file(const char *path, const char *busy)
{
	char *dir = xasprintf("%s", path), *slash = strrchr(dir, '/');
	int rc;

	if (slash)
		slash[slash == dir] = 0;
	rc = check_file(path, slash ? dir : ".", busy);
	free(dir);
	return rc;
}

static int check_writable(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC), read_only = 0;
	bool refused = fd >= 0 && !ioctl(fd, BLKROGET, &read_only) && read_only;

	if (fd >= 0)
		close(fd);
	if (!refused)
		return KJ_OK;
	return fail(KJ_REFUSED, "%s is read-only (blockdev --setrw, or a switch on it)", path);
}

int device_keeps_secrets(const char *device)
{
	char *name = dm_any_encrypted();
	int rc = KJ_OK;

	if (name && !volume_encrypted(device))
		rc = fail(KJ_REFUSED,
			  "%s is not encrypted, but %s of this system is: whoever gets hold of it could read what was in memory, keys of the disks too; make a logical volume for it (lvcreate), which is encrypted like the others, or --unencrypted (unencrypted=yes in /etc/kjump.conf, as kjump setup --unencrypted has it)",
			  device, name);
	free(name);
	return rc;
}

int device_check(const char *path, const char *busy, bool force)
{
	struct stat st;
	int rc;

	if (stat(path, &st)) {
		if (errno == ENOENT && !device_is_name(path))
			return busy ? check_new_file(path, busy) : KJ_OK;
		return fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	}
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return fail(KJ_USAGE, "%s is neither a block device nor a regular file", path);
	if (S_ISBLK(st.st_mode)) {
		rc = check_unused(path, st.st_rdev, busy);
		if (!rc)
			rc = check_writable(path);
		if (rc)
			return rc;
	} else if (busy) {
		rc = check_file(path, path, busy);
		if (rc)
			return rc;
	}
	return force ? KJ_OK : check_content(path);
}

char *device_identity(const char *path)
{
	struct identity id;
	struct stat st;
	char *text;

	if (stat(path, &st) || !S_ISBLK(st.st_mode) || identity_of(st.st_rdev, &id)) {
		fail_clear();
		return NULL;
	}
	text = identity_text(&id);
	identity_free(&id);
	return text;
}

int device_check_again(const char *path, const char *was, bool force)
{
	char *is = device_identity(path);
	bool same = was && is ? !strcmp(was, is) : was == is;

	free(is);
	if (!same)
		return fail(KJ_REFUSED, "%s is another disk than it was at first: try again", path);
	return device_check(path, NULL, force);
}
