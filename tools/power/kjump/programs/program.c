// SPDX-License-Identifier: GPL-2.0
/* What programs use in the place of an operating system. */
#include "program.h"
#include "abi.h"

#define PAGE		4096ul

/* Of <linux/kexec_jump_abi.h>: the beginning of the page the return address is in. */
#define JUMP_MAGIC	0x504d4a434558454bULL
#define JUMP_VERSION	1
#define JUMP_RANGES	32

struct jump_range {
	uint64_t start;
	uint64_t end;
};

struct jump_header {
	uint64_t magic;
	uint32_t version;
	uint32_t size;
	uint32_t checksum;
	uint32_t machine;
	uint64_t flags;
	uint64_t entry;
	uint64_t backup_map;
	uint32_t nr_ranges;
	uint32_t reserved;
	struct jump_range window[JUMP_RANGES];
	uint64_t description;
	uint64_t elf_pages;
	uint64_t nr_pfns;
	uint64_t shared;
	uint64_t shared_pages;
};

/* In the low bits of a list's words. */
#define LIST_GOES_ON	2ul
#define LIST_PAGE	8ul

static struct {
	const struct jump_header *header;
	struct kj_call *call;
	/* The page of the shared memory that was looked up last. */
	const unsigned long *word;
	uint64_t number;
} kj;

static char arguments[KJ_CALL_ARGUMENTS];
static char *argv[KJ_CALL_ARGC + 1];

void *memcpy(void *to, const void *from, size_t len)
{
	void *d = to;

	asm volatile("rep movsb" : "+D" (d), "+S" (from), "+c" (len) : : "memory");
	return to;
}

void *memset(void *to, int byte, size_t len)
{
	void *d = to;

	asm volatile("rep stosb" : "+D" (d), "+c" (len) : "a" (byte) : "memory");
	return to;
}

size_t strlen(const char *text)
{
	size_t n = 0;

	while (text[n])
		n++;
	return n;
}

int strncmp(const char *a, const char *b, size_t len)
{
	for (; len; len--, a++, b++)
		if (*a != *b || !*a)
			return (unsigned char)*a - (unsigned char)*b;
	return 0;
}

/* A page of the shared memory, NULL behind the last one. */
static char *shared_page(uint64_t n)
{
	if (!kj.word || n < kj.number) {
		kj.word = (const unsigned long *)(uintptr_t)kj.header->shared;
		kj.number = 0;
	}
	while (kj.word) {
		unsigned long word = *kj.word;

		if (word & LIST_PAGE && kj.number == n)
			return (char *)(word & ~(PAGE - 1));
		if (word & LIST_PAGE) {
			kj.number++;
			kj.word++;
		} else {
			kj.word = word & LIST_GOES_ON ?
				  (const unsigned long *)(word & ~(PAGE - 1)) : NULL;
		}
	}
	return NULL;
}

static size_t transfer(uint64_t at, char *buf, size_t len, bool write)
{
	size_t done = 0;

	while (done < len) {
		size_t offset = (at + done) & (PAGE - 1), chunk = PAGE - offset;
		char *page = shared_page((at + done) / PAGE);

		if (!page)
			break;
		if (chunk > len - done)
			chunk = len - done;
		if (write)
			memcpy(page + offset, buf + done, chunk);
		else
			memcpy(buf + done, page + offset, chunk);
		done += chunk;
	}
	return done;
}

uint64_t kj_input_size(void)
{
	return kj.call ? kj.call->input_size : 0;
}

size_t kj_read(uint64_t at, void *buf, size_t len)
{
	uint64_t size = kj_input_size();

	if (at >= size)
		return 0;
	if (len > size - at)
		len = (size_t)(size - at);
	return transfer(kj.call->input_at + at, buf, len, false);
}

size_t kj_write(const void *buf, size_t len)
{
	uint64_t left = kj.call ? kj.call->output_room - kj.call->output_size : 0;

	if (len > left)
		len = (size_t)left;
	if (!len)
		return 0;
	len = transfer(kj.call->output_at + kj.call->output_size, (char *)buf, len, true);
	kj.call->output_size += len;
	return len;
}

void kj_puts(const char *text)
{
	kj_write(text, strlen(text));
}

/* At the end of @end, downwards; returns where it begins. Only base 16 for what is long. */
static char *digits(char *end, uint64_t n, unsigned int base)
{
	*--end = 0;
	do {
		unsigned int digit = base == 16 ? n & 15 : (uint32_t)n % base;

		*--end = "0123456789abcdef"[digit];
		n = base == 16 ? n >> 4 : (uint32_t)n / base;
	} while (n);
	return end;
}

