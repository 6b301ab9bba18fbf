// SPDX-License-Identifier: GPL-2.0
/* kjump setup */
#include "common/cli.h"
#include "devices/names.h"
#include "verbs/verbs.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#define SETUP	LIBEXECDIR "/kjump/setup"	/* see Makefile */

enum {
	OPT_DRY_RUN = OPT_FIRST,
	OPT_UNDO,
	OPT_FORCE,
	OPT_UNENCRYPTED,
	OPT_SYSTEMD,
	OPT_READY,
};

static const char setup_help[] =
	"kjump setup [--dry-run] [--systemd] [--ready] [--unencrypted] [[--force] DEVICE]\n"
	"kjump setup --undo [--dry-run]\n\n"
	"Show what this machine has, and make it ready to hibernate to DEVICE, by default the\n"
	"only partition that nothing else uses: write /etc/kjump.conf, have the boot loader\n"
	"resume what is saved there, make the initramfs again; then check that it would work.\n\n"
	"  --dry-run  only show what would be done\n"
	"  --force    erase what is on DEVICE, whatever it is; not if it is in use\n"
	"  --systemd  systemctl hibernate, and a desktop's button, use kjump\n"
	"  --ready    load the peer at boot, so that hibernating begins at once; it takes\n"
	"             80 to 120 MB of memory\n"
	"  --unencrypted\n"
	"             on an encrypted system: what is in its memory, keys of the disks too, is\n"
	"             saved as it is, for whoever gets hold of DEVICE to read\n"
	"  --undo     have all as it was before\n";

static char *flag(bool on)
{
	return (char *)(on ? "1" : "0");
}

int verb_setup(int argc, char **argv)
{
	static const struct option options[] = {
		{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
		{ "undo", no_argument, NULL, OPT_UNDO },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "unencrypted", no_argument, NULL, OPT_UNENCRYPTED },
		{ "systemd", no_argument, NULL, OPT_SYSTEMD },
		{ "ready", no_argument, NULL, OPT_READY },
		{ NULL }
	};
	bool dry = false, undo = false, force = false, systemd = false, ready = false;
	bool unencrypted = false;
	const char *device = NULL;
	int c, rc;

	while ((c = next_option(argc, argv, options, setup_help)) >= 0) {
		if (c == OPT_DRY_RUN)
			dry = true;
		else if (c == OPT_UNDO)
			undo = true;
		else if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_UNENCRYPTED)
			unencrypted = true;
		else if (c == OPT_SYSTEMD)
			systemd = true;
		else if (c == OPT_READY)
			ready = true;
	}
	rc = check_arguments(argc, argv, "[DEVICE]");
	if (rc)
		return rc;
	if (optind < argc)
		device = argv[optind];
	if (undo && (device || force || systemd || ready || unencrypted))
		return usage(argv[0], "--undo undoes all of it");
	/* Else it would be what happens to be the only one. */
	if (force && !device)
		return usage(argv[0], "--force erases a device: name it");
	if (geteuid())
		return fail(KJ_FAILED, "only root can set it up");
	if (device) {
		rc = device_named(&device, 0);
		if (rc)
			return rc;
	}
	execl(SETUP, SETUP, flag(dry), flag(undo), flag(force), flag(systemd), flag(ready),
	      flag(unencrypted), device, NULL);
	return fail(KJ_FAILED, "%s: %s", SETUP, strerror(errno));
}
