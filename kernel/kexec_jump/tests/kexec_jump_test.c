// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: KUnit tests of what needs no jump: ranges, lists, the window with its
 * backup, and headers.
 */
#include "../internal.h"

#include <kunit/test.h>
#include <linux/elf.h>
#include <linux/gfp.h>
#include <linux/highmem.h>
#include <linux/memblock.h>
#include <linux/mm.h>
#include <linux/pfn.h>

#define MB(n)	((u64)(n) << 20)
#define GB(n)	((u64)(n) << 30)

/* --- ranges --- */

static void free_ranges(void *ranges)
{
	kexec_jump_ranges_free(ranges);
}

static struct kexec_jump_ranges *new_ranges(struct kunit *test)
{
	struct kexec_jump_ranges *ranges = kunit_kzalloc(test, sizeof(*ranges), GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, ranges);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_ranges, ranges), 0);
	return ranges;
}

static int add(struct kexec_jump_ranges *ranges, u64 start, u64 end)
{
	return kexec_jump_ranges_reserve(ranges) ?: kexec_jump_ranges_add(ranges, start, end);
}

static void ranges_merge(struct kunit *test)
{
	struct kexec_jump_ranges *ranges = new_ranges(test);

	KUNIT_EXPECT_EQ(test, add(ranges, GB(5), GB(6)), 0);
	KUNIT_EXPECT_EQ(test, add(ranges, MB(1), MB(2)), 0);
	KUNIT_EXPECT_EQ(test, add(ranges, MB(3), MB(4)), 0);
	KUNIT_ASSERT_EQ(test, ranges->nr, 3);
	KUNIT_EXPECT_EQ(test, ranges->range[0].start, MB(1));
	KUNIT_EXPECT_EQ(test, ranges->range[2].end, GB(6));

	/* To the one before, to the one after, and between two. */
	KUNIT_EXPECT_EQ(test, add(ranges, MB(4), MB(5)), 0);
	KUNIT_EXPECT_EQ(test, add(ranges, GB(4), GB(5)), 0);
	KUNIT_ASSERT_EQ(test, ranges->nr, 3);
	KUNIT_EXPECT_EQ(test, ranges->range[1].end, MB(5));
	KUNIT_EXPECT_EQ(test, ranges->range[2].start, GB(4));
	KUNIT_EXPECT_EQ(test, add(ranges, MB(2), MB(3)), 0);
	KUNIT_ASSERT_EQ(test, ranges->nr, 2);
	KUNIT_EXPECT_EQ(test, ranges->range[0].start, MB(1));
	KUNIT_EXPECT_EQ(test, ranges->range[0].end, MB(5));
	KUNIT_EXPECT_EQ(test, ranges->range[1].start, GB(4));
}

static void ranges_overlap(struct kunit *test)
{
	struct kexec_jump_ranges *ranges = new_ranges(test);

	KUNIT_EXPECT_EQ(test, add(ranges, MB(4), MB(8)), 0);
	KUNIT_EXPECT_EQ(test, add(ranges, MB(4), MB(8)), -EINVAL);
	KUNIT_EXPECT_EQ(test, add(ranges, MB(5), MB(6)), -EINVAL);
	KUNIT_EXPECT_EQ(test, add(ranges, MB(1), MB(4) + PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, add(ranges, MB(8) - PAGE_SIZE, MB(9)), -EINVAL);
	KUNIT_EXPECT_EQ(test, add(ranges, MB(1), MB(9)), -EINVAL);
	KUNIT_ASSERT_EQ(test, ranges->nr, 1);
	KUNIT_EXPECT_EQ(test, ranges->range[0].start, MB(4));
	KUNIT_EXPECT_EQ(test, ranges->range[0].end, MB(8));
}

static void ranges_hold(struct kunit *test)
{
	struct kexec_jump_ranges *ranges = new_ranges(test);

	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_hold(ranges, 0, 1));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_touch(ranges, 0, U64_MAX));
	KUNIT_EXPECT_EQ(test, add(ranges, MB(4), MB(8)), 0);
	KUNIT_EXPECT_EQ(test, add(ranges, GB(4), GB(5)), 0);

	KUNIT_EXPECT_TRUE(test, kexec_jump_ranges_hold(ranges, MB(4), MB(8)));
	KUNIT_EXPECT_TRUE(test, kexec_jump_ranges_hold(ranges, MB(8) - 1, MB(8)));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_hold(ranges, MB(8), MB(8) + 1));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_hold(ranges, MB(4) - 1, MB(4)));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_hold(ranges, MB(7), MB(8) + 1));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_hold(ranges, MB(7), GB(5)));
	KUNIT_EXPECT_TRUE(test, kexec_jump_ranges_hold(ranges, GB(4), GB(4) + 1));

	KUNIT_EXPECT_TRUE(test, kexec_jump_ranges_touch(ranges, MB(8) - 1, GB(1)));
	KUNIT_EXPECT_TRUE(test, kexec_jump_ranges_touch(ranges, 0, MB(4) + 1));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_touch(ranges, 0, MB(4)));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_touch(ranges, MB(8), GB(4)));
	KUNIT_EXPECT_FALSE(test, kexec_jump_ranges_touch(ranges, GB(5), U64_MAX));
}

