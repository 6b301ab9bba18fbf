// SPDX-License-Identifier: GPL-2.0
/*
 * kjump call arguments.bin [CODE [TEXT...]]
 *
 * Says what it was given, copies its input to its output, and ends with CODE.
 */
#include "program.h"

int main(int argc, char **argv)
{
	uint32_t code = 0;
	uint64_t at = 0;
	char buf[512];
	size_t n;
	int i;

	if (argc > 1 && !kj_number(argv[1], &code)) {
		kj_printf("no number: \"%s\"\n", argv[1]);
		return 1;
	}
	for (i = 0; i < argc; i++)
		kj_printf("argument %d: \"%s\"\n", i, argv[i]);
	for (; (n = kj_read(at, buf, sizeof(buf))); at += n)
		kj_write(buf, n);
	return (int)code;
}
