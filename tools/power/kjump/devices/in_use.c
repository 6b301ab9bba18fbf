// SPDX-License-Identifier: GPL-2.0
/* What this kernel uses, for its peer and for who resumes it. See disks.h. */
#include "devices/device.h"
#include "devices/disks.h"
#include "devices/dm.h"
#include "devices/map.h"
#include "devices/marks.h"
#include "devices/users.h"

#include <blkid/blkid.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* --- one after another -------------------------------------------------- */

static struct noted *add_noted(struct disks *d, const char *path, const char *what)
{
	struct noted *n;

	d->list = xrealloc(d->list, (d->count + 1) * sizeof(*d->list));
	n = &d->list[d->count++];
	memset(n, 0, sizeof(*n));
	n->name = xasprintf("%s (%s)", path ? path : "a device", what);
	return n;
}

static void add_piece(void *ctx, const struct identity *piece)
{
	struct noted *n = ctx;
	char *text = identity_text(piece);

	n->pieces = xrealloc(n->pieces, (n->count + 1) * sizeof(*n->pieces));
	if (identity_parse(text, &n->pieces[n->count]))
		n->count++;
	free(text);
}

/* What libblkid takes it for; to be freed, NULL if it does not know. */
static char *type_of(const char *path)
{
	blkid_probe probe = blkid_new_probe_from_filename(path);
	const char *type;
	char *text = NULL;

	if (!probe)
		return NULL;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_TYPE);
	if (!blkid_do_safeprobe(probe) && !blkid_probe_lookup_value(probe, "TYPE", &type, NULL))
		text = xasprintf("%s", type);
	blkid_free_probe(probe);
	return text;
}

static uint64_t length_of(dev_t dev)
{
	char *path = device_path(dev);
	blkid_probe probe = path ? blkid_new_probe_from_filename(path) : NULL;
	uint64_t length = probe ? (uint64_t)blkid_probe_get_size(probe) : 0;

	if (probe)
		blkid_free_probe(probe);
	free(path);
	return length;
}

/* --- to guard ----------------------------------------------------------- */

/* After two sectors (UEFI 5.3.2). */
#define GPT_ENTRIES	(16 * KB)
/* What LVM and LUKS have before their data, or most of it. */
#define HEADER_MAX	(1024 * KB)

static void clear_pieces(struct noted *n)
{
	while (n->count)
		identity_free(&n->pieces[--n->count]);
}

static bool add_marks(struct noted *n, dev_t dev, const struct marks *marks)
{
	bool mapped = true;

	for (unsigned int i = 0; mapped && i < marks->count; i++)
		mapped = map_to_disks(dev, marks->list[i].offset, marks->list[i].length,
				      add_piece, n);
	return mapped;
}

static void guard(struct disks *d, const struct user *user, bool writes)
{
	char *path = device_path(user->dev), *type = path ? type_of(path) : NULL;
	struct marks marks = { .count = 0 };
	struct noted *n;
	bool mapped;

	/* A disk that was taken out. */
	if (!path)
		return;
	n = add_noted(d, path, user->what);
	n->writes = writes;
	if (type)
		marks_find(path, type, &marks);
	mapped = marks.count && add_marks(n, user->dev, &marks);
	if (mapped) {
		n->guard = GUARDED;
	} else {
		clear_pieces(n);
		/* That it is there can be seen, at least. */
		mapped = map_to_disks(user->dev, 0, length_of(user->dev), add_piece, n);
		if (!mapped)
			clear_pieces(n);
		if (map_in_files(user->dev)) {
			n->guard = GUARDED_ALONG;
		} else if (!mapped) {
			map_to_hardware(user->dev, add_piece, n);
		} else if (type && !strcmp(type, "swap")) {
			/* Pages may be anywhere, and nothing else shows that there are some. */
			n->guard = GUARDED_SAMPLES;
		}
	}
	free(type);
	free(path);
}

/* How others of the list are laid out: where one was before it was moved, it still seems to be. */
static void guard_layout(struct disks *d, dev_t dev, const char *path, const char *what,
			 uint64_t length, const struct marks *more)
{
	struct noted *n = add_noted(d, path, what);

	n->guard = GUARDED_ALONG;
	if (!map_to_disks(dev, 0, length, add_piece, n) || !add_marks(n, dev, more))
		clear_pieces(n);
}

static void guard_partitions(struct disks *d, dev_t dev)
{
	char *path = device_path(dev);
	int fd = path ? open(path, O_RDONLY | O_DIRECT | O_CLOEXEC) : -1, sector = 512;
	struct marks marks = { .count = 0 };

	if (fd >= 0) {
		ioctl(fd, BLKSSZGET, &sector);
		marks_logical(fd, (unsigned int)sector, &marks);
		close(fd);
	}
	if (path)
		guard_layout(d, dev, path, "its partition table",
			     2 * (unsigned int)sector + GPT_ENTRIES, &marks);
	free(path);
}