/* More than there is room for at first, from the last to the first. */
static void ranges_grow(struct kunit *test)
{
	const unsigned int nr = 5 * KEXEC_JUMP_MAX_RANGES;
	struct kexec_jump_ranges *ranges = new_ranges(test);
	unsigned int i;

	for (i = nr; i--;)
		KUNIT_ASSERT_EQ(test, add(ranges, MB(2 * i), MB(2 * i + 1)), 0);
	KUNIT_ASSERT_EQ(test, ranges->nr, nr);
	for (i = 0; i < nr; i++)
		KUNIT_EXPECT_EQ(test, ranges->range[i].start, MB(2 * i));
	for (i = 0; i < nr; i++)
		KUNIT_ASSERT_EQ(test, add(ranges, MB(2 * i + 1), MB(2 * i + 2)), 0);
	KUNIT_EXPECT_EQ(test, ranges->nr, 1);
	KUNIT_EXPECT_TRUE(test, kexec_jump_ranges_hold(ranges, 0, MB(2 * nr)));
}

/* --- the window --- */

#define BLOCK_ORDER	3
#define BLOCK_PAGES	8
#define BLOCK_BYTES	(BLOCK_PAGES * PAGE_SIZE)

static void destroy_jump(void *jump)
{
	kexec_jump_destroy(jump);
}

static void free_block(void *page)
{
	__free_pages(page, BLOCK_ORDER);
}

/* Memory that is in use, so that each of its pages needs a backup. */
static struct page *new_block(struct kunit *test)
{
	struct page *page = alloc_pages(GFP_KERNEL, BLOCK_ORDER);

	KUNIT_ASSERT_NOT_NULL(test, page);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, free_block, page), 0);
	return page;
}

static struct kexec_jump *new_jump(struct kunit *test, struct page *block)
{
	u64 start = page_to_phys(block);
	struct kexec_jump *jump = kexec_jump_create(start);

	KUNIT_ASSERT_NOT_NULL(test, jump);
	KUNIT_ASSERT_EQ(test, kunit_add_action_or_reset(test, destroy_jump, jump), 0);
	KUNIT_ASSERT_EQ(test, kexec_jump_add_range(jump, start, start + BLOCK_BYTES), 0);
	return jump;
}

