// SPDX-License-Identifier: GPL-2.0
/* An image's superblock and index on a device, in a file, in memory that is shared. */
#include "image/image.h"
#include "devices/volume.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

void image_when(const struct image *image, char *text, size_t room)
{
	time_t at = (time_t)image->super.saved_at;
	struct tm *tm = at ? localtime(&at) : NULL;

	if (!tm || !strftime(text, room, "%Y-%m-%d %H:%M:%S", tm))
		snprintf(text, room, "at an unknown time");
}

/* --- files and devices -------------------------------------------------- */

int image_own_file(const struct image *image)
{
	struct stat st, link;

	if (image->is_block || image->shared)
		return KJ_OK;
	if (fstat(image->fd, &st) || lstat(image->path, &link))
		return fail(KJ_FAILED, "%s: %s", image->path, strerror(errno));
	if (st.st_ino != link.st_ino || st.st_dev != link.st_dev)
		return fail(KJ_REFUSED, "%s is a link; name the file itself", image->path);
	if (st.st_nlink > 1)
		return fail(KJ_REFUSED, "%s has another name, too; name another file", image->path);
	if (st.st_uid != geteuid() && fchown(image->fd, geteuid(), getegid()))
		return fail(KJ_REFUSED, "%s is another user's, and stays so: %s; name another file",
			    image->path, strerror(errno));
	/* Some file systems have no such thing, and say so. */
	if ((st.st_mode & 07777) != 0600 && fchmod(image->fd, 0600) && errno != EPERM)
		return fail(KJ_FAILED, "%s: %s", image->path, strerror(errno));
	return KJ_OK;
}

static void image_init(struct image *image, const char *path)
{
	memset(image, 0, sizeof(*image));
	image->fd = -1;
	image->volume_fd = -1;
	image->path = xasprintf("%s", path);
}

static int read_room(struct image *image)
{
	if (ioctl(image->fd, BLKGETSIZE64, &image->room))
		return fail(KJ_FAILED, "%s: cannot read its size: %s", image->path,
			    strerror(errno));
	return KJ_OK;
}

/* From the volume to the device for images on it. */
static int go_into_volume(struct image *image, bool write)
{
	int fd, rc = volume_open(image->path, image->volume, write, &fd);

	if (rc)
		return rc;
	image->volume_fd = image->fd;
	image->fd = fd;
	image->is_block = true;
	image->direct = true;
	return read_room(image);
}

int image_open_volume(struct image *image, const char *path, const char *text)
{
	image_init(image, path);
	image->volume = xasprintf("%s", text);
	return go_into_volume(image, true);
}

int image_open(struct image *image, const char *path, bool write)
{
	int flags = O_CLOEXEC | (write ? O_RDWR : O_RDONLY);
	struct stat st;
	int rc;

	image_init(image, path);
	if (!stat(path, &st)) {
		image->is_block = S_ISBLK(st.st_mode);
		if (!image->is_block && !S_ISREG(st.st_mode))
			return fail(KJ_USAGE, "%s is neither a block device nor a regular file",
				    path);
	} else if (errno == ENOENT) {
		if (!write)
			return fail(KJ_NONE, "%s is not there", path);
		/* Not where a link leads to. */
		flags |= O_CREAT | O_EXCL;
	}
	if (image->is_block && write)
		flags |= O_EXCL;
	image->fd = open(path, flags | O_DIRECT, 0600);
	image->direct = image->fd >= 0;
	if (image->fd < 0 && errno == EINVAL)
		image->fd = open(path, flags, 0600);
	if (image->fd < 0)
		return fail(errno == EBUSY ? KJ_REFUSED : KJ_FAILED, "%s: %s", path,
			    errno == EBUSY ? "in use (mounted, swapped on, or part of something)" :
			    strerror(errno));
	if (!image->is_block) {
		image->room = UINT64_MAX;
		return KJ_OK;
	}
	rc = volume_text(path, image->fd, &image->volume);
	if (rc)
		return rc;
	return image->volume ? go_into_volume(image, write) : read_room(image);
}

dev_t image_device(const struct image *image)
{
	int fd = image->volume ? image->volume_fd : image->fd;
	struct stat st;

	return image->is_block && !fstat(fd, &st) ? st.st_rdev : 0;
}

void image_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
	if (image->volume && image->volume_fd >= 0)
		close(image->volume_fd);
	free_secret(image->volume);
	image->volume = NULL;
	free(image->path);
	image->path = NULL;
	index_free(&image->index);
}

