// SPDX-License-Identifier: GPL-2.0
/* From an image to the system that was saved in it. */
#include "common/firmware.h"
#include "common/machine.h"
#include "image/image.h"
#include "peer/kexec.h"
#include "resume/resume.h"

#include <dirent.h>
#include <errno.h>
#include <linux/elf-em.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* --- is it for this machine --------------------------------------------- */

static int another_machine(const struct image *image, const char *why)
{
	return fail(KJ_BAD_IMAGE, "%s: from another machine: %s", image->path, why);
}

static bool is_within(const struct mem_range *r, const struct mem_range *has, int n)
{
	for (int i = 0; i < n; i++)
		if (r->start >= has[i].start && r->end <= has[i].end)
			return true;
	return false;
}

/*
 * All the memory that system has must be memory here: it goes on to use what is free in
 * it, too. That there is more does no harm if the firmware is known to be where it was.
 */
static int compare_ram(const struct image *image, bool more)
{
	const struct index *index = &image->index;
	struct mem_range *has = NULL, *needs = xalloc(index->nr_loads * sizeof(*needs));
	int n = machine_ram(NULL, &has), rc = KJ_OK;
	unsigned int m;
	char why[256];

	for (m = 0; m < index->nr_loads; m++) {
		needs[m].start = index->loads[m].paddr;
		needs[m].end = index->loads[m].paddr + index->loads[m].memsz;
	}
	m = merge_ranges(needs, index->nr_loads);
	if (n < 0)
		rc = fail(KJ_FAILED, "cannot read the memory map of this machine from /proc/iomem");
	for (unsigned int i = 0; !rc && i < m; i++) {
		if (is_within(&needs[i], has, n))
			continue;
		snprintf(why, sizeof(why), "not all of %#llx-%#llx, which the image needs, is RAM",
			 (unsigned long long)needs[i].start, (unsigned long long)needs[i].end);
		rc = another_machine(image, why);
	}
	for (int i = 0; !rc && !more && i < n; i++) {
		if (is_within(&has[i], needs, (int)m))
			continue;
		snprintf(why, sizeof(why),
			 "not all of %#llx-%#llx, which is RAM, was it then, and it is not known whether the firmware's tables are elsewhere",
			 (unsigned long long)has[i].start, (unsigned long long)has[i].end);
		rc = another_machine(image, why);
	}
	free(has);
	free(needs);
	return rc;
}

/* NULL if there are none; @known: it could be compared. Other tables with code are only told of. */
static char *other_firmware(const struct image *image, bool *known)
{
	char *here = firmware_text(), *differs = NULL, *code = NULL, *why = NULL;

	*known = *here && image->index.firmware && *image->index.firmware;
	if (*known) {
		differs = firmware_differences(image->index.firmware, here, false);
		code = firmware_differences(image->index.firmware, here, true);
	}
	if (differs)
		why = xasprintf("%s: %s (--ignore-firmware resumes all the same)",
				"its firmware is another one, or elsewhere", differs);
	else if (code)
		step("%s: the firmware describes other devices here (%s)",
		     image->path, code);
	free(differs);
	free(code);
	free(here);
	return why;
}

int restore_check_machine(const struct image *image, bool any_firmware)
{
	const struct machine *m = &image->index.machine;
	struct machine here = { .nr_cpus = machine_present_cpus() };
	char why[512], *firmware;
	bool known;
	int rc;

	if (image->super.machine != own_machine())
		return another_machine(image, own_machine() == EM_386 ?
			"this kernel is i386, the image x86_64" :
			"this kernel is x86_64, the image i386");
	if (!image->super.entry)
		return fail(KJ_BAD_IMAGE, "%s: no preserved kernel: it has no entry", image->path);
	if (m->nr_cpus != here.nr_cpus) {
		snprintf(why, sizeof(why), "it has %u CPUs, the image needs %u",
			 here.nr_cpus, m->nr_cpus);
		return another_machine(image, why);
	}
	machine_features(&here);
	if (!machine_runs(m, &here, why, sizeof(why)))
		return another_machine(image, why);
	firmware = other_firmware(image, &known);
	rc = compare_ram(image, known);
	if (!rc && firmware && !any_firmware)
		rc = another_machine(image, firmware);
	free(firmware);
	return rc;
}

/* --- loading it --------------------------------------------------------- */

#define BUSY_TRIES	100