static void window_is_backed(struct kunit *test)
{
	struct page *block = new_block(test);
	struct kexec_jump *jump = new_jump(test, block);
	u64 start = page_to_phys(block), addr;

	KUNIT_EXPECT_EQ(test, kexec_jump_add_range(jump, start, start + PAGE_SIZE), -EINVAL);
	KUNIT_EXPECT_EQ(test, kexec_jump_check_window(jump), 0);
	KUNIT_ASSERT_EQ(test, kexec_jump_back_window(jump), 0);
	KUNIT_EXPECT_EQ(test, jump->nr_backed, BLOCK_PAGES);
	KUNIT_EXPECT_EQ(test, jump->nr_claimed, 0);
	KUNIT_EXPECT_EQ(test, kexec_jump_recheck_window(jump), 0);
	for (addr = start; addr < start + BLOCK_BYTES; addr += PAGE_SIZE) {
		struct page *page = kexec_jump_window_page(jump, addr);

		KUNIT_EXPECT_TRUE(test, kexec_jump_in_window(jump, addr));
		KUNIT_EXPECT_FALSE(test, kexec_jump_in_window(jump, page_to_phys(page)));
		/* It gets its content once. */
		KUNIT_EXPECT_PTR_EQ(test, kexec_jump_page_to_fill(jump, addr), page);
		KUNIT_EXPECT_NULL(test, kexec_jump_page_to_fill(jump, addr));
	}
	KUNIT_EXPECT_FALSE(test, kexec_jump_in_window(jump, addr));
}

/* Whichever page of it cannot be read any more, nobody goes there. */
static void memory_that_fails(struct kunit *test)
{
	struct page *block = new_block(test), *pages[3];
	struct kexec_jump *jump = new_jump(test, block);
	unsigned int i;

	if (!IS_ENABLED(CONFIG_MEMORY_FAILURE))
		kunit_skip(test, "no CONFIG_MEMORY_FAILURE");
	KUNIT_ASSERT_EQ(test, kexec_jump_back_window(jump), 0);
	KUNIT_ASSERT_EQ(test, kexec_jump_make_map(jump), 0);
	KUNIT_EXPECT_EQ(test, kexec_jump_recheck_window(jump), 0);
	pages[0] = block;
	pages[1] = kexec_jump_window_page(jump, page_to_phys(block));
	pages[2] = list_first_entry(&jump->map.pages, struct page, lru);
	for (i = 0; i < ARRAY_SIZE(pages); i++) {
		SetPageHWPoison(pages[i]);
		KUNIT_EXPECT_EQ(test, kexec_jump_recheck_window(jump), -EADDRNOTAVAIL);
		ClearPageHWPoison(pages[i]);
	}
	KUNIT_EXPECT_EQ(test, kexec_jump_recheck_window(jump), 0);
}

/* The window grows over a page that another one is exchanged with. */
static void window_grows_over_a_backup(struct kunit *test)
{
	struct page *block = new_block(test);
	struct kexec_jump *jump = new_jump(test, block);
	u64 start = page_to_phys(block), other;
	struct page *page;
	void *content;

	KUNIT_ASSERT_EQ(test, kexec_jump_back_window(jump), 0);
	page = kexec_jump_page_to_fill(jump, start);
	memset_page(page, 0, 'x', PAGE_SIZE);
	other = page_to_phys(page);

	KUNIT_ASSERT_EQ(test, kexec_jump_add_range(jump, other, other + PAGE_SIZE), 0);
	KUNIT_ASSERT_EQ(test, kexec_jump_move_backups(jump), 0);
	KUNIT_ASSERT_EQ(test, kexec_jump_back_window(jump), 0);
	KUNIT_EXPECT_EQ(test, jump->nr_backed, BLOCK_PAGES + 1);
	/* What was loaded went along; the page itself belongs to the image now. */
	page = kexec_jump_window_page(jump, start);
	KUNIT_EXPECT_FALSE(test, kexec_jump_in_window(jump, page_to_phys(page)));
	content = kmap_local_page(page);
	KUNIT_EXPECT_NULL(test, memchr_inv(content, 'x', PAGE_SIZE));
	kunmap_local(content);
	KUNIT_EXPECT_EQ(test, page_to_phys(kexec_jump_window_page(jump, other)), other);
	KUNIT_EXPECT_EQ(test, jump->nr_claimed, 1);
}

static void no_window_where_there_is_no_memory(struct kunit *test)
{
	struct kexec_jump *jump = new_jump(test, new_block(test));
	u64 end = (u64)PFN_PHYS(max_pfn);

	KUNIT_ASSERT_EQ(test, kexec_jump_add_range(jump, end - PAGE_SIZE, end + PAGE_SIZE), 0);
	KUNIT_EXPECT_EQ(test, kexec_jump_check_window(jump), -EADDRNOTAVAIL);
}

