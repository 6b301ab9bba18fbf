// SPDX-License-Identifier: GPL-2.0
/* The image: superblock, index, and where they are. See image.h. */
#include "image.h"

#include <endian.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/elf-em.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static_assert(BYTE_ORDER == LITTLE_ENDIAN, "the format is little endian");

/* What an index has beside extents and chunks, at most. */
#define INDEX_REST_MAX	(4 * MB)
/* Two numbers as LEB128. */
#define EXTENT_MAX	20u

static const char * const state_names[] = {
	[IMAGE_PREPARED] = "prepared",
	[IMAGE_WRITING] = "half-written",
	[IMAGE_COMPLETE] = "complete",
	[IMAGE_USED] = "used",
	[IMAGE_SNAPSHOT] = "snapshot",
};

static const char * const algorithm_names[] = {
	[IMAGE_RAW] = "none",
	[IMAGE_ZSTD] = "zstd",
	[IMAGE_LZ4] = "lz4",
};

const char *image_state_name(uint32_t state)
{
	return state && state < ARRAY_SIZE(state_names) ? state_names[state] : "unknown";
}

void image_when(const struct image *image, char *text, size_t room)
{
	time_t at = (time_t)image->super.saved_at;
	struct tm *tm = at ? localtime(&at) : NULL;

	if (!tm || !strftime(text, room, "%Y-%m-%d %H:%M:%S", tm))
		snprintf(text, room, "at an unknown time");
}

const char *image_algorithm_name(uint32_t algorithm)
{
	return algorithm < ARRAY_SIZE(algorithm_names) ? algorithm_names[algorithm] : "unknown";
}

bool image_algorithm(const char *name, uint32_t *algorithm)
{
	uint32_t i;

	for (i = 0; i < ARRAY_SIZE(algorithm_names); i++)
		if (!strcmp(name, algorithm_names[i])) {
			*algorithm = i;
			return true;
		}
	return false;
}

void image_new_id(uint8_t *id)
{
	if (getrandom(id, IMAGE_ID_LEN, GRND_NONBLOCK) == IMAGE_ID_LEN)
		return;
	/* Early in boot there may be no randomness; different is all it must be. */
	for (int i = 0; i < IMAGE_ID_LEN; i += 8) {
		struct timespec ts;
		uint64_t half;

		clock_gettime(i ? CLOCK_MONOTONIC : CLOCK_REALTIME, &ts);
		half = XXH64(&ts, sizeof(ts), (uint64_t)getpid());
		memcpy(id + i, &half, sizeof(half));
	}
}

void image_id_text(const uint8_t *id, char text[2 * IMAGE_ID_LEN + 1])
{
	for (int i = 0; i < IMAGE_ID_LEN; i++)
		sprintf(text + 2 * i, "%02x", id[i]);
}

uint64_t chunk_hash(const struct superblock *super, uint32_t number,
		    const void *data, size_t length)
{
	uint64_t seed;

	/* A chunk of another image, or at another place, has another hash. */
	memcpy(&seed, super->id, sizeof(seed));
	seed += number;
	/* Without 64-bit multiplication XXH64 takes three times as long. */
	if (super->machine == EM_386)
		return XXH32(data, length, (uint32_t)(seed ^ seed >> 32));
	return XXH64(data, length, seed);
}

/* --- extents ------------------------------------------------------------ */

static size_t put_number(uint8_t *p, uint64_t n)
{
	size_t len = 0;

	do {
		p[len++] = (n & 0x7f) | (n > 0x7f ? 0x80 : 0);
		n >>= 7;
	} while (n);
	return len;
}

