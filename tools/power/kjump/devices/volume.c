// SPDX-License-Identifier: GPL-2.0
/* Volumes as places for images. See volume.h. */
#include "devices/volume.h"
#include "devices/device.h"
#include "devices/disks.h"
#include "devices/dm.h"
#include "devices/map.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define HEAD_MAGIC	"KJUMPVOL"
#define HEAD_VERSION	1u
/* The first page, and what is left free before the image. */
#define HEAD_ROOM	MB
/* Of text, in a message (MESSAGE_REST). */
#define PIECES_MAX	(8 * KB)
/* Two of AES-256, as XTS takes them. */
#define KEY_BYTES	64u
#define CIPHER		"aes-xts-plain64"

struct head {
	char magic[8];
	uint32_t version;
	uint32_t encrypted;		/* 0 or 1: what follows has the key */
	uint8_t key[KEY_BYTES];
	uint64_t hash;			/* of everything before it */
};

static uint64_t head_hash(const struct head *head)
{
	return XXH64(head, offsetof(struct head, hash), 0);
}

static bool read_head(int fd, struct head *head)
{
	void *page = xalloc_pages(PAGE);
	bool good = pread_full(fd, page, PAGE, 0) == PAGE;

	memcpy(head, page, sizeof(*head));
	explicit_bzero(page, PAGE);
	free(page);
	return good && !memcmp(head->magic, HEAD_MAGIC, sizeof(head->magic)) &&
		head->version == HEAD_VERSION && head->hash == head_hash(head);
}

/* What was there before, an image or a file system, is not to be found behind it. */
static int write_head(int fd, const struct head *head)
{
	const size_t length = HEAD_ROOM + PAGE;
	void *data = xalloc_pages(length);
	int rc = -1;

	if (pwrite_full(fd, data, length, 0) == (ssize_t)length && !fsync(fd)) {
		memcpy(data, head, sizeof(*head));
		if (pwrite_full(fd, data, PAGE, 0) == PAGE)
			rc = fsync(fd);
	}
	explicit_bzero(data, PAGE);
	free(data);
	return rc;
}

/* --- where it is -------------------------------------------------------- */

struct place {
	char *pieces;			/* a line for each: struct identity as text */
	uint64_t length;
	bool encrypted;
};

static void add_piece(void *ctx, const struct identity *piece)
{
	struct place *place = ctx;
	char *text = identity_text(piece);

	add_listed(&place->pieces, "\n", text);
	place->length += piece->length;
	free(text);
}

static void ignore_piece(void *ctx, const struct identity *piece)
{
	(void)ctx;
	(void)piece;
}

/*
 * KJ_REFUSED if it is not in pieces of disks, one after the other, each there once, or only
 * some of it is encrypted: the key is at its beginning.
 */
static int find_place(const char *path, dev_t dev, uint64_t size, struct place *place)
{
	uint64_t length = size - HEAD_ROOM, head, rest;
	bool simple;

	memset(place, 0, sizeof(*place));
	simple = size > HEAD_ROOM && map_volume(dev, 0, HEAD_ROOM, ignore_piece, NULL, &head) &&
		map_volume(dev, HEAD_ROOM, length, add_piece, place, &rest) &&
		place->length == length;
	if (simple && (head + rest == 0 || head + rest == size)) {
		place->encrypted = head;
		if (strlen(place->pieces) <= PIECES_MAX)
			return KJ_OK;
	}
	if (simple && place->pieces && strlen(place->pieces) > PIECES_MAX)
		fail(KJ_REFUSED, "%s is in too many pieces for the peer to be told; make it anew",
		     path);
	free(place->pieces);
	place->pieces = NULL;
	if (simple)
		return fail(KJ_REFUSED,
			    "only a part of %s is encrypted; move it (pvmove), or take another one",
			    path);
	return fail(KJ_REFUSED,
		    "%s is set up by this system, and is not simply in pieces of disks (LVM's plain volumes and encrypted devices are), so the peer would not find it; take such a one, a disk or a partition",
		    path);
}

/* False if that is no volume. */
static bool open_volume(const char *path, int flags, int *fd, dev_t *dev, uint64_t *size)
{
	struct stat st;

	*fd = open(path, flags | O_CLOEXEC);
	if (*fd >= 0 && !fstat(*fd, &st) && S_ISBLK(st.st_mode) && dm_is(st.st_rdev) &&
	    !ioctl(*fd, BLKGETSIZE64, size)) {
		*dev = st.st_rdev;
		return true;
	}
	if (*fd >= 0)
		close(*fd);
	return false;
}

