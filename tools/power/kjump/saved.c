// SPDX-License-Identifier: GPL-2.0
/*
 * Which images this kernel made by hand (kjump save) of the one it can go back to.
 *
 * Once that kernel goes on, its disks are no longer as such an image knows them,
 * and nobody may resume it. The list is as lasting as this kernel is: it is in
 * its memory.
 */
#include "image.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SAVED_DIR	"/run"
#define SAVED_FILE	SAVED_DIR "/kjump.saved"

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
	free(text);
	if (!rc)
		unlink(SAVED_FILE);
	return rc;
}
