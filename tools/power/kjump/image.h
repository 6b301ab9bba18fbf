/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The image of a preserved kernel: its core file without the holes, compressed.
 *
 *	0	superblock, one sector
 *	4096	chunks: header and up to CHUNK_SIZE bytes of data, compressed,
 *		back to back
 *	...	index, at a multiple of 4096: the machine, PT_LOADs, which parts
 *		of the core file the data are, how long each chunk is, how the
 *		disks in use began
 *
 * All integers are little endian, as on the machines this is for.
 */
#ifndef KJUMP_IMAGE_H
#define KJUMP_IMAGE_H

#include "kjump.h"
#include "machine.h"

#include <assert.h>

#define IMAGE_MAGIC	"KJUMPIMG"
#define IMAGE_VERSION	1u
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

/* The index begins with this, then PT_LOADs, disks, extents, the chunks' lengths. */
struct index_header {
	uint32_t nr_loads;
	uint32_t nr_chunks;
	uint64_t nr_extents;
	uint64_t extent_bytes;		/* length of the packed list */
	struct machine machine;
	uint32_t nr_disks;
	uint32_t reserved;
};

/* A PT_LOAD of the core file. */
struct load_range {
	uint64_t offset;
	uint64_t paddr;
	uint64_t filesz;
	uint64_t memsz;
};

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
	uint64_t *disks;		/* see disks.c */
	uint32_t nr_disks;
	struct extents extents;
	uint32_t *chunk_stored;
	uint32_t nr_chunks;
	size_t chunk_room;
};

void index_free(struct index *index);
void index_add_chunk(struct index *index, uint32_t stored);
uint8_t *index_pack(const struct index *index, size_t *length);
int index_unpack(struct index *index, const uint8_t *data, size_t length);

/*
 * An open image, or what is to become one: a block device, a file, or memory
 * shared between kernels. It begins at @base of the file.
 */
struct image {
	char *path;
	int fd;
	uint64_t base;
	uint64_t room;			/* bytes it may have */
	bool is_block, direct, shared;
	enum image_state final;		/* when it is saved; 0: COMPLETE */
	const char *disks;		/* "MAJ:MIN,..." the saved system has in use */
	struct superblock super;
	struct index index;
};

int image_open(struct image *image, const char *path, bool write);
void image_close(struct image *image);
int image_read_at(struct image *image, void *buf, size_t len, uint64_t offset);
int image_write_at(struct image *image, const void *buf, size_t len, uint64_t offset);
int image_flush(struct image *image);

/* The superblock: KJ_NONE if there is none, KJ_BAD_IMAGE if it is damaged. */
int image_read_super(struct image *image);
/* Write it in this state and see that it is on the disk. */
int image_write_super(struct image *image, enum image_state state);
/* Whether it is complete, or KJ_BAD_IMAGE; to look at, others are good enough, too. */
int image_check_state(const struct image *image, bool to_resume);
/*
 * The system goes on: a complete image of it on @path is a snapshot from now on,
 * not to be resumed. Only the one with this @id, if it is not NULL. KJ_OK also if
 * there is none.
 */
int image_disown(const char *path, const char *id);
/* Superblock and index of an image that is all there; one to resume, or to look at. */
int image_read_all(struct image *image, bool to_resume);

const char *image_state_name(uint32_t state);
/* When it was saved. */
void image_when(const struct image *image, char *text, size_t room);
const char *image_algorithm_name(uint32_t algorithm);
bool image_algorithm(const char *name, uint32_t *algorithm);
void image_new_id(uint8_t *id);
void image_id_text(const uint8_t *id, char text[2 * IMAGE_ID_LEN + 1]);
uint64_t chunk_hash(const struct superblock *super, uint32_t number,
		    const void *data, size_t length);

/* Sequential writing and reading of the chunks, in large aligned pieces. */
struct stream {
	struct image *image;
	uint8_t *buf;
	size_t used, filled;
	uint64_t offset;		/* of buf in the image */
	uint64_t end;			/* reading stops here */
};

#define STREAM_SIZE	(1024 * 1024u)

void stream_begin(struct stream *s, struct image *image, uint64_t offset, uint64_t end);
int stream_write(struct stream *s, const void *data, size_t length);
/* Write what is left, padded to a page; returns where the next page begins. */
int stream_pad(struct stream *s, uint64_t *offset);
int stream_read(struct stream *s, void *data, size_t length);
void stream_end(struct stream *s);

/* unpack.c: all chunks of an image, checked and unpacked, in order. */
typedef int (*chunk_sink)(void *ctx, uint64_t data_offset, const void *data, size_t length);
int image_unpack(struct image *image, chunk_sink sink, void *ctx, const char *doing);

/* save.c */
struct save_result {
	uint64_t data_bytes, image_size;
	double seconds;
};

struct vmcore;
int save_image(struct vmcore *core, struct image *image, uint32_t algorithm,
	       struct save_result *result);
/* A shared-memory image has no superblock before: @id NULL for a new one. */
int save_vmcore(const char *from, struct image *image, uint32_t algorithm,
		struct save_result *result);

/* saved.c: images that kjump save makes are marked before their system goes on. */
int saved_note(const struct image *image);
int saved_disown(void);

/*
 * disks.c: how the disks begin that the saved system has in use, and whether they
 * still begin like that.
 */
void disks_note(struct image *image);
int disks_unchanged(const struct image *image, double wait);

/* extract.c: the ELF core file FILE; replaces nothing unless @force. */
int extract_image(struct image *image, const char *file, bool force);
int extract_check_file(const char *file, bool force);

#endif