int volume_check(const char *path, dev_t dev)
{
	struct place place;
	uint64_t size;
	int fd, rc;

	if (!dm_is(dev) || !open_volume(path, O_RDONLY, &fd, &dev, &size))
		return KJ_OK;
	rc = find_place(path, dev, size, &place);
	free(place.pieces);
	close(fd);
	return rc;
}

struct keys {
	void (*visit)(void *ctx, const char *name);
	void *ctx;
};

static void keys_below(void *ctx, dev_t dev)
{
	const struct keys *keys = ctx;

	volume_keys(dev, keys->visit, keys->ctx);
}

void volume_keys(dev_t dev, void (*visit)(void *ctx, const char *name), void *ctx)
{
	char *sys = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	char *slaves = xasprintf("%s/slaves", sys), *file = xasprintf("%s/dm/name", sys);
	char *name = dm_encrypts(dev) ? read_text(file) : NULL;

	if (name)
		visit(ctx, name);
	device_numbers_in(slaves, keys_below, &(struct keys){ visit, ctx });
	free(name);
	free(file);
	free(slaves);
	free(sys);
}

bool volume_encrypted(const char *path)
{
	struct place place = { .encrypted = false };
	uint64_t size;
	dev_t dev;
	int fd;

	if (open_volume(path, O_RDONLY, &fd, &dev, &size)) {
		if (find_place(path, dev, size, &place))
			fail_clear();
		free(place.pieces);
		close(fd);
	}
	return place.encrypted;
}

bool volume_is(const char *path)
{
	struct head head;
	uint64_t size;
	dev_t dev;
	int fd;
	bool is = false;

	if (open_volume(path, O_RDONLY, &fd, &dev, &size)) {
		is = read_head(fd, &head);
		explicit_bzero(&head, sizeof(head));
		close(fd);
	}
	return is;
}

static bool is_volume(const char *path)
{
	struct stat st;

	return !stat(path, &st) && S_ISBLK(st.st_mode) && dm_is(st.st_rdev);
}

uint64_t volume_head_room(const char *path)
{
	return is_volume(path) ? HEAD_ROOM : 0;
}

int volume_prepare(const char *path)
{
	struct head head;
	struct place place;
	uint64_t size;
	dev_t dev;
	int fd, rc;

	if (!is_volume(path))
		return KJ_OK;
	if (!open_volume(path, O_RDWR | O_EXCL, &fd, &dev, &size))
		return fail(KJ_REFUSED, "%s: %s", path, strerror(errno));
	rc = find_place(path, dev, size, &place);
	if (!rc && read_head(fd, &head) && head.encrypted > place.encrypted)
		rc = fail(KJ_REFUSED,
			  "%s was encrypted, and is not any more; kjump setup --force takes it all the same",
			  path);
	if (!rc && !(read_head(fd, &head) && head.encrypted == place.encrypted)) {
		memset(&head, 0, sizeof(head));
		memcpy(head.magic, HEAD_MAGIC, sizeof(head.magic));
		head.version = HEAD_VERSION;
		head.encrypted = place.encrypted;
		if (head.encrypted && getrandom(head.key, KEY_BYTES, 0) != KEY_BYTES) {
			rc = fail(KJ_FAILED, "no key for %s: %s", path, strerror(errno));
		} else {
			head.hash = head_hash(&head);
			if (write_head(fd, &head))
				rc = fail(KJ_FAILED, "%s: %s", path, strerror(errno));
		}
	}
	explicit_bzero(&head, sizeof(head));
	free(place.pieces);
	close(fd);
	return rc;
}

/* --- what is said of it ------------------------------------------------- */

/* KEY, or "-", and a line for each piece. */
int volume_text(const char *path, int fd, char **text)
{
	char key[2 * KEY_BYTES + 1] = "-";
	struct place place;
	struct head head;
	struct stat st;
	uint64_t size;
	int rc;

	*text = NULL;
	if (fstat(fd, &st) || !S_ISBLK(st.st_mode) || !dm_is(st.st_rdev) ||
	    ioctl(fd, BLKGETSIZE64, &size) || !read_head(fd, &head))
		return KJ_OK;
	rc = find_place(path, st.st_rdev, size, &place);
	if (!rc) {
		for (unsigned int i = 0; head.encrypted && i < KEY_BYTES; i++)
			snprintf(key + 2 * i, 3, "%02x", head.key[i]);
		*text = xasprintf("%s\n%s", key, place.pieces);
		free(place.pieces);
	}
	explicit_bzero(&head, sizeof(head));
	explicit_bzero(key, sizeof(key));
	return rc;
}

