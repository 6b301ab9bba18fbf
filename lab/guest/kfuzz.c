// SPDX-License-Identifier: GPL-2.0
/*
 * kfuzz: calls of kexec jump's interfaces that make sense, nearly make sense, or
 * make none; nothing is jumped to.
 *
 *   kfuzz [-e ENTRY] SEED FIRST COUNT
 *
 * Makes the calls FIRST to FIRST + COUNT - 1 of a SEED: what is called depends on
 * these numbers alone, so a part can be repeated. With -e ENTRY, in a kernel that was
 * jumped to from there, the jump page is another one during some of the calls.
 *
 * Prints how often each result came: "load 0=12 22=340 ...", numbers being errno.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kexec.h>
#include <linux/kexec_jump_abi.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define PAGE	4096ULL
#define SYSFS	"/sys/kernel/kexec_jump"
#define VIEW	"/proc/kexec_jump_vmcore"
#define FAULT	"/sys/kernel/debug/kexec_jump/fail_step"
#define MOST_SEGMENTS 20

/* The kernel's numbers for a load in several calls. */
#define LOAD_MORE	0x100
#define LOAD_CONTINUE	0x200

enum kind { LOAD, UNLOAD, WRITE, READ, FORGE, KINDS };

static const char *const kind_names[KINDS] = { "load", "unload", "write", "read", "forge" };
static unsigned int results[KINDS][256];
static struct { uint64_t start, end; } ram[64];
static unsigned int nr_ram;
static char *files[64];
static unsigned int nr_files;
static uint8_t content[1 << 20];
static uint64_t state;

static uint64_t rnd(void)
{
	/* xorshift64* */
	state ^= state >> 12;
	state ^= state << 25;
	state ^= state >> 27;
	return state * 0x2545f4914f6cdd1dULL;
}

static uint64_t below(uint64_t n)
{
	return (rnd() >> 16) % n;
}

static int one_in(unsigned int n)
{
	return !below(n);
}

static void begin(uint64_t seed, uint64_t call)
{
	/* What is alike in the numbers must not be alike in what follows. */
	state = (seed + 1) * 0x9e3779b97f4a7c15ULL ^ (call + 1) * 0xbf58476d1ce4e5b9ULL;
	if (!state)
		state = 1;
	for (int i = 0; i < 8; i++)
		rnd();
}

static void note(enum kind kind, long ret)
{
	unsigned int error = ret < 0 ? errno : 0;

	results[kind][error < 256 ? error : 255]++;
}

static void look_around(void)
{
	FILE *f = fopen("/proc/iomem", "r");
	unsigned long long start, end;
	struct dirent *d;
	char line[256];
	DIR *dir;

	while (f && fgets(line, sizeof(line), f) && nr_ram < 64) {
		if (strstr(line, "System RAM") && sscanf(line, "%llx-%llx", &start, &end) == 2) {
			ram[nr_ram].start = start;
			ram[nr_ram++].end = end + 1;
		}
	}
	if (f)
		fclose(f);
	if (!nr_ram) {
		fprintf(stderr, "kfuzz: no System RAM in /proc/iomem\n");
		exit(2);
	}
	dir = opendir(SYSFS);
	while (dir && (d = readdir(dir)) && nr_files < 60)
		if (d->d_name[0] != '.' && asprintf(&files[nr_files], SYSFS "/%s", d->d_name) > 0)
			nr_files++;
	if (dir)
		closedir(dir);
	files[nr_files++] = FAULT;
	files[nr_files++] = VIEW;
}

/* An address of RAM, or somewhere near it, or anywhere. */
static uint64_t any_address(void)
{
	unsigned int n = below(nr_ram);
	uint64_t start = ram[n].start, end = ram[n].end;

	switch (below(8)) {
	case 0:
		return start;
	case 1:
		return end - PAGE * below(3);
	case 2:
		return start - PAGE;
	case 3:
		return rnd() >> below(64);
	case 4:
		return -PAGE * below(4);
	case 5:
		return start + below(end - start);
	default:
		return (start + below(end - start)) & ~(PAGE - 1);
	}
}