/* What was an image, of any number of pieces, may be a program when it comes back. */
static void more_ranges_than_a_peer_is_told_of(struct kunit *test)
{
	struct kexec_jump *jump = new_jump(test, new_block(test));
	struct kimage image = { .jump = jump };
	u64 start;

	while (jump->window.nr <= KEXEC_JUMP_MAX_RANGES) {
		KUNIT_EXPECT_EQ(test, kexec_jump_check_ranges(jump), 0);
		/* No two of them touch. */
		start = page_to_phys(new_block(test));
		KUNIT_ASSERT_EQ(test, kexec_jump_add_range(jump, start, start + PAGE_SIZE), 0);
	}
	KUNIT_ASSERT_EQ(test, kexec_jump_back_window(jump), 0);
	jump->from_image = true;
	KUNIT_EXPECT_EQ(test, kexec_jump_check_ranges(jump), 0);
	KUNIT_EXPECT_EQ(test, kexec_jump_check_target(&image), -ENOSPC);
}

/* --- lists, and what a peer makes of them --- */

struct followed {
	struct kunit *test;
	struct kexec_jump *jump;
	struct page *block;
};

static int visit_backup(void *arg, unsigned long n, unsigned long pfn, unsigned long destination)
{
	const struct followed *f = arg;
	struct page *page = f->block + n;
	struct page *backup = kexec_jump_window_page(f->jump, page_to_phys(page));

	KUNIT_EXPECT_EQ(f->test, destination, page_to_pfn(page));
	KUNIT_EXPECT_EQ(f->test, pfn, page_to_pfn(backup));
	return 0;
}

static void backup_map(struct kunit *test)
{
	struct page *block = new_block(test);
	struct followed f = { .test = test, .block = block };
	u64 map;

	f.jump = new_jump(test, block);
	KUNIT_ASSERT_EQ(test, kexec_jump_back_window(f.jump), 0);
	KUNIT_ASSERT_EQ(test, kexec_jump_make_map(f.jump), 0);
	map = kexec_jump_list_address(&f.jump->map);
	KUNIT_EXPECT_EQ(test, BLOCK_PAGES,
			kexec_jump_follow_list(map, BLOCK_PAGES, visit_backup, &f));
	KUNIT_EXPECT_EQ(test, -EIO,
			kexec_jump_follow_list(map, BLOCK_PAGES - 1, visit_backup, &f));
}

static int count(void *arg, unsigned long n, unsigned long pfn, unsigned long destination)
{
	unsigned long *first = arg;

	return pfn == *first + n ? 0 : -ENXIO;
}

/* A list of several pages. */
static void long_list(struct kunit *test)
{
	const unsigned long entries = 2 * PAGE_SIZE / sizeof(kimage_entry_t);
	struct kexec_jump *jump = new_jump(test, new_block(test));
	unsigned long first = 0x1000, i;
	u64 list;

	KUNIT_ASSERT_EQ(test, kexec_jump_list_alloc(&jump->pool, &jump->map, entries), 0);
	for (i = 0; i < entries; i++)
		kexec_jump_list_add(&jump->map, PFN_PHYS(first + i) | IND_SOURCE);
	kexec_jump_list_add(&jump->map, IND_DONE);
	KUNIT_EXPECT_EQ(test, list_count_nodes(&jump->map.pages), 3);
	list = kexec_jump_list_address(&jump->map);
	KUNIT_EXPECT_EQ(test, kexec_jump_follow_list(list, entries, count, &first), entries);
	/* What was visited may object. */
	first++;
	KUNIT_EXPECT_EQ(test, kexec_jump_follow_list(list, entries, count, &first), -ENXIO);
}

static int ignore(void *arg, unsigned long n, unsigned long pfn, unsigned long destination)
{
	return 0;
}

