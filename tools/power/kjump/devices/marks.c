// SPDX-License-Identifier: GPL-2.0
/* By what a file system shows that somebody changed it. See marks.h. */
#include "devices/marks.h"

#include <endian.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define SECTOR		512u
/* What a disk of large sectors can be asked for. */
#define BLOCK		4096u
/* The beginning, where most have what they change first. */
#define BEGINNING	(128 * KB)
/* Of a log, about where it goes on; all of it if it is not longer than that. */
#define LOG_BEFORE	MB
/* What is in memory only may be written first: up to 64 MB (XLOG_CIL_BLOCKING_SPACE_LIMIT). */
#define LOG_AFTER	(72 * MB)
/* Of a log on a device of its own. */
#define EXTERNAL_MAX	(512 * MB)
/* Of tables of the smaller file systems. */
#define TABLE_MAX	(32 * MB)

static void add(struct marks *m, uint64_t offset, uint64_t length)
{
	if (!length || m->count == PLACES_MAX)
		return;
	m->list[m->count].offset = offset / BLOCK * BLOCK;
	m->list[m->count++].length = align_up(offset % BLOCK + length, BLOCK);
}

static bool read_at(int fd, void *buf, size_t length, uint64_t offset)
{
	size_t before = (size_t)(offset % BLOCK), all = align_up(before + length, BLOCK);
	uint8_t *blocks = xalloc_pages(all);
	ssize_t n = pread_full(fd, blocks, all, offset - before);

	if (n >= (ssize_t)(before + length))
		memcpy(buf, blocks + before, length);
	free(blocks);
	return n >= (ssize_t)(before + length);
}

static uint64_t number(const uint8_t *at, unsigned int bytes, bool big)
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

	if (!read_at(fd, head, sizeof(head), log + block * SECTOR))
		return false;
	/* A record begins here: its number comes second. */
	*cycle = (uint32_t)number(head, 4, true);
	if (*cycle == 0xfeedbabe)
		*cycle = (uint32_t)number(head + 4, 4, true);
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
		add(m, log, length);
		return;
	}
	from = head + length - LOG_BEFORE;
	to = from + LOG_BEFORE + LOG_AFTER;
	from %= length;
	to %= length;
	if (from < to) {
		add(m, log + from, to - from);
	} else {
		add(m, log + from, length - from);
		add(m, log, to);
	}
}

static void xfs(int fd, struct marks *m)
{
	uint8_t super[SECTOR];
	uint64_t block, start, ag, length, log, head;

	if (!read_at(fd, super, sizeof(super), 0) || memcmp(super, "XFSB", 4))
		return;
	block = number(super + 4, 4, true);
	start = number(super + 48, 8, true);
	length = number(super + 96, 4, true) * block;
	ag = number(super + 84, 4, true);
	/* Elsewhere; recovery and unmounting write here, too. */
	if (!start)
		add(m, 0, SECTOR);
	if (!start || super[124] > 63 || length < SECTOR)
		return;
	log = ((start >> super[124]) * ag + (start & ((1ull << super[124]) - 1))) * block;
	if (!xfs_log_head(fd, log, length / SECTOR, &head))
		return;
	add(m, 0, SECTOR);
	add_ring(m, log, length, head * SECTOR);
}

/* A log by itself may be anywhere on its device. */
static void xfs_log(int fd, struct marks *m)
{
	off_t end = lseek(fd, 0, SEEK_END);

	if (end > 0 && (uint64_t)end <= EXTERNAL_MAX)
		add(m, 0, (uint64_t)end / BLOCK * BLOCK);
}

/* --- F2FS --------------------------------------------------------------- */

/* Two checkpoints, written in turn: each begins a segment. */
static void f2fs(int fd, struct marks *m)
{
	uint8_t super[SECTOR];
	uint64_t checkpoint, block, segment;

	if (!read_at(fd, super, sizeof(super), 1024) || number(super, 4, false) != 0xf2f52010)
		return;
	if (number(super + 16, 4, false) > 16 || number(super + 20, 4, false) > 16)
		return;
	block = 1ull << number(super + 16, 4, false);
	segment = block << number(super + 20, 4, false);
	checkpoint = number(super + 76, 4, false) * block;
	add(m, 0, 2 * block);
	add(m, checkpoint, 2 * block);
	add(m, checkpoint + segment, 2 * block);
}

/* --- FAT, exFAT, NTFS --------------------------------------------------- */

