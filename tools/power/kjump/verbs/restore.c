// SPDX-License-Identifier: GPL-2.0
/* kjump restore */
#include "common/cli.h"
#include "devices/device.h"
#include "image/image.h"
#include "peer/kexec.h"
#include "resume/resume.h"
#include "verbs/verbs.h"

#include <stdlib.h>
#include <unistd.h>

/* How long disks may take to appear that a saved system has in use. */
#define DISK_SECONDS	10

enum { OPT_FORCE = OPT_FIRST, OPT_LIST, OPT_CHECK, OPT_WAIT };

static const char restore_help[] =
	"kjump restore [--list] [--check] [--force] [--wait=SECONDS] [DEVICE]\n\n"
	"Resume the system that was saved on DEVICE (or in a file): best from the\n"
	"initramfs, before any file system is mounted. Without DEVICE, all block devices\n"
	"are searched for an image. Everything is checked first, and the image is loaded\n"
	"and checked entirely before this system is left. An image is good for one resume,\n"
	"and only as long as nobody else has mounted the disks it has in use.\n\n"
	"  --list       only list the devices with images\n"
	"  --check      only check: can the image be resumed here?\n"
	"  --force      although file systems are mounted here, or disks are not as that\n"
	"               system left them: what they hold will be damaged\n"
	"  --wait       wait that long for devices to appear (default 5)\n";

/* What a search found. */
struct search {
	bool print;
	unsigned int images, complete;
	char *path;			/* of a complete one */
	char *bad;			/* what is wrong with another one */
};

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
		step("%s: %s %s %s", path, image_state_name(image.super.state),
		     image.super.release, when);
	} else if (rc == KJ_BAD_IMAGE && s->print) {
		step("%s", fail_text());
	}
	s->images += !rc || rc == KJ_BAD_IMAGE;
	if (!rc && image.super.state == IMAGE_COMPLETE) {
		s->complete++;
		free(s->path);
		s->path = xasprintf("%s", path);
	} else if (!rc && image.super.state != IMAGE_USED && image.super.state != IMAGE_SNAPSHOT) {
		rc = image_check_state(&image, true);
	}
	if (rc == KJ_BAD_IMAGE && !s->bad)
		s->bad = xasprintf("%s", fail_text());
	fail_clear();
	image_close(&image);
	return 0;
}

static int list_images(void)
{
	struct search s = { .print = true };

	device_for_each(look_at, &s);
	return s.images ? KJ_OK : fail(KJ_NONE, "no image on any block device");
}

static int find_image(double wait, char **path)
{
	double until = now_seconds() + wait;

	for (;;) {
		struct search s = { 0 };

		device_for_each(look_at, &s);
		if (s.complete > 1)
			return fail(KJ_REFUSED,
				    "there are %u images; name the device (kjump restore --list)",
				    s.complete);
		if (s.complete == 1) {
			*path = s.path;
			return KJ_OK;
		}
		if (now_seconds() >= until)
			return s.bad ? fail(KJ_BAD_IMAGE, "%s", s.bad) :
				fail(KJ_NONE, "no image to restore on any block device");
		free(s.bad);
		usleep(100 * 1000);
	}
}

static int restore_from(const char *path, bool check, bool force)
{
	struct image image;
	int rc = image_open(&image, path, !check);

	if (!rc)
		rc = image_read_all(&image, true);
	if (!rc)
		rc = restore_check_machine(&image);
	if (!rc && !check && !force)
		rc = device_none_written();
	if (!rc)
		rc = check ? restore_check_data(&image) : restore_load(&image);
	/* By now the disks had some time to appear. */
	if (!rc && !force) {
		rc = disks_unchanged(&image, DISK_SECONDS);
		if (rc && !check)
			kexec_unload();
	}
	if (!rc && check)
		step("%s can be resumed here", path);
	if (!rc && !check) {
		step("resuming");
		rc = restore_jump(&image);
	}
	image_close(&image);
	return rc;
}

int verb_restore(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "list", no_argument, NULL, OPT_LIST },
		{ "check", no_argument, NULL, OPT_CHECK },
		{ "wait", required_argument, NULL, OPT_WAIT },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ NULL }
	};
	bool list = false, check = false, force = false;
	uint64_t wait = 5;
	char *found = NULL;
	int c, rc;

	while ((c = next_option(argc, argv, options, restore_help)) >= 0) {
		if (c == OPT_LIST)
			list = true;
		else if (c == OPT_CHECK)
			check = true;
		else if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_WAIT && !parse_size(optarg, &wait))
			return usage(argv[0], "no number of seconds: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, 0, list ? 0 : 1);
	if (rc)
		return rc;
	if (list)
		return list_images();
	if (optind < argc) {
		if (!device_wait(argv[optind], (double)wait))
			return fail(KJ_NONE, "%s is not there", argv[optind]);
		return restore_from(argv[optind], check, force);
	}
	rc = find_image((double)wait, &found);
	if (!rc)
		rc = restore_from(found, check, force);
	free(found);
	return rc;
}
