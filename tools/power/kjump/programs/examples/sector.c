// SPDX-License-Identifier: GPL-2.0
/*
 * kjump call --output=FILE sector.bin DRIVE [FIRST [COUNT]]
 *
 * Returns sectors of 512 bytes of a drive of the BIOS: 0x80 is its first disk, 0 its
 * first diskette. Of a disk whose controller the kernel has driven, a BIOS cannot read as
 * a rule: what is left are IDE, diskettes, and those that have no driver.
 */
#include "bios.h"
#include "program.h"

#define SECTOR	512u

/* INT 13h, AH=42h takes it at ds:si. */
struct packet {
	uint8_t size;
	uint8_t zero;
	uint16_t count;
	uint16_t offset;
	uint16_t segment;
	uint64_t first;
};

/* The packet is before the buffer's second half; sectors go one by one to its beginning. */
#define PACKET	0x8000u

/* AH=41h: disks of more than 8 GB are addressed by the number of a sector. */
static const char *has_extensions(uint32_t drive, bool *has)
{
	struct bios_regs regs = { .eax = 0x4100, .ebx = 0x55aa, .edx = drive };
	const char *why = bios_call(0x13, &regs);

	*has = !why && !(regs.flags & BIOS_CARRY) && (regs.ebx & 0xffff) == 0xaa55 && regs.ecx & 1;
	return why;
}

static const char *read_extended(uint32_t drive, uint32_t sector, uint32_t *error)
{
	struct bios_regs regs = { .eax = 0x4200, .edx = drive, .esi = PACKET, .ds = BIOS_SEGMENT };
	struct packet packet = { .size = sizeof(packet), .count = 1, .segment = BIOS_SEGMENT,
				 .first = sector };
	const char *why;

	memcpy((char *)bios_buffer() + PACKET, &packet, sizeof(packet));
	why = bios_call(0x13, &regs);
	*error = regs.flags & BIOS_CARRY ? regs.eax >> 8 & 0xff : 0;
	return why;
}

/* By cylinder, head and sector, as AH=08h says how many of them there are. */
static const char *read_chs(uint32_t drive, uint32_t sector, uint32_t *error)
{
	struct bios_regs regs = { .eax = 0x0800, .edx = drive };
	const char *why = bios_call(0x13, &regs);
	uint32_t sectors, heads, cylinder, tries;

	if (why)
		return why;
	sectors = regs.ecx & 0x3f;
	heads = (regs.edx >> 8 & 0xff) + 1;
	if (regs.flags & BIOS_CARRY || !sectors)
		return "the BIOS does not know this drive";
	cylinder = sector / sectors / heads;
	if (cylinder > (regs.ecx >> 8 & 0xff) + ((regs.ecx & 0xc0) << 2))
		return "the drive has no such sector";
	/* A diskette's motor needs its time: three tries, each after a reset. */
	for (tries = 0; tries < 3; tries++) {
		regs = (struct bios_regs) {
			.eax = 0x0201,
			.ecx = (cylinder & 0xff) << 8 | (cylinder >> 2 & 0xc0) |
			       (sector % sectors + 1),
			.edx = sector / sectors % heads << 8 | drive,
			.es = BIOS_SEGMENT,
		};
		why = bios_call(0x13, &regs);
		*error = regs.flags & BIOS_CARRY ? regs.eax >> 8 & 0xff : 0;
		if (why || !*error)
			break;
		regs = (struct bios_regs) { .edx = drive };
		why = bios_call(0x13, &regs);
		if (why)
			break;
	}
	return why;
}

int main(int argc, char **argv)
{
	uint32_t drive, first = 0, count = 1, error = 0;
	const char *why;
	bool extended;

	if (argc < 2 || argc > 4 || !kj_number(argv[1], &drive) || drive > 0xff ||
	    (argc > 2 && !kj_number(argv[2], &first)) ||
	    (argc > 3 && !kj_number(argv[3], &count))) {
		kj_puts("sector DRIVE [FIRST [COUNT]], with DRIVE from 0 to 0xff\n");
		return 1;
	}
	bios_seconds = 10;
	why = has_extensions(drive, &extended);
	while (!why && count) {
		why = extended ? read_extended(drive, first, &error) :
				 read_chs(drive, first, &error);
		if (!why && !error && kj_write(bios_buffer(), SECTOR) < SECTOR)
			why = "no room for more; see kjump call --room";
		if (why || error)
			break;
		first++;
		count--;
	}
	if (why)
		kj_printf("drive 0x%x, sector %u: %s\n", drive, first, why);
	else if (error)
		kj_printf("drive 0x%x, sector %u: the BIOS has error 0x%x\n", drive, first, error);
	return why || error ? 2 : 0;
}
