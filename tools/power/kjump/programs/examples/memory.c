// SPDX-License-Identifier: GPL-2.0
/*
 * kjump call memory.bin
 *
 * Prints the BIOS's memory map (INT 15h, E820), a line for each piece: first and last
 * byte, and what it is.
 */
#include "bios.h"
#include "program.h"

#define SMAP	0x534d4150u

struct piece {
	uint64_t start;
	uint64_t size;
	uint32_t type;
	uint32_t more;
};

/* ACPI's names for the numbers. */
static const char *type_name(uint32_t type)
{
	static const char * const names[] = {
		[1] = "usable", [2] = "reserved", [3] = "ACPI tables", [4] = "ACPI non-volatile",
		[5] = "unusable", [7] = "persistent",
	};

	return type < ARRAY_SIZE(names) && names[type] ? names[type] : "unknown";
}

int main(int argc, char **argv)
{
	struct piece *piece = bios_buffer();
	uint32_t next = 0, pieces = 0;

	(void)argc;
	(void)argv;
	do {
		struct bios_regs regs = { .eax = 0xe820, .ebx = next, .ecx = 20, .edx = SMAP,
					  .es = BIOS_SEGMENT };
		const char *why = bios_call(0x15, &regs);

		if (why) {
			kj_printf("%s\n", why);
			return 1;
		}
		if (regs.flags & BIOS_CARRY || regs.eax != SMAP)
			break;
		next = regs.ebx;
		if (!piece->size)
			continue;
		kj_printf("0x%llx-0x%llx %u %s\n", (unsigned long long)piece->start,
			  (unsigned long long)(piece->start + piece->size - 1), piece->type,
			  type_name(piece->type));
		pieces++;
	} while (next && pieces < 1000);
	if (!pieces)
		kj_puts("the BIOS has no memory map\n");
	return pieces ? 0 : 2;
}
