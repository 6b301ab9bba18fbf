// SPDX-License-Identifier: GPL-2.0
/* Any text as one word, of letters, digits and signs; and words in quotes. */
#include "common/kjump.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

void unquote(char *text)
{
	size_t length = strlen(text);

	if (length < 2 || (*text != '"' && *text != '\'') ||
	    strchr(text + 1, *text) != text + length - 1)
		return;
	memmove(text, text + 1, length - 2);
	text[length - 2] = 0;
}

char *word_pack(const char *text)
{
	char *out = xalloc(3 * strlen(text) + 1), *to = out;

	for (; *text; text++) {
		unsigned char c = (unsigned char)*text;

		if (c <= ' ' || c > '~' || c == '%' || c == ';' || c == '=')
			to += sprintf(to, "%%%02X", c);
		else
			*to++ = (char)c;
	}
	return out;
}

bool word_unpack(char *text)
{
	char *to = text;

	for (; *text; text++) {
		char code[3] = "";

		if (*text != '%') {
			*to++ = *text;
			continue;
		}
		if (!isxdigit((unsigned char)text[1]) || !isxdigit((unsigned char)text[2]))
			return false;
		memcpy(code, text + 1, 2);
		*to = (char)strtoul(code, NULL, 16);
		if (!*to++)
			return false;
		text += 2;
	}
	*to = 0;
	return true;
}
