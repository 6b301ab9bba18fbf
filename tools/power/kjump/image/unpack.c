// SPDX-License-Identifier: GPL-2.0
/* All chunks of an image, checked and unpacked, in order. */
#include "image/image.h"
#include "image/pipeline.h"

#include <string.h>

struct unpack {
	struct image *image;
	struct stream stream;
	chunk_sink sink;
	void *sink_ctx;
	struct progress progress;
};

static int bad_chunk(const struct unpack *u, uint32_t number)
{
	return fail(KJ_BAD_IMAGE, "%s: damaged (chunk %u of %u)", u->image->path, number,
		    u->image->index.nr_chunks);
}

static uint32_t raw_length(const struct image *image, uint32_t number)
{
	uint64_t left = image->super.data_bytes - (uint64_t)number * CHUNK_SIZE;

	return left < CHUNK_SIZE ? (uint32_t)left : CHUNK_SIZE;
}

static int read_chunk(void *ctx, struct job *job, bool *end)
{
	struct unpack *u = ctx;
	const struct index *index = &u->image->index;
	struct chunk_header header;
	int rc;

	if (job->number == index->nr_chunks) {
		*end = true;
		return KJ_OK;
	}
	rc = stream_read(&u->stream, &header, sizeof(header));
	if (rc)
		return rc;
	if (header.magic != CHUNK_MAGIC || header.number != job->number ||
	    header.stored != index->chunk_stored[job->number] ||
	    header.raw != raw_length(u->image, job->number))
		return bad_chunk(u, job->number);
	job->in_len = header.stored;
	job->out_len = header.raw;
	job->extra = header.hash;
	return stream_read(&u->stream, job->in, job->in_len);
}

static int unpack_chunk(void *ctx, struct codec *codec, struct job *job)
{
	struct unpack *u = ctx;

	if (!checksum_is(chunk_hash(&u->image->super, job->number, job->in, job->in_len),
			 job->extra))
		return bad_chunk(u, job->number);
	if (job->in_len == job->out_len)
		memcpy(job->out, job->in, job->in_len);
	else if (codec_unpack(codec, job->out, job->out_len, job->in, job->in_len))
		return bad_chunk(u, job->number);
	return KJ_OK;
}

static int pass_on(void *ctx, struct job *job)
{
	struct unpack *u = ctx;
	uint64_t at = (uint64_t)job->number * CHUNK_SIZE;

	progress_at(&u->progress, at + job->out_len);
	return u->sink(u->sink_ctx, at, job->out, job->out_len);
}

int image_unpack(struct image *image, chunk_sink sink, void *ctx, const char *doing)
{
	struct unpack u = { .image = image, .sink = sink, .sink_ctx = ctx };
	const struct pipeline p = {
		.in_size = CHUNK_SIZE,
		.out_size = CHUNK_SIZE,
		.algorithm = image->super.algorithm,
		.ctx = &u,
		.produce = read_chunk,
		.work = unpack_chunk,
		.consume = pass_on,
	};
	int rc;

	stream_begin(&u.stream, image, IMAGE_DATA, image->super.index_offset);
	progress_begin(&u.progress, doing, image->super.data_bytes);
	rc = pipeline_run(&p);
	progress_end(&u.progress);
	stream_end(&u.stream);
	return rc;
}
