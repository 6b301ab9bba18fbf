// SPDX-License-Identifier: GPL-2.0
/* Whether the next boot opens what is encrypted and an image is on. See opens.h. */
#include "resume/opens.h"
#include "common/kjump.h"
#include "devices/users.h"
#include "devices/volume.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

char *opened_by_initramfs(const struct initramfs *fs)
{
	bool known = fs->initramfs_tools && !fs->long_crypttab;

	return known ? xasprintf("%s", fs->crypttab) : NULL;
}

static void list_key(void *names, const char *name)
{
	add_listed(names, "\n", name);
}

struct key {
	const char *name;
	bool found;
};

static void find_key(void *ctx, const char *name)
{
	struct key *key = ctx;

	key->found |= !strcmp(name, key->name);
}

/* crypttab(5): name, device, key, and options with commas between them. */
enum { FIELD_NAME, FIELD_DEVICE, FIELD_KEY, FIELD_OPTIONS, FIELDS };

/* The line about @name in @text, in pieces of that; NULL for what it does not have. */
static bool find_line(char *text, const char *name, char *field[FIELDS])
{
	char *line, *word;

	while ((line = strsep(&text, "\n"))) {
		unsigned int n = 0;

		memset(field, 0, FIELDS * sizeof(*field));
		while (n < FIELDS && (word = strsep(&line, " \t")))
			if (*word)
				field[n++] = word;
		if (n && !strcmp(field[FIELD_NAME], name))
			return true;
	}
	return false;
}

static bool is_for_the_initramfs(char *options)
{
	char *option;

	while ((option = strsep(&options, ",")))
		if (!strcmp(option, "initramfs") || !strcmp(option, "x-initrd.attach"))
			return true;
	return false;
}

/* @opens: by the initramfs, or NULL. */
static int check_opened(const char *opens, const char *crypttab, const char *device,
			const char *name)
{
	/* So its maker marks files that are there once the root file system is mounted. */
	static const char later[] = "/FIXME-initramfs-rootmnt";
	char *text = opens ? xasprintf("%s", opens) : read_text(crypttab);
	char *field[FIELDS];
	int rc = KJ_OK;

	if (!text || !find_line(text, name, field) ||
	    (!opens && !is_for_the_initramfs(field[FIELD_OPTIONS])))
		rc = fail(KJ_REFUSED,
			  "no initramfs opens %s, which %s is on, so that the next boot would not resume this system: add the option initramfs in %s and update-initramfs -u -k all, or --closed",
			  name, device, crypttab);
	else if (opens && field[FIELD_KEY] && !strncmp(field[FIELD_KEY], later, strlen(later)))
		rc = fail(KJ_REFUSED,
			  "the initramfs cannot open %s, which %s is on, so that the next boot would not resume this system: its key is a file of the root file system, %s; have it in the initramfs (KEYFILE_PATTERN in /etc/cryptsetup-initramfs/conf-hook) and update-initramfs -u -k all, or --closed",
			  name, device, field[FIELD_KEY] + strlen(later));
	free(text);
	return rc;
}

int check_opens(const char *opened, const char *crypttab, const char *device)
{
	char *names = NULL, *rest;
	struct key key;
	struct stat st;
	bool known;
	int rc = KJ_OK;

	if (!stat(device, &st) && S_ISBLK(st.st_mode))
		volume_keys(st.st_rdev, list_key, &names);
	rest = names;
	while (!rc && rest) {
		key = (struct key){ .name = strsep(&rest, "\n") };
		/* What the root file system is on is opened, whatever is said of it. */
		volume_keys(file_system_of("/", &known), find_key, &key);
		if (!key.found)
			rc = check_opened(opened, crypttab, device, key.name);
	}
	free(names);
	return rc;
}