static uint64_t any_size(void)
{
	switch (below(8)) {
	case 0:
		return 0;
	case 1:
		return rnd() >> below(64);
	case 2:
		return below(3 * PAGE);
	case 3:
		return PAGE * below(16384);
	default:
		return PAGE * (1 + below(32));
	}
}

static const void *any_buffer(size_t *size)
{
	switch (below(8)) {
	case 0:
		return NULL;
	case 1:
		return (void *)(uintptr_t)rnd();
	case 2:
		/* Half of it is there. */
		return content + sizeof(content) - (*size / 2) % sizeof(content);
	default:
		if (*size > sizeof(content))
			*size = sizeof(content);
		return content;
	}
}

/* A jump page, as it should be or with a few bytes that are not. */
static void forge(void *page, uint64_t entry, uint32_t machine)
{
	struct kexec_jump_header *h = page;
	unsigned int n;

	if (machine) {
		memset(h, 0, sizeof(*h));
		h->magic = KEXEC_JUMP_MAGIC;
		h->version = KEXEC_JUMP_VERSION;
		h->size = KEXEC_JUMP_HEADER_SIZE;
		h->machine = machine;
		h->entry = entry;
		h->nr_ranges = below(KEXEC_JUMP_MAX_RANGES + 2);
		h->state = below(4);
	}
	for (n = below(4); n--;) {
		switch (below(8)) {
		case 0:
			h->backup_map = any_address();
			break;
		case 1:
			h->description = any_address();
			h->elf_pages = any_size();
			break;
		case 2:
			h->nr_pfns = rnd() >> below(64);
			break;
		case 3:
			h->shared = any_address();
			h->shared_pages = rnd() >> below(64);
			break;
		case 4:
			h->window[below(KEXEC_JUMP_MAX_RANGES)].start = any_address();
			break;
		case 5:
			h->state = below(5);
			break;
		case 6:
			h->size = rnd() >> below(64);
			break;
		default:
			((uint8_t *)page)[below(sizeof(*h))] = rnd();
		}
	}
	if (!one_in(4))
		h->checksum = kexec_jump_checksum(h);
}

static unsigned long any_flags(void)
{
	static const unsigned long arch[] = { 0, 0, 0, KEXEC_ARCH_386, KEXEC_ARCH_X86_64, KEXEC_ARCH_PPC };
	unsigned long flags = KEXEC_PRESERVE_CONTEXT;

	if (one_in(3))
		flags |= LOAD_MORE;
	if (one_in(3))
		flags |= LOAD_CONTINUE;
	if (one_in(10))
		flags ^= 1UL << below(16);
	/* Nothing but what comes back is to be loaded: a crash could find it. */
	if (!(flags & KEXEC_PRESERVE_CONTEXT))
		flags = KEXEC_PRESERVE_CONTEXT;
	return flags | arch[below(6)];
}

static void load(void)
{
	struct kexec_segment seg[MOST_SEGMENTS] = { 0 };
	unsigned long nr = one_in(8) ? below(MOST_SEGMENTS) : 1 + below(4), i;
	uint64_t at = any_address() & ~(PAGE - 1), entry = at;
	unsigned long flags = any_flags();
	int sane = !one_in(3);

	for (i = 0; i < nr; i++) {
		size_t size = sane ? PAGE * (1 + below(64)) : any_size();

		seg[i].mem = (void *)(uintptr_t)(sane ? at : any_address());
		seg[i].memsz = size;
		size = sane || one_in(2) ? below(size + 1) : any_size();
		if (sane && size > sizeof(content))
			size = sizeof(content);
		seg[i].buf = sane ? content : any_buffer(&size);
		seg[i].bufsz = size;
		at += seg[i].memsz;
		if (sane && one_in(16))
			at += PAGE;
	}
	if (nr && one_in(4)) {
		static uint8_t page[PAGE];

		forge(page, entry, one_in(2) ? EM_X86_64 : EM_386);
		seg[0].buf = page;
		seg[0].bufsz = PAGE;
	}
	if (sane && (flags & LOAD_CONTINUE) && !one_in(3))
		flags &= ~(LOAD_CONTINUE | LOAD_MORE);
	if (one_in(6))
		entry = any_address();
	note(LOAD, syscall(SYS_kexec_load, (unsigned long)entry, nr, seg, flags));
}

