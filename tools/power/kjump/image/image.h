/* SPDX-License-Identifier: GPL-2.0 */
/* Reading and writing images. What is in one: format/format.h. */
#ifndef KJUMP_IMAGE_H
#define KJUMP_IMAGE_H

#include "devices/disks.h"
#include "format/format.h"

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
	char *volume;			/* volume_text() of the one it is on, or NULL */
	int volume_fd;			/* that one, open; -1 if only another kernel has it */
	enum image_state final;		/* when it is saved; 0: COMPLETE */
	struct disks *disks;		/* what the saved system has in use, or NULL */
	bool any_missing;		/* also if not all of these can be found */
	const char *firmware;		/* as it knows it, or NULL */
	struct superblock super;
	struct index index;
};

int image_open(struct image *image, const char *path, bool write);
/* On a volume that another kernel has as @path, and that it says is here: volume_text(). */
int image_open_volume(struct image *image, const char *path, const char *text);
void image_close(struct image *image);
/* The block device it is on by itself, 0 if it is in a file or in memory. */
dev_t image_device(const struct image *image);
/*
 * A file that memory is to be written to is for nobody else's eyes, however it was before,
 * and is where it seems to be: KJ_REFUSED if that cannot be. KJ_OK for what is no file.
 */
int image_own_file(const struct image *image);
int image_read_at(struct image *image, void *buf, size_t len, uint64_t offset);
int image_write_at(struct image *image, const void *buf, size_t len, uint64_t offset);
int image_flush(struct image *image);

/*
 * Until an image is saved there, each piece of its volume, if it is on one, begins with its
 * id: who writes to it has found all of them. KJ_NONE if one is elsewhere.
 */
int image_mark_pieces(struct image *image);
int image_check_pieces(struct image *image);

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

/* When it was saved. */
void image_when(const struct image *image, char *text, size_t room);

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

/* dump.c: the ELF core file FILE; replaces nothing unless @force. */
int extract_image(struct image *image, const char *file, bool force);
int extract_check_file(const char *file, bool force);

#endif
