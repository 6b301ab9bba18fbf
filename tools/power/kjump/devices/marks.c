// SPDX-License-Identifier: GPL-2.0
/* By what a file system shows that somebody changed it. See marks.h. */
#include "devices/marks.h"

#include <blkid/blkid.h>
#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* The beginning, where most have what they change first. */
#define BEGINNING	(128 * KB)
/* Of a log, about where it goes on; all of it if it is not longer than that. */
#define LOG_BEFORE	MB
/* What is in memory only may be written first: up to 64 MB (XLOG_CIL_BLOCKING_SPACE_LIMIT). */
#define LOG_AFTER	(72 * MB)
/* Of a log on a device of its own. */
#define EXTERNAL_MAX	(512 * MB)

void mark_add(struct marks *m, uint64_t offset, uint64_t length)
{
	uint64_t first = offset / MARK_BLOCK * MARK_BLOCK;
	uint64_t end = align_up(offset + length, MARK_BLOCK);
	struct place *last = m->count ? &m->list[m->count - 1] : NULL;

	if (last && length && first >= last->offset && first <= last->offset + last->length) {
		if (end > last->offset + last->length)
			last->length = end - last->offset;
		return;
	}
	if (!length || m->count == PLACES_MAX)
		return;
	m->list[m->count++] = (struct place){ first, end - first };
}

bool mark_read(int fd, void *buf, size_t length, uint64_t offset)
{
	size_t before = (size_t)(offset % MARK_BLOCK), all = align_up(before + length, MARK_BLOCK);
	uint8_t *blocks = xalloc_pages(all);
	ssize_t n = pread_full(fd, blocks, all, offset - before);

	if (n >= (ssize_t)(before + length))
		memcpy(buf, blocks + before, length);
	free(blocks);
	return n >= (ssize_t)(before + length);
}

uint64_t mark_number(const uint8_t *at, unsigned int bytes, bool big)
{
	uint64_t n = 0;

	for (unsigned int i = 0; i < bytes; i++)
		n |= (uint64_t)at[big ? bytes - 1 - i : i] << 8 * i;
	return n;
}

/* --- XFS ---------------------------------------------------------------- */

/*
 * Mounting it for writing clears the log ahead of where it goes on, and recovery and
 * unmounting write there; the superblock may stay (fs/xfs/xfs_log_recover.c).
 */
static bool xfs_cycle(int fd, uint64_t log, uint64_t block, uint32_t *cycle)
{
	uint8_t head[8];

	if (!mark_read(fd, head, sizeof(head), log + block * MARK_SECTOR))
		return false;
	/* A record begins here: its number comes second. */
	*cycle = (uint32_t)mark_number(head, 4, true);
	if (*cycle == 0xfeedbabe)
		*cycle = (uint32_t)mark_number(head + 4, 4, true);
	return true;
}

/* Blocks are numbered by how often the log was gone through: here it goes down by one. */
static bool xfs_log_head(int fd, uint64_t log, uint64_t blocks, uint64_t *head)
{
	uint32_t first, last, cycle;
	uint64_t low = 0, high = blocks - 1;

	if (!xfs_cycle(fd, log, 0, &first) || !xfs_cycle(fd, log, high, &last))
		return false;
	*head = 0;
	if (first == last)
		return true;
	while (high - low > 1) {
		uint64_t middle = low + (high - low) / 2;

		if (!xfs_cycle(fd, log, middle, &cycle))
			return false;
		if (cycle == first)
			low = middle;
		else
			high = middle;
	}
	*head = high;
	return true;
}

static void add_ring(struct marks *m, uint64_t log, uint64_t length, uint64_t head)
{
	uint64_t from, to;

	if (length <= LOG_BEFORE + LOG_AFTER) {
		mark_add(m, log, length);
		return;
	}
	from = head + length - LOG_BEFORE;
	to = from + LOG_BEFORE + LOG_AFTER;
	from %= length;
	to %= length;
	if (from < to) {
		mark_add(m, log + from, to - from);
	} else {
		mark_add(m, log + from, length - from);
		mark_add(m, log, to);
	}
}

