// SPDX-License-Identifier: GPL-2.0
/* What must be the same where an image is saved and where it is resumed. */
#include "common/kjump.h"
#include "common/machine.h"

#include <cpuid.h>
#include <linux/elf-em.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>

enum { EAX, EBX, ECX, EDX };

/* What a hypervisor offers; its leaves have a range of their own. */
#define HYPERVISOR	0x40000001

static int read_cpuid(uint32_t leaf, uint32_t subleaf, uint32_t r[4])
{
	if (leaf != HYPERVISOR)
		return __get_cpuid_count(leaf, subleaf, &r[EAX], &r[EBX], &r[ECX], &r[EDX]);
	if (!__get_cpuid(1, &r[EAX], &r[EBX], &r[ECX], &r[EDX]) || !(r[ECX] & 1u << 31))
		return 0;
	__cpuid(leaf, r[EAX], r[EBX], r[ECX], r[EDX]);
	return 1;
}

/* What a word is: bits that name features, which of them may be more elsewhere; or else. */
enum kind {
	FEATURES,
	MODEL,				/* family, model, stepping: what matters are features */
	WIDTHS,				/* of addresses, a byte each: elsewhere not smaller */
};

/*
 * CPUID words, and the bits in them that say something about the moment instead:
 * what the kernel switched on (OSXSAVE, OSPKE, the local APIC) or off (TSX), and
 * SYSCALL, which Intel only shows in 64-bit mode.
 */
static const struct word {
	const char *name;
	uint32_t leaf, subleaf;
	int reg;
	uint32_t varying;
	enum kind kind;
} words[MACHINE_WORDS] = {
	{ "1.edx", 1, 0, EDX, 1u << 9, FEATURES },
	{ "1.ecx", 1, 0, ECX, 1u << 27, FEATURES },
	{ "1.eax", 1, 0, EAX, 0, MODEL },
	{ "7.ebx", 7, 0, EBX, 1u << 4 | 1u << 11, FEATURES },
	{ "7.ecx", 7, 0, ECX, 1u << 4, FEATURES },
	{ "7.edx", 7, 0, EDX, 1u << 11 | 1u << 13, FEATURES },
	{ "7.1.eax", 7, 1, EAX, 0, FEATURES },
	{ "80000001.ecx", 0x80000001, 0, ECX, 0, FEATURES },
	{ "80000001.edx", 0x80000001, 0, EDX, 1u << 9 | 1u << 11, FEATURES },
	{ "d.0.eax", 0xd, 0, EAX, 0, FEATURES },
	{ "d.1.eax", 0xd, 1, EAX, 0, FEATURES },
	{ "80000007.edx", 0x80000007, 0, EDX, 0, FEATURES },
	{ "80000008.eax", 0x80000008, 0, EAX, 0xffff0000, WIDTHS },
	{ "80000008.ebx", 0x80000008, 0, EBX, 0, FEATURES },
	{ "80000021.eax", 0x80000021, 0, EAX, 0, FEATURES },
	{ "40000001.eax", HYPERVISOR, 0, EAX, 0, FEATURES },
};

void machine_features(struct machine *m)
{
	unsigned int r[4], i;

	memset(m->vendor, 0, sizeof(m->vendor));
	if (__get_cpuid(0, &r[EAX], &r[EBX], &r[ECX], &r[EDX])) {
		memcpy(m->vendor, &r[EBX], 4);
		memcpy(m->vendor + 4, &r[EDX], 4);
		memcpy(m->vendor + 8, &r[ECX], 4);
	}
	for (i = 0; i < MACHINE_WORDS; i++) {
		const struct word *w = &words[i];

		m->words[i] = 0;
		if (read_cpuid(w->leaf, w->subleaf, r))
			m->words[i] = r[w->reg] & ~w->varying;
	}
}

/* What of @image @here has not. */
static uint32_t lacking(enum kind kind, uint32_t image, uint32_t here)
{
	uint32_t lacks = 0;

	if (kind == FEATURES)
		return image & ~here;
	for (unsigned int shift = 0; kind == WIDTHS && shift < 32; shift += 8)
		if ((image >> shift & 0xff) > (here >> shift & 0xff))
			lacks |= image & 0xffu << shift;
	return lacks;
}

