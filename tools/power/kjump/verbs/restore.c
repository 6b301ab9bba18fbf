// SPDX-License-Identifier: GPL-2.0
/* kjump restore */
#include "common/cli.h"
#include "devices/device.h"
#include "devices/names.h"
#include "image/image.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "resume/resume.h"
#include "verbs/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* How long disks may take to appear that a saved system has in use. */
#define DISK_SECONDS	10

enum {
	OPT_FORCE = OPT_FIRST, OPT_LIST, OPT_CHECK, OPT_WAIT, OPT_MOUNTS, OPT_MISSING, OPT_CHANGED,
	OPT_FIRMWARE,
};

static const char restore_help[] =
	"kjump restore [--list] [--check] [--ignore-mounts] [--ignore-missing]\n"
	"              [--ignore-changed] [--ignore-firmware] [--force] [--wait=SECONDS]\n"
	"              [DEVICE]\n\n"
	"Resume the system that was saved on DEVICE (or in a file): best from the\n"
	"initramfs, before any file system is mounted. Without DEVICE, all block devices\n"
	"are searched for an image; of several, the one that fits this machine and its\n"
	"disks is taken. Everything is checked first, and the image is loaded and checked\n"
	"entirely before this system is left. An image is good for one resume, and only as\n"
	"long as nobody else has mounted the disks it has in use.\n\n"
	"  --list       only list the devices with images\n"
	"  --check      only check: can the image be resumed here?\n"
	"  --ignore-mounts\n"
	"               although file systems are mounted here for writing: what is on them\n"
	"               will be damaged if that system has them in use, too\n"
	"  --ignore-missing\n"
	"               although disks are missing, which that system has in use\n"
	"  --ignore-changed\n"
	"               although disks are not as that system left them: what they hold\n"
	"               will be damaged\n"
	"  --ignore-firmware\n"
	"               although the firmware is not the same, or elsewhere, as if it had been\n"
	"               updated: that system goes on with what it remembers of it\n"
	"  --force      all of these\n"
	"  --wait       wait that long for devices to appear (default 5)\n";

/* A complete image; copies of one are the same. */
struct candidate {
	char *path;
	uint8_t id[IMAGE_ID_LEN];
};

/* What a search found. */
struct search {
	bool print;
	unsigned int images;
	struct candidate *list;
	unsigned int complete;
	char *bad;			/* what is wrong with another one */
};

static void add_candidate(struct search *s, const char *path, const uint8_t *id)
{
	for (unsigned int i = 0; i < s->complete; i++)
		if (!memcmp(s->list[i].id, id, IMAGE_ID_LEN))
			return;
	s->list = xrealloc(s->list, (s->complete + 1) * sizeof(*s->list));
	s->list[s->complete].path = xasprintf("%s", path);
	memcpy(s->list[s->complete++].id, id, IMAGE_ID_LEN);
}

static void free_search(struct search *s)
{
	while (s->complete)
		free(s->list[--s->complete].path);
	free(s->list);
	free(s->bad);
	memset(s, 0, sizeof(*s));
}

static int look_at(void *ctx, const char *path)
{
	struct search *s = ctx;
	struct image image;
	char when[32] = "";
	int rc;

	rc = image_open(&image, path, false);
	if (!rc)
		rc = image_read_super(&image);
	if (!rc && s->print) {
		image_when(&image, when, sizeof(when));
		answer("%s: %s %s %s", path, image_state_name(image.super.state),
		       image.super.release, when);
	} else if (rc == KJ_BAD_IMAGE && s->print) {
		answer("%s", fail_text());
	}
	s->images += !rc || rc == KJ_BAD_IMAGE;
	if (!rc && image.super.state == IMAGE_COMPLETE)
		add_candidate(s, path, image.super.id);
	else if (!rc && image.super.state != IMAGE_USED && image.super.state != IMAGE_SNAPSHOT)
		rc = image_check_state(&image, true);
	if (rc == KJ_BAD_IMAGE && !s->bad)
		s->bad = xasprintf("%s", fail_text());
	fail_clear();
	image_close(&image);
	return 0;
}

static int none_found(void)
{
	int rc = device_searchable();

	if (rc)
		return rc;
	if (device_hidden())
		return fail(KJ_FAILED, "only root may look for an image on all block devices");
	return fail(KJ_NONE, "no image to restore on any block device");
}

static int list_images(void)
{
	struct search s = { .print = true };

	device_for_each(look_at, &s);
	return s.images ? answered(KJ_OK) : none_found();
}

static int check_disks(const struct image *image, double wait, bool any_missing, bool any_changed)
{
	struct disks d;
	int rc;

	if (!disks_parse(image->index.disks ? image->index.disks : "", &d))
		return fail(KJ_BAD_IMAGE, "%s: damaged (disks)", image->path);
	rc = disks_compare(&d, image->path, wait, any_missing, any_changed);
	disks_free(&d);
	return rc;
}

/* Whether it could be resumed here, by what can be told without reading all of it. */
static bool fits(const char *path)
{
	struct image image;
	int rc = image_open(&image, path, false);

	if (!rc)
		rc = image_read_all(&image, true);
	if (!rc)
		rc = restore_check_machine(&image, false);
	if (!rc)
		rc = check_disks(&image, 0, false, false);
	image_close(&image);
	return !rc;
}

