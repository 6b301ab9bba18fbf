// SPDX-License-Identifier: GPL-2.0
/* Volumes as places for images. See volume.h. */
#include "devices/volume.h"
#include "devices/disks.h"
#include "devices/dm.h"
#include "devices/map.h"

#include <assert.h>
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
/* What is before the image. Volumes begin and end at multiples of more than that. */
#define HEAD_ROOM	MB
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

static int write_head(int fd, const struct head *head)
{
	void *page = xalloc_pages(PAGE);
	int rc = -1;

	memcpy(page, head, sizeof(*head));
	if (pwrite_full(fd, page, PAGE, 0) == PAGE)
		rc = fsync(fd);
	explicit_bzero(page, PAGE);
	free(page);
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

/* KJ_REFUSED if it is not in pieces of disks, one after the other, each there once. */
static int find_place(const char *path, dev_t dev, uint64_t size, struct place *place)
{
	uint64_t length = size - HEAD_ROOM;

	memset(place, 0, sizeof(*place));
	if (size > HEAD_ROOM &&
	    map_volume(dev, HEAD_ROOM, length, add_piece, place, &place->encrypted) &&
	    place->length == length)
		return KJ_OK;
	free(place->pieces);
	place->pieces = NULL;
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

int volume_prepare(const char *path)
{
	struct head head;
	struct place place;
	uint64_t size;
	dev_t dev;
	int fd, rc;

	if (!open_volume(path, O_RDWR | O_EXCL, &fd, &dev, &size))
		return KJ_OK;
	rc = find_place(path, dev, size, &place);
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

/* A piece at @at of the device, in bytes. */
static char *parameters(const char *key, const struct identity *piece, dev_t dev, uint64_t offset,
			uint64_t at)
{
	char *where = xasprintf("%u:%u %llu", major(dev), minor(dev),
				(unsigned long long)(offset / DM_SECTOR)), *text;
	/* Larger units take less time, where they fit. */
	bool pages = !(piece->start % PAGE) && !(piece->length % PAGE) && !(at % PAGE);

	if (!strcmp(key, "-"))
		return where;
	text = xasprintf(CIPHER " %s %llu %s%s", key, (unsigned long long)(at / DM_SECTOR), where,
			 pages ? " 1 sector_size:4096" : "");
	free(where);
	return text;
}

static bool is_key(const char *text)
{
	return !strcmp(text, "-") || (strlen(text) == 2 * KEY_BYTES &&
				      strspn(text, "0123456789abcdef") == 2 * KEY_BYTES);
}

int volume_open(const char *path, const char *text, bool write, int *fd)
{
	char *lines = xasprintf("%s", text), *rest = lines, *key = strsep(&rest, "\n"), *line;
	struct dm_piece *pieces = NULL;
	unsigned int count = 0;
	uint64_t at = 0;
	int rc = KJ_OK;

	*fd = -1;
	if (!is_key(key) || !rest)
		rc = fail(KJ_FAILED, "where %s is cannot be understood", path);
	while (!rc && (line = strsep(&rest, "\n"))) {
		struct identity id = { 0 };
		uint64_t offset;
		dev_t dev;

		if (!identity_parse(line, &id) || !id.length || id.length % DM_SECTOR ||
		    id.start % DM_SECTOR) {
			rc = fail(KJ_FAILED, "where %s is cannot be understood", path);
		} else if (!disks_find_piece(&id, &dev, &offset)) {
			rc = fail(KJ_NONE, "a disk that %s is on is not there", path);
		} else {
			pieces = xrealloc(pieces, (count + 1) * sizeof(*pieces));
			pieces[count++] = (struct dm_piece){
				.start = at / DM_SECTOR,
				.length = id.length / DM_SECTOR,
				.type = strcmp(key, "-") ? "crypt" : "linear",
				.params = parameters(key, &id, dev, offset, at),
			};
			at += id.length;
		}
		identity_free(&id);
	}
	if (!rc)
		*fd = dm_open_new(pieces, count, write);
	if (!rc && *fd < 0)
		rc = fail(KJ_FAILED, "%s cannot be opened", path);
	while (count)
		free_secret(pieces[--count].params);
	free(pieces);
	explicit_bzero(lines, strlen(text));
	free(lines);
	return rc;
}
