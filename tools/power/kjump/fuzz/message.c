// SPDX-License-Identifier: GPL-2.0
/* What the other kernel left in shared memory, lists of disks included. */
#include "fuzz.h"
#include "devices/disks.h"
#include "peer/shared.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct message m;
	struct disks d;
	char *text;

	message_init(&m);
	free(m.text);
	m.text = fuzz_text(data, size);
	/* It ends with the first zero byte, wherever it came from. */
	m.length = strlen(m.text);
	free(message_get(&m, "action"));
	message_number(&m, "room");
	text = message_get_text(&m, "disks");
	if (text && disks_parse(text, &d)) {
		char *again = disks_text(&d);
		struct disks same;

		/* What was understood can be said, and is understood in the same way. */
		if (!disks_parse(again, &same))
			abort();
		free(text);
		text = disks_text(&same);
		if (strcmp(text, again))
			abort();
		free(again);
		disks_free(&same);
		disks_free(&d);
	}
	free(text);
	message_free(&m);
	fail_clear();
	return 0;
}
