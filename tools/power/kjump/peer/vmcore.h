/* SPDX-License-Identifier: GPL-2.0 */
/* The memory of a preserved kernel, or a file like it. */
#ifndef KJUMP_VMCORE_H
#define KJUMP_VMCORE_H

#include "image/image.h"

#define VMCORE	"/proc/kexec_jump_vmcore"

struct vmcore {
	char *path;
	int fd;
	uint64_t size;
	uint64_t entry;
	uint32_t machine;
	uint32_t nr_cpus;		/* with a register note */
	struct load_range *loads;
	uint32_t nr_loads;
	char release[128];
	char build_id[64];
};

int vmcore_open(struct vmcore *core, const char *path);
void vmcore_close(struct vmcore *core);
/* The parts that are not holes. */
int vmcore_extents(struct vmcore *core, struct extents *list);
int vmcore_read(struct vmcore *core, void *buf, size_t len, uint64_t offset);

#endif
