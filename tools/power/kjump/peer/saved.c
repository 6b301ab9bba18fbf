// SPDX-License-Identifier: GPL-2.0
/*
 * Which images this kernel made by hand (kjump save) of the one it can go back to.
 *
 * Once that kernel goes on, its disks are no longer as such an image knows them,
 * and nobody may resume it. The list is as lasting as this kernel is: it is in
 * its memory. The other kernel is told, too, in case this one dies (see ask.c).
 */
#include "image/image.h"
#include "peer/shared.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAVED_DIR	"/run"
#define SAVED_FILE	SAVED_DIR "/kjump.saved"

/*
 * In the message that is kept for kjump save by hand: this id joins those of the
 * images that are to be marked; NULL: there are none any more.
 */
static void tell(const char *id)
{
	struct message old, m;
	char *before;

	if (message_read(&old)) {
		message_free(&old);
		return;
	}
	before = message_get(&old, MESSAGE_SAVED);
	message_init(&m);
	m.room = old.room;
	if (id)
		message_add(&m, MESSAGE_SAVED, "%s%s%s", before ? before : "",
			    before ? "," : "", id);
	free(before);
	message_keep(&m, &old);
	message_send(&m);
	message_free(&m);
	message_free(&old);
	fail_clear();
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
		tell(id);
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