static bool get_number(const struct extents *list, size_t *at, uint64_t *n)
{
	unsigned int shift;

	*n = 0;
	for (shift = 0; shift < 63 && *at < list->length; shift += 7) {
		uint8_t byte = list->packed[(*at)++];

		*n |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

void extents_add(struct extents *list, uint64_t page, uint64_t pages)
{
	if (list->room - list->length < EXTENT_MAX) {
		list->room = list->room ? 2 * list->room : 4096;
		list->packed = xrealloc(list->packed, list->room);
	}
	list->length += put_number(list->packed + list->length, page - list->end);
	list->length += put_number(list->packed + list->length, pages);
	list->end = page + pages;
	list->pages += pages;
	list->count++;
}

void extents_free(struct extents *list)
{
	free(list->packed);
	memset(list, 0, sizeof(*list));
}

void extents_rewind(struct extent_cursor *c, const struct extents *list)
{
	c->list = list;
	c->at = 0;
	c->left = list->count;
	c->page = 0;
}

bool extents_next(struct extent_cursor *c, uint64_t *offset, uint64_t *length)
{
	uint64_t gap, pages;

	if (!c->left || !get_number(c->list, &c->at, &gap) ||
	    !get_number(c->list, &c->at, &pages))
		return false;
	c->left--;
	*offset = (c->page + gap) * PAGE;
	*length = pages * PAGE;
	c->page += gap + pages;
	return true;
}

bool extents_valid(struct extents *list)
{
	const uint64_t limit = (1ull << 63) / PAGE;
	uint64_t n, gap, pages;
	size_t at = 0;

	list->pages = 0;
	list->end = 0;
	for (n = 0; n < list->count; n++) {
		if (!get_number(list, &at, &gap) || !get_number(list, &at, &pages) ||
		    !pages || gap > limit - list->end ||
		    pages > limit - list->end - gap)
			return false;
		list->end += gap + pages;
		list->pages += pages;
	}
	return at == list->length;
}

/* --- index -------------------------------------------------------------- */

void index_free(struct index *index)
{
	free(index->loads);
	free(index->disks);
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
	size_t disks = index->nr_disks * sizeof(uint64_t);
	size_t chunks = index->nr_chunks * sizeof(uint32_t);
	struct index_header header = {
		.nr_loads = index->nr_loads,
		.nr_chunks = index->nr_chunks,
		.nr_extents = index->extents.count,
		.extent_bytes = index->extents.length,
		.machine = index->machine,
		.nr_disks = index->nr_disks,
	};
	uint8_t *data, *p;

	*length = sizeof(header) + loads + disks + index->extents.length + chunks;
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
	if (index->extents.length)
		memcpy(p, index->extents.packed, index->extents.length);
	p += index->extents.length;
	if (chunks)
		memcpy(p, index->chunk_stored, chunks);
	return data;
}

int index_unpack(struct index *index, const uint8_t *data, size_t length)
{
	struct index_header header;
	uint64_t loads, disks, chunks;

	memset(index, 0, sizeof(*index));
	if (length < sizeof(header))
		return -1;
	memcpy(&header, data, sizeof(header));
	loads = (uint64_t)header.nr_loads * sizeof(struct load_range);
	disks = (uint64_t)header.nr_disks * sizeof(uint64_t);
	chunks = (uint64_t)header.nr_chunks * sizeof(uint32_t);
	if (header.extent_bytes > length ||
	    sizeof(header) + loads + disks + header.extent_bytes + chunks != length)
		return -1;
	index->machine = header.machine;
	index->nr_loads = header.nr_loads;
	index->nr_chunks = header.nr_chunks;
	index->nr_disks = header.nr_disks;
	index->extents.count = header.nr_extents;
	index->extents.length = (size_t)header.extent_bytes;
	index->loads = xalloc((size_t)loads);
	index->disks = xalloc((size_t)disks);
	index->extents.packed = xalloc(index->extents.length);
	index->chunk_stored = xalloc((size_t)chunks);
	data += sizeof(header);
	memcpy(index->loads, data, (size_t)loads);
	data += loads;
	memcpy(index->disks, data, (size_t)disks);
	data += disks;
	memcpy(index->extents.packed, data, index->extents.length);
	data += index->extents.length;
	memcpy(index->chunk_stored, data, (size_t)chunks);
	return extents_valid(&index->extents) ? 0 : -1;
}

/* --- files and devices -------------------------------------------------- */

int image_open(struct image *image, const char *path, bool write)
{
	int flags = O_CLOEXEC | (write ? O_RDWR : O_RDONLY);
	uint64_t size;
	struct stat st;

	memset(image, 0, sizeof(*image));
	image->fd = -1;
	image->path = xasprintf("%s", path);
	if (!stat(path, &st)) {
		image->is_block = S_ISBLK(st.st_mode);
		if (!image->is_block && !S_ISREG(st.st_mode))
			return fail(KJ_USAGE, "%s is neither a block device nor a regular file",
				    path);
	} else if (errno == ENOENT) {
		if (!write)
			return fail(KJ_NONE, "%s is not there", path);
		flags |= O_CREAT;
	}
	if (image->is_block && write)
		flags |= O_EXCL;
	image->fd = open(path, flags | O_DIRECT, 0600);
	image->direct = image->fd >= 0;
	if (image->fd < 0 && errno == EINVAL)
		image->fd = open(path, flags, 0600);
	if (image->fd < 0)
		return fail(errno == EBUSY ? KJ_REFUSED : KJ_FAILED, "%s: %s", path,
			    errno == EBUSY ? "in use (mounted, swapped on, or part of something)" :
			    strerror(errno));
	if (image->is_block) {
		if (ioctl(image->fd, BLKGETSIZE64, &size))
			return fail(KJ_FAILED, "%s: cannot read its size: %s", path,
				    strerror(errno));
		image->room = size;
	} else {
		image->room = UINT64_MAX;
	}
	return KJ_OK;
}

void image_close(struct image *image)
{
	if (image->fd >= 0)
		close(image->fd);
	image->fd = -1;
	free(image->path);
	image->path = NULL;
	index_free(&image->index);
}

/* Some file systems take O_DIRECT at open and refuse it later. */
static bool without_direct(struct image *image)
{
	int flags;

	if (!image->direct || errno != EINVAL)
		return false;
	image->direct = false;
	flags = fcntl(image->fd, F_GETFL);
	return flags >= 0 && !fcntl(image->fd, F_SETFL, flags & ~O_DIRECT);
}

int image_read_at(struct image *image, void *buf, size_t len, uint64_t offset)
{
	ssize_t n;

	do {
		n = pread_full(image->fd, buf, len, image->base + offset);
	} while (n < 0 && without_direct(image));
	if (n < 0)
		return fail(KJ_FAILED, "%s: reading at %llu: %s", image->path,
			    (unsigned long long)offset, strerror(errno));
	/* A file need not end at a page. */
	memset((char *)buf + n, 0, len - (size_t)n);
	return KJ_OK;
}

int image_write_at(struct image *image, const void *buf, size_t len, uint64_t offset)
{
	ssize_t n;

	if (offset > image->room || len > image->room - offset)
		return fail(KJ_REFUSED, "%s is too small: %llu bytes are not enough",
			    image->path, (unsigned long long)image->room);
	do {
		n = pwrite_full(image->fd, buf, len, image->base + offset);
	} while (n < 0 && without_direct(image));
	if (n < 0)
		return fail(KJ_FAILED, "%s: writing at %llu: %s", image->path,
			    (unsigned long long)offset, strerror(errno));
	return KJ_OK;
}

int image_flush(struct image *image)
{
	if (!image->shared && fsync(image->fd))
		return fail(KJ_FAILED, "%s: writing: %s", image->path, strerror(errno));
	return KJ_OK;
}

/* --- superblock --------------------------------------------------------- */

static uint64_t super_hash(const struct superblock *super)
{
	return XXH64(super, offsetof(struct superblock, hash), 0);
}

/* What is shown of an image is text, whoever made it. */
static void printable(char *text, size_t room)
{
	text[room - 1] = 0;
	for (; *text; text++)
		if (*text < ' ' || *text > '~')
			*text = '?';
}

int image_read_super(struct image *image)
{
	struct superblock *super = &image->super;
	void *page = xalloc_pages(PAGE);
	int rc = image_read_at(image, page, PAGE, 0);

	memcpy(super, page, sizeof(*super));
	free(page);
	if (rc)
		return rc;
	if (memcmp(super->magic, IMAGE_MAGIC, sizeof(super->magic)))
		return fail(KJ_NONE, "%s: no image there", image->path);
	/* First, as another version may have its checksum elsewhere. */
	if (super->version != IMAGE_VERSION)
		return fail(KJ_BAD_IMAGE,
			    "%s: an image of version %u (or damaged), this kjump knows version %u",
			    image->path, super->version, IMAGE_VERSION);
	if (super->hash != super_hash(super))
		return fail(KJ_BAD_IMAGE, "%s: damaged (superblock)", image->path);
	printable(super->release, sizeof(super->release));
	printable(super->build_id, sizeof(super->build_id));
	return KJ_OK;
}

int image_write_super(struct image *image, enum image_state state)
{
	struct superblock *super = &image->super;
	void *page = xalloc_pages(PAGE);
	int rc;

	memcpy(super->magic, IMAGE_MAGIC, sizeof(super->magic));
	super->version = IMAGE_VERSION;
	super->state = state;
	super->hash = super_hash(super);
	memcpy(page, super, sizeof(*super));
	rc = image_write_at(image, page, PAGE, 0);
	free(page);
	return rc ? rc : image_flush(image);
}

int image_check_state(const struct image *image, bool to_resume)
{
	switch (image->super.state) {
	case IMAGE_COMPLETE:
		return KJ_OK;
	case IMAGE_USED:
		return !to_resume ? KJ_OK :
			fail(KJ_BAD_IMAGE,
			     "%s: already used: a system was resumed from it, and its disks have changed since",
			     image->path);
	case IMAGE_SNAPSHOT:
		return !to_resume ? KJ_OK :
			fail(KJ_BAD_IMAGE,
			     "%s: a snapshot, of a system that went on: only to look at",
			     image->path);
	case IMAGE_WRITING:
		return fail(KJ_BAD_IMAGE,
			    "%s: half-written: the machine stopped while it was being saved",
			    image->path);
	case IMAGE_PREPARED:
		return fail(KJ_BAD_IMAGE,
			    "%s: only prepared: the machine stopped before anything was saved",
			    image->path);
	}
	return fail(KJ_BAD_IMAGE, "%s: damaged (unknown state %u)", image->path,
		    image->super.state);
}

/* Somebody may be looking at the device: what the system did before the jump goes on. */
#define DISOWN_SECONDS	5

int image_disown(const char *path, const char *id)
{
	double until = now_seconds() + DISOWN_SECONDS;
	char found[2 * IMAGE_ID_LEN + 1];
	struct image image;
	int rc;

	while ((rc = image_open(&image, path, true)) == KJ_REFUSED && now_seconds() < until) {
		image_close(&image);
		fail_clear();
		usleep(100 * 1000);
	}
	if (!rc) {
		rc = image_read_super(&image);
		image_id_text(image.super.id, found);
		if (rc == KJ_NONE || rc == KJ_BAD_IMAGE)
			rc = KJ_OK;
		else if (!rc && image.super.state == IMAGE_COMPLETE &&
			 (!id || !strcmp(id, found)))
			rc = image_write_super(&image, IMAGE_SNAPSHOT);
	}
	image_close(&image);
	return rc;
}

static uint64_t file_size(const struct image *image)
{
	struct stat st;

	if (image->is_block || image->shared)
		return image->room;
	return fstat(image->fd, &st) ? 0 : (uint64_t)st.st_size;
}

static bool sizes_fit(const struct superblock *super)
{
	uint64_t pages = super->data_bytes / PAGE, chunks = super->data_bytes / CHUNK_SIZE + 1;
	uint64_t most = INDEX_REST_MAX + pages * EXTENT_MAX + chunks * sizeof(uint32_t);

	return super->index_offset >= IMAGE_DATA && !(super->index_offset % PAGE) &&
		super->index_length && super->index_length <= most &&
		super->index_offset <= super->image_size &&
		super->index_length <= super->image_size - super->index_offset;
}

/* What the index says of the chunks must agree with the superblock. */
static bool index_fits(const struct superblock *super, const struct index *index)
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

static int read_index(struct image *image)
{
	struct superblock *super = &image->super;
	size_t length = (size_t)super->index_length;
	uint8_t *data = xalloc_pages(length);
	int rc = image_read_at(image, data, align_up(length, PAGE), super->index_offset);

	if (!rc && (XXH64(data, length, 0) != super->index_hash ||
		    index_unpack(&image->index, data, length) ||
		    !index_fits(super, &image->index)))
		rc = fail(KJ_BAD_IMAGE, "%s: damaged (index)", image->path);
	free(data);
	return rc;
}

int image_read_all(struct image *image, bool to_resume)
{
	struct superblock *super = &image->super;
	uint64_t size;
	int rc = image_read_super(image);

	if (!rc)
		rc = image_check_state(image, to_resume);
	if (rc)
		return rc;
	if (!sizes_fit(super) || super->algorithm >= ARRAY_SIZE(algorithm_names))
		return fail(KJ_BAD_IMAGE, "%s: damaged (superblock)", image->path);
	size = file_size(image);
	if (size < super->image_size)
		return fail(KJ_BAD_IMAGE, "%s: damaged (cut off: %llu of %llu bytes are there)",
			    image->path, (unsigned long long)size,
			    (unsigned long long)super->image_size);
	return read_index(image);
}
