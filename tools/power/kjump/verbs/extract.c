// SPDX-License-Identifier: GPL-2.0
/* kjump extract */
#include "common/cli.h"
#include "devices/names.h"
#include "image/image.h"
#include "verbs/verbs.h"

enum { OPT_FORCE = OPT_FIRST };

static const char extract_help[] =
	"kjump extract [--force] IMAGE FILE\n\n"
	"Make FILE, an ELF core file that crash, drgn and makedumpfile read, of the image\n"
	"on IMAGE, a device or file. Pages that were left out are holes.\n\n"
	"  --force      replace FILE if it is there\n";

int verb_extract(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, OPT_FORCE },
		{ NULL }
	};
	struct image image = { .fd = -1 };
	const char *device;
	bool force = false;
	int c, rc;

	while ((c = next_option(argc, argv, options, extract_help)) >= 0)
		if (c == OPT_FORCE)
			force = true;
	rc = check_arguments(argc, argv, "IMAGE FILE");
	if (!rc)
		rc = extract_check_file(argv[optind + 1], force);
	if (rc)
		return rc;
	hold_signals();
	device = argv[optind];
	rc = device_named(&device, NEED_NOT_EXIST);
	if (!rc)
		rc = image_open(&image, device, false);
	if (!rc)
		rc = image_read_all(&image, false);
	if (!rc)
		rc = extract_image(&image, argv[optind + 1], force);
	image_close(&image);
	return rc;
}
