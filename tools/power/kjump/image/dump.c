// SPDX-License-Identifier: GPL-2.0
/* From an image to the ELF core file that tools read. */
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

struct extract {
	const char *path;
	int fd;
	uint64_t size;
	struct extent_cursor cursor;
	uint64_t offset, left;
};

static int write_data(void *ctx, uint64_t data_offset, const void *data, size_t length)
{
	struct extract *x = ctx;
	const char *from = data;

	(void)data_offset;
	while (length) {
		size_t n = length, part;

		if (!x->left && !extents_next(&x->cursor, &x->offset, &x->left))
			return fail(KJ_BAD_IMAGE, "damaged (more data than the index has)");
		if (n > x->left)
			n = (size_t)x->left;
		part = x->offset >= x->size ? 0 : n;
		if (part && part > x->size - x->offset)
			part = (size_t)(x->size - x->offset);
		if (pwrite_full(x->fd, from, part, x->offset) < 0)
			return fail(KJ_FAILED, "%s: %s", x->path, strerror(errno));
		x->offset += n;
		x->left -= n;
		from += n;
		length -= n;
	}
	return KJ_OK;
}

int extract_check_file(const char *file, bool force)
{
	struct stat st;

	if (lstat(file, &st))
		return KJ_OK;
	if (!S_ISREG(st.st_mode))
		return fail(KJ_REFUSED, "%s is there and not a regular file", file);
	if (!force)
		return fail(KJ_REFUSED, "%s is there already; --force replaces it", file);
	return KJ_OK;
}

static int put_in_place(const char *part, const char *file, bool force)
{
	if (force)
		return rename(part, file);
	if (!renameat2(AT_FDCWD, part, AT_FDCWD, file, RENAME_NOREPLACE))
		return 0;
	/* Not every file system can. */
	if (errno == EINVAL && access(file, F_OK))
		return rename(part, file);
	return -1;
}

int extract_image(struct image *image, const char *file, bool force)
{
	struct extract x = { .size = image->super.source_size };
	char *part = xasprintf("%s.kjump-part-XXXXXX", file);
	int rc = extract_check_file(file, force);

	if (rc)
		goto out;
	x.path = part;
	/* Its own, whoever else writes there. */
	x.fd = mkostemp(part, O_CLOEXEC);
	if (x.fd < 0) {
		rc = fail(KJ_FAILED, "%s: %s", file, strerror(errno));
		goto out;
	}
	file_begun(part);
	extents_rewind(&x.cursor, &image->index.extents);
	if (ftruncate(x.fd, (off_t)x.size))
		rc = fail(KJ_FAILED, "%s: %s", part, strerror(errno));
	if (!rc)
		rc = image_unpack(image, write_data, &x, "writing");
	if (!rc && fsync(x.fd))
		rc = fail(KJ_FAILED, "%s: %s", part, strerror(errno));
	/* It would only take memory, and be in the next snapshot. */
	posix_fadvise(x.fd, 0, 0, POSIX_FADV_DONTNEED);
	close(x.fd);
	if (!rc && put_in_place(part, file, force))
		rc = fail(KJ_FAILED, "%s: %s", file, strerror(errno));
	if (rc)
		unlink(part);
	file_is_whole();
out:
	free(part);
	return rc;
}
