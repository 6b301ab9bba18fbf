// SPDX-License-Identifier: GPL-2.0
/* What the superblock of an image says, and whether it can be true. See format.h. */
#include "format/format.h"

#include <stdlib.h>

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

static int by_offset(const void *a, const void *b)
{
	const struct load_range *x = a, *y = b;

	if (x->offset != y->offset)
		return x->offset < y->offset ? -1 : 1;
	return x->filesz < y->filesz ? -1 : x->filesz > y->filesz;
}

int load_by_paddr(const void *a, const void *b)
{
	const struct load_range *x = a, *y = b;

	return x->paddr < y->paddr ? -1 : x->paddr > y->paddr;
}

/* Data that belong to no memory are the headers of the core file, before all others. */
static bool data_in_loads(const struct extents *list, const struct load_range *loads, uint32_t n)
{
	struct extent_cursor cursor;
	uint64_t at, left;
	uint32_t i = 0;

	extents_rewind(&cursor, list);
	while (extents_next(&cursor, &at, &left)) {
		uint64_t end = at + left;

		if (at < loads[0].offset)
			at = loads[0].offset;
		while (at < end) {
			while (i < n && loads[i].offset + loads[i].filesz <= at)
				i++;
			if (i == n || loads[i].offset > at)
				return false;
			at = loads[i].offset + loads[i].filesz;
		}
	}
	return true;
}

static bool loads_fit(const struct superblock *super, const struct index *index)
{
	uint64_t file_end = align_up(super->source_size, PAGE);
	struct load_range *loads;
	uint32_t i, n = index->nr_loads;
	bool fit = n && super->source_size <= INT64_MAX - PAGE &&
		index->extents.end <= file_end / PAGE;

	loads = xalloc(n * sizeof(*loads));
	for (i = 0; fit && i < n; i++) {
		const struct load_range *l = &index->loads[i];

		loads[i] = *l;
		fit = l->memsz && l->filesz <= l->memsz && l->paddr <= UINT64_MAX - l->memsz &&
			!(l->offset % PAGE) && !(l->paddr % PAGE) && !(l->filesz % PAGE) &&
			!(l->memsz % PAGE) && l->offset <= file_end &&
			l->filesz <= file_end - l->offset;
	}
	if (fit)
		qsort(loads, n, sizeof(*loads), load_by_paddr);
	for (i = 1; fit && i < n; i++)
		fit = loads[i - 1].paddr + loads[i - 1].memsz <= loads[i].paddr;
	if (fit)
		qsort(loads, n, sizeof(*loads), by_offset);
	for (i = 1; fit && i < n; i++)
		fit = loads[i - 1].offset + loads[i - 1].filesz <= loads[i].offset;
	if (fit)
		fit = data_in_loads(&index->extents, loads, n);
	free(loads);
	return fit;
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
	return loads_fit(super, index) && data == super->data_bytes &&
		(data + CHUNK_SIZE - 1) / CHUNK_SIZE == index->nr_chunks &&
		align_up(IMAGE_DATA + bytes, PAGE) == super->index_offset;
}