/* Boot sector, with the mark that it is mounted; both tables, and the root directory after them. */
static void fat(int fd, struct marks *m)
{
	uint8_t boot[SECTOR];
	uint64_t sector, reserved, tables, length, root, cluster;

	if (!read_at(fd, boot, sizeof(boot), 0))
		return;
	sector = number(boot + 11, 2, false);
	cluster = boot[13] * sector;
	reserved = number(boot + 14, 2, false) * sector;
	tables = boot[16];
	length = number(boot + 22, 2, false) * sector;
	root = number(boot + 17, 2, false) * 32;
	if (!length) {
		length = number(boot + 36, 4, false) * sector;
		root = cluster;
	}
	if (!sector || !length || reserved + tables * length + root > TABLE_MAX)
		return;
	add(m, 0, reserved + tables * length + root);
}

/*
 * Boot sectors, table, root directory, and the bitmap of what is allocated, which the root
 * directory names (exFAT specification 7.1): a file need not be in the table.
 */
static void exfat(int fd, struct marks *m)
{
	uint8_t boot[SECTOR], root[BLOCK];
	uint64_t shift, heap, cluster, at, length;

	if (!read_at(fd, boot, sizeof(boot), 0) || boot[108] > 12 || boot[109] > 25)
		return;
	shift = boot[108];
	heap = number(boot + 88, 4, false) << shift;
	cluster = 1ull << (shift + boot[109]);
	at = heap + (number(boot + 96, 4, false) - 2) * cluster;
	if (!read_at(fd, root, sizeof(root), at))
		return;
	for (unsigned int i = 0; i < sizeof(root) && root[i]; i += 32) {
		if (root[i] != 0x81)
			continue;
		length = number(root + i + 24, 8, false);
		add(m, heap + (number(root + i + 20, 4, false) - 2) * cluster,
		    length < TABLE_MAX ? length : TABLE_MAX);
	}
	if (!m->count)
		return;
	add(m, 0, 24ull << shift);
	length = number(boot + 84, 4, false) << shift;
	add(m, number(boot + 80, 4, false) << shift, length < TABLE_MAX ? length : TABLE_MAX);
	add(m, at, cluster < TABLE_MAX ? cluster : TABLE_MAX);
}

/* The first records of the MFT, and the beginning of the log, which each mount restarts. */
static void ntfs(int fd, struct marks *m)
{
	uint8_t boot[SECTOR], record[4096];
	uint64_t cluster, mft, size, at;
	int8_t clusters;

	if (!read_at(fd, boot, sizeof(boot), 0))
		return;
	cluster = number(boot + 11, 2, false) * boot[13];
	mft = number(boot + 48, 8, false) * cluster;
	clusters = (int8_t)boot[64];
	size = clusters > 0 ? (uint64_t)clusters * cluster : 1ull << -clusters;
	if (!cluster || size < SECTOR || size > sizeof(record) ||
	    !read_at(fd, record, size, mft + 2 * size) || memcmp(record, "FILE", 4))
		return;
	add(m, 0, SECTOR);
	add(m, mft, 16 * size);
	/* Its attribute of data (0x80), where that has runs. */
	at = number(record + 20, 2, false);
	while (at + 64 <= size && number(record + at, 4, false) != 0xffffffff) {
		uint64_t length = number(record + at + 4, 4, false), run;

		if (number(record + at, 4, false) == 0x80 && record[at + 8]) {
			run = at + number(record + at + 32, 2, false);
			if (run + 16 <= size && (record[run] >> 4) && (record[run] >> 4) <= 7 &&
			    (record[run] & 15) && (record[run] & 15) <= 7)
				add(m, number(record + run + 1 + (record[run] & 15),
					      record[run] >> 4, false) * cluster, 64 * KB);
			break;
		}
		if (!length)
			break;
		at += length;
	}
}

/* --- all ---------------------------------------------------------------- */

static void beginning(int fd, struct marks *m)
{
	(void)fd;
	add(m, 0, BEGINNING);
}

/* The superblock, which each transaction writes, and its first copy. */
static void btrfs(int fd, struct marks *m)
{
	(void)fd;
	add(m, 64 * KB, 4 * KB);
}

static const struct {
	const char *type;
	void (*find)(int fd, struct marks *m);
} kinds[] = {
	{ "ext2", beginning }, { "ext3", beginning }, { "ext4", beginning },
	{ "jbd", beginning }, { "xfs", xfs }, { "xfs_external_log", xfs_log },
	{ "btrfs", btrfs }, { "f2fs", f2fs }, { "vfat", fat }, { "exfat", exfat }, { "ntfs", ntfs },
};

void marks_find(const char *path, const char *type, struct marks *m)
{
	/* What is cached of a mounted one is never read again. */
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);

	memset(m, 0, sizeof(*m));
	for (unsigned int i = 0; fd >= 0 && i < ARRAY_SIZE(kinds); i++)
		if (!strcmp(type, kinds[i].type))
			kinds[i].find(fd, m);
	if (fd >= 0)
		close(fd);
}
