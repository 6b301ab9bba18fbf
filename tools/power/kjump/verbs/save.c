// SPDX-License-Identifier: GPL-2.0
/* kjump save */
#include "common/cli.h"
#include "common/conf.h"
#include "devices/device.h"
#include "devices/names.h"
#include "image/image.h"
#include "peer/shared.h"
#include "peer/vmcore.h"
#include "verbs/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { OPT_FROM = OPT_FIRST, OPT_FORCE, OPT_MISSING, OPT_UNGUARDED, OPT_COMPRESS };

static const char save_help[] =
	"kjump save [--force] [--ignore-missing] [--ignore-unguarded]\n"
	"           [--compress=lz4|zstd|none] TARGET\n\n"
	"In a kernel that was jumped to: save the kernel that jumped, an image of it,\n"
	"to TARGET: a partition of its own, or a file. Then power off, and at the next\n"
	"boot \"kjump restore\" resumes it. Or go back with \"kjump back\": then the image is\n"
	"marked as a snapshot, to look at, not to resume.\n\n"
	"  --force      overwrite what is on TARGET, whatever it is; not if it is in use\n"
	"  --ignore-missing\n"
	"               although this kernel does not find a disk that the other one has in\n"
	"               use: then nobody notices if it is changed before that is resumed\n"
	"  --ignore-unguarded\n"
	"               although nothing would show changes of something that it writes to\n"
	"  --compress   how (default: compress= in /etc/kjump.conf, or lz4)\n";

/* What the first kernel said of itself, if it did. */
struct told {
	struct disks disks;
	char *busy, *firmware;
	bool any_missing;
};

static int save_to(const char *from, const char *target, uint32_t algorithm, struct told *told)
{
	bool is_new = access(target, F_OK), noted = !strcmp(from, VMCORE);
	struct save_result result;
	struct image image;
	char size[32], packed[32];
	int rc = image_open(&image, target, true);

	if (!rc && is_new)
		file_begun(target);
	if (!rc)
		rc = image_own_file(&image);
	if (!rc) {
		image_new_id(image.super.id);
		image.disks = &told->disks;
		image.any_missing = told->any_missing;
		image.firmware = told->firmware;
		if (noted)
			image.final = IMAGE_WRITING;
		rc = save_vmcore(from, &image, algorithm, &result);
	}
	/* Only then will somebody mark it when its system goes on, whatever happens here. */
	if (!rc && noted)
		rc = saved_note(&image);
	if (!rc && noted)
		rc = image_write_super(&image, IMAGE_COMPLETE);
	/* A file that was not there before is not left behind in pieces. */
	if (rc && is_new && image.fd >= 0)
		unlink(target);
	file_is_whole();
	image_close(&image);
	if (rc)
		return rc;
	step("saved %s as %s in %.2f s", human_size(result.data_bytes, size, sizeof(size)),
	     human_size(result.image_size, packed, sizeof(packed)), result.seconds);
	return KJ_OK;
}

/* Without a word from the first kernel, what is on a device may be mounted there. */
static int check_unknown(const char *target, bool force)
{
	int rc;

	if (!force)
		return fail(KJ_REFUSED,
			    "the preserved kernel did not say what it uses, so nobody can tell at the next boot whether its disks are as it left them: jump with kjump switch; or --force saves it all the same, then resume it before anything is mounted");
	rc = device_check(target, NULL, false);
	if (rc != KJ_REFUSED)
		return rc;
	fail_clear();
	return fail(KJ_REFUSED,
		    "%s may be in use by the preserved kernel, which did not say what it uses: jump with kjump switch, or clear the first 128 KB of %s by other means",
		    target, target);
}

int verb_save(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "ignore-missing", no_argument, NULL, OPT_MISSING },
		{ "ignore-unguarded", no_argument, NULL, OPT_UNGUARDED },
		{ "compress", required_argument, NULL, OPT_COMPRESS },
		{ "from", required_argument, NULL, OPT_FROM },	/* for tests */
		{ NULL }
	};
	const char *from = VMCORE;
	struct message message;
	struct vmcore core;
	struct told told = { .busy = NULL };
	bool force = false;
	struct conf conf;
	const char *target;
	char *text;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, save_help)) >= 0) {
		if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_MISSING)
			told.any_missing = true;
		else if (c == OPT_UNGUARDED)
			conf.any_unguarded = true;
		else if (c == OPT_FROM)
			from = optarg;
		else if (c == OPT_COMPRESS && !image_algorithm(optarg, &conf.compress))
			return usage(argv[0], "no way to compress: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, "TARGET");
	if (rc)
		return rc;
	/* That there is something to save is known before the target is looked at. */
	rc = vmcore_open(&core, from);
	vmcore_close(&core);
	/* Nobody is to go back meanwhile. */
	if (!rc && !strcmp(from, VMCORE))
		rc = shared_lock();
	if (rc)
		return rc;
	hold_signals();
	message_read(&message);
	told.busy = message_get_text(&message, "busy");
	text = message_get_text(&message, "disks");
	told.firmware = message_get_text(&message, "firmware");
	if (text && !disks_parse(text, &told.disks))
		rc = fail(KJ_FAILED, "what the preserved kernel uses cannot be understood");
	target = argv[optind];
	if (!rc)
		rc = device_named(&target, NEED_NOT_EXIST);
	if (!rc)
		rc = device_check(target, told.busy, force);
	if (!rc)
		rc = disks_check_guards(&told.disks, conf.any_unguarded);
	if (!rc && !(told.busy && text) && !strcmp(from, VMCORE))
		rc = check_unknown(target, force);
	if (!rc)
		rc = save_to(from, target, conf.compress, &told);
	free(told.busy);
	free(text);
	free(told.firmware);
	disks_free(&told.disks);
	return rc;
}
