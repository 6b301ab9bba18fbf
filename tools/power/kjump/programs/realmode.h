/* SPDX-License-Identifier: GPL-2.0 */
/* What realmode.S has for bios.c. */
#ifndef KJUMP_REALMODE_H
#define KJUMP_REALMODE_H

#include "bios.h"

/* To be copied to BIOS_LOW, from bios_low to bios_low_end; the others are in it. */
extern const char bios_low[];
extern const char bios_low_tick[];
extern const char bios_low_data[];
extern const char bios_low_end[];

/* At bios_low_data. */
struct bios_low {
	struct bios_regs regs;
	uint32_t handler;
	uint32_t old_tick;
	uint32_t ticks;			/* until the BIOS is left */
	uint32_t came_back;
};

_Static_assert(offsetof(struct bios_low, handler) == 36, "realmode.S says otherwise");

/* 64-bit: page tables for the way back. */
extern uint32_t bios_tables;

/* Call handler with regs, in real mode. Interrupts are off, and all is set up. */
void bios_switch(void);

#endif
