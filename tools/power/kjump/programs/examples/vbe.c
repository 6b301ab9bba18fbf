// SPDX-License-Identifier: GPL-2.0
/*
 * kjump call vbe.bin
 *
 * Prints the modes that the graphics card's BIOS has (VBE, INT 10h, AX=4F00h and 4F01h).
 */
#include "bios.h"
#include "program.h"

struct vbe_info {
	char signature[4];
	uint16_t version;
	uint32_t vendor;
	uint32_t capabilities;
	uint32_t modes;			/* pointer to words, 0xffff at the end */
	uint16_t memory;		/* of 64 KB each */
	char rest[492];
} __packed;

struct vbe_mode {
	uint16_t attributes;
	char windows[14];
	uint16_t pitch;
	uint16_t width;
	uint16_t height;
	uint8_t char_width;
	uint8_t char_height;
	uint8_t planes;
	uint8_t depth;
	char rest[14];
	uint32_t framebuffer;		/* physical, from version 2 on */
	char end[212];
} __packed;

_Static_assert(sizeof(struct vbe_info) == 512 && sizeof(struct vbe_mode) == 256, "as VBE has them");

/* @attributes */
#define SUPPORTED	0x01u
#define GRAPHICS	0x10u
#define LINEAR		0x80u

/* A call with the buffer at es:di + @at. */
static const char *vbe(uint32_t function, uint32_t mode, uint32_t at)
{
	struct bios_regs regs = { .eax = function, .ecx = mode, .edi = at, .es = BIOS_SEGMENT };
	const char *why = bios_call(0x10, &regs);

	if (!why && (regs.eax & 0xffff) != 0x004f)
		why = "the BIOS has no VBE for this graphics card";
	return why;
}

int main(int argc, char **argv)
{
	struct vbe_info *info = bios_buffer();
	struct vbe_mode *mode = (struct vbe_mode *)(info + 1);
	const char *why;
	uint32_t i;

	(void)argc;
	(void)argv;
	memset(info, 0, sizeof(*info));
	/* With this, it tells what version 2 has, too. */
	memcpy(info->signature, "VBE2", 4);
	why = vbe(0x4f00, 0, 0);
	if (why) {
		kj_printf("%s\n", why);
		return 1;
	}
	kj_printf("VBE %u.%u, %u KB of memory\n", info->version >> 8, info->version & 0xffu,
		  info->memory * 64u);
	for (i = 0; i < 1000; i++) {
		uint16_t number = bios_peek16(info->modes + 2 * i);

		if (number == 0xffff)
			break;
		memset(mode, 0, sizeof(*mode));
		why = vbe(0x4f01, number, sizeof(*info));
		if (why || !(mode->attributes & SUPPORTED))
			continue;
		kj_printf("0x%04x %ux%u %u bits", number, mode->width, mode->height, mode->depth);
		if (!(mode->attributes & GRAPHICS))
			kj_puts(" text");
		if (mode->attributes & LINEAR && mode->framebuffer)
			kj_printf(" at 0x%x", mode->framebuffer);
		kj_puts("\n");
	}
	return 0;
}
