// SPDX-License-Identifier: GPL-2.0
/* The file of a kernel. */
#include "fuzz.h"
#include "peer/bzimage.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct bzimage kernel;

	bzimage_read(fuzz_file(data, size), &kernel);
	fail_clear();
	return 0;
}
