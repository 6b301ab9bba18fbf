// SPDX-License-Identifier: GPL-2.0
/* An initramfs, packed or not. */
#include "fuzz.h"
#include "peer/initramfs.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct initramfs fs;

	initramfs_read(fuzz_file(data, size), &fs);
	fail_clear();
	return 0;
}
