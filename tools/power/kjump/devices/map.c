// SPDX-License-Identifier: GPL-2.0
/* Where on hardware the bytes of a device are. See map.h. */
#include "devices/map.h"
#include "devices/device.h"
#include "devices/dm.h"
#include "devices/users.h"

#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define SECTOR		DM_SECTOR
/* No sane setup is deeper. */
#define DEPTH_MAX	16

struct map {
	void (*visit)(void *ctx, const struct identity *piece);
	void *ctx;
	/* For volumes, which are in no RAID. */
	uint64_t *encrypted;		/* bytes that are, or NULL */
	bool below_key;
};

static bool map_down(const struct map *m, dev_t dev, uint64_t offset, uint64_t length, int depth);

/* --- device mapper ------------------------------------------------------ */

/* A linear piece of another device: "8:1 2048", or after a key: "aes - 0 8:1 4096". */
static bool target_below(const struct dm_target_spec *t, const char *params, dev_t *dev,
			 uint64_t *start)
{
	unsigned int major, minor;
	unsigned long long first;
	const char *form = NULL;

	if (!strcmp(t->target_type, "linear"))
		form = "%u:%u %llu";
	else if (!strcmp(t->target_type, "crypt"))
		form = "%*s %*s %*s %u:%u %llu";
	/* It has more below it than what it shows. */
	if (strstr(params, " integrity:"))
		return false;
	if (!form || sscanf(params, form, &major, &minor, &first) != 3)
		return false;
	*dev = makedev(major, minor);
	*start = first * SECTOR;
	return true;
}

/* Whether who has what is below does not have what is in it. */
static bool hides(const struct dm_target_spec *t, const char *params)
{
	return !strcmp(t->target_type, "crypt") && strncmp(params, "cipher_null", 11);
}

static bool map_dm(const struct map *m, dev_t dev, uint64_t offset, uint64_t length, int depth)
{
	struct dm_ioctl *io = dm_table(dev);
	const char *base = io ? (const char *)io + io->data_start : NULL;
	uint64_t at = offset, end = offset + length;
	struct map m_below = *m;
	uint32_t next = 0;
	bool good = io;

	for (uint32_t i = 0; good && at < end && i < io->target_count; i++) {
		const struct dm_target_spec *t = (const struct dm_target_spec *)(base + next);
		uint64_t first = t->sector_start * SECTOR, last = first + t->length * SECTOR;
		uint64_t start, piece;
		dev_t below;

		next = t->next;
		if (at < first || at >= last)
			continue;
		piece = (last < end ? last : end) - at;
		m_below.below_key = m->below_key || hides(t, (const char *)(t + 1));
		good = target_below(t, (const char *)(t + 1), &below, &start) &&
			map_down(&m_below, below, start + (at - first), piece, depth);
		at += piece;
	}
	/* It may have keys. */
	if (io)
		explicit_bzero(io, io->data_size);
	free(io);
	return good && at >= end;
}

/* --- RAID --------------------------------------------------------------- */

static char *sys_file(const char *dir, const char *member, const char *name)
{
	char *path = xasprintf("%s/%s/%s", dir, member, name), *text = read_text(path);

	free(path);
	return text;
}

/* Each copy of a mirror is at one offset of its device. */
static bool map_md(const struct map *m, const char *dir, uint64_t offset, uint64_t length,
		   int depth)
{
	char *level = sys_file(dir, ".", "level");
	bool good = level && !strcmp(level, "raid1");
	unsigned int copies = 0;
	DIR *d = good ? opendir(dir) : NULL;
	struct dirent *e;

	while (good && d && (e = readdir(d))) {
		char *first, *number;
		dev_t member;

		if (strncmp(e->d_name, "rd", 2) || e->d_name[2] < '0' || e->d_name[2] > '9')
			continue;
		first = sys_file(dir, e->d_name, "offset");
		number = xasprintf("%s/%s/block/dev", dir, e->d_name);
		good = first && device_number(number, &member) &&
			map_down(m, member,
				 strtoull(first, NULL, 10) * SECTOR + offset, length, depth);
		copies++;
		free(first);
		free(number);
	}
	if (d)
		closedir(d);
	free(level);
	return good && copies;
}

/* Of what is no hardware: /dev/md0p1. */
static bool map_partition(const struct map *m, const char *sys, uint64_t offset,
			  uint64_t length, int depth)
{
	char *number = xasprintf("%s/../dev", sys), *start = sys_file(sys, ".", "start");
	dev_t disk;
	bool good = start && device_number(number, &disk) &&
		map_down(m, disk, strtoull(start, NULL, 10) * SECTOR + offset, length, depth);

	free(start);
	free(number);
	return good;
}

/* --- all ---------------------------------------------------------------- */

