// SPDX-License-Identifier: GPL-2.0
/* The index of an image, to bytes and back. See format.h. */
#include "format/format.h"

#include <stdlib.h>
#include <string.h>

void index_free(struct index *index)
{
	free(index->loads);
	free(index->disks);
	free(index->firmware);
	free(index->chunk_stored);
	extents_free(&index->extents);
	memset(index, 0, sizeof(*index));
}

void index_add_chunk(struct index *index, uint32_t stored)
{
	if (index->nr_chunks == index->chunk_room) {
		index->chunk_room = index->chunk_room ? 2 * index->chunk_room : 1024;
		index->chunk_stored = xrealloc(index->chunk_stored,
					       index->chunk_room * sizeof(uint32_t));
	}
	index->chunk_stored[index->nr_chunks++] = stored;
}

uint8_t *index_pack(const struct index *index, size_t *length)
{
	size_t loads = index->nr_loads * sizeof(struct load_range);
	size_t disks = index->disks ? strlen(index->disks) : 0;
	size_t firmware = index->firmware ? strlen(index->firmware) : 0;
	size_t chunks = index->nr_chunks * sizeof(uint32_t);
	struct index_header header = {
		.nr_loads = index->nr_loads,
		.nr_chunks = index->nr_chunks,
		.nr_extents = index->extents.count,
		.extent_bytes = index->extents.length,
		.machine = index->machine,
		.disks_bytes = (uint32_t)disks,
		.firmware_bytes = (uint32_t)firmware,
	};
	uint8_t *data, *p;

	*length = sizeof(header) + loads + disks + firmware + index->extents.length + chunks;
	data = xalloc_pages(*length);
	p = data;
	memcpy(p, &header, sizeof(header));
	p += sizeof(header);
	if (loads)
		memcpy(p, index->loads, loads);
	p += loads;
	if (disks)
		memcpy(p, index->disks, disks);
	p += disks;
	if (firmware)
		memcpy(p, index->firmware, firmware);
	p += firmware;
	if (index->extents.length)
		memcpy(p, index->extents.packed, index->extents.length);
	p += index->extents.length;
	if (chunks)
		memcpy(p, index->chunk_stored, chunks);
	return data;
}

bool index_header_fits(const struct index_header *header, uint64_t length)
{
	uint64_t loads = (uint64_t)header->nr_loads * sizeof(struct load_range);
	uint64_t texts = (uint64_t)header->disks_bytes + header->firmware_bytes;
	uint64_t chunks = (uint64_t)header->nr_chunks * sizeof(uint32_t);

	return header->extent_bytes <= length && header->nr_extents <= header->extent_bytes &&
		sizeof(*header) + loads + texts + header->extent_bytes + chunks == length;
}

int index_unpack(struct index *index, const uint8_t *data, size_t length)
{
	struct index_header header;
	uint64_t loads, disks, firmware, chunks;

	memset(index, 0, sizeof(*index));
	if (length < sizeof(header))
		return -1;
	memcpy(&header, data, sizeof(header));
	loads = (uint64_t)header.nr_loads * sizeof(struct load_range);
	disks = header.disks_bytes;
	firmware = header.firmware_bytes;
	chunks = (uint64_t)header.nr_chunks * sizeof(uint32_t);
	if (!index_header_fits(&header, length))
		return -1;
	index->machine = header.machine;
	index->nr_loads = header.nr_loads;
	index->nr_chunks = header.nr_chunks;
	index->extents.count = header.nr_extents;
	index->extents.length = (size_t)header.extent_bytes;
	index->loads = xalloc((size_t)loads);
	index->disks = xalloc((size_t)disks + 1);
	index->firmware = xalloc((size_t)firmware + 1);
	index->extents.packed = xalloc(index->extents.length);
	index->chunk_stored = xalloc((size_t)chunks);
	data += sizeof(header);
	memcpy(index->loads, data, (size_t)loads);
	data += loads;
	memcpy(index->disks, data, (size_t)disks);
	data += disks;
	memcpy(index->firmware, data, (size_t)firmware);
	data += firmware;
	memcpy(index->extents.packed, data, index->extents.length);
	data += index->extents.length;
	memcpy(index->chunk_stored, data, (size_t)chunks);
	return extents_valid(&index->extents) ? 0 : -1;
}