/* Some file systems take O_DIRECT at open and refuse it later. */
static bool without_direct(struct image *image)
{
	int flags;

	if (!image->direct || errno != EINVAL)
		return false;
	image->direct = false;
	flags = fcntl(image->fd, F_GETFL);
	return flags >= 0 && !fcntl(image->fd, F_SETFL, flags & ~O_DIRECT);
}

int image_read_at(struct image *image, void *buf, size_t len, uint64_t offset)
{
	ssize_t n;

	do {
		n = pread_full(image->fd, buf, len, image->base + offset);
	} while (n < 0 && without_direct(image));
	if (n < 0)
		return fail(KJ_FAILED, "%s: reading at %llu: %s", image->path,
			    (unsigned long long)offset, strerror(errno));
	/* A file need not end at a page. */
	memset((char *)buf + n, 0, len - (size_t)n);
	return KJ_OK;
}

int image_write_at(struct image *image, const void *buf, size_t len, uint64_t offset)
{
	ssize_t n;

	if (offset > image->room || len > image->room - offset)
		return fail(KJ_REFUSED, "%s is too small: %llu bytes are not enough",
			    image->path, (unsigned long long)image->room);
	do {
		n = pwrite_full(image->fd, buf, len, image->base + offset);
	} while (n < 0 && without_direct(image));
	if (n < 0)
		return fail(KJ_FAILED, "%s: writing at %llu: %s", image->path,
			    (unsigned long long)offset, strerror(errno));
	return KJ_OK;
}

int image_flush(struct image *image)
{
	if (!image->shared && fsync(image->fd))
		return fail(KJ_FAILED, "%s: writing: %s", image->path, strerror(errno));
	return KJ_OK;
}

/* --- pieces of a volume -------------------------------------------------- */

typedef int (*piece_visitor)(struct image *image, void *page, const char *mark, uint64_t at);

static int visit_pieces(struct image *image, piece_visitor visit)
{
	char id[2 * IMAGE_ID_LEN + 1];
	uint64_t at;
	int rc = KJ_OK;

	image_id_text(image->super.id, id);
	/* The first one begins with the superblock. */
	for (unsigned int n = 1; !rc && image->volume && volume_piece(image->volume, n, &at); n++) {
		void *page = xalloc_pages(PAGE);
		char *mark = xasprintf("%s, piece %u", id, n);

		rc = visit(image, page, mark, at);
		free(mark);
		free(page);
	}
	return rc;
}

static int mark_piece(struct image *image, void *page, const char *mark, uint64_t at)
{
	memcpy(page, mark, strlen(mark));
	return image_write_at(image, page, PAGE, at);
}

static int check_piece(struct image *image, void *page, const char *mark, uint64_t at)
{
	int rc = image_read_at(image, page, PAGE, at);

	if (!rc && memcmp(page, mark, strlen(mark) + 1))
		rc = fail(KJ_NONE, "%s: something else is where a piece of it should be",
			  image->path);
	return rc;
}

int image_mark_pieces(struct image *image)
{
	return visit_pieces(image, mark_piece);
}

int image_check_pieces(struct image *image)
{
	return visit_pieces(image, check_piece);
}

/* --- superblock --------------------------------------------------------- */