bool machine_runs(const struct machine *image, const struct machine *here,
		  char *why, unsigned int len)
{
	unsigned int i, at = 0;

	if (memcmp(image->vendor, here->vendor, sizeof(here->vendor))) {
		snprintf(why, len, "it has a CPU of %.12s, the image needs %.12s",
			 here->vendor, image->vendor);
		return false;
	}
	for (i = 0; i < MACHINE_WORDS; i++) {
		uint32_t a = image->words[i], b = here->words[i];
		uint32_t lacks = lacking(words[i].kind, a, b);

		if (!lacks || at >= len)
			continue;
		at += (unsigned int)snprintf(why + at, len - at,
			"%sCPUID %s is %#x, the image needs %#x (lacks %#x)",
			at ? "; " : "its CPU lacks features: ", words[i].name, b, a, lacks);
	}
	return !at;
}

/* @which: a list of sysfs, as 0-3,6 */
static unsigned int count_cpus(const char *which)
{
	char *path = xasprintf("/sys/devices/system/cpu/%s", which), *text = read_text(path);
	unsigned int n = 0, first, last;
	const char *p = text;
	int used;

	while (p && *p) {
		if (sscanf(p, "%u-%u%n", &first, &last, &used) == 2) {
			n += last - first + 1;
		} else {
			if (sscanf(p, "%u%n", &first, &used) != 1)
				break;
			n++;
		}
		p += used;
		if (*p == ',')
			p++;
	}
	free(text);
	free(path);
	return n ? n : online_cpus();
}

unsigned int machine_present_cpus(void)
{
	return count_cpus("present");
}

unsigned int machine_possible_cpus(void)
{
	return count_cpus("possible");
}

static int by_start(const void *a, const void *b)
{
	const struct mem_range *x = a, *y = b;

	return x->start < y->start ? -1 : x->start > y->start;
}

unsigned int merge_ranges(struct mem_range *r, unsigned int n)
{
	unsigned int i, out = 0;

	if (!n)
		return 0;
	qsort(r, n, sizeof(*r), by_start);
	for (i = 1; i < n; i++) {
		if (r[i].start <= r[out].end) {
			if (r[i].end > r[out].end)
				r[out].end = r[i].end;
		} else {
			r[++out] = r[i];
		}
	}
	return out + 1;
}

int machine_ram(const char *iomem, struct mem_range **ranges)
{
	char *text = read_text(iomem ? iomem : "/proc/iomem");
	char *line, *rest = text;
	unsigned int n = 0, room = 0, whole = 0, i;

	*ranges = NULL;
	if (!text)
		return -1;
	while ((line = strsep(&rest, "\n"))) {
		unsigned long long start, end;
		int used = 0;

		/* Indented lines are parts of others. */
		if (*line == ' ' ||
		    sscanf(line, "%llx-%llx : %n", &start, &end, &used) != 2 ||
		    !used || strcmp(line + used, "System RAM"))
			continue;
		if (n == room) {
			room = room ? 2 * room : 16;
			*ranges = xrealloc(*ranges, room * sizeof(**ranges));
		}
		(*ranges)[n].start = start;
		(*ranges)[n++].end = end + 1;
	}
	free(text);
	/* What touches is one, though it be cut within a page. */
	n = merge_ranges(*ranges, n);
	for (i = 0; i < n; i++) {
		uint64_t first = align_up((*ranges)[i].start, PAGE);
		uint64_t last = (*ranges)[i].end / PAGE * PAGE;

		if (first >= last)
			continue;
		(*ranges)[whole].start = first;
		(*ranges)[whole++].end = last;
	}
	/* Only root is told the addresses; everybody else reads zeros. */
	return whole ? (int)whole : -1;
}

uint64_t meminfo_bytes(const char *key)
{
	char *text = read_text("/proc/meminfo");
	char *line = text ? strstr(text, key) : NULL;
	uint64_t kb = line ? strtoull(line + strlen(key), NULL, 10) : 0;

	free(text);
	return kb * KB;
}

uint64_t machine_ram_size(void)
{
	struct mem_range *ram;
	uint64_t size = 0;
	int i, n = machine_ram(NULL, &ram);

	for (i = 0; i < n; i++)
		size += ram[i].end - ram[i].start;
	free(ram);
	return size;
}

bool machine_ram_loadable(void)
{
	struct mem_range *ram;
	int n = machine_ram(NULL, &ram);
	bool can = n <= 0 || ram[n - 1].end - 1 <= UINTPTR_MAX;

	free(ram);
	return can;
}

uint16_t own_machine(void)
{
	struct utsname u;

	return !uname(&u) && !strcmp(u.machine, "x86_64") ? EM_X86_64 : EM_386;
}

const char *machine_name(uint16_t machine)
{
	return machine == EM_X86_64 ? "x86_64" : "i386";
}
