// SPDX-License-Identifier: GPL-2.0
/* A core file: its headers, notes, and what is in it. */
#include "fuzz.h"
#include "peer/vmcore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct extents extents = { .packed = NULL };
	struct vmcore core;

	if (!vmcore_open(&core, fuzz_file(data, size)))
		vmcore_extents(&core, &extents);
	extents_free(&extents);
	vmcore_close(&core);
	fail_clear();
	return 0;
}