static void lists_that_are_none(struct kunit *test)
{
	const unsigned int nr_words = PAGE_SIZE / sizeof(kimage_entry_t);
	struct page *block = new_block(test);
	kimage_entry_t *words = page_address(block);
	u64 list = page_to_phys(block);
	unsigned int i;

	/* A word that is nothing, no end within the page, a list that leads to itself. */
	memset(words, 0, PAGE_SIZE);
	KUNIT_EXPECT_EQ(test, kexec_jump_follow_list(list, nr_words, ignore, NULL), -EIO);
	for (i = 0; i < nr_words; i++)
		words[i] = list | IND_SOURCE;
	KUNIT_EXPECT_EQ(test, kexec_jump_follow_list(list, nr_words, ignore, NULL), -EIO);
	words[0] = IND_DESTINATION;
	words[1] = list | IND_INDIRECTION;
	KUNIT_EXPECT_EQ(test, kexec_jump_follow_list(list, nr_words, ignore, NULL), -EIO);
	words[0] = IND_DONE;
	KUNIT_EXPECT_EQ(test, kexec_jump_follow_list(list, 0, ignore, NULL), 0);
}

/* --- headers --- */

static struct kexec_jump_header *new_header(struct kunit *test)
{
	struct kexec_jump_header *header = kunit_kzalloc(test, KEXEC_JUMP_HEADER_MAX, GFP_KERNEL);

	KUNIT_ASSERT_NOT_NULL(test, header);
	header->magic = KEXEC_JUMP_MAGIC;
	header->version = KEXEC_JUMP_VERSION;
	header->size = KEXEC_JUMP_HEADER_SIZE;
	header->machine = ELF_ARCH;
	header->flags = arch_kexec_jump_flags();
	header->entry = 0x12345400;
	header->nr_ranges = 1;
	header->window[0].start = MB(1);
	header->window[0].end = MB(64);
	header->state = KEXEC_JUMP_AWAY;
	kexec_jump_seal_header(header);
	return header;
}

static int check_at(struct kexec_jump_header *header, u64 entry, u32 state)
{
	return kexec_jump_check_header(header, entry, state);
}

static int check(struct kexec_jump_header *header)
{
	return check_at(header, 0x12345400, KEXEC_JUMP_AWAY);
}

static void header_is_right(struct kunit *test)
{
	struct kexec_jump_header *header = new_header(test);

	KUNIT_EXPECT_TRUE(test, kexec_jump_header_intact(header));
	KUNIT_EXPECT_EQ(test, check(header), 0);
	KUNIT_EXPECT_EQ(test, check_at(header, 0x12345000, KEXEC_JUMP_AWAY), -ENOEXEC);
	KUNIT_EXPECT_EQ(test, check_at(header, 0x12345400, KEXEC_JUMP_IMAGE), -ESTALE);
	header->state = KEXEC_JUMP_RUNNING;
	KUNIT_EXPECT_EQ(test, check(header), -ESTALE);
}

/* Whatever byte of it is another one, it is no header, or one that is damaged. */
static void header_is_damaged(struct kunit *test)
{
	struct kexec_jump_header *header = new_header(test);
	unsigned int i;

	for (i = 0; i < KEXEC_JUMP_HEADER_SIZE; i++) {
		((u8 *)header)[i] ^= 0x40;
		KUNIT_EXPECT_FALSE_MSG(test, kexec_jump_header_intact(header), "byte %u", i);
		((u8 *)header)[i] ^= 0x40;
	}
	KUNIT_EXPECT_TRUE(test, kexec_jump_header_intact(header));

	header->magic++;
	KUNIT_EXPECT_EQ(test, check(header), -ENOEXEC);
	header->magic--;
	header->version++;
	KUNIT_EXPECT_EQ(test, check(header), -EPROTONOSUPPORT);
	header->version--;
	header->backup_map++;
	KUNIT_EXPECT_EQ(test, check(header), -EBADMSG);
	header->backup_map--;
	KUNIT_EXPECT_EQ(test, check(header), 0);
}

