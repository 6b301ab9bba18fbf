// SPDX-License-Identifier: GPL-2.0
/* Sequential reading and writing of an image, in large aligned pieces. */
#include "image/image.h"

#include <stdlib.h>
#include <string.h>

void stream_begin(struct stream *s, struct image *image, uint64_t offset, uint64_t end)
{
	memset(s, 0, sizeof(*s));
	s->image = image;
	s->offset = offset;
	s->end = end;
	s->buf = xalloc_pages(STREAM_SIZE);
}

void stream_end(struct stream *s)
{
	free(s->buf);
	s->buf = NULL;
}

static int write_out(struct stream *s, size_t length)
{
	int rc = image_write_at(s->image, s->buf, length, s->offset);

	s->offset += length;
	s->used = 0;
	return rc;
}

int stream_write(struct stream *s, const void *data, size_t length)
{
	const char *from = data;

	while (length) {
		size_t n = STREAM_SIZE - s->used;
		int rc;

		if (n > length)
			n = length;
		memcpy(s->buf + s->used, from, n);
		s->used += n;
		from += n;
		length -= n;
		if (s->used == STREAM_SIZE) {
			rc = write_out(s, STREAM_SIZE);
			if (rc)
				return rc;
		}
	}
	return KJ_OK;
}

int stream_pad(struct stream *s, uint64_t *offset)
{
	size_t padded = align_up(s->used, PAGE);
	int rc = KJ_OK;

	memset(s->buf + s->used, 0, padded - s->used);
	if (padded)
		rc = write_out(s, padded);
	*offset = s->offset;
	return rc;
}

int stream_read(struct stream *s, void *data, size_t length)
{
	char *to = data;

	while (length) {
		size_t n = s->filled - s->used;
		int rc;

		if (!n) {
			if (s->offset >= s->end)
				return fail(KJ_BAD_IMAGE, "%s: damaged (ends too early)",
					    s->image->path);
			n = STREAM_SIZE;
			if (n > s->end - s->offset)
				n = (size_t)align_up(s->end - s->offset, PAGE);
			rc = image_read_at(s->image, s->buf, n, s->offset);
			if (rc)
				return rc;
			s->offset += n;
			s->filled = n;
			s->used = 0;
			continue;
		}
		if (n > length)
			n = length;
		memcpy(to, s->buf + s->used, n);
		s->used += n;
		to += n;
		length -= n;
	}
	return KJ_OK;
}
