// SPDX-License-Identifier: GPL-2.0
/* The memory a peer may use. */
#include "peer/peer.h"

#include <stdlib.h>

/* Never beyond what a kernel can be loaded to. */
#define WINDOW_MAX	(1024 * MB)
/*
 * What the peer needs to run on two CPUs, and for each further one, for which drivers have
 * queues and kjump has buffers.
 */
#define RUNNING		(24 * MB)
#define FURTHER_CPU	(4 * MB)

/* And for a bitmap and the index of an image, 256 KB for each GB of RAM. */
static uint64_t working_memory(void)
{
	unsigned int cpus = machine_possible_cpus();

	if (cpus > PEER_CPUS)
		cpus = PEER_CPUS;
	return RUNNING + (cpus > 2 ? cpus - 2 : 0) * FURTHER_CPU + machine_ram_size() / 4096;
}

/* The part of some RAM in which a window can be. */
static struct mem_range usable(const struct mem_range *ram)
{
	struct mem_range r = *ram;

	if (r.start < WINDOW_START)
		r.start = WINDOW_START;
	else
		r.start = align_up(r.start, MB);
	if (r.end > WINDOW_MAX)
		r.end = WINDOW_MAX;
	if (r.end < r.start)
		r.end = r.start;
	return r;
}

/*
 * The lowest RAM that has room for @need bytes, up to @end if that is not 0; else, for a
 * message, the largest.
 */
static struct mem_range find_ram(uint64_t need, uint64_t end)
{
	struct mem_range *ram, best = { 0 };
	int n = machine_ram(NULL, &ram);

	for (int i = 0; i < n; i++) {
		struct mem_range r = usable(&ram[i]);

		if (end && (end <= r.start || end > r.end))
			continue;
		if ((end ? end : r.end) - r.start >= need) {
			best = r;
			break;
		}
		if (r.end - r.start > best.end - best.start)
			best = r;
	}
	free(ram);
	return best;
}

/* UEFI leaves less memory in one piece below than a BIOS does: a window need not begin at 1 MB. */
static int no_room(const struct conf *conf, uint64_t need, const struct mem_range *ram)
{
	return fail(KJ_REFUSED,
		    "%s and %s need a window of %llu MB, and the largest piece of RAM below %llu MB that it could be in is %#llx-%#llx; take smaller ones",
		    conf->kernel, conf->initrd, (unsigned long long)(need / MB + 1),
		    (unsigned long long)(WINDOW_MAX / MB), (unsigned long long)ram->start,
		    (unsigned long long)ram->end);
}

int peer_window(const struct conf *conf, const struct bzimage *kernel,
		const struct initramfs *fs, struct mem_range *window)
{
	uint64_t files = fs->packed + fs->unpacked;
	uint64_t need = kernel->init_size + files + working_memory();
	struct mem_range ram = find_ram(need, conf->window);
	uint64_t best;

	if (conf->window && ram.start == ram.end)
		return fail(KJ_REFUSED, "a window up to %llu MB: there is no RAM right below that",
			    (unsigned long long)(conf->window / MB));
	window->start = ram.start;
	window->end = conf->window ? conf->window : ram.end;
	if (window->end - window->start < need) {
		const struct mem_range lowest = find_ram(need, 0);

		if (lowest.end - lowest.start < need)
			return no_room(conf, need, &lowest);
		best = align_up(lowest.start + need, 8 * MB);
		if (best > lowest.end)
			best = lowest.end;
		return fail(KJ_REFUSED,
			    "a window up to %llu MB is too small: %llu MB for the kernel, %llu MB for the initramfs, %llu MB to work in; use --window=%lluM",
			    (unsigned long long)(window->end / MB),
			    (unsigned long long)(kernel->init_size / MB + 1),
			    (unsigned long long)(files / MB + 1),
			    (unsigned long long)(working_memory() / MB),
			    (unsigned long long)(best / MB));
	}
	if (!conf->window) {
		/* What is needed, with some to spare. */
		best = align_up(ram.start + need, 8 * MB);
		if (best < WINDOW_DEFAULT)
			best = WINDOW_DEFAULT;
		if (best < window->end)
			window->end = best;
	}
	return KJ_OK;
}
