// SPDX-License-Identifier: GPL-2.0
/* From the memory of a preserved kernel to an image. */
#include "image/image.h"
#include "image/pipeline.h"
#include "peer/vmcore.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

struct save {
	struct vmcore *core;
	struct image *image;
	struct stream stream;
	struct extent_cursor cursor;
	uint64_t offset, left;		/* of the extent being read */
	uint64_t written;
	struct progress progress;
};

static int read_chunk(void *ctx, struct job *job, bool *end)
{
	struct save *s = ctx;

	while (job->in_len < CHUNK_SIZE) {
		size_t n = CHUNK_SIZE - job->in_len;
		int rc;

		if (!s->left && !extents_next(&s->cursor, &s->offset, &s->left))
			break;
		if (n > s->left)
			n = (size_t)s->left;
		rc = vmcore_read(s->core, job->in + job->in_len, n, s->offset);
		if (rc)
			return rc;
		job->in_len += n;
		s->offset += n;
		s->left -= n;
	}
	*end = !job->in_len;
	return KJ_OK;
}

/* The chunk with its header, as it will be stored. */
static int pack_chunk(void *ctx, struct codec *codec, struct job *job)
{
	struct save *s = ctx;
	uint8_t *out = job->out + sizeof(struct chunk_header);
	struct chunk_header header = {
		.magic = CHUNK_MAGIC,
		.number = job->number,
		.raw = (uint32_t)job->in_len,
	};
	/* One byte less, for equal lengths mean that it is not packed. */
	size_t n = codec_pack(codec, out, job->in_len - 1, job->in, job->in_len);

	if (!n) {
		n = job->in_len;
		memcpy(out, job->in, n);
	}
	header.stored = (uint32_t)n;
	header.hash = chunk_hash(&s->image->super, job->number, out, n);
	memcpy(job->out, &header, sizeof(header));
	job->out_len = sizeof(header) + n;
	return KJ_OK;
}

static int write_chunk(void *ctx, struct job *job)
{
	struct save *s = ctx;

	index_add_chunk(&s->image->index, (uint32_t)(job->out_len - sizeof(struct chunk_header)));
	s->written += job->in_len;
	progress_at(&s->progress, s->written);
	return stream_write(&s->stream, job->out, job->out_len);
}

static int write_chunks(struct save *s)
{
	const struct pipeline p = {
		.in_size = CHUNK_SIZE,
		.out_size = sizeof(struct chunk_header) + CHUNK_SIZE,
		.algorithm = s->image->super.algorithm,
		.ctx = s,
		.produce = read_chunk,
		.work = pack_chunk,
		.consume = write_chunk,
	};
	int rc;

	stream_begin(&s->stream, s->image, IMAGE_DATA, 0);
	extents_rewind(&s->cursor, &s->image->index.extents);
	progress_begin(&s->progress, "saving", s->image->super.data_bytes);
	rc = pipeline_run(&p);
	progress_end(&s->progress);
	if (!rc)
		rc = stream_pad(&s->stream, &s->image->super.index_offset);
	stream_end(&s->stream);
	return rc;
}

static int write_index(struct image *image)
{
	struct superblock *super = &image->super;
	size_t length;
	uint8_t *data = index_pack(&image->index, &length);
	int rc = image_write_at(image, data, align_up(length, PAGE), super->index_offset);

	super->index_length = length;
	super->index_hash = XXH64(data, length, 0);
	super->image_size = super->index_offset + align_up(length, PAGE);
	free(data);
	return rc;
}

static void describe(struct image *image, const struct vmcore *core, uint32_t algorithm)
{
	struct superblock *super = &image->super;
	struct index *index = &image->index;
	uint8_t id[IMAGE_ID_LEN];

	memcpy(id, super->id, sizeof(id));
	memset(super, 0, sizeof(*super));
	memcpy(super->id, id, sizeof(id));
	super->machine = core->machine;
	super->algorithm = algorithm;
	super->entry = core->entry;
	super->source_size = core->size;
	super->saved_at = time(NULL);
	memcpy(super->release, core->release, sizeof(super->release));
	memcpy(super->build_id, core->build_id, sizeof(super->build_id));

	index->machine.nr_cpus = core->nr_cpus;
	machine_features(&index->machine);
	index->nr_loads = core->nr_loads;
	index->loads = xalloc(core->nr_loads * sizeof(*index->loads));
	memcpy(index->loads, core->loads, core->nr_loads * sizeof(*index->loads));
}

/*
 * WRITING is on the disk before anything else, and everything else before
 * COMPLETE: whenever the power goes, there is a complete image or none.
 */
int save_image(struct vmcore *core, struct image *image, uint32_t algorithm,
	       struct save_result *result)
{
	struct save s = { .core = core, .image = image };
	double begun = now_seconds();
	uint64_t worst;
	int rc;

	describe(image, core, algorithm);
	rc = vmcore_extents(core, &image->index.extents);
	if (rc)
		return rc;
	image->super.data_bytes = image->index.extents.pages * PAGE;
	worst = image->super.data_bytes + image_overhead(image->super.data_bytes) +
		image->index.extents.length;
	/* Shared memory is not sized for the worst case; running out of it harms nothing. */
	if (!image->shared && worst > image->room)
		return fail(KJ_REFUSED,
			    "%s is too small: it has %llu MB, the image may need %llu MB",
			    image->path, (unsigned long long)(image->room / MB),
			    (unsigned long long)(worst / MB + 1));
	rc = image_write_super(image, IMAGE_WRITING);
	if (!rc)
		rc = write_chunks(&s);
	/* Late, as opening a disk may wait for its controller. */
	if (!rc && image->disks) {
		rc = disks_look(image->disks,
				image->any_missing || image->final == IMAGE_SNAPSHOT);
		image->index.disks = disks_text(image->disks);
	}
	if (image->firmware)
		image->index.firmware = xasprintf("%s", image->firmware);
	if (!rc)
		rc = write_index(image);
	if (!rc && !image->is_block && !image->shared &&
	    ftruncate(image->fd, (off_t)image->super.image_size))
		rc = fail(KJ_FAILED, "%s: cannot cut it to length", image->path);
	if (!rc)
		rc = image_flush(image);
	if (!rc) {
		rc = image_write_super(image, image->final ? image->final : IMAGE_COMPLETE);
		/* It may be on the disk all the same. */
		if (rc)
			image_write_super(image, IMAGE_WRITING);
	}
	if (rc)
		return rc;
	result->data_bytes = image->super.data_bytes;
	result->image_size = image->super.image_size;
	result->seconds = now_seconds() - begun;
	return KJ_OK;
}

int save_vmcore(const char *from, struct image *image, uint32_t algorithm,
		struct save_result *result)
{
	struct vmcore core;
	int rc = vmcore_open(&core, from);

	if (!rc)
		rc = save_image(&core, image, algorithm, result);
	vmcore_close(&core);
	return rc;
}