static bool map_down(const struct map *m, dev_t dev, uint64_t offset, uint64_t length, int depth)
{
	char *sys = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	char *md = xasprintf("%s/md", sys);
	char *partition = xasprintf("%s/partition", sys);
	struct identity id = { 0 };
	bool good = false;

	if (depth == DEPTH_MAX) {
		/* It leads nowhere. */
	} else if (dm_is(dev)) {
		good = map_dm(m, dev, offset, length, depth + 1);
	} else if (!access(md, F_OK)) {
		good = !m->encrypted && map_md(m, md, offset, length, depth + 1);
	} else if (!identity_of(dev, &id) && offset <= id.length && length <= id.length - offset) {
		id.start += offset;
		id.length = length;
		m->visit(m->ctx, &id);
		if (m->encrypted && m->below_key)
			*m->encrypted += length;
		good = true;
	} else if (!id.length && !access(partition, F_OK)) {
		good = map_partition(m, sys, offset, length, depth + 1);
	}
	/* Why not is of no interest. */
	if (!good)
		fail_clear();
	identity_free(&id);
	free(partition);
	free(md);
	free(sys);
	return good;
}

/* --- whatever it is ----------------------------------------------------- */

/* What @dev consists of: the parts of a mapped device or RAID, the disk of a partition. */
static void visit_parts(dev_t dev, void (*visit)(void *ctx, dev_t dev), void *ctx)
{
	char *sys = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	char *slaves = xasprintf("%s/slaves", sys);
	char *partition = xasprintf("%s/partition", sys), *disk = xasprintf("%s/../dev", sys);
	dev_t parent;

	device_numbers_in(slaves, visit, ctx);
	if (!access(partition, F_OK) && device_number(disk, &parent))
		visit(ctx, parent);
	free(disk);
	free(partition);
	free(slaves);
	free(sys);
}

/* What a loop device is on, NULL if it is none; to be freed. */
static char *file_behind(dev_t dev)
{
	char *path = xasprintf("/sys/dev/block/%u:%u/loop/backing_file", major(dev), minor(dev));
	char *file = read_text(path);

	free(path);
	return file;
}

static bool below(const struct map *m, dev_t dev, int depth);

struct parts {
	const struct map *m;
	int depth;
	bool found;
};

static void below_part(void *ctx, dev_t dev)
{
	struct parts *p = ctx;

	p->found |= below(p->m, dev, p->depth);
}

static bool below(const struct map *m, dev_t dev, int depth)
{
	struct parts p = { .m = m, .depth = depth + 1 };
	struct identity id;
	struct stat st;
	bool known;
	char *file;

	if (depth == DEPTH_MAX || !dev)
		return false;
	if (!identity_of(dev, &id)) {
		m->visit(m->ctx, &id);
		identity_free(&id);
		return true;
	}
	fail_clear();
	visit_parts(dev, below_part, &p);
	file = file_behind(dev);
	if (file && !stat(file, &st))
		below_part(&p, S_ISBLK(st.st_mode) ? st.st_rdev : file_system_of(file, &known));
	free(file);
	return p.found;
}

static bool in_files(dev_t dev, int depth);

struct leaves {
	int depth;
	unsigned int count;
	bool all;			/* in files, or in memory */
};

static void part_in_files(void *ctx, dev_t dev)
{
	struct leaves *l = ctx;

	l->count++;
	l->all &= in_files(dev, l->depth);
}

static bool in_files(dev_t dev, int depth)
{
	char *file = file_behind(dev), *name = device_name(dev);
	struct leaves l = { .depth = depth + 1, .all = true };
	struct stat st;

	/* The file may have no name any more, or none here. */
	if (file)
		l.count = stat(file, &st) ? strncmp(file, "/dev/", 5) : S_ISREG(st.st_mode);
	else if (name && (!strncmp(name, "ram", 3) || !strncmp(name, "zram", 4)))
		l.count = 1;
	else if (depth < DEPTH_MAX)
		visit_parts(dev, part_in_files, &l);
	free(name);
	free(file);
	return l.count && l.all;
}

bool map_in_files(dev_t dev)
{
	return in_files(dev, 0);
}

bool map_to_hardware(dev_t dev, void (*visit)(void *ctx, const struct identity *piece),
		     void *ctx)
{
	const struct map m = { .visit = visit, .ctx = ctx };

	return below(&m, dev, 0);
}

bool map_to_disks(dev_t dev, uint64_t offset, uint64_t length,
		  void (*visit)(void *ctx, const struct identity *piece), void *ctx)
{
	const struct map m = { .visit = visit, .ctx = ctx };

	return map_down(&m, dev, offset, length, 0);
}

bool map_volume(dev_t dev, uint64_t offset, uint64_t length,
		void (*visit)(void *ctx, const struct identity *piece), void *ctx,
		uint64_t *encrypted)
{
	const struct map m = { .visit = visit, .ctx = ctx, .encrypted = encrypted };

	*encrypted = 0;
	return map_down(&m, dev, offset, length, 0);
}