struct loader {
	struct image *image;
	struct kexec_segment segments[KEXEC_SEGMENTS_MAX];
	unsigned int nr_segments;
	bool begun;
	/* Where in the core file the next data belong. */
	struct extent_cursor cursor;
	uint64_t offset, left;
	uint32_t load;			/* the PT_LOAD used last */
};

static int load_failed(int error)
{
	switch (error) {
	case -EPERM:
		return fail(KJ_FAILED, "loading: only root may, and not under lockdown");
	case -EBUSY:
		return fail(KJ_FAILED, "loading: another process is loading an image");
	case -ENOMEM:
		return fail(KJ_FAILED,
			    "loading: memory does not suffice; restore from a kernel that uses less");
	case -EINVAL:
		return fail(KJ_FAILED,
			    "loading: the kernel refused the image (see its log); has it CONFIG_KEXEC_JUMP?");
	}
	return fail(KJ_FAILED, "loading: %s (the kernel log says more)", strerror(-error));
}

static int load_call(struct loader *l, bool more)
{
	unsigned long flags = KEXEC_PRESERVE_CONTEXT;
	int tries, error;

	flags |= l->begun ? KEXEC_LOAD_CONTINUE : 0;
	flags |= more ? KEXEC_LOAD_MORE : 0;
	for (tries = 0; tries < BUSY_TRIES; tries++) {
		error = kexec_load_call(more ? 0 : (unsigned long)l->image->super.entry,
					l->nr_segments, l->segments, flags);
		/* Who else is at work with kexec is done soon; the load is not lost. */
		if (error != -EBUSY || !l->begun)
			break;
		usleep(10 * 1000);
	}
	l->nr_segments = 0;
	l->begun = true;
	return error ? load_failed(error) : KJ_OK;
}

static int add_segment(struct loader *l, const void *buf, uint64_t paddr, uint64_t length)
{
	struct kexec_segment *s = l->nr_segments ? &l->segments[l->nr_segments - 1] : NULL;
	int rc;

	if (paddr + length - 1 > UINTPTR_MAX)
		return fail(KJ_BAD_IMAGE, "%s: memory above 4 GB cannot be loaded by this kernel",
			    l->image->path);
	/* What continues the last one in memory as in the buffer needs no other. */
	if (s && s->mem + s->memsz == paddr &&
	    (buf ? s->buf && (const char *)s->buf + s->bufsz == buf : !s->buf)) {
		s->memsz += (size_t)length;
		s->bufsz += buf ? (size_t)length : 0;
		return KJ_OK;
	}
	if (l->nr_segments == KEXEC_SEGMENTS_MAX) {
		rc = load_call(l, true);
		if (rc)
			return rc;
	}
	s = &l->segments[l->nr_segments++];
	s->buf = buf;
	s->bufsz = buf ? (size_t)length : 0;
	s->mem = (unsigned long)paddr;
	s->memsz = (size_t)length;
	return KJ_OK;
}

/*
 * Tell the kernel of all memory first, ascending: what is free there now it can
 * fill in place.
 */
static int announce(struct loader *l)
{
	const struct index *index = &l->image->index;
	struct load_range *loads = xalloc(index->nr_loads * sizeof(*loads));
	uint32_t i;
	int rc = KJ_OK;

	memcpy(loads, index->loads, index->nr_loads * sizeof(*loads));
	qsort(loads, index->nr_loads, sizeof(*loads), load_by_paddr);
	for (i = 0; !rc && i < index->nr_loads; i++) {
		uint64_t from = loads[i].offset, to = from + loads[i].filesz;
		struct extent_cursor cursor;
		uint64_t offset, length;

		extents_rewind(&cursor, &index->extents);
		while (!rc && extents_next(&cursor, &offset, &length)) {
			uint64_t start = offset > from ? offset : from;
			uint64_t end = offset + length < to ? offset + length : to;

			if (offset >= to)
				break;
			if (start < end)
				rc = add_segment(l, NULL, loads[i].paddr + (start - from),
						 end - start);
		}
	}
	free(loads);
	return !rc && l->nr_segments ? load_call(l, true) : rc;
}

static bool within(const struct load_range *load, uint64_t offset)
{
	return offset >= load->offset && offset - load->offset < load->filesz;
}

/*
 * The PT_LOAD at @offset, NULL for the file's headers; *length shrinks to what
 * is all in it, or all before the next one.
 */
