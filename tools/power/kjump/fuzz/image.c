// SPDX-License-Identifier: GPL-2.0
/* An image, with whatever checksums: reading it, unpacking all of it, comparing machines. */
#include "fuzz.h"
#include "image/image.h"
#include "resume/resume.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct image image;

	if (!image_open(&image, fuzz_file(data, size), false) && !image_read_all(&image, true)) {
		restore_check_machine(&image, false);
		fail_clear();
		restore_check_data(&image);
	}
	image_close(&image);
	fail_clear();
	return 0;
}