static void xfs(int fd, struct marks *m)
{
	uint8_t super[MARK_SECTOR];
	uint64_t block, start, ag, length, log, head;

	if (!mark_read(fd, super, sizeof(super), 0) || memcmp(super, "XFSB", 4))
		return;
	block = mark_number(super + 4, 4, true);
	start = mark_number(super + 48, 8, true);
	length = mark_number(super + 96, 4, true) * block;
	ag = mark_number(super + 84, 4, true);
	/* Elsewhere; recovery and unmounting write here, too. */
	if (!start)
		mark_add(m, 0, MARK_SECTOR);
	if (!start || super[124] > 63 || length < MARK_SECTOR)
		return;
	log = ((start >> super[124]) * ag + (start & ((1ull << super[124]) - 1))) * block;
	if (!xfs_log_head(fd, log, length / MARK_SECTOR, &head))
		return;
	mark_add(m, 0, MARK_SECTOR);
	add_ring(m, log, length, head * MARK_SECTOR);
}

/* A log by itself may be anywhere on its device. */
static void xfs_log(int fd, struct marks *m)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end > 0 && (uint64_t)end <= EXTERNAL_MAX)
		mark_add(m, 0, (uint64_t)end / MARK_BLOCK * MARK_BLOCK);
}

/* --- F2FS --------------------------------------------------------------- */

/* Two checkpoints, written in turn: each begins a segment. */
static void f2fs(int fd, struct marks *m)
{
	uint8_t super[MARK_SECTOR];
	uint64_t checkpoint, block, segment;

	if (!mark_read(fd, super, sizeof(super), 1024) ||
	    mark_number(super, 4, false) != 0xf2f52010)
		return;
	if (mark_number(super + 16, 4, false) > 16 || mark_number(super + 20, 4, false) > 16)
		return;
	block = 1ull << mark_number(super + 16, 4, false);
	segment = block << mark_number(super + 20, 4, false);
	checkpoint = mark_number(super + 76, 4, false) * block;
	mark_add(m, 0, 2 * block);
	mark_add(m, checkpoint, 2 * block);
	mark_add(m, checkpoint + segment, 2 * block);
}

/* --- partition tables ---------------------------------------------------- */

/* A block before each logical partition, from where the extended one begins. */
void marks_logical(int fd, uint64_t sector_size, struct marks *m)
{
	uint64_t extended = 0, at = 0, next;
	uint8_t block[MARK_SECTOR];

	for (unsigned int i = 0; i < PLACES_MAX; i++) {
		if (!mark_read(fd, block, sizeof(block), at) || block[510] != 0x55 ||
		    block[511] != 0xaa)
			return;
		if (at)
			mark_add(m, at, MARK_SECTOR);
		next = 0;
		for (const uint8_t *e = block + 446; e < block + 510; e += 16)
			if (e[4] == 0x05 || e[4] == 0x0f || e[4] == 0x85)
				next = extended + mark_number(e + 8, 4, false) * sector_size;
		if (!next)
			return;
		if (!extended)
			extended = next;
		at = next;
	}
}

/* --- all ---------------------------------------------------------------- */

static void beginning(int fd, struct marks *m)
{
	(void)fd;
	mark_add(m, 0, BEGINNING);
}

/* The superblock, which each transaction writes, and its first copy. */
static void btrfs(int fd, struct marks *m)
{
	(void)fd;
	mark_add(m, 64 * KB, 4 * KB);
}

#define ESP	"EFI system partition"

static bool is_esp(const char *path)
{
	blkid_probe probe = blkid_new_probe_from_filename(path);
	const char *type;
	bool is = false;

	if (!probe)
		return false;
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_ENTRY_DETAILS);
	blkid_do_safeprobe(probe);
	if (!blkid_probe_lookup_value(probe, "PART_ENTRY_TYPE", &type, NULL))
		is = !strcasecmp(type, "c12a7328-f81f-11d2-ba4b-00a0c93ec93b") ||
			!strcmp(type, "0xef");
	blkid_free_probe(probe);
	return is;
}

static const struct {
	const char *type;
	void (*find)(int fd, struct marks *m);
} kinds[] = {
	{ "ext2", beginning }, { "ext3", beginning }, { "ext4", beginning },
	{ "jbd", beginning }, { "xfs", xfs }, { "xfs_external_log", xfs_log },
	{ "btrfs", btrfs }, { "f2fs", f2fs }, { "vfat", marks_fat },
	{ ESP, marks_esp },
	{ "exfat", marks_exfat }, { "ntfs", marks_ntfs },
};

void marks_find(const char *path, const char *type, struct marks *m)
{
	/* What is cached of a mounted one is never read again. */
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	memset(m, 0, sizeof(*m));
	if (!strcmp(type, "vfat") && is_esp(path))
		type = ESP;
	for (unsigned int i = 0; fd >= 0 && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(type, kinds[i].type))
			kinds[i].find(fd, m);
	if (fd >= 0)
		close(fd);
}