static void guard_header(struct disks *d, dev_t dev)
{
	static const struct {
		const char *type, *what;
	} kinds[] = {
		{ "LVM2_member", "where LVM has its volumes" },
		{ "crypto_LUKS", "its LUKS header" },
	};
	static const struct marks none;
	char *path = device_path(dev), *type = path ? type_of(path) : NULL;

	for (unsigned int i = 0; type && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(type, kinds[i].type))
			guard_layout(d, dev, path, kinds[i].what, HEADER_MAX, &none);
	free(type);
	free(path);
}

/*
 * What writes to its parts as soon as it is set up, as an initramfs does before it resumes:
 * its system would go on with what it knows of them, and damage them.
 */
static int add_restless(void *ctx, const char *path)
{
	struct disks *d = ctx;
	const char *kind;
	struct noted *n;
	struct stat st;
	char *what;

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return 0;
	kind = !strncmp(path, "/dev/bcache", 11) ? "bcache" : dm_restless(st.st_rdev);
	if (!kind)
		return 0;
	what = xasprintf("%s, whose parts change at each boot", kind);
	n = add_noted(d, path, what);
	n->writes = true;
	map_to_hardware(st.st_rdev, add_piece, n);
	free(what);
	return 0;
}

static void guard_all(struct disks *d, const struct users *users)
{
	for (unsigned int i = 0; i < users->direct; i++) {
		bool again = false, writes = false;

		for (unsigned int j = 0; j < users->direct; j++) {
			if (users->list[j].dev != users->list[i].dev)
				continue;
			again |= j < i;
			writes |= users->list[j].writes;
		}
		if (!again)
			guard(d, &users->list[i], writes);
	}
	for (unsigned int i = users->direct; i < users->count; i++) {
		if (users->list[i].whole)
			guard_partitions(d, users->list[i].dev);
		else
			guard_header(d, users->list[i].dev);
	}
	device_for_each(add_restless, d);
}

/* --- busy --------------------------------------------------------------- */

static void add_busy(struct disks *d, const struct users *users)
{
	for (unsigned int i = 0; i < users->count; i++) {
		const struct user *user = &users->list[i];
		struct identity id;
		struct noted *n;
		char *path;

		/* Free partitions of it are free. */
		if (user->whole)
			continue;
		/* What is no hardware is on some that is. */
		if (identity_of(user->dev, &id)) {
			fail_clear();
			continue;
		}
		path = device_path(user->dev);
		n = add_noted(d, path, user->what);
		add_piece(n, &id);
		identity_free(&id);
		free(path);
	}
}

int disks_in_use(struct disks *to_guard, struct disks *busy)
{
	struct users users;
	int rc;

	memset(to_guard, 0, sizeof(*to_guard));
	memset(busy, 0, sizeof(*busy));
	/* What is written on the way to the jump would look like a change. */
	sync();
	rc = users_find(&users, 0);
	if (!rc) {
		guard_all(to_guard, &users);
		add_busy(busy, &users);
	}
	users_free(&users);
	return rc;
}

/* --- in the peer -------------------------------------------------------- */

struct target {
	const char *path;
	struct disks busy;
	int rc;
};

static int check_noted(const char *path, const struct identity *target, const struct noted *n,
		       enum same_disk same)
{
	for (unsigned int i = 0; i < n->count; i++) {
		if (identity_compare(target, &n->pieces[i]) != same ||
		    !identity_overlap(target, &n->pieces[i]))
			continue;
		if (same == SAME_DISK)
			return fail(KJ_REFUSED,
				    "%s is in use by the preserved kernel, as %s; take another device",
				    path, n->name);
		return fail(KJ_REFUSED,
			    "%s may be in use by the preserved kernel, as %s: nothing tells the two disks apart for certain (serial number, size); take another device",
			    path, n->name);
	}
	return KJ_OK;
}

static void check_piece(void *ctx, const struct identity *piece)
{
	struct target *t = ctx;

	for (unsigned int i = 0; !t->rc && i < t->busy.count; i++)
		t->rc = check_noted(t->path, piece, &t->busy.list[i], SAME_DISK);
	for (unsigned int i = 0; !t->rc && i < t->busy.count; i++)
		t->rc = check_noted(t->path, piece, &t->busy.list[i], MAYBE_SAME_DISK);
}

int disks_check_target(const char *busy, const char *path, dev_t dev)
{
	struct target t = { .path = path };

	if (!disks_parse(busy, &t.busy))
		return fail(KJ_REFUSED,
			    "what the preserved kernel uses cannot be understood, so %s may be in use; take the same kjump in both",
			    path);
	if (!map_to_hardware(dev, check_piece, &t) && !device_in_memory(dev))
		t.rc = fail(KJ_REFUSED,
			    "%s may be in use by the preserved kernel: which disk it is on cannot be told; take another device",
			    path);
	disks_free(&t.busy);
	return t.rc;
}
