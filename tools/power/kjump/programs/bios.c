// SPDX-License-Identifier: GPL-2.0
/*
 * Calling the BIOS: whether there is one, what it relies on, page tables for the way
 * back.
 *
 * When it was left, at boot, the BIOS had the timer's interrupt, 18.2 times a second, and
 * both interrupt controllers (8259) with its vectors. The kernel has changed that, and
 * sets up its own when it is back. What the kernel does not touch is memory that it does
 * not call RAM: the vectors and the BIOS's data in page 0, the extended data below
 * 640 KB, the BIOS itself. Its drivers are another matter: a controller that the kernel
 * has driven since is not as they left it.
 */
#include "program.h"
#include "realmode.h"

#define TICK_VECTOR	0x1c
/* The BIOS's data begin here, and vectors end. */
#define VECTORS_END	0x400
/* What it leaves to programs, until the next boot: one finds there what another one has seen. */
#define LEFT_BEHIND	0x4f0
#define LEFT_MAGIC	0x74664c4bu

#define PIT_COUNTER_0	0x40
#define PIT_MODE	0x43
/* Counter 0, both bytes. Mode 0 waits for a count: no interrupts. */
#define PIT_MODE_0	0x30
#define PIT_MODE_2	0x34

#define PIC_1		0x20
#define PIC_2		0xa0
#define ELCR		0x4d0

/* 0, 1, 2, 6, 8, 14, 15: timer, keyboard, the other controller, diskettes, clock, ATA. */
#define BIOS_IRQS	0xc147u
/* Never level-triggered: if the register says so, there is no register. */
#define EDGE_IRQS	0x0107u

#define PRIORITY_MAX	15
#define CPUID_APIC	0x200u
#define MSR_APIC_BASE	0x1b
#define MSR_X2APIC_TPR	0x808
#define APIC_ON		0x800u
#define APIC_X2		0xc00u
#define APIC_PAGE	4096u
#define APIC_TPR	0x80

#define TABLE_WORDS	512
#define TABLE_PRESENT	3ull		/* and writable */
#define TABLE_LARGE	0x83ull		/* 2 MB */
#define CR4_LA57	0x1000ul

unsigned int bios_seconds = 30;

static void port_write(uint8_t value, uint16_t port)
{
	asm volatile("outb %0, %1" : : "a" (value), "d" (port));
}

static uint8_t port_read(uint16_t port)
{
	uint8_t value;

	asm volatile("inb %1, %0" : "=a" (value) : "d" (port));
	return value;
}

/* In assembly, as for C there is nothing at address 0, and a device is memory. */
static uint32_t get(uintptr_t at)
{
	uint32_t value;

	asm volatile("movl (%1), %0" : "=r" (value) : "r" (at) : "memory");
	return value;
}

static void put(uintptr_t at, uint32_t value)
{
	asm volatile("movl %0, (%1)" : : "r" (value), "r" (at) : "memory");
}

static uint32_t get_vector(unsigned int vector)
{
	return get(vector * 4);
}

static uint32_t linear(uint32_t pointer)
{
	return (pointer >> 16 << 4) + (pointer & 0xffff);
}

uint8_t bios_peek(uint32_t pointer)
{
	uint8_t value;

	asm volatile("movb (%1), %0" : "=q" (value) : "r" ((uintptr_t)linear(pointer)) : "memory");
	return value;
}

const char *bios_missing(unsigned int vector)
{
	uint32_t at;

	if (kj_is_efi())
		return "this machine was started by UEFI: there is no BIOS to be called";
	if (!kj_owns(BIOS_LOW, BIOS_END))
		return "not called by kexec jump, or by another version of it";
	/* Its stack, and what it notes of what it does, are in use. */
	if (get(LEFT_BEHIND) == LEFT_MAGIC)
		return "an earlier call of the BIOS did not come back: none until the next boot";
	at = linear(get_vector(vector));
	/* In what was RAM for the kernel, the handler is long gone. */
	if (vector > 0xff || at < VECTORS_END || at >= 0x110000 || kj_owns(at, at + 1) ||
	    bios_peek(get_vector(vector)) == 0xff)
		return "there is no BIOS that handles this interrupt";
	return NULL;
}

#ifdef __x86_64__

static uint64_t table[4][TABLE_WORDS] __aligned(4096);

/*
 * The GB this program is in, mapped to itself; as deep as the paging it came from is, for
 * that can only be chosen while paging is off.
 */