/* A piece at @at of the device, in bytes; @pages: all begin and end at multiples of these. */
static char *parameters(const char *key, dev_t dev, uint64_t offset, uint64_t at, bool pages)
{
	char *where = xasprintf("%u:%u %llu", major(dev), minor(dev),
				(unsigned long long)(offset / DM_SECTOR)), *text;

	if (!strcmp(key, "-"))
		return where;
	text = xasprintf(CIPHER " %s %llu %s%s", key, (unsigned long long)(at / DM_SECTOR), where,
			 /* Larger units take less time. */
			 pages ? " 1 sector_size:4096" : "");
	free(where);
	return text;
}

static bool is_key(const char *text)
{
	return !strcmp(text, "-") || (strlen(text) == 2 * KEY_BYTES &&
				      strspn(text, "0123456789abcdef") == 2 * KEY_BYTES);
}

struct found {
	struct identity id;
	dev_t dev;
	uint64_t offset;
};

static int find_pieces(const char *path, char *lines, struct found **list, unsigned int *count)
{
	char *line;

	while ((line = strsep(&lines, "\n"))) {
		struct found *f;

		*list = xrealloc(*list, (*count + 1) * sizeof(**list));
		f = &(*list)[*count];
		if (!identity_parse(line, &f->id))
			return fail(KJ_FAILED, "where %s is cannot be understood", path);
		(*count)++;
		if (f->id.length < PAGE || f->id.length % DM_SECTOR || f->id.start % DM_SECTOR)
			return fail(KJ_FAILED, "where %s is cannot be understood", path);
		if (!disks_find_piece(&f->id, &f->dev, &f->offset))
			return fail(KJ_NONE,
				    "a disk that %s is on is not there, or cannot be told from another one",
				    path);
	}
	return KJ_OK;
}

int volume_open(const char *path, const char *text, bool write, int *fd)
{
	char *lines = xasprintf("%s", text), *rest = lines, *key = strsep(&rest, "\n");
	struct found *found = NULL;
	struct dm_piece *pieces;
	unsigned int count = 0;
	bool pages = true;
	uint64_t at = 0;
	int rc;

	*fd = -1;
	rc = is_key(key) && rest ? find_pieces(path, rest, &found, &count) :
		fail(KJ_FAILED, "where %s is cannot be understood", path);
	pieces = xalloc((count + 1) * sizeof(*pieces));
	for (unsigned int i = 0; i < count; i++)
		pages = pages && !(found[i].offset % PAGE) && !(found[i].id.length % PAGE);
	for (unsigned int i = 0; !rc && i < count; i++) {
		const struct found *f = &found[i];

		pieces[i] = (struct dm_piece){
			.start = at / DM_SECTOR,
			.length = f->id.length / DM_SECTOR,
			.type = strcmp(key, "-") ? "crypt" : "linear",
			.params = parameters(key, f->dev, f->offset, at, pages),
		};
		at += f->id.length;
	}
	if (!rc)
		*fd = dm_open_new(pieces, count, write);
	if (!rc && *fd < 0)
		rc = fail(KJ_FAILED, "%s cannot be opened", path);
	for (unsigned int i = 0; i < count; i++) {
		free_secret(pieces[i].params);
		identity_free(&found[i].id);
	}
	free(pieces);
	free(found);
	explicit_bzero(lines, strlen(text));
	free(lines);
	return rc;
}

bool volume_piece(const char *text, unsigned int number, uint64_t *at)
{
	char *lines = xasprintf("%s", text), *rest = lines, *line;
	struct identity id;
	bool good = true;

	*at = 0;
	/* The first line is the key. */
	strsep(&rest, "\n");
	while ((line = strsep(&rest, "\n")) && number-- && good) {
		good = identity_parse(line, &id);
		if (good)
			*at += id.length;
		identity_free(&id);
	}
	explicit_bzero(lines, strlen(text));
	free(lines);
	return good && line;
}