/* What is shown of an image is text, whoever made it. */
static void printable(char *text, size_t room)
{
	text[room - 1] = 0;
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

int image_read_super(struct image *image)
{
	struct superblock *super = &image->super;
	void *page = xalloc_pages(PAGE);
	int rc = image_read_at(image, page, PAGE, 0);

	memcpy(super, page, sizeof(*super));
	free(page);
	if (rc)
		return rc;
	if (memcmp(super->magic, IMAGE_MAGIC, sizeof(super->magic)))
		return fail(KJ_NONE, "%s: no image there", image->path);
	/* First, as another version may have its checksum elsewhere. */
	if (super->version != IMAGE_VERSION)
		return fail(KJ_BAD_IMAGE,
			    "%s: an image of version %u (or damaged), this kjump knows version %u",
			    image->path, super->version, IMAGE_VERSION);
	if (!checksum_is(super_hash(super), super->hash))
		return fail(KJ_BAD_IMAGE, "%s: damaged (superblock)", image->path);
	printable(super->release, sizeof(super->release));
	printable(super->build_id, sizeof(super->build_id));
	return KJ_OK;
}

int image_write_super(struct image *image, enum image_state state)
{
	struct superblock *super = &image->super;
	void *page = xalloc_pages(PAGE);
	int rc;

	memcpy(super->magic, IMAGE_MAGIC, sizeof(super->magic));
	super->version = IMAGE_VERSION;
	super->state = state;
	super->hash = super_hash(super);
	memcpy(page, super, sizeof(*super));
	rc = image_write_at(image, page, PAGE, 0);
	free(page);
	return rc ? rc : image_flush(image);
}

int image_check_state(const struct image *image, bool to_resume)
{
	switch (image->super.state) {
	case IMAGE_COMPLETE:
		return KJ_OK;
	case IMAGE_USED:
		return !to_resume ? KJ_OK :
			fail(KJ_BAD_IMAGE,
			     "%s: already used: a system was resumed from it, and its disks have changed since",
			     image->path);
	case IMAGE_SNAPSHOT:
		return !to_resume ? KJ_OK :
			fail(KJ_BAD_IMAGE,
			     "%s: a snapshot, of a system that went on: only to look at",
			     image->path);
	case IMAGE_WRITING:
		return fail(KJ_BAD_IMAGE,
			    "%s: half-written: the machine stopped while it was being saved",
			    image->path);
	case IMAGE_PREPARED:
		return fail(KJ_BAD_IMAGE,
			    "%s: only prepared: the machine stopped before anything was saved",
			    image->path);
	}
	return fail(KJ_BAD_IMAGE, "%s: damaged (unknown state %u)", image->path,
		    image->super.state);
}

/* Somebody may be looking at the device: what the system did before the jump goes on. */
#define DISOWN_SECONDS	5

int image_disown(const char *path, const char *id)
{
	double until = now_seconds() + DISOWN_SECONDS;
	char found[2 * IMAGE_ID_LEN + 1];
	struct image image;
	int rc;

	while ((rc = image_open(&image, path, true)) == KJ_REFUSED && now_seconds() < until) {
		image_close(&image);
		fail_clear();
		usleep(100 * 1000);
	}
	if (!rc) {
		rc = image_read_super(&image);
		image_id_text(image.super.id, found);
		if (rc == KJ_NONE || rc == KJ_BAD_IMAGE)
			rc = KJ_OK;
		else if (!rc && image.super.state == IMAGE_COMPLETE &&
			 (!id || !strcmp(id, found)))
			rc = image_write_super(&image, IMAGE_SNAPSHOT);
	}
	image_close(&image);
	return rc;
}

static uint64_t file_size(const struct image *image)
{
	struct stat st;

	if (image->is_block || image->shared)
		return image->room;
	return fstat(image->fd, &st) ? 0 : (uint64_t)st.st_size;
}

static int read_index(struct image *image)
{
	struct superblock *super = &image->super;
	size_t length = (size_t)super->index_length;
	uint8_t *data = xalloc_pages(PAGE);
	int rc = image_read_at(image, data, PAGE, super->index_offset);

	/* Before there is memory for all of it: its length is what its beginning says. */
	if (!rc && (length != super->index_length || length < sizeof(struct index_header) ||
		    !index_header_fits((const struct index_header *)data, length)))
		rc = fail(KJ_BAD_IMAGE, "%s: damaged (index)", image->path);
	if (!rc && length > memory_size() / 2)
		rc = fail(KJ_FAILED, "%s: its index needs %zu MB of memory, more than there is",
			  image->path, 2 * length / (size_t)MB);
	if (!rc) {
		free(data);
		data = xalloc_pages(length);
		rc = image_read_at(image, data, align_up(length, PAGE), super->index_offset);
	}
	if (!rc && (!checksum_is(XXH64(data, length, 0), super->index_hash) ||
		    index_unpack(&image->index, data, length) ||
		    !index_fits(super, &image->index)))
		rc = fail(KJ_BAD_IMAGE, "%s: damaged (index)", image->path);
	free(data);
	return rc;
}

int image_read_all(struct image *image, bool to_resume)
{
	struct superblock *super = &image->super;
	uint64_t size;
	int rc = image_read_super(image);

	if (!rc)
		rc = image_check_state(image, to_resume);
	if (rc)
		return rc;
	if (!super_fits(super))
		return fail(KJ_BAD_IMAGE, "%s: damaged (superblock)", image->path);
	size = file_size(image);
	if (size < super->image_size)
		return fail(KJ_BAD_IMAGE, "%s: damaged (cut off: %llu of %llu bytes are there)",
			    image->path, (unsigned long long)size,
			    (unsigned long long)super->image_size);
	return read_index(image);
}
