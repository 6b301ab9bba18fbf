// SPDX-License-Identifier: GPL-2.0
/*
 * Which images this kernel made by hand (kjump save) of the one it can go back to.
 *
 * Once that kernel goes on, its disks are no longer as such an image knows them,
 * and nobody may resume it. The list is as lasting as this kernel is: it is in
 * its memory. The other kernel is told, too, in case this one dies (see ask.c).
 */
#include "image.h"
#include "shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAVED_DIR	"/run"
#define SAVED_FILE	SAVED_DIR "/kjump.saved"

/* The message that is kept for kjump save by hand, with this list of ids. */
static void tell(const char *ids)
{
	static const char * const kept[] = { "disks", "busy" };
	struct message old, m;

	if (message_read(&old))
		return;
	message_clear(&m);
	if (ids)
		message_add(&m, MESSAGE_SAVED, "%s", ids);
	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++) {
		char *value = message_get(&old, kept[i]);

		if (value)
			message_add(&m, kept[i], "%s", value);
		free(value);
	}
	message_send(&m);
	fail_clear();
}

static void tell_one_more(const char *id)
{
	struct message m;
	char *before = message_read(&m) ? NULL : message_get(&m, MESSAGE_SAVED);
	char *all = xasprintf("%s%s%s", before ? before : "", before ? "," : "", id);

	tell(all);
	free(before);
	free(all);
}

int saved_note(const struct image *image)
{
	char id[2 * IMAGE_ID_LEN + 1], *path = realpath(image->path, NULL);
	FILE *f;
	int rc = KJ_OK;

	mkdir(SAVED_DIR, 0755);
	f = path ? fopen(SAVED_FILE, "ae") : NULL;
	if (!f) {
		rc = fail(KJ_FAILED, SAVED_FILE ": cannot note what is saved: %s",
			  strerror(errno));
	} else {
		image_id_text(image->super.id, id);
		fprintf(f, "%s %s\n", id, path);
		if (fclose(f))
			rc = fail(KJ_FAILED, SAVED_FILE ": %s", strerror(errno));
		tell_one_more(id);
	}
	free(path);
	return rc;
}

int saved_disown(void)
{
	char *text = read_text(SAVED_FILE), *line, *rest = text;
	int rc = KJ_OK;

	while (!rc && (line = strsep(&rest, "\n"))) {
		char *path = strchr(line, ' ');

		if (!path)
			continue;
		*path++ = 0;
		rc = access(path, F_OK) ? fail(KJ_NONE, "it is not there") :
			image_disown(path, line);
		if (!rc) {
			fail_clear();
		} else {
			char *why = xasprintf("%s", fail_text());

			fail_clear();
			fail(KJ_REFUSED,
			     "the image saved to %s must not be resumed once its system goes on, and cannot be marked so (%s); mount it again, or overwrite it and remove %s",
			     path, why, SAVED_FILE);
			free(why);
			rc = KJ_REFUSED;
		}
	}
	if (!rc && text) {
		unlink(SAVED_FILE);
		tell(NULL);
	}
	free(text);
	return rc;
}
