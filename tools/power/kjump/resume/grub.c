// SPDX-License-Identifier: GPL-2.0
/*
 * What GRUB starts unless somebody chooses: from what grub-mkconfig writes, a command a
 * line. Its menu has entries and submenus of them. Which one it is has been asked for once
 * (grub-reboot), or for good (GRUB_DEFAULT=, grub-set-default): by its number, title or
 * identifier, each submenu before what is in it, with a > between them.
 */
#include "resume/grub.h"
#include "common/kjump.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

/* Submenus in submenus. */
#define DEPTH_MAX	8u

static const char *skip_blanks(const char *p, const char *end)
{
	while (p < end && isspace((unsigned char)*p))
		p++;
	return p;
}

/* The next word of a line, without the quotes in it; to be freed, NULL at the end. */
static char *next_word(const char **line, const char *end)
{
	const char *p = skip_blanks(*line, end);
	char quote = 0, *word, *to;

	if (p == end)
		return NULL;
	word = xalloc((size_t)(end - p) + 1);
	to = word;
	for (; p < end && (quote || !isspace((unsigned char)*p)); p++) {
		if (*p == quote)
			quote = 0;
		else if (!quote && (*p == '\'' || *p == '"'))
			quote = *p;
		else if (*p == '\\' && quote != '\'' && p + 1 < end)
			*to++ = *++p;
		else
			*to++ = *p;
	}
	*line = p;
	return word;
}

static char *rest_of(const char *line, const char *end)
{
	line = skip_blanks(line, end);
	return xasprintf("%.*s", (int)(end - line), line);
}

/* In grubenv: NAME=VALUE, a line each. NULL if it has none; to be freed. */
static char *remembered(const char *env, const char *name)
{
	size_t length = strlen(name);

	for (const char *line = env; line && *line; ) {
		const char *end = strchrnul(line, '\n');

		if (!strncmp(line, name, length) && line[length] == '=' && line + length + 1 < end)
			return rest_of(line + length + 1, end);
		line = *end ? end + 1 : end;
	}
	return NULL;
}

/* The last "set default=", but for what stands for a thing that was asked for once. */
static char *configured(const char *cfg)
{
	static const char name[] = "default=";
	char *value = NULL;

	for (const char *line = cfg, *end; *line; line = *end ? end + 1 : end) {
		const char *p = line;
		char *word, *set;

		end = strchrnul(line, '\n');
		word = next_word(&p, end);
		set = word && !strcmp(word, "set") ? next_word(&p, end) : NULL;
		if (set && !strncmp(set, name, strlen(name)) && !strstr(set, "next_entry")) {
			free(value);
			value = xasprintf("%s", set + strlen(name));
		}
		free(set);
		free(word);
	}
	return value;
}

/* To be freed; NULL if that cannot be told. */
static char *wanted_entry(const char *cfg, const char *env)
{
	char *once = remembered(env, "next_entry"), *value = once ? once : configured(cfg);

	if (value && (!strcmp(value, "${saved_entry}") || !strcmp(value, "$saved_entry"))) {
		free(value);
		value = remembered(env, "prev_saved_entry");
		if (!value)
			value = remembered(env, "saved_entry");
		if (!value)
			value = xasprintf("0");
	}
	if (value && strchr(value, '$')) {
		free(value);
		value = NULL;
	}
	return value;
}

/* --- the menu ----------------------------------------------------------- */

/* The first of a path: up to a >, of which two stand for one in a name. */
struct step {
	char *name;
	const char *rest;		/* NULL: it is the last one */
};

static struct step first_step(const char *path)
{
	struct step s = { .name = xalloc(strlen(path) + 1) };
	char *to = s.name;

	for (; *path; path++) {
		if (*path == '>' && path[1] != '>') {
			s.rest = path + 1;
			break;
		}
		path += *path == '>';
		*to++ = *path;
	}
	return s;
}

