// SPDX-License-Identifier: GPL-2.0
/* kjump hibernate */
#include "common/cli.h"
#include "common/machine.h"
#include "devices/device.h"
#include "devices/disks.h"
#include "devices/names.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "resume/next_boot.h"
#include "resume/opens.h"
#include "verbs/verbs.h"

#include <stdlib.h>
#include <unistd.h>

/*
 * The system goes on: if the peer came as far as a complete image (and died when
 * it was to power off), nobody may resume that.
 */
static void disown(const char *device)
{
	char *before = fail_put_aside();

	if (image_disown(device, NULL))
		fprintf(stderr,
			"kjump: %s: if there is an image of this system on it, it must not be resumed, and could not be marked so: overwrite its first 4 KB\n",
			device);
	fail_take_back(before);
}

enum {
	OPT_FORCE = OPT_FIRST, OPT_REBOOT, OPT_COMPRESS, OPT_DRY_RUN, OPT_MISSING, OPT_ANY_BOOT,
	OPT_CLOSED, OPT_UNGUARDED, OPT_UNENCRYPTED,
};

static const char hibernate_help[] =
	"kjump hibernate [--dry-run] [--force] [--ignore-missing] [--ignore-unguarded]\n"
	"                [--any-boot] [--closed] [--unencrypted] [--reboot]\n"
	"                [--compress=lz4|zstd|none] [DEVICE]\n\n"
	"Save this system on DEVICE, a partition that nothing else uses (default: device=\n"
	"in /etc/kjump.conf), and power off. At the next boot \"kjump restore\" in the\n"
	"initramfs resumes it, and this command says so and ends. If it cannot be saved,\n"
	"the system goes on, and this command says why.\n\n"
	"  --dry-run    only check whether it could be done\n"
	"  --force      overwrite what is on DEVICE, whatever it is; not if it is in use\n"
	"  --ignore-missing\n"
	"               although the peer does not find a disk that this system has in use:\n"
	"               then nobody notices if it is changed before the system is resumed\n"
	"  --ignore-unguarded\n"
	"               although nothing would show changes of something that this system\n"
	"               writes to, for example a file system on RAID 5 (or ignore-unguarded=yes\n"
	"               in /etc/kjump.conf)\n"
	"  --any-boot   although what is started next, unless you choose, resumes nothing, or\n"
	"               that is not known\n"
	"  --closed     although no initramfs opens what is encrypted and DEVICE is on\n"
	"  --unencrypted\n"
	"               although disks of this system are encrypted and DEVICE is not (or\n"
	"               unencrypted=yes in /etc/kjump.conf)\n"
	"  --reboot     reboot instead of powering off\n"
	"  --compress   how (default: compress= in /etc/kjump.conf, or lz4)\n";

/* What runs in a peer is in no image, and gone when the machine is off. */
static int check_peers(void)
{
	char *names = peers_in_state("preserved");
	int rc = KJ_OK;

	if (names)
		rc = fail(KJ_REFUSED,
			  "what runs in peers that have a name would be lost: %s; end it there and unload them (kjump unload NAME)",
			  names);
	free(names);
	return rc;
}

static int check_guards(bool any_unguarded)
{
	struct disks guarded, busy;
	int rc = disks_in_use(&guarded, &busy);

	if (!rc)
		rc = disks_check_guards(&guarded, any_unguarded);
	disks_free(&guarded);
	disks_free(&busy);
	return rc;
}

