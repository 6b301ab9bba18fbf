// SPDX-License-Identifier: GPL-2.0
/*
 * kjump call [--input=FILE] interrupt.bin NUMBER [REGISTER=VALUE...]
 *		[buffer=BYTES] [seconds=N]
 *
 * Calls an interrupt of the BIOS. ds and es are those of a buffer of 64 KB, which begins
 * with the input; the output is what the registers are then, or with buffer=BYTES so much
 * of the buffer. seconds is how long the BIOS may take.
 */
#include "bios.h"
#include "program.h"

#define BUFFER_SIZE	(BIOS_END - BIOS_BUFFER)

static const char * const names[] = { "eax", "ebx", "ecx", "edx", "esi", "edi", "ebp" };

/* eax=0xe820, or ax=, and segments; and what is no register. */
static bool set_register(struct bios_regs *regs, const char *word, uint32_t *bytes)
{
	uint32_t *longs = &regs->eax, n, i;

	if (!strncmp(word, "buffer=", 7))
		return kj_number(word + 7, bytes) && *bytes && *bytes <= BUFFER_SIZE;
	if (!strncmp(word, "seconds=", 8))
		return kj_number(word + 8, &bios_seconds) && bios_seconds && bios_seconds < 1000;
	if (!strncmp(word, "ds=", 3) || !strncmp(word, "es=", 3)) {
		if (!kj_number(word + 3, &n) || n > 0xffff)
			return false;
		*(word[0] == 'd' ? &regs->ds : &regs->es) = (uint16_t)n;
		return true;
	}
	for (i = 0; i < ARRAY_SIZE(names); i++) {
		if (!strncmp(word, names[i], 3) && word[3] == '=')
			return kj_number(word + 4, &longs[i]);
		if (!strncmp(word, names[i] + 1, 2) && word[2] == '=')
			return kj_number(word + 3, &longs[i]) && longs[i] <= 0xffff;
	}
	return false;
}

int main(int argc, char **argv)
{
	struct bios_regs regs = { .ds = BIOS_SEGMENT, .es = BIOS_SEGMENT };
	uint32_t number, bytes = 0, *longs = &regs.eax, i;
	const char *why;
	int at;

	if (argc < 2 || !kj_number(argv[1], &number) || number > 0xff) {
		kj_puts("interrupt NUMBER [REGISTER=VALUE...] [buffer=BYTES] [seconds=N]\n");
		return 1;
	}
	for (at = 2; at < argc; at++) {
		if (!set_register(&regs, argv[at], &bytes)) {
			kj_printf("no register and value: \"%s\"\n", argv[at]);
			return 1;
		}
	}
	if (kj_input_size() > BUFFER_SIZE) {
		kj_puts("the input is larger than 64 KB\n");
		return 1;
	}
	why = bios_missing(number);
	if (!why) {
		memset(bios_buffer(), 0, BUFFER_SIZE);
		kj_read(0, bios_buffer(), BUFFER_SIZE);
		why = bios_call(number, &regs);
	}
	if (why) {
		kj_printf("%s\n", why);
		return 2;
	}
	if (bytes) {
		kj_write(bios_buffer(), bytes);
	} else {
		for (i = 0; i < ARRAY_SIZE(names); i++)
			kj_printf("%s=0x%x ", names[i], longs[i]);
		kj_printf("ds=0x%x es=0x%x flags=0x%x\n", regs.ds, regs.es, regs.flags);
	}
	return regs.flags & BIOS_CARRY ? 3 : 0;
}
