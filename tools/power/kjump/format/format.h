/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The image of a preserved kernel: its core file without the holes, compressed.
 *
 *	0	superblock, one sector
 *	4096	chunks: header and up to CHUNK_SIZE bytes of data, compressed,
 *		back to back
 *	...	index, at a multiple of 4096: the machine, PT_LOADs, which parts
 *		of the core file the data are, how long each chunk is, what
 *		shows a change of the disks in use, the firmware
 *
 * All integers are little endian, as on the machines this is for.
 */
#ifndef KJUMP_FORMAT_H
#define KJUMP_FORMAT_H

#include "common/kjump.h"
#include "common/machine.h"

#include <assert.h>

#define IMAGE_MAGIC	"KJUMPIMG"
#define IMAGE_VERSION	2u
/* In each program that knows it; what it begins with is nowhere else in it. */
#define IMAGE_TEXT(version)	#version
#define IMAGE_MARK_OF(version)	"\1kjump knows images of version " IMAGE_TEXT(version) ";"
#define IMAGE_MARK	IMAGE_MARK_OF(IMAGE_VERSION)
#define IMAGE_ID_LEN	16
#define IMAGE_SECTOR	512
#define IMAGE_DATA	4096u		/* where the chunks begin */
#define CHUNK_MAGIC	0x4b43484bu
#define CHUNK_SIZE	(512 * 1024u)

/* What a target must have beyond the data, if nothing can be compressed. */
#define image_overhead(bytes)	((bytes) / 256 + MB)

enum image_state {
	IMAGE_PREPARED = 1,	/* named for a save that has not begun */
	IMAGE_WRITING,
	IMAGE_COMPLETE,
	IMAGE_USED,		/* resumed: the disks are no longer as it knows them */
	IMAGE_SNAPSHOT,		/* of a system that went on: to look at, not to resume */
};

enum image_algorithm {
	IMAGE_RAW,
	IMAGE_ZSTD,
	IMAGE_LZ4,
	IMAGE_COMPRESS_DEFAULT = IMAGE_LZ4,
};

/* The first sector. One sector is written wholly or not at all. */
struct superblock {
	char magic[8];
	uint32_t version;
	uint32_t state;
	uint8_t id[IMAGE_ID_LEN];
	uint32_t machine;		/* EM_* */
	uint32_t algorithm;
	uint64_t entry;			/* physical, resumes the kernel */
	uint64_t source_size;		/* of the core file */
	uint64_t data_bytes;		/* of it that are in the chunks */
	uint64_t image_size;		/* all of it, from offset 0 */
	uint64_t index_offset;
	uint64_t index_length;
	uint64_t index_hash;
	int64_t saved_at;		/* seconds since 1970 */
	char release[128];
	char build_id[64];
	uint8_t reserved[208];
	uint64_t hash;			/* of everything before it */
};

static_assert(sizeof(struct superblock) == IMAGE_SECTOR, "one sector");

struct chunk_header {
	uint32_t magic;
	uint32_t number;
	uint32_t stored;		/* bytes that follow */
	uint32_t raw;			/* bytes when unpacked; == stored: not packed */
	uint64_t hash;			/* of the stored bytes, seeded, see chunk_hash() */
};

/* The index begins with this, then PT_LOADs, disks, firmware, extents, the chunks' lengths. */
struct index_header {
	uint32_t nr_loads;
	uint32_t nr_chunks;
	uint64_t nr_extents;
	uint64_t extent_bytes;		/* length of the packed list */
	struct machine machine;
	uint32_t disks_bytes;
	uint32_t firmware_bytes;
};

/* A PT_LOAD of the core file. */
struct load_range {
	uint64_t offset;
	uint64_t paddr;
	uint64_t filesz;
	uint64_t memsz;
};

/* For qsort(). */
int load_by_paddr(const void *a, const void *b);

/*
 * Ranges of the core file that hold data, ascending, in pages. Packed: for each
 * the gap since the end of the last one and the length, as LEB128. Memory can be
 * fragmented page by page; this is 2 bytes for each fragment then.
 */
struct extents {
	uint8_t *packed;
	size_t length, room;
	uint64_t count;
	uint64_t pages;
	uint64_t end;			/* page after the last one */
};

struct extent_cursor {
	const struct extents *list;
	size_t at;
	uint64_t left;			/* entries not yet read */
	uint64_t page;			/* where the last one ended */
};

/* At most so long is one, packed: two numbers. */
#define EXTENT_MAX	20u

void extents_add(struct extents *list, uint64_t page, uint64_t pages);
void extents_free(struct extents *list);
void extents_rewind(struct extent_cursor *c, const struct extents *list);
/* The next range, in bytes; false at the end. */
bool extents_next(struct extent_cursor *c, uint64_t *offset, uint64_t *length);
/* Whether the packed list is what its numbers say. */
bool extents_valid(struct extents *list);

struct index {
	struct machine machine;
	struct load_range *loads;
	uint32_t nr_loads;
	char *disks;			/* struct disks as text, NULL for none */
	char *firmware;			/* see firmware.h, NULL if it is not known */
	struct extents extents;
	uint32_t *chunk_stored;
	uint32_t nr_chunks;
	size_t chunk_room;
};

void index_free(struct index *index);
void index_add_chunk(struct index *index, uint32_t stored);
uint8_t *index_pack(const struct index *index, size_t *length);
int index_unpack(struct index *index, const uint8_t *data, size_t length);
/* Whether the numbers at the beginning of an index say that it has @length bytes. */
bool index_header_fits(const struct index_header *header, uint64_t length);

/* Its checksum. */
uint64_t super_hash(const struct superblock *super);
/* Whether sizes and offsets of one whose checksum is right fit each other. */
bool super_fits(const struct superblock *super);
/*
 * What the index says of the chunks must agree with the superblock, and the PT_LOADs with
 * each other and with the data: each piece of memory is in one, and within the core file.
 */
bool index_fits(const struct superblock *super, const struct index *index);

const char *image_state_name(uint32_t state);
const char *image_algorithm_name(uint32_t algorithm);
bool image_algorithm(const char *name, uint32_t *algorithm);
void image_new_id(uint8_t *id);
void image_id_text(const uint8_t *id, char text[2 * IMAGE_ID_LEN + 1]);
uint64_t chunk_hash(const struct superblock *super, uint32_t number,
		    const void *data, size_t length);

#endif
