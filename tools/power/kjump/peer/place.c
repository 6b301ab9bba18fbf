// SPDX-License-Identifier: GPL-2.0
/*
 * Where a window is best: what the kernel can move out of it is not exchanged at each
 * jump. The page allocator keeps in blocks what can be moved: one page in a block that
 * is the kernel's own, and all of it stays.
 */
#include "peer/peer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

/* Of pages, in /proc/kpageflags: Documentation/admin-guide/mm/pagemap.rst of the kernel */
#define KPF_REFERENCED	0x4ull
#define KPF_UPTODATE	0x8ull
#define KPF_LRU		0x20ull
#define KPF_ACTIVE	0x40ull
#define KPF_BUDDY	0x400ull
#define KPF_HWPOISON	0x80000ull
/* include/linux/kernel-page-flags.h of the kernel: for those who look into it, may change. */
#define KPF_PRIVATE	0x800000000ull

/* Those of the page allocator have 2 or 4 MB, by its kernel's configuration. */
#define BLOCK		(4 * MB)
/* An initramfs cannot be loaded higher, by what some kernels say of themselves. */
#define PLACE_MAX	(896 * MB)
/* A 32-bit kernel keeps a description of all memory below its own. */
#define PLACE_MAX_32	(256 * MB)

/*
 * A block's worth: whether it can be moved. A file system's metadata, cached as what is on
 * its device and used again and again, cannot be while its journal holds it.
 */
enum { NOT_MOVABLE = 0, PERHAPS = 3, MOVABLE = 4 };

/*
 * By which flags a page is known that is used again and again: admin-guide/mm/multigen_lru.rst
 * in the kernel's Documentation.
 */
static uint64_t in_use_again(void)
{
	char *text = read_text("/sys/kernel/mm/lru_gen/enabled");
	bool generations = text && strtoull(text, NULL, 0);

	free(text);
	return generations ? KPF_ACTIVE | KPF_REFERENCED : KPF_ACTIVE;
}

static unsigned int worth(int flags, uint64_t block, uint64_t again)
{
	static uint64_t pages[BLOCK / PAGE];
	unsigned int found = MOVABLE;

	if (pread_full(flags, pages, sizeof(pages), block / PAGE * sizeof(*pages)) !=
	    (ssize_t)sizeof(pages))
		return NOT_MOVABLE;
	for (size_t i = 0; i < BLOCK / PAGE; i++) {
		if (!(pages[i] & (KPF_LRU | KPF_BUDDY)) || pages[i] & KPF_HWPOISON)
			return NOT_MOVABLE;
		if (pages[i] & KPF_PRIVATE && (pages[i] & again || !(pages[i] & KPF_UPTODATE)))
			found = PERHAPS;
	}
	return found;
}

void peer_place(const char *kpageflags, const struct bzimage *kernel, struct mem_range *window)
{
	uint64_t align = kernel->alignment > BLOCK ? kernel->alignment : BLOCK;
	uint64_t end = sizeof(long) == 4 ? PLACE_MAX_32 : PLACE_MAX;
	uint64_t size = align_up(window->end - window->start, BLOCK);
	struct mem_range *ram, best = *window;
	unsigned int most, n_blocks = end / BLOCK;
	uint64_t again = in_use_again();
	/* What all blocks below each one are worth */
	unsigned int *below;
	int n, flags;

	if (!kernel->alignment)
		return;
	flags = open(kpageflags ? kpageflags : "/proc/kpageflags", O_RDONLY | O_CLOEXEC);
	if (flags < 0)
		return;
	below = xalloc((n_blocks + 1) * sizeof(*below));
	for (unsigned int i = 0; i < n_blocks; i++)
		below[i + 1] = below[i] + worth(flags, i * BLOCK, again);
	close(flags);

	most = window->end > end ? 0 : below[window->end / BLOCK] -
		below[align_up(window->start, BLOCK) / BLOCK];
	n = machine_ram(NULL, &ram);
	for (int i = 0; i < n; i++) {
		struct mem_range r = { .start = align_up(ram[i].start, align) };

		for (; (r.end = r.start + size) <= end && r.end <= ram[i].end; r.start += align) {
			unsigned int here = below[r.end / BLOCK] - below[r.start / BLOCK];

			if (r.start >= window->start && here > most) {
				most = here;
				best = r;
			}
		}
	}
	free(ram);
	free(below);
	*window = best;
}
