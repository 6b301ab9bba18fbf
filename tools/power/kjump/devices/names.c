// SPDX-License-Identifier: GPL-2.0
/* The names people and boot loaders have for devices. See names.h. */
#include "devices/names.h"
#include "devices/device.h"

#include <blkid/blkid.h>
#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

/* As in fstab and root=, as udev's links are called, and as libblkid calls the value. */
static const struct kind {
	const char *tag, *link, *value;
	bool any_case;
} kinds[] = {
	{ "UUID=", "/dev/disk/by-uuid/", "UUID", true },
	{ "LABEL=", "/dev/disk/by-label/", "LABEL", false },
	{ "PARTUUID=", "/dev/disk/by-partuuid/", "PART_ENTRY_UUID", true },
	{ "PARTLABEL=", "/dev/disk/by-partlabel/", "PART_ENTRY_NAME", false },
};

struct wanted {
	const struct kind *kind;
	char *value;
	char *path;
	unsigned int found;
};

/* udev writes what a file name must not hold as \xXX. */
static void unescape(char *text)
{
	char *to = text;

	for (; *text; text++) {
		char code[3] = "";

		if (text[0] != '\\' || text[1] != 'x' || !isxdigit((unsigned char)text[2]) ||
		    !isxdigit((unsigned char)text[3])) {
			*to++ = *text;
			continue;
		}
		memcpy(code, text + 2, 2);
		*to++ = (char)strtoul(code, NULL, 16);
		text += 3;
	}
	*to = 0;
}

static bool parse(const char *name, struct wanted *w)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		size_t tag = strlen(kinds[i].tag), link = strlen(kinds[i].link);
		size_t skip = !strncmp(name, kinds[i].tag, tag) ? tag :
			      !strncmp(name, kinds[i].link, link) ? link : 0;

		if (!skip)
			continue;
		w->kind = &kinds[i];
		w->value = xasprintf("%s", name + skip);
		if (skip == link)
			unescape(w->value);
		else
			unquote(w->value);
		return *w->value;
	}
	return false;
}

static int look_at(void *ctx, const char *path)
{
	blkid_probe probe = blkid_new_probe_from_filename(path);
	struct wanted *w = ctx;
	const char *value;

	if (!probe)
		return 0;
	blkid_probe_enable_superblocks(probe, 1);
	blkid_probe_set_superblocks_flags(probe, BLKID_SUBLKS_UUID | BLKID_SUBLKS_LABEL);
	blkid_probe_enable_partitions(probe, 1);
	blkid_probe_set_partitions_flags(probe, BLKID_PARTS_ENTRY_DETAILS);
	if (blkid_do_safeprobe(probe) >= 0 &&
	    !blkid_probe_lookup_value(probe, w->kind->value, &value, NULL) &&
	    !(w->kind->any_case ? strcasecmp(value, w->value) : strcmp(value, w->value))) {
		w->found++;
		free(w->path);
		w->path = xasprintf("%s", path);
	}
	blkid_free_probe(probe);
	return 0;
}

/* To be freed; any other name is itself. */
static char *look_for(const char *name, int *rc)
{
	struct wanted w = { .kind = NULL };

	*rc = KJ_OK;
	/* udev's own answer, if it has run. */
	if (!access(name, F_OK) || !parse(name, &w)) {
		free(w.value);
		return xasprintf("%s", name);
	}
	device_for_each(look_at, &w);
	if (w.found > 1)
		*rc = fail(KJ_REFUSED, "%s: %u devices have that name; name one by its file", name,
			   w.found);
	else if (!w.found)
		*rc = fail(KJ_NONE, "%s is not there", name);
	free(w.value);
	return w.path;
}

int device_named(const char **name, double wait)
{
	double until = now_seconds() + wait;
	int rc;

	for (;;) {
		bool last = now_seconds() >= until;
		char *found = look_for(*name, &rc);

		if (!rc && wait >= 0 && access(found, F_OK)) {
			last |= !device_is_name(found);
			rc = fail(KJ_NONE, "%s is not there", *name);
		}
		/* A verb has a few names, and they stay. */
		if (!rc)
			*name = found;
		else
			free(found);
		if (rc != KJ_NONE || last)
			return rc;
		fail_clear();
		usleep(50 * 1000);
	}
}