static void make_tables(void)
{
	uint64_t base = (uintptr_t)table >> 30 << 30;
	unsigned long cr4;
	unsigned int i;

	for (i = 0; i < TABLE_WORDS; i++)
		table[3][i] = base | (uint64_t)i << 21 | TABLE_LARGE;
	table[2][base >> 30] = (uintptr_t)table[3] | TABLE_PRESENT;
	table[1][0] = (uintptr_t)table[2] | TABLE_PRESENT;
	table[0][0] = (uintptr_t)table[1] | TABLE_PRESENT;
	asm volatile("mov %%cr4, %0" : "=r" (cr4));
	bios_tables = (uint32_t)(uintptr_t)table[cr4 & CR4_LA57 ? 0 : 1];
}

#else

static void make_tables(void)
{
}

#endif

/*
 * What was on its way to the kernel may still wait in the local APIC, and the BIOS, which
 * does not know of that, would take it and never say that it is done: nothing would come
 * through any more. With the highest priority only the 8259's interrupts do (Intel SDM
 * vol. 3A, 11.8.3.1, Task and Processor Priorities).
 *
 * Returns what it was.
 */
static unsigned long set_priority(unsigned long priority)
{
	unsigned long old;
#ifdef __x86_64__
	asm volatile("mov %%cr8, %0" : "=r" (old));
	asm volatile("mov %0, %%cr8" : : "r" (priority));
#else
	uint32_t eax = 1, ebx, ecx = 0, edx;

	asm volatile("cpuid" : "+a" (eax), "=b" (ebx), "+c" (ecx), "=d" (edx));
	if (!(edx & CPUID_APIC))
		return 0;
	asm volatile("rdmsr" : "=a" (eax), "=d" (edx) : "c" (MSR_APIC_BASE));
	if ((eax & APIC_X2) == APIC_X2) {
		asm volatile("rdmsr" : "=a" (old), "=d" (edx) : "c" (MSR_X2APIC_TPR));
		asm volatile("wrmsr" : : "a" (priority << 4), "d" (0), "c" (MSR_X2APIC_TPR));
	} else if (eax & APIC_ON) {
		old = get((eax & ~(APIC_PAGE - 1)) + APIC_TPR);
		put((eax & ~(APIC_PAGE - 1)) + APIC_TPR, priority << 4);
	} else {
		return 0;
	}
	old >>= 4;
#endif
	return old;
}

/* Both: to these vectors, and only these interrupts come through. */
static void set_controllers(uint8_t vector_1, uint8_t vector_2, unsigned int irqs)
{
	port_write(0x11, PIC_1);
	port_write(vector_1, PIC_1 + 1);
	port_write(1 << 2, PIC_1 + 1);
	port_write(1, PIC_1 + 1);
	port_write(0x11, PIC_2);
	port_write(vector_2, PIC_2 + 1);
	port_write(2, PIC_2 + 1);
	port_write(1, PIC_2 + 1);
	port_write((uint8_t)~irqs, PIC_1 + 1);
	port_write((uint8_t)(~irqs >> 8), PIC_2 + 1);
}

/* Of a line that devices share, and that a suspended one may hold, there would be no end. */
static unsigned int bios_irqs(void)
{
	unsigned int level = port_read(ELCR) | (unsigned int)port_read(ELCR + 1) << 8;

	return level & EDGE_IRQS ? BIOS_IRQS : BIOS_IRQS & ~level;
}

const char *bios_call(unsigned int vector, struct bios_regs *regs)
{
	char *copy = (char *)BIOS_LOW;
	struct bios_low *low = (struct bios_low *)(copy + (bios_low_data - bios_low));
	const char *why = bios_missing(vector);
	unsigned long priority;

	if (why)
		return why;
	make_tables();
	memcpy(copy, bios_low, (size_t)(bios_low_end - bios_low));
	low->regs = *regs;
	low->handler = get_vector(vector);
	low->old_tick = get_vector(TICK_VECTOR);
	low->ticks = bios_seconds * 182 / 10 + 1;
	low->came_back = 0;

	put(TICK_VECTOR * 4, (BIOS_LOW >> 4 << 16) | (uint32_t)(bios_low_tick - bios_low));
	port_write(PIT_MODE_2, PIT_MODE);
	port_write(0, PIT_COUNTER_0);
	port_write(0, PIT_COUNTER_0);
	set_controllers(0x08, 0x70, bios_irqs());
	priority = set_priority(PRIORITY_MAX);

	bios_switch();

	set_controllers(0x08, 0x70, 0);
	set_priority(priority);
	port_write(PIT_MODE_0, PIT_MODE);
	put(TICK_VECTOR * 4, low->old_tick);
	if (!low->came_back) {
		put(LEFT_BEHIND, LEFT_MAGIC);
		return "the BIOS did not come back in time: what it waits for may be the kernel's";
	}
	*regs = low->regs;
	return NULL;
}