/* The checksum is right, and still it is not for this kernel. */
static void header_of_another_kind(struct kunit *test)
{
	struct kexec_jump_header *header = new_header(test);

	header->machine++;
	kexec_jump_seal_header(header);
	KUNIT_EXPECT_EQ(test, check(header), -EPROTONOSUPPORT);
	header->machine--;
	header->flags ^= BIT_ULL(63);
	kexec_jump_seal_header(header);
	KUNIT_EXPECT_EQ(test, check(header), -EPROTONOSUPPORT);
	header->flags ^= BIT_ULL(63);
	header->nr_ranges = KEXEC_JUMP_MAX_RANGES + 1;
	kexec_jump_seal_header(header);
	KUNIT_EXPECT_EQ(test, check(header), -EBADMSG);
}

static void header_of_any_version(struct kunit *test)
{
	struct kexec_jump_header *header = new_header(test);

	KUNIT_EXPECT_PTR_EQ(test, (void *)kexec_jump_find_tail(header), (void *)&header->state);
	/* One of this version is where it is, whatever it says. */
	header->size = 0;
	KUNIT_EXPECT_PTR_EQ(test, (void *)kexec_jump_find_tail(header), (void *)&header->state);
	header->version++;
	KUNIT_EXPECT_NULL(test, kexec_jump_find_tail(header));
	header->size = 0x300;
	KUNIT_EXPECT_PTR_EQ(test, (void *)kexec_jump_find_tail(header), (void *)header + 0x300);
	header->size = KEXEC_JUMP_HEADER_MAX - sizeof(struct kexec_jump_tail) + 1;
	KUNIT_EXPECT_NULL(test, kexec_jump_find_tail(header));
	header->size = U32_MAX;
	KUNIT_EXPECT_NULL(test, kexec_jump_find_tail(header));
}

static void header_tells_the_window(struct kunit *test)
{
	struct kexec_jump_header *header = new_header(test);

	KUNIT_EXPECT_TRUE(test, kexec_jump_window_has(header, MB(1), MB(64)));
	KUNIT_EXPECT_FALSE(test, kexec_jump_window_has(header, MB(1) - 1, MB(2)));
	KUNIT_EXPECT_FALSE(test, kexec_jump_window_has(header, MB(63), MB(64) + 1));
	header->nr_ranges = 0;
	KUNIT_EXPECT_FALSE(test, kexec_jump_window_has(header, MB(1), MB(2)));
}

/* This kernel was not jumped to: whatever it is shown, it has nobody to look at. */
static void nobody_to_look_at(struct kunit *test)
{
	if (kexec_jump_preserved_kernel())
		kunit_skip(test, "this kernel was jumped to");
	KUNIT_EXPECT_NOT_NULL(test, kexec_jump_judge(new_header(test)));
	KUNIT_EXPECT_NULL(test, kexec_jump_preserved_now());
	KUNIT_EXPECT_FALSE(test, kexec_jump_is_own(0));
}

static struct kunit_case kexec_jump_cases[] = {
	KUNIT_CASE(ranges_merge),
	KUNIT_CASE(ranges_overlap),
	KUNIT_CASE(ranges_hold),
	KUNIT_CASE(ranges_grow),
	KUNIT_CASE(window_is_backed),
	KUNIT_CASE(memory_that_fails),
	KUNIT_CASE(window_grows_over_a_backup),
	KUNIT_CASE(no_window_where_there_is_no_memory),
	KUNIT_CASE(more_ranges_than_a_peer_is_told_of),
	KUNIT_CASE(backup_map),
	KUNIT_CASE(long_list),
	KUNIT_CASE(lists_that_are_none),
	KUNIT_CASE(header_is_right),
	KUNIT_CASE(header_is_damaged),
	KUNIT_CASE(header_of_another_kind),
	KUNIT_CASE(header_of_any_version),
	KUNIT_CASE(header_tells_the_window),
	KUNIT_CASE(nobody_to_look_at),
	{}
};

static struct kunit_suite kexec_jump_suite = {
	.name = "kexec_jump",
	.test_cases = kexec_jump_cases,
};

kunit_test_suite(kexec_jump_suite);

MODULE_LICENSE("GPL");