/* Of several, the one that fits this machine and its disks; NULL: none, or more than one. */
static char *choose(const struct search *s, unsigned int *fitting, char **why)
{
	char *path = NULL;

	*fitting = 0;
	for (unsigned int i = 0; i < s->complete; i++) {
		if (fits(s->list[i].path)) {
			path = s->list[i].path;
			(*fitting)++;
			continue;
		}
		add_listed(why, "; ", fail_text());
		fail_clear();
	}
	return *fitting == 1 ? path : NULL;
}

static int find_image(double wait, char **path)
{
	double until = now_seconds() + wait;
	struct search s;
	int rc = -1;

	while (rc < 0) {
		unsigned int fitting;
		char *why = NULL;
		bool last;

		memset(&s, 0, sizeof(s));
		last = now_seconds() >= until;
		device_for_each(look_at, &s);
		if (s.complete == 1) {
			*path = xasprintf("%s", s.list[0].path);
			rc = KJ_OK;
		} else if (s.complete > 1) {
			char *best = choose(&s, &fitting, &why);

			if (best) {
				step("%s is the one of %u images that fits", best, s.complete);
				*path = xasprintf("%s", best);
				rc = KJ_OK;
			} else if (fitting || last) {
				rc = fail(KJ_REFUSED,
					  "there are %u images, and %u of them fit; name the device (kjump restore --list)%s%s",
					  s.complete, fitting, why ? ": " : "", why ? why : "");
			}
		} else if (last) {
			rc = s.bad ? fail(KJ_BAD_IMAGE, "%s", s.bad) :
				none_found();
		}
		free(why);
		free_search(&s);
		if (rc < 0)
			usleep(100 * 1000);
	}
	return rc;
}

/* What is not to keep an image from being resumed. */
struct ignored {
	bool mounts, missing, changed, firmware;
};

static int restore_from(const char *path, bool check, const struct ignored *ignored)
{
	struct image image;
	int rc;

	/* What is loaded, and stays, would be jumped to by the next reboot. */
	hold_signals();
	rc = image_open(&image, path, !check);
	if (!rc)
		rc = image_read_all(&image, true);
	if (!rc)
		rc = restore_check_machine(&image, ignored->firmware);
	if (!rc && !check && !ignored->mounts)
		rc = device_none_written(image_device(&image));
	if (!rc && check)
		rc = restore_check_data(&image);
	if (!rc)
		rc = need_jump_support();
	if (!rc)
		rc = need_loading(true);
	/* What has changed already is not loaded first; others may still be missing. */
	if (!rc && !check)
		rc = check_disks(&image, 0, true, ignored->changed);
	if (!rc && !check) {
		restore_take_kept_memory(&image);
		rc = restore_load(&image);
		/* Part of it may be loaded. */
		if (rc)
			kexec_unload();
	}
	/* By now the disks had some time to appear. */
	if (!rc) {
		rc = check_disks(&image, DISK_SECONDS, ignored->missing, ignored->changed);
		if (rc && !check)
			kexec_unload();
	}
	if (!rc && check)
		step("%s can be resumed here", path);
	if (!rc && !check) {
		step("resuming");
		rc = restore_jump(&image);
	}
	restore_give_back_memory();
	image_close(&image);
	return rc;
}

int verb_restore(int argc, char **argv)
{
	static const struct option options[] = {
		{ "list", no_argument, NULL, OPT_LIST },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "wait", required_argument, NULL, OPT_WAIT },
		{ "ignore-mounts", no_argument, NULL, OPT_MOUNTS },
		{ "ignore-missing", no_argument, NULL, OPT_MISSING },
		{ "ignore-changed", no_argument, NULL, OPT_CHANGED },
		{ "ignore-firmware", no_argument, NULL, OPT_FIRMWARE },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ NULL }
	};
	struct ignored ignored = { .mounts = false };
	bool list = false, check = false;
	uint64_t wait = 5;
	const char *device;
	char *found = NULL;
	int c, rc;

	while ((c = next_option(argc, argv, options, restore_help)) >= 0) {
		if (c == OPT_LIST)
			list = true;
		else if (c == OPT_CHECK)
			check = true;
		ignored.mounts |= c == OPT_MOUNTS || c == OPT_FORCE;
		ignored.missing |= c == OPT_MISSING || c == OPT_FORCE;
		ignored.changed |= c == OPT_CHANGED || c == OPT_FORCE;
		ignored.firmware |= c == OPT_FIRMWARE || c == OPT_FORCE;
		if (c == OPT_WAIT && !parse_seconds(optarg, &wait))
			return usage(argv[0], "no number of seconds: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, list ? "" : "[DEVICE]");
	if (rc)
		return rc;
	if (list)
		return list_images();
	if (optind < argc) {
		device = argv[optind];
		rc = device_named(&device, (double)wait);
		return rc ? rc : restore_from(device, check, &ignored);
	}
	rc = find_image((double)wait, &found);
	if (!rc)
		rc = restore_from(found, check, &ignored);
	free(found);
	return rc;
}
