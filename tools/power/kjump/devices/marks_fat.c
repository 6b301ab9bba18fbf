// SPDX-License-Identifier: GPL-2.0
/* By what FAT and exFAT show that somebody changed them. See marks.h. */
#include "devices/marks.h"

#include <stdlib.h>

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

static uint64_t at_most(uint64_t length, uint64_t limit)
{
	return length < limit ? length : limit;
}

static void add_directory(struct directories *d, uint64_t first, uint64_t length)
{
	if (d->count < PLACES_MAX)
		d->list[d->count++] = (struct directory){ (uint32_t)first, length };
}

/* False at the end. */
static bool fat_entry(const struct clusters *c, const uint8_t *entry, struct directories *d)
{
	uint64_t first = mark_number(entry + 26, 2, false);

	if (c->bits == 32)
		first |= mark_number(entry + 20, 2, false) << 16;
	/* Not what was deleted, a name's further parts, the volume's, itself and its parent. */
	if (entry[0] != 0xe5 && entry[0] != '.' && (entry[11] & 0x18) == 0x10)
		add_directory(d, first, 0);
	return entry[0];
}

/* exFAT specification 7.4, 7.6: a file's entry, and one that says where it is. */
static bool exfat_entry(const struct clusters *c, const uint8_t *entry, struct directories *d)
{
	uint64_t length = mark_number(entry + 24, 8, false);

	if (d->in_set && entry[0] == 0xc0)
		add_directory(d, mark_number(entry + 20, 4, false),
			      entry[1] & 2 ? (length + c->bytes - 1) / c->bytes : 0);
	d->in_set = entry[0] == 0x85 && entry[4] & 0x10;
	return entry[0];
}

typedef bool entry_fn(const struct clusters *c, const uint8_t *entry, struct directories *d);

static bool entries(const struct clusters *c, uint64_t at, uint64_t length, entry_fn *entry,
		    struct directories *d)
{
	uint8_t *data = xalloc_pages(align_up(length, MARK_BLOCK));
	bool more = mark_read(c->fd, data, length, at);

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

	if (!mark_read(c->fd, entry, c->bits == 32 ? 4 : 2, c->table + (uint64_t)n * c->bits / 8))
		return 0;
	next = mark_number(entry, sizeof(entry), false);
	if (c->bits == 12)
		next = n % 2 ? next >> 4 : next & 0xfff;
	next &= 0xfffffff;
	return next >= 2 && next < c->count + 2 ? (uint32_t)next : 0;
}

/* All directories: to move or rename a file may change nothing else. */
static void add_directories(const struct clusters *c, entry_fn *entry, struct directories *d,
			    struct marks *m)
{
	uint64_t look = at_most(c->bytes, CLUSTER_MAX);

	for (unsigned int i = 0; i < d->count; i++) {
		uint32_t n = d->list[i].first;
		uint64_t left = d->list[i].length;

		d->in_set = false;
		for (unsigned int j = 0; j < CHAIN_MAX && n >= 2 && n < c->count + 2; j++) {
			uint64_t at = c->heap + (n - 2) * c->bytes;

			mark_add(m, at, look);
			if (!entries(c, at, look, entry, d))
				break;
			if (!left)
				n = chained(c, n);
			else
				n = --left ? n + 1 : 0;
		}
	}
}

/* Boot sector, with the mark that it is mounted; both tables; and the directories, or not. */
static void fat(int fd, struct marks *m, bool look_into_directories)
{
	uint8_t boot[MARK_SECTOR];
	uint64_t sector, reserved, tables, length, root, all;
	struct clusters c = { .fd = fd };
	struct directories d = { .count = 0 };

	if (!mark_read(fd, boot, sizeof(boot), 0))
		return;
	sector = mark_number(boot + 11, 2, false);
	c.bytes = boot[13] * sector;
	reserved = mark_number(boot + 14, 2, false) * sector;
	tables = boot[16];
	length = mark_number(boot + 22, 2, false) * sector;
	root = mark_number(boot + 17, 2, false) * 32;
	all = mark_number(boot + 19, 2, false) * sector;
	if (!all)
		all = mark_number(boot + 32, 4, false) * sector;
	if (!length) {
		length = mark_number(boot + 36, 4, false) * sector;
		c.bits = 32;
		root = 0;
		add_directory(&d, mark_number(boot + 44, 4, false), 0);
	}
	c.table = reserved;
	c.heap = reserved + tables * length + root;
	if (!c.bytes || !length || all < c.heap)
		return;
	c.count = (all - c.heap) / c.bytes;
	if (!c.bits)
		c.bits = c.count < 4085 ? 12 : 16;
	tables = at_most(c.heap - root, MARK_TABLE_MAX);
	if (!look_into_directories) {
		/* Not the block in which they begin. */
		mark_add(m, 0, tables / MARK_BLOCK * MARK_BLOCK);
		return;
	}
	mark_add(m, 0, tables);
	if (root) {
		mark_add(m, c.heap - root, root);
		entries(&c, c.heap - root, root, fat_entry, &d);
	}
	add_directories(&c, fat_entry, &d, m);
}

void marks_fat(int fd, struct marks *m)
{
	fat(fd, m, true);
}

/* Firmware and boot loaders write to its files at each boot. */
void marks_esp(int fd, struct marks *m)
{
	fat(fd, m, false);
}

/*
 * Boot sectors, table, directories, and the bitmap of what is allocated, which the root
 * directory names (exFAT specification 7.1): a file need not be in the table.
 */
void marks_exfat(int fd, struct marks *m)
{
	uint8_t boot[MARK_SECTOR], root[MARK_BLOCK];
	uint64_t shift, at, length;
	struct clusters c = { .fd = fd, .bits = 32 };
	struct directories d = { .count = 0 };

	if (!mark_read(fd, boot, sizeof(boot), 0) || boot[108] > 12 || boot[109] > 25)
		return;
	shift = boot[108];
	c.table = mark_number(boot + 80, 4, false) << shift;
	c.heap = mark_number(boot + 88, 4, false) << shift;
	c.bytes = 1ull << (shift + boot[109]);
	c.count = mark_number(boot + 92, 4, false);
	add_directory(&d, mark_number(boot + 96, 4, false), 0);
	at = c.heap + (mark_number(boot + 96, 4, false) - 2) * c.bytes;
	if (!mark_read(fd, root, sizeof(root), at))
		return;
	for (unsigned int i = 0; i < sizeof(root) && root[i]; i += 32) {
		if (root[i] != 0x81)
			continue;
		length = mark_number(root + i + 24, 8, false);
		mark_add(m, c.heap + (mark_number(root + i + 20, 4, false) - 2) * c.bytes,
			 at_most(length, MARK_TABLE_MAX));
	}
	if (!m->count)
		return;
	mark_add(m, 0, 24ull << shift);
	length = mark_number(boot + 84, 4, false) << shift;
	mark_add(m, c.table, at_most(length, MARK_TABLE_MAX));
	add_directories(&c, exfat_entry, &d, m);
}
