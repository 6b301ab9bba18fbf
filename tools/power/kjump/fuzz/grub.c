// SPDX-License-Identifier: GPL-2.0
/* GRUB's configuration. */
#include "fuzz.h"
#include "resume/grub.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *cfg = fuzz_text(data, size);
	struct boot_entry entry;

	/* One that is known is known whole. */
	if (grub_next(cfg, cfg, &entry)) {
		if (strchr(entry.words, '\n'))
			abort();
		if (entry.initrds && strchr(entry.initrds, '\n'))
			abort();
	}
	boot_entry_free(&entry);
	free(cfg);
	return 0;
}