/* False if there is no further one. */
static bool next_step(struct step *s)
{
	char *name = s->name;

	if (!s->rest)
		return false;
	*s = first_step(s->rest);
	free(name);
	return true;
}

/* Whether a line that makes an entry, the @number-th of its menu, is called so. */
static bool is_called(const char *line, const char *end, unsigned int number, const char *name)
{
	char *word, *after;
	bool same = false, is_id = false;

	if (isdigit((unsigned char)*name) && strtoul(name, &after, 10) == number && !*after)
		return true;
	for (unsigned int i = 0; !same && (word = next_word(&line, end)); i++) {
		same = (!i || is_id) && !strcmp(word, name);
		is_id = !strcmp(word, "--id") || !strcmp(word, "$menuentry_id_option");
		free(word);
	}
	return same;
}

/* As the kernel is told them: without GRUB's quotes, but for those around blanks. */
static char *words_of(const char *line, const char *end)
{
	char *words = xasprintf("%s", ""), *word;

	while ((word = next_word(&line, end))) {
		const char *quote = strpbrk(word, " \t") ? "\"" : "";
		char *more = xasprintf("%s%s%s%s%s", words, *words ? " " : "", quote, word, quote);

		free(words);
		free(word);
		words = more;
	}
	return words;
}

static void take_command(struct boot_entry *entry, const char *command, const char *line,
			 const char *end)
{
	if (!strcmp(command, "linux") || !strcmp(command, "linuxefi")) {
		boot_entry_free(entry);
		entry->kernel = next_word(&line, end);
		entry->words = words_of(line, end);
	} else if (!strcmp(command, "initrd") || !strcmp(command, "initrdefi")) {
		free(entry->initrds);
		entry->initrds = rest_of(line, end);
	}
}

static bool opens_block(const char *line, const char *end)
{
	while (end > line && isspace((unsigned char)end[-1]))
		end--;
	return end > line && end[-1] == '{';
}

/* Go along the menu to where @path leads. KJ_NONE if it leads nowhere, KJ_FAILED: to no Linux. */
static int find_entry(const char *cfg, const char *path, struct boot_entry *entry)
{
	/* Blocks that are open, those of them on the path, and entries seen in each menu. */
	unsigned int depth = 0, on_path = 0, number[DEPTH_MAX] = { 0 };
	struct step step = first_step(path);
	bool inside = false, over = false;

	for (const char *line = cfg, *end; *line && !over; line = *end ? end + 1 : end) {
		const char *p = line;
		char *word;

		end = strchrnul(line, '\n');
		word = next_word(&p, end);
		if (!word)
			continue;
		if (!strcmp(word, "}")) {
			over = depth && depth == on_path;
			depth -= depth > 0;
		} else if (!inside && depth == on_path && depth < DEPTH_MAX &&
			   (!strcmp(word, "menuentry") || !strcmp(word, "submenu"))) {
			if (is_called(p, end, number[depth]++, step.name)) {
				on_path++;
				inside = *word == 'm';
				over = !inside && !next_step(&step);
			}
			depth++;
		} else {
			if (inside && depth == on_path)
				take_command(entry, word, p, end);
			depth += opens_block(p, end);
		}
		free(word);
	}
	free(step.name);
	return !on_path ? KJ_NONE : inside && entry->kernel ? KJ_OK : KJ_FAILED;
}

bool grub_next(const char *cfg, const char *env, struct boot_entry *entry)
{
	char *path = wanted_entry(cfg, env);
	int rc = KJ_FAILED;

	memset(entry, 0, sizeof(*entry));
	if (path)
		rc = find_entry(cfg, path, entry);
	/* So does GRUB, when that one was removed. */
	if (rc == KJ_NONE)
		rc = find_entry(cfg, "0", entry);
	free(path);
	return rc == KJ_OK;
}

void boot_entry_free(struct boot_entry *entry)
{
	free(entry->kernel);
	free(entry->words);
	free(entry->initrds);
	memset(entry, 0, sizeof(*entry));
}
