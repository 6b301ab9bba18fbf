// SPDX-License-Identifier: GPL-2.0
/* Options of the verbs. */
#include "common/cli.h"

#include <stdarg.h>
#include <stdlib.h>

int usage(const char *verb, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail(KJ_USAGE, "%s: %s (kjump %s --help says more)", verb, text, verb);
}

int next_option(int argc, char **argv, const struct option *options, const char *help)
{
	int code;

	opterr = 0;
	code = getopt_long(argc, argv, ":h", options, NULL);
	if (code == 'h') {
		fputs(help, stdout);
		exit(KJ_OK);
	}
	if (code != '?' && code != ':')
		return code;
	if (code == '?' && optopt && optopt < OPT_FIRST)
		usage(argv[0], "unknown option -%c", optopt);
	else
		usage(argv[0], code == ':' ? "%s needs a value" : "unknown or wrong option %s",
		      argv[optind - 1]);
	fprintf(stderr, "kjump: %s\n", fail_text());
	exit(KJ_USAGE);
}

int check_arguments(int argc, char **argv, int min, int max)
{
	int n = argc - optind;

	if (n < min)
		return usage(argv[0], "something is missing");
	if (n > max)
		return usage(argv[0], "what is \"%s\"?", argv[optind + max]);
	return KJ_OK;
}
