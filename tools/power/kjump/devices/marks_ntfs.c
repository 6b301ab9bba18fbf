// SPDX-License-Identifier: GPL-2.0
/* By what NTFS shows that somebody changed it. See marks.h. */
#include "devices/marks.h"

#include <string.h>

#define RECORD_MAX	4096u

/* The last bytes of each sector are elsewhere in the record. */
static bool ntfs_record(int fd, uint64_t at, uint64_t size, uint8_t *record)
{
	uint64_t from, count;

	if (!mark_read(fd, record, size, at) || memcmp(record, "FILE", 4))
		return false;
	from = mark_number(record + 4, 2, false);
	count = mark_number(record + 6, 2, false);
	if (from + 2 * count > size || (count && (count - 1) * MARK_SECTOR > size))
		return false;
	for (uint64_t i = 1; i < count; i++)
		memcpy(record + i * MARK_SECTOR - 2, record + from + 2 * i, 2);
	return true;
}

/* Where the clusters of an attribute are; @most: bytes that are looked at. */
static void ntfs_runs(const uint8_t *record, uint64_t size, uint32_t type, uint64_t cluster,
		      uint64_t most, struct marks *m)
{
	uint64_t at = mark_number(record + 20, 2, false), length = 0, run, end, where = 0;

	for (; at + 64 <= size && mark_number(record + at, 4, false) != 0xffffffff; at += length) {
		length = mark_number(record + at + 4, 4, false);
		if (length < 24 || length > size - at)
			return;
		if (mark_number(record + at, 4, false) == type && record[at + 8])
			break;
	}
	if (at + 64 > size || mark_number(record + at, 4, false) != type)
		return;
	end = at + length;
	run = at + mark_number(record + at + 32, 2, false);
	while (run < end && record[run] && most) {
		unsigned int bytes = record[run] & 15, more = record[run] >> 4;
		uint64_t n;

		if (!bytes || bytes > 7 || more > 7 || run + 1 + bytes + more > end)
			return;
		n = mark_number(record + run + 1, bytes, false);
		n = n < most / cluster ? n * cluster : most;
		/* From the one before, forth or back; none for what is nowhere. */
		if (more) {
			uint64_t step = mark_number(record + run + 1 + bytes, more, false);

			if (record[run + bytes + more] & 0x80)
				step |= ~0ull << 8 * more;
			where += step;
			mark_add(m, where * cluster, n);
		}
		most -= n;
		run += 1 + bytes + more;
	}
}

/*
 * Records of files, which of them are used, and which clusters are; and the beginning of
 * the log, which each mount of some drivers restarts.
 */
void marks_ntfs(int fd, struct marks *m)
{
	static const struct {
		unsigned int record;
		uint32_t type;
		uint64_t most;
	} what[] = {
		{ 2, 0x80, 64 * KB }, { 6, 0x80, MARK_TABLE_MAX },
		{ 0, 0xb0, MARK_TABLE_MAX }, { 0, 0x80, MARK_TABLE_MAX },
	};
	uint8_t boot[MARK_SECTOR], record[RECORD_MAX];
	uint64_t cluster, mft, size;
	int8_t clusters;

	if (!mark_read(fd, boot, sizeof(boot), 0))
		return;
	cluster = mark_number(boot + 11, 2, false) * boot[13];
	mft = mark_number(boot + 48, 8, false) * cluster;
	clusters = (int8_t)boot[64];
	size = clusters > 0 ? (uint64_t)clusters * cluster : clusters > -32 ? 1ull << -clusters : 0;
	if (!cluster || size < MARK_SECTOR || size > sizeof(record))
		return;
	for (unsigned int i = 0; i < ARRAY_SIZE(what); i++) {
		if (!ntfs_record(fd, mft + what[i].record * size, size, record))
			break;
		if (!m->count)
			mark_add(m, 0, MARK_SECTOR);
		ntfs_runs(record, size, what[i].type, cluster, what[i].most, m);
	}
}
