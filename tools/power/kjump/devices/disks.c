// SPDX-License-Identifier: GPL-2.0
/*
 * Whether the disks are still as an image's system left them.
 *
 * A file system that was mounted by somebody else in the meantime, or repaired,
 * shows that where it begins. The image has a hash of that for each disk and
 * partition its system uses directly, made when that system stood still. Names do
 * not matter: they may differ from kernel to kernel.
 */
#include "devices/device.h"
#include "image/image.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define BEGINNING	(128 * 1024u)

static bool hash_of(const char *path, uint64_t *hash)
{
	/* What this kernel has cached of it may be old. */
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	void *data;
	ssize_t n;

	if (fd < 0)
		return false;
	data = xalloc_pages(BEGINNING);
	n = pread_full(fd, data, BEGINNING, 0);
	if (n > 0)
		*hash = XXH64(data, (size_t)n, (uint64_t)n);
	free(data);
	close(fd);
	return n > 0;
}

void disks_note(struct image *image)
{
	struct index *index = &image->index;
	const char *devices = image->disks;
	dev_t dev;
	struct stat own = { 0 };

	fstat(image->fd, &own);
	while (device_list_next(&devices, &dev)) {
		char *path = device_path(dev);
		uint64_t hash;

		/*
		 * A device that only the other kernel has cannot be looked at, and one
		 * that has another number here may be any.
		 */
		if (path && dev != own.st_rdev && hash_of(path, &hash)) {
			index->disks = xrealloc(index->disks, (index->nr_disks + 1) * sizeof(hash));
			index->disks[index->nr_disks++] = hash;
		}
		free(path);
	}
}

struct search {
	const struct index *index;
	bool *found;
	unsigned int missing;
};

static int look_at(void *ctx, const char *path)
{
	struct search *s = ctx;
	uint64_t hash;
	uint32_t i;

	if (!hash_of(path, &hash))
		return 0;
	for (i = 0; i < s->index->nr_disks; i++) {
		if (s->found[i] || s->index->disks[i] != hash)
			continue;
		s->found[i] = true;
		s->missing--;
	}
	return !s->missing;
}

int disks_unchanged(const struct image *image, double wait)
{
	uint32_t nr = image->index.nr_disks;
	struct search s = { .index = &image->index, .missing = nr, .found = xalloc(nr) };
	double until = now_seconds() + wait;

	/* Some appear late. */
	while (s.missing && !device_for_each(look_at, &s) && now_seconds() < until)
		usleep(100 * 1000);
	free(s.found);
	if (!s.missing)
		return KJ_OK;
	return fail(KJ_BAD_IMAGE,
		    "%s: %u of %u disks or partitions that its system has in use are missing, or no longer as it left them: mounted or repaired since; its files would be damaged (--ignore-disks resumes all the same)",
		    image->path, s.missing, nr);
}
