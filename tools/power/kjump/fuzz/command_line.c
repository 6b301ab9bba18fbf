// SPDX-License-Identifier: GPL-2.0
/* A kernel's command line, and what kjump makes of it for the peer. */
#include "fuzz.h"
#include "peer/peer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	const struct mem_range window = { .start = MB, .end = 64 * MB };
	char *own = fuzz_text(data, size), *append = strchr(own, '\n'), *line = NULL;

	if (append)
		*append++ = 0;
	if (!peer_command_line(own, append, &window, 2047, &line) && strlen(line) > 2047)
		abort();
	free(line);
	free(own);
	fail_clear();
	return 0;
}
