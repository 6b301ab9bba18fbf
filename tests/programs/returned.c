// SPDX-License-Identifier: GPL-2.0
/*
 * Calls the BIOS, and then is where it was: an exception is still told as the
 * program's own, with what it had said. Of tools/power/kjump/programs.
 */
#include "bios.h"
#include "program.h"

#ifdef __i386__
/* An interrupt of the kernel's, the local APIC's timer, that comes just before the jump. */
#define APIC(at)	(*(volatile uint32_t *)(0xfee00000 + (at)))
#define SELF_IPI	0x400ec
#define IN_SERVICE	APIC(0x170)
#define WAITING		APIC(0x270)
#define TIMER_BIT	(1u << 12)
#endif

int main(int argc, char **argv)
{
	/* Wait for 65 ms, with interrupts on: a call in which they have to come through. */
	struct bios_regs regs = { .eax = 0x8600, .ecx = 1 };
	const char *why;

	(void)argc;
	(void)argv;
#ifdef __i386__
	APIC(0x300) = SELF_IPI;
#endif
	why = bios_call(0x15, &regs);
	kj_puts(why || regs.flags & BIOS_CARRY ? "failed\n" : "called\n");
#ifdef __i386__
	kj_printf("waiting %u, in service %u\n", !!(WAITING & TIMER_BIT), !!(IN_SERVICE & TIMER_BIT));
#endif
	asm volatile("ud2");
	return 0;
}
