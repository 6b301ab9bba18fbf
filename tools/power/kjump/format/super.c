// SPDX-License-Identifier: GPL-2.0
/* What the superblock of an image says, and whether it can be true. See format.h. */
#include "format/format.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

/* What an index has beside extents and chunks, at most. */
#define INDEX_REST_MAX	(4 * MB)

uint64_t super_hash(const struct superblock *super)
{
	return XXH64(super, offsetof(struct superblock, hash), 0);
}

bool super_fits(const struct superblock *super)
{
	uint64_t pages = super->data_bytes / PAGE, chunks = super->data_bytes / CHUNK_SIZE + 1;
	uint64_t most = INDEX_REST_MAX + pages * EXTENT_MAX + chunks * sizeof(uint32_t);

	return super->algorithm <= IMAGE_LZ4 &&
		super->index_offset >= IMAGE_DATA && !(super->index_offset % PAGE) &&
		super->index_length && super->index_length <= most &&
		super->index_offset <= super->image_size &&
		super->index_length <= super->image_size - super->index_offset;
}

bool index_fits(const struct superblock *super, const struct index *index)
{
	uint64_t bytes = 0, data = index->extents.pages * PAGE;
	uint32_t i;

	for (i = 0; i < index->nr_chunks; i++) {
		if (!index->chunk_stored[i] || index->chunk_stored[i] > CHUNK_SIZE)
			return false;
		bytes += sizeof(struct chunk_header) + index->chunk_stored[i];
	}
	return data == super->data_bytes &&
		(data + CHUNK_SIZE - 1) / CHUNK_SIZE == index->nr_chunks &&
		align_up(IMAGE_DATA + bytes, PAGE) == super->index_offset;
}
