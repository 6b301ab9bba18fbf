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
	uint64_t first = offset / BLOCK * BLOCK, end = align_up(offset + length, BLOCK);
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

/* --- FAT, exFAT --------------------------------------------------------- */

/* Clusters, chained by a table; and their directories, of entries of 32 bytes. */
struct clusters {
	int fd;
	uint64_t table, heap;		/* where they begin; the heap with cluster 2 */
	uint64_t bytes, count;		/* of a cluster; clusters */
	unsigned int bits;		/* of the table's entries */
};

struct directory {
	uint32_t first;
	uint64_t length;		/* clusters in a row, 0 if they are chained */
};

struct directories {
	struct directory list[PLACES_MAX];
	unsigned int count;
	bool in_set;			/* the next entry tells where a directory is (exFAT) */
};

/* No more is read of a directory: this many clusters, and so much of each. */
#define CHAIN_MAX	64u
#define CLUSTER_MAX	(256 * KB)

static void add_directory(struct directories *d, uint64_t first, uint64_t length)
{
	if (d->count < PLACES_MAX)
		d->list[d->count++] = (struct directory){ (uint32_t)first, length };
}

/* False at the end. */
static bool fat_entry(const struct clusters *c, const uint8_t *entry, struct directories *d)
{
	(void)c;
	/* Not what was deleted, parts of long names and the volume's name, itself and its parent. */
	if (entry[0] != 0xe5 && entry[0] != '.' && (entry[11] & 0x18) == 0x10)
		add_directory(d, number(entry + 20, 2, false) << 16 | number(entry + 26, 2, false), 0);
	return entry[0];
}

/* exFAT specification 7.4, 7.6: a file's entry, and one that says where it is. */
static bool exfat_entry(const struct clusters *c, const uint8_t *entry, struct directories *d)
{
	uint64_t length = number(entry + 24, 8, false);

	if (d->in_set && entry[0] == 0xc0)
		add_directory(d, number(entry + 20, 4, false),
			      entry[1] & 2 ? (length + c->bytes - 1) / c->bytes : 0);
	d->in_set = entry[0] == 0x85 && entry[4] & 0x10;
	return entry[0];
}

typedef bool entry_fn(const struct clusters *c, const uint8_t *entry, struct directories *d);

static bool entries(const struct clusters *c, uint64_t at, uint64_t length, entry_fn *entry,
		    struct directories *d)
{
	uint8_t *data = xalloc_pages(align_up(length, BLOCK));
	bool more = read_at(c->fd, data, length, at);

	for (uint64_t i = 0; more && i + 32 <= length; i += 32)
		more = entry(c, data + i, d);
	free(data);
	return more;
}

/* The cluster after @n, 0 if it is the last one. */
static uint32_t chained(const struct clusters *c, uint32_t n)
{
	uint8_t entry[4] = { 0 };
	uint64_t next;

	if (!read_at(c->fd, entry, c->bits == 32 ? 4 : 2, c->table + (uint64_t)n * c->bits / 8))
		return 0;
	next = number(entry, sizeof(entry), false);
	if (c->bits == 12)
		next = n % 2 ? next >> 4 : next & 0xfff;
	next &= 0xfffffff;
	return next >= 2 && next < c->count + 2 ? (uint32_t)next : 0;
}

/* All directories: to move or rename a file may change nothing else. */
static void add_directories(const struct clusters *c, entry_fn *entry, struct directories *d,
			    struct marks *m)
{
	uint64_t look = c->bytes < CLUSTER_MAX ? c->bytes : CLUSTER_MAX;

	for (unsigned int i = 0; i < d->count; i++) {
		uint32_t n = d->list[i].first;
		uint64_t left = d->list[i].length;

		d->in_set = false;
		for (unsigned int j = 0; j < CHAIN_MAX && n >= 2 && n < c->count + 2; j++) {
			uint64_t at = c->heap + (n - 2) * c->bytes;

			add(m, at, look);
			if (!entries(c, at, look, entry, d))
				break;
			if (!left)
				n = chained(c, n);
			else
				n = --left ? n + 1 : 0;
		}
	}
}

/* Boot sector, with the mark that it is mounted; both tables, and the directories. */
static void fat(int fd, struct marks *m)
{
	uint8_t boot[SECTOR];
	uint64_t sector, reserved, tables, length, root, all;
	struct clusters c = { .fd = fd };
	struct directories d = { .count = 0 };

	if (!read_at(fd, boot, sizeof(boot), 0))
		return;
	sector = number(boot + 11, 2, false);
	c.bytes = boot[13] * sector;
	reserved = number(boot + 14, 2, false) * sector;
	tables = boot[16];
	length = number(boot + 22, 2, false) * sector;
	root = number(boot + 17, 2, false) * 32;
	all = number(boot + 19, 2, false) * sector;
	if (!all)
		all = number(boot + 32, 4, false) * sector;
	if (!length) {
		length = number(boot + 36, 4, false) * sector;
		c.bits = 32;
		root = 0;
		add_directory(&d, number(boot + 44, 4, false), 0);
	}
	c.table = reserved;
	c.heap = reserved + tables * length + root;
	if (!c.bytes || !length || c.heap > TABLE_MAX || all < c.heap)
		return;
	c.count = (all - c.heap) / c.bytes;
	if (!c.bits)
		c.bits = c.count < 4085 ? 12 : 16;
	add(m, 0, c.heap);
	if (root)
		entries(&c, c.heap - root, root, fat_entry, &d);
	add_directories(&c, fat_entry, &d, m);
}

