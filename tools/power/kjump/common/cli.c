// SPDX-License-Identifier: GPL-2.0
/* Options and answers of the verbs. */
#include "common/cli.h"

#include <errno.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

/* More than any verb has of its own. */
#define OPTIONS_MAX	16

int usage(const char *verb, const char *fmt, ...)
{
	char text[512];
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(text, sizeof(text), fmt, ap);
	va_end(ap);
	return fail(KJ_USAGE, "%s: %s (kjump %s --help says more)", verb, text, verb);
}

/* What all verbs have. */
static const struct option common[] = {
	{ "help", no_argument, NULL, 'h' },
	{ "quiet", no_argument, NULL, 'q' },
	{ "verbose", no_argument, NULL, 'v' },
	{ NULL }
};

static int next_of(int argc, char **argv, const struct option *options, const char *help,
		   const char *letters)
{
	struct option all[OPTIONS_MAX + ARRAY_SIZE(common)];
	unsigned int n = 0;
	int code;

	while (options[n].name && n < OPTIONS_MAX) {
		all[n] = options[n];
		n++;
	}
	memcpy(all + n, common, sizeof(common));
	opterr = 0;
	do {
		code = getopt_long(argc, argv, letters, all, NULL);
		if (code == 'q' || code == 'v')
			verbosity = code == 'v' ? 1 : -1;
	} while (code == 'q' || code == 'v');
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

int next_option(int argc, char **argv, const struct option *options, const char *help)
{
	return next_of(argc, argv, options, help, ":hqv");
}

int next_leading_option(int argc, char **argv, const struct option *options, const char *help)
{
	return next_of(argc, argv, options, help, "+:hqv");
}

int check_arguments(int argc, char **argv, const char *names)
{
	int at = optind;

	while (*names) {
		size_t length = strcspn(names, " ");

		if (at == argc && *names != '[')
			return usage(argv[0], "%.*s is missing", (int)length, names);
		if (length > 3 && !strncmp(names + length - 4, "...]", 4))
			return KJ_OK;
		at += at < argc;
		names += length + (names[length] == ' ');
	}
	if (at < argc)
		return usage(argv[0], "what is \"%s\"?", argv[at]);
	return KJ_OK;
}

/* Bytes of the character that begins there, 0 if none does: RFC 3629, 4. */
static unsigned int utf8_length(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	unsigned int length = *c < 0x80 ? 1 : *c < 0xc2 ? 0 : *c < 0xe0 ? 2 : *c < 0xf0 ? 3 :
			      *c < 0xf5 ? 4 : 0;

	for (unsigned int i = 1; i < length; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	/* Longer than need be, half of a UTF-16 pair, or beyond the last. */
	if ((*c == 0xe0 && c[1] < 0xa0) || (*c == 0xed && c[1] > 0x9f) ||
	    (*c == 0xf0 && c[1] < 0x90) || (*c == 0xf4 && c[1] > 0x8f))
		return 0;
	return length;
}

void put_json(const char *text)
{
	unsigned int length;

	putchar('"');
	for (; *text; text += length) {
		length = utf8_length(text);
		if (!length) {
			fputs("\\ufffd", stdout);
			length = 1;
		} else if (*text == '"' || *text == '\\') {
			printf("\\%c", *text);
		} else if ((*text >= 0 && *text < ' ') || *text == 0x7f) {
			printf("\\u%04x", *text);
		} else {
			fwrite(text, 1, length, stdout);
		}
	}
	putchar('"');
}

int answered(int rc)
{
	if ((fflush(stdout) || ferror(stdout)) && !rc)
		return fail(KJ_FAILED, "the answer cannot be written: %s", strerror(errno));
	return rc;
}
