// SPDX-License-Identifier: GPL-2.0
/*
 * Kexec jump: lists of pages that another kernel can follow.
 *
 * They are kimage page lists, made of pages outside the window: the backup map,
 * the description of this kernel, and the memory it shares with its peer.
 */
#include "internal.h"

#include <linux/gfp.h>
#include <linux/mm.h>

#define LIST_ENTRIES	(PAGE_SIZE / sizeof(kimage_entry_t))

/**
 * kexec_jump_list_init - begin a list without pages
 * @list:	the list
 */
void kexec_jump_list_init(struct kexec_jump_list *list)
{
	INIT_LIST_HEAD(&list->pages);
	list->page = NULL;
	list->entry = 0;
}

/**
 * kexec_jump_list_alloc - make room in an empty list
 * @pool:	its window is complete
 * @list:	the list
 * @entries:	what will be added at most
 *
 * Process context. Later nothing can fail.
 *
 * Return: 0 or -ENOMEM; then the list has to be freed all the same.
 */
int kexec_jump_list_alloc(struct kexec_jump_pool *pool,
			  struct kexec_jump_list *list, unsigned long entries)
{
	/* One for the end; a page's last entry leads to the next page. */
	unsigned long pages = DIV_ROUND_UP(entries + 1, LIST_ENTRIES - 1);

	while (pages--)
		if (!kexec_jump_alloc_outside(pool, GFP_KERNEL, &list->pages))
			return -ENOMEM;
	list->page = list_first_entry(&list->pages, struct page, lru);
	return 0;
}

/**
 * kexec_jump_list_add - add an entry
 * @list:	there is room
 * @entry:	physical address and IND_* flags
 */
void kexec_jump_list_add(struct kexec_jump_list *list, unsigned long entry)
{
	kimage_entry_t *entries = page_address(list->page);

	if (list->entry == LIST_ENTRIES - 1) {
		list->page = list_next_entry(list->page, lru);
		entries[list->entry] = page_to_phys(list->page) | IND_INDIRECTION;
		entries = page_address(list->page);
		list->entry = 0;
	}
	entries[list->entry++] = entry;
}

/**
 * kexec_jump_list_address - where the list begins
 * @list:	there is room
 *
 * Return: physical address.
 */
u64 kexec_jump_list_address(const struct kexec_jump_list *list)
{
	return page_to_phys(list_first_entry(&list->pages, struct page, lru));
}

/**
 * kexec_jump_list_free - free the pages of a list
 * @list:	the list
 */
void kexec_jump_list_free(struct kexec_jump_list *list)
{
	kexec_jump_free_pages(&list->pages);
	kexec_jump_list_init(list);
}