static void write_file(const char *path)
{
	static const char *const words[] = { "0", "1", "4096", "-1", "0x1000", "1000000000000", "freeze",
					     "devices", "image", "", "\n", "1M", "shared" };
	size_t size = below(12000);
	const char *word = words[below(13)];
	int fd = open(path, O_WRONLY);
	ssize_t ret;

	if (fd < 0) {
		note(WRITE, -1);
		return;
	}
	if (one_in(3))
		ret = pwrite(fd, content, size, rnd() >> (1 + below(63)));
	else
		ret = write(fd, word, strlen(word));
	note(WRITE, ret);
	close(fd);
}

static void read_file(const char *path)
{
	static char buf[16384];
	int fd = open(path, O_RDONLY);
	ssize_t ret = -1;

	if (fd >= 0)
		ret = pread(fd, buf, below(sizeof(buf)), one_in(2) ? 0 : rnd() >> (1 + below(63)));
	note(READ, ret);
	if (fd >= 0)
		close(fd);
}

static void call(void)
{
	switch (below(16)) {
	case 0:
		note(UNLOAD, syscall(SYS_kexec_load, 0UL, 0UL, NULL, (unsigned long)KEXEC_PRESERVE_CONTEXT));
		break;
	case 1:
	case 2:
		write_file(files[below(nr_files)]);
		break;
	case 3:
	case 4:
	case 5:
		read_file(files[below(nr_files)]);
		break;
	default:
		load();
	}
}

/* The other kernel's jump page is not what it was, while it is looked at. */
static void forged_call(void *page, uint64_t entry)
{
	struct kexec_jump_header *h = page, kept = *h;
	struct kexec_segment none = { 0 };

	forge(page, entry, one_in(4) ? kept.machine : 0);
	read_file(VIEW);
	read_file(files[below(nr_files)]);
	if (one_in(4))
		note(FORGE, syscall(SYS_kexec_load, (unsigned long)entry, 1UL, &none,
				    (unsigned long)KEXEC_PRESERVE_CONTEXT));
	*h = kept;
}

int main(int argc, char **argv)
{
	uint64_t entry = 0, seed, first, count, i;
	void *page = NULL;
	int c, kind;

	while ((c = getopt(argc, argv, "e:")) != -1) {
		if (c != 'e')
			return 2;
		entry = strtoull(optarg, NULL, 0);
	}
	if (argc - optind != 3) {
		fprintf(stderr, "usage: kfuzz [-e ENTRY] SEED FIRST COUNT\n");
		return 2;
	}
	seed = strtoull(argv[optind], NULL, 0);
	first = strtoull(argv[optind + 1], NULL, 0);
	count = strtoull(argv[optind + 2], NULL, 0);
	if (entry) {
		int fd = open("/dev/mem", O_RDWR);

		page = mmap(NULL, PAGE, PROT_READ | PROT_WRITE, MAP_SHARED, fd, entry & ~(PAGE - 1));
		if (fd < 0 || page == MAP_FAILED) {
			perror("kfuzz: /dev/mem");
			return 2;
		}
	}
	look_around();
	begin(seed, 0);
	for (i = 0; i < sizeof(content); i++)
		content[i] = rnd();
	for (i = first; i < first + count; i++) {
		begin(seed, i);
		if (page && one_in(2))
			forged_call(page, entry);
		else
			call();
	}
	for (kind = 0; kind < KINDS; kind++) {
		printf("%s", kind_names[kind]);
		for (c = 0; c < 256; c++)
			if (results[kind][c])
				printf(" %d=%u", c, results[kind][c]);
		printf("\n");
	}
	return 0;
}