int verb_hibernate(int argc, char **argv)
{
	static const struct option options[] = {
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "reboot", no_argument, NULL, OPT_REBOOT },
		{ "dry-run", no_argument, NULL, OPT_DRY_RUN },
		{ "ignore-missing", no_argument, NULL, OPT_MISSING },
		{ "ignore-unguarded", no_argument, NULL, OPT_UNGUARDED },
		{ "any-boot", no_argument, NULL, OPT_ANY_BOOT },
		{ "closed", no_argument, NULL, OPT_CLOSED },
		{ "unencrypted", no_argument, NULL, OPT_UNENCRYPTED },
		{ "compress", required_argument, NULL, OPT_COMPRESS },
		{ NULL }
	};
	bool force = false, missing = false, any_boot = false, closed = false, again = false,
	     dry = false;
	struct next_boot next = { 0 };
	struct message m;
	struct conf conf;
	const char *device;
	char *disk;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, hibernate_help)) >= 0) {
		if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_MISSING)
			missing = true;
		else if (c == OPT_UNGUARDED)
			conf.any_unguarded = true;
		else if (c == OPT_ANY_BOOT)
			any_boot = true;
		else if (c == OPT_CLOSED)
			closed = true;
		else if (c == OPT_UNENCRYPTED)
			conf.unencrypted = true;
		else if (c == OPT_REBOOT)
			again = true;
		else if (c == OPT_DRY_RUN)
			dry = true;
		else if (c == OPT_COMPRESS && !image_algorithm(optarg, &conf.compress))
			return usage(argv[0], "no way to compress: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, "[DEVICE]");
	if (rc)
		return rc;
	device = optind < argc ? argv[optind] : conf.device;
	if (!device)
		return usage(argv[0], "name a device, here or as device= in /etc/kjump.conf");
	rc = device_named(&device, NEED_NOT_EXIST);
	/* What no device would do for is said first. */
	if (!rc)
		rc = need_loading(false);
	if (!rc)
		rc = device_check(device, NULL, force);
	if (!rc)
		rc = device_on_hardware(device);
	if (!rc)
		rc = need_view();
	if (!rc && jump_number("jump_back_entry") && jump_number("preserved"))
		rc = fail(KJ_REFUSED,
			  "the kernel that jumped here would be lost; jump back (kjump back) and hibernate that one");
	if (!rc)
		rc = check_peers();
	if (!rc && !machine_ram_loadable())
		rc = fail(KJ_REFUSED,
			  "RAM above 4 GB, which this i386 system has, can be saved but not loaded again; "
			  "boot with mem=4G, or use kjump snapshot");
	if (!rc && !conf.unencrypted)
		rc = device_keeps_secrets(device);
	if (!rc)
		rc = check_guards(conf.any_unguarded);
	if (!rc && any_boot)
		next_boot_as_this("/boot", &next);
	else if (!rc)
		rc = next_boot_check("/boot", EFIVARS, device, &next);
	if (!rc && !closed)
		rc = check_opens(next.opens, "/etc/crypttab", device);
	free(next.opens);
	if (!rc && dry) {
		rc = peer_check_room(device);
		if (!rc)
			rc = peer_check(&conf);
		if (!rc)
			rc = leave_room(next.bytes, false);
		if (!rc)
			step("%s: this system could be saved there", device);
		return rc;
	}
	if (rc)
		return rc;
	disk = device_identity(device);
	rc = have_peer(&conf);
	if (!rc)
		rc = leave_room(next.bytes, true);
	if (rc)
		return rc;
	rc = peer_message(&m, ACTION_HIBERNATE);
	if (rc)
		return rc;
	message_add(&m, "compress", "%s", image_algorithm_name(conf.compress));
	message_add(&m, "after", again ? "reboot" : "poweroff");
	message_add(&m, "ignore_missing", "%d", missing);
	message_add(&m, "ignore_unguarded", "%d", conf.any_unguarded);
	hold_signals();
	if (shared_size() < m.room)
		rc = shared_resize(m.room);
	if (!rc)
		rc = device_check_again(device, disk, force);
	if (!rc)
		rc = peer_name_device(device, &m);
	free(disk);
	if (!rc)
		rc = check_interrupted();
	if (rc)
		return rc;
	next_boot_settle("/boot");
	step("hibernating to %s", device);
	rc = peer_ask(&m);
	if (!rc && jump_was_resumed()) {
		step("resumed");
		return KJ_OK;
	}
	if (!rc)
		rc = fail(KJ_PEER, "the peer came back without having powered off");
	disown(device);
	return rc;
}