/*
 * Boot sectors, table, directories, and the bitmap of what is allocated, which the root
 * directory names (exFAT specification 7.1): a file need not be in the table.
 */
static void exfat(int fd, struct marks *m)
{
	uint8_t boot[SECTOR], root[BLOCK];
	uint64_t shift, at, length;
	struct clusters c = { .fd = fd, .bits = 32 };
	struct directories d = { .count = 0 };

	if (!read_at(fd, boot, sizeof(boot), 0) || boot[108] > 12 || boot[109] > 25)
		return;
	shift = boot[108];
	c.table = number(boot + 80, 4, false) << shift;
	c.heap = number(boot + 88, 4, false) << shift;
	c.bytes = 1ull << (shift + boot[109]);
	c.count = number(boot + 92, 4, false);
	add_directory(&d, number(boot + 96, 4, false), 0);
	at = c.heap + (number(boot + 96, 4, false) - 2) * c.bytes;
	if (!read_at(fd, root, sizeof(root), at))
		return;
	for (unsigned int i = 0; i < sizeof(root) && root[i]; i += 32) {
		if (root[i] != 0x81)
			continue;
		length = number(root + i + 24, 8, false);
		add(m, c.heap + (number(root + i + 20, 4, false) - 2) * c.bytes,
		    length < TABLE_MAX ? length : TABLE_MAX);
	}
	if (!m->count)
		return;
	add(m, 0, 24ull << shift);
	length = number(boot + 84, 4, false) << shift;
	add(m, c.table, length < TABLE_MAX ? length : TABLE_MAX);
	add_directories(&c, exfat_entry, &d, m);
}

/* --- NTFS --------------------------------------------------------------- */

#define RECORD_MAX	4096u

/* The last bytes of each sector are elsewhere in the record. */
static bool ntfs_record(int fd, uint64_t at, uint64_t size, uint8_t *record)
{
	uint64_t from, count;

	if (!read_at(fd, record, size, at) || memcmp(record, "FILE", 4))
		return false;
	from = number(record + 4, 2, false);
	count = number(record + 6, 2, false);
	if (from + 2 * count > size || (count && (count - 1) * SECTOR > size))
		return false;
	for (uint64_t i = 1; i < count; i++)
		memcpy(record + i * SECTOR - 2, record + from + 2 * i, 2);
	return true;
}

/* Where the clusters of an attribute are; @most: bytes that are looked at. */
static void ntfs_runs(const uint8_t *record, uint64_t size, uint32_t type, uint64_t cluster,
		      uint64_t most, struct marks *m)
{
	uint64_t at = number(record + 20, 2, false), length = 0, run, end, where = 0;

	for (; at + 64 <= size && number(record + at, 4, false) != 0xffffffff; at += length) {
		length = number(record + at + 4, 4, false);
		if (length < 24 || length > size - at)
			return;
		if (number(record + at, 4, false) == type && record[at + 8])
			break;
	}
	if (at + 64 > size || number(record + at, 4, false) != type)
		return;
	end = at + length;
	run = at + number(record + at + 32, 2, false);
	while (run < end && record[run] && most) {
		unsigned int bytes = record[run] & 15, more = record[run] >> 4;
		uint64_t n;

		if (!bytes || bytes > 7 || more > 7 || run + 1 + bytes + more > end)
			return;
		n = number(record + run + 1, bytes, false);
		n = n < most / cluster ? n * cluster : most;
		/* From the one before, forth or back; none for what is nowhere. */
		if (more) {
			uint64_t step = number(record + run + 1 + bytes, more, false);

			if (record[run + bytes + more] & 0x80)
				step |= ~0ull << 8 * more;
			where += step;
			add(m, where * cluster, n);
		}
		most -= n;
		run += 1 + bytes + more;
	}
}

/*
 * Records of files, which of them are used, and which clusters are; and the beginning of
 * the log, which each mount of some drivers restarts.
 */
static void ntfs(int fd, struct marks *m)
{
	static const struct {
		unsigned int record;
		uint32_t type;
		uint64_t most;
	} what[] = {
		{ 2, 0x80, 64 * KB }, { 6, 0x80, TABLE_MAX }, { 0, 0xb0, TABLE_MAX }, { 0, 0x80, TABLE_MAX },
	};
	uint8_t boot[SECTOR], record[RECORD_MAX];
	uint64_t cluster, mft, size;
	int8_t clusters;

	if (!read_at(fd, boot, sizeof(boot), 0))
		return;
	cluster = number(boot + 11, 2, false) * boot[13];
	mft = number(boot + 48, 8, false) * cluster;
	clusters = (int8_t)boot[64];
	size = clusters > 0 ? (uint64_t)clusters * cluster : clusters > -32 ? 1ull << -clusters : 0;
	if (!cluster || size < SECTOR || size > sizeof(record))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(what); i++) {
		if (!ntfs_record(fd, mft + what[i].record * size, size, record))
			break;
		if (!m->count)
			add(m, 0, SECTOR);
		ntfs_runs(record, size, what[i].type, cluster, what[i].most, m);
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
