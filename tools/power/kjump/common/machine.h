/* SPDX-License-Identifier: GPL-2.0 */
/* What must be the same where an image is saved and where it is resumed. */
#ifndef KJUMP_MACHINE_H
#define KJUMP_MACHINE_H

#include <stdbool.h>
#include <stdint.h>

#define MACHINE_WORDS	16

struct machine {
	uint32_t nr_cpus;
	uint32_t reserved;
	char vendor[16];
	uint32_t words[MACHINE_WORDS];	/* CPU features as CPUID has them */
	uint32_t reserved2[2];
};

struct mem_range {
	uint64_t start, end;		/* end: first address after it */
};

void machine_features(struct machine *m);
/*
 * Whether an image of @image can run on @here: one of the same vendor with all features,
 * whatever more it has. If not, why: text in @why.
 */
bool machine_runs(const struct machine *image, const struct machine *here,
		  char *why, unsigned int len);

/* EM_X86_64 or EM_386: what the running kernel is for, and what that is called. */
uint16_t own_machine(void);
const char *machine_name(uint16_t machine);
unsigned int machine_present_cpus(void);
/* These, and those that could be added: a kernel keeps memory for all of them. */
unsigned int machine_possible_cpus(void);
/* System RAM of /proc/iomem or a file like it, pages that are wholly RAM; -1: unknown. */
int machine_ram(const char *iomem, struct mem_range **ranges);
/* Sort, merge what touches; returns how many are left. */
unsigned int merge_ranges(struct mem_range *r, unsigned int n);
uint64_t machine_ram_size(void);
/* A line of /proc/meminfo, @key with its colon. */
uint64_t meminfo_bytes(const char *key);
/* Can kexec_load(2) address all RAM? Not if a 32-bit kernel has some above 4 GB. */
bool machine_ram_loadable(void);

#endif