static const struct load_range *load_at(struct loader *l, uint64_t offset, size_t *length)
{
	const struct index *index = &l->image->index;
	uint32_t i;

	if (!within(&index->loads[l->load], offset)) {
		for (i = 0; i < index->nr_loads; i++) {
			uint64_t begin = index->loads[i].offset;

			if (within(&index->loads[i], offset))
				break;
			if (begin > offset && *length > begin - offset)
				*length = (size_t)(begin - offset);
		}
		if (i == index->nr_loads)
			return NULL;
		l->load = i;
	}
	if (*length > index->loads[l->load].filesz - (offset - index->loads[l->load].offset))
		*length = (size_t)(index->loads[l->load].filesz -
				   (offset - index->loads[l->load].offset));
	return &index->loads[l->load];
}

static int load_data(void *ctx, uint64_t data_offset, const void *data, size_t length)
{
	struct loader *l = ctx;
	const char *from = data;
	int rc = KJ_OK;

	(void)data_offset;
	while (length && !rc) {
		const struct load_range *load;
		size_t n = length;

		if (!l->left && !extents_next(&l->cursor, &l->offset, &l->left))
			return fail(KJ_BAD_IMAGE, "%s: damaged (more data than the index has)",
				    l->image->path);
		if (n > l->left)
			n = (size_t)l->left;
		load = load_at(l, l->offset, &n);
		/* Announced memory is zero already. */
		if (load && !is_zero(from, n))
			rc = add_segment(l, from, load->paddr + (l->offset - load->offset), n);
		l->offset += n;
		l->left -= n;
		from += n;
		length -= n;
	}
	/* The buffer is the next chunk's after this. */
	return !rc && l->nr_segments ? load_call(l, true) : rc;
}

/* --- memory that is kept for others ------------------------------------- */

static struct kept {
	char *file, *line;
	struct kept *next;
} *taken;

static void take_huge_pages(void)
{
	static const char sizes[] = "/sys/kernel/mm/hugepages";
	DIR *d = opendir(sizes);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		struct kept kept = { .next = taken };

		kept.file = xasprintf("%s/%s/nr_hugepages", sizes, e->d_name);
		kept.line = read_text(kept.file);
		if (!kept.line || !strcmp(kept.line, "0") || write_line(kept.file, "0")) {
			free(kept.file);
			free(kept.line);
			continue;
		}
		taken = xalloc(sizeof(*taken));
		*taken = kept;
	}
	if (d)
		closedir(d);
}

static bool suffices(const struct image *image)
{
	return meminfo_bytes("MemAvailable:") >=
	       image->super.data_bytes + machine_ram_size() / 50;
}

void restore_take_kept_memory(const struct image *image)
{
	static const char crash[] = "/sys/kernel/kexec_crash_size";
	char *size;

	if (suffices(image))
		return;
	take_huge_pages();
	if (taken)
		step("huge pages that nobody uses yet make room for the image");
	if (suffices(image))
		return;
	size = read_text(crash);
	if (size && strcmp(size, "0") && !write_line(crash, "0"))
		step("what was kept for a crash kernel makes room for the image");
	free(size);
}

void restore_give_back_memory(void)
{
	while (taken) {
		struct kept *kept = taken;

		taken = kept->next;
		write_line(kept->file, kept->line);
		free(kept->file);
		free(kept->line);
		free(kept);
	}
}

int restore_load(struct image *image)
{
	struct loader l = { .image = image };
	int rc;

	rc = announce(&l);
	if (rc)
		return rc;
	extents_rewind(&l.cursor, &image->index.extents);
	rc = image_unpack(image, load_data, &l, "loading");
	rc = rc ? rc : load_call(&l, false);
	/* A reboot in the meantime is none into it. */
	if (!rc)
		rc = jump_hold(true);
	return rc;
}

static int only_check(void *ctx, uint64_t data_offset, const void *data, size_t length)
{
	(void)ctx;
	(void)data_offset;
	(void)data;
	(void)length;
	return KJ_OK;
}

int restore_check_data(struct image *image)
{
	return image_unpack(image, only_check, NULL, "checking");
}

/*
 * Used is on the disk before the jump: whatever happens from then on, nobody
 * resumes it a second time. If we are still here afterwards, nobody did.
 */
int restore_jump(struct image *image)
{
	int rc = image_write_super(image, IMAGE_USED);

	if (!rc) {
		rc = jump();
		if (!rc)
			rc = fail(KJ_PEER, "the resumed system jumped back here");
	}
	if (rc != KJ_PEER) {
		kexec_unload();
		if (image_write_super(image, IMAGE_COMPLETE))
			fprintf(stderr, "kjump: %s: cannot be marked complete again\n",
				image->path);
	}
	return rc;
}
