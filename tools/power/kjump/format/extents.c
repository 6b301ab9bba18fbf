// SPDX-License-Identifier: GPL-2.0
/* Which parts of the core file an image holds, packed. See format.h. */
#include "format/format.h"

#include <stdlib.h>
#include <string.h>

static size_t put_number(uint8_t *p, uint64_t n)
{
	size_t len = 0;

	do {
		p[len++] = (n & 0x7f) | (n > 0x7f ? 0x80 : 0);
		n >>= 7;
	} while (n);
	return len;
}

static bool get_number(const struct extents *list, size_t *at, uint64_t *n)
{
	unsigned int shift;

	*n = 0;
	for (shift = 0; shift < 63 && *at < list->length; shift += 7) {
		uint8_t byte = list->packed[(*at)++];

		*n |= (uint64_t)(byte & 0x7f) << shift;
		if (!(byte & 0x80))
			return true;
	}
	return false;
}

void extents_add(struct extents *list, uint64_t page, uint64_t pages)
{
	if (list->room - list->length < EXTENT_MAX) {
		list->room = list->room ? 2 * list->room : 4096;
		list->packed = xrealloc(list->packed, list->room);
	}
	list->length += put_number(list->packed + list->length, page - list->end);
	list->length += put_number(list->packed + list->length, pages);
	list->end = page + pages;
	list->pages += pages;
	list->count++;
}

void extents_free(struct extents *list)
{
	free(list->packed);
	memset(list, 0, sizeof(*list));
}

void extents_rewind(struct extent_cursor *c, const struct extents *list)
{
	c->list = list;
	c->at = 0;
	c->left = list->count;
	c->page = 0;
}

bool extents_next(struct extent_cursor *c, uint64_t *offset, uint64_t *length)
{
	uint64_t gap, pages;

	if (!c->left || !get_number(c->list, &c->at, &gap) ||
	    !get_number(c->list, &c->at, &pages))
		return false;
	c->left--;
	*offset = (c->page + gap) * PAGE;
	*length = pages * PAGE;
	c->page += gap + pages;
	return true;
}

bool extents_valid(struct extents *list)
{
	const uint64_t limit = (1ull << 63) / PAGE;
	uint64_t n, gap, pages;
	size_t at = 0;

	list->pages = 0;
	list->end = 0;
	for (n = 0; n < list->count; n++) {
		if (!get_number(list, &at, &gap) || !get_number(list, &at, &pages) ||
		    !pages || gap > limit - list->end ||
		    pages > limit - list->end - gap)
			return false;
		list->end += gap + pages;
		list->pages += pages;
	}
	return at == list->length;
}