void kj_printf(const char *fmt, ...)
{
	va_list ap;

	va_start(ap, fmt);
	for (; *fmt; fmt++) {
		char buf[24], *text = buf, pad;
		unsigned int width = 0, length;
		bool is_long = false;
		int n;

		if (*fmt != '%') {
			kj_write(fmt, 1);
			continue;
		}
		pad = *++fmt == '0' ? '0' : ' ';
		for (; *fmt >= '0' && *fmt <= '9'; fmt++)
			width = 10 * width + (unsigned int)(*fmt - '0');
		for (; *fmt == 'l'; fmt++)
			is_long = fmt[1] == 'l' || is_long;
		buf[1] = 0;
		if (!*fmt) {
			break;
		} else if (*fmt == 's') {
			text = va_arg(ap, char *);
		} else if (*fmt == 'x') {
			text = digits(buf + sizeof(buf), is_long ? va_arg(ap, unsigned long long) :
				      va_arg(ap, unsigned int), 16);
		} else if (*fmt == 'u') {
			text = digits(buf + sizeof(buf), va_arg(ap, unsigned int), 10);
		} else if (*fmt == 'd') {
			n = va_arg(ap, int);
			text = digits(buf + sizeof(buf), n < 0 ? 0 - (uint32_t)n : (uint32_t)n, 10);
			if (n < 0)
				*--text = '-';
		} else {
			buf[0] = *fmt == 'c' ? (char)va_arg(ap, int) : *fmt;
		}
		for (length = (unsigned int)strlen(text); length < width; width--)
			kj_write(&pad, 1);
		kj_puts(text);
	}
	va_end(ap);
}

bool kj_is_efi(void)
{
	return kj.call && kj.call->flags & KJ_CALL_EFI;
}

bool kj_owns(uint64_t start, uint64_t end)
{
	uint32_t i;

	/* Pieces of it may touch. */
	for (i = 0; kj.header && start < end && i < kj.header->nr_ranges; i++)
		if (start >= kj.header->window[i].start && start < kj.header->window[i].end)
			start = kj.header->window[i].end;
	return kj.header && start >= end;
}

bool kj_number(const char *text, uint32_t *n)
{
	uint32_t base = 10;

	if (text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	}
	if (!*text)
		return false;
	for (*n = 0; *text; text++) {
		uint32_t digit = (uint32_t)(unsigned char)*text - '0';

		if (digit > 9)
			digit = ((uint32_t)(unsigned char)*text | 0x20) - 'a' + 10;
		if (digit >= base || (digit > 9 && (*text | 0x20) < 'a') ||
		    *n > (0xffffffffu - digit) / base)
			return false;
		*n = *n * base + digit;
	}
	return true;
}

/* Who calls may be another kernel, or another kjump, than this program was built for. */
static void find_call(uintptr_t return_address)
{
	const struct jump_header *header = (const void *)(return_address & ~(PAGE - 1));
	struct kj_call *call;

	kj.header = NULL;
	kj.call = NULL;
	kj.word = NULL;
	if (header->magic != JUMP_MAGIC || header->version != JUMP_VERSION ||
	    header->nr_ranges > JUMP_RANGES)
		return;
	kj.header = header;
	call = header->shared_pages ? (struct kj_call *)shared_page(0) : NULL;
	if (!call || call->magic != KJ_CALL_MAGIC || call->version != KJ_CALL_VERSION ||
	    call->size != sizeof(*call) || call->argc > KJ_CALL_ARGC ||
	    call->arguments_size > sizeof(arguments))
		return;
	kj.call = call;
}

static int find_arguments(void)
{
	char *text = arguments, *end = arguments;
	uint32_t argc;

	if (kj.call)
		end += transfer(kj.call->arguments_at, arguments,
				(size_t)kj.call->arguments_size, false);
	for (argc = 0; kj.call && argc < kj.call->argc && text < end; argc++) {
		argv[argc] = text;
		text += strlen(text) + 1;
	}
	argv[argc] = NULL;
	return (int)argc;
}

/* From start.S. */
void kj_start(uintptr_t return_address);
void kj_start(uintptr_t return_address)
{
	int code;

	find_call(return_address);
	code = main(find_arguments(), argv);
	if (kj.call) {
		/* In a series, the first that says something is wrong. */
		if (!kj.call->exit_code)
			kj.call->exit_code = (uint32_t)code;
		kj.call->state = KJ_CALL_ENDED;
	}
}
