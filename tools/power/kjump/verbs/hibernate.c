// SPDX-License-Identifier: GPL-2.0
/* kjump hibernate */
#include "common/cli.h"
#include "common/machine.h"
#include "devices/device.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

/*
 * The system goes on: if the peer came as far as a complete image (and died when
 * it was to power off), nobody may resume that.
 */
static void disown(const char *device)
{
	if (image_disown(device, NULL))
		fprintf(stderr,
			"kjump: %s: if there is an image of this system on it, it must not be resumed, and could not be marked so: overwrite its first 4 KB\n",
			device);
}

enum { OPT_FORCE = OPT_FIRST, OPT_REBOOT, OPT_COMPRESS };

static const char hibernate_help[] =
	"kjump hibernate [--force] [--reboot] [--compress=lz4|zstd|none] [DEVICE]\n\n"
	"Save this system on DEVICE, a partition that nothing else uses (default: device=\n"
	"in /etc/kjump.conf), and power off. At the next boot \"kjump restore\" in the\n"
	"initramfs resumes it, and this command says so and ends. If it cannot be saved,\n"
	"the system goes on, and this command says why.\n\n"
	"  --force      overwrite what is on DEVICE, whatever it is; not if it is in use\n"
	"  --reboot     reboot instead of powering off\n"
	"  --compress   how (default: compress= in /etc/kjump.conf, or lz4)\n";

int verb_hibernate(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "reboot", no_argument, NULL, OPT_REBOOT },
		{ "compress", required_argument, NULL, OPT_COMPRESS },
		{ NULL }
	};
	bool force = false, again = false;
	struct message m;
	struct conf conf;
	const char *device;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, hibernate_help)) >= 0) {
		if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_REBOOT)
			again = true;
		else if (c == OPT_COMPRESS && !image_algorithm(optarg, &conf.compress))
			return usage(argv[0], "no way to compress: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, 0, 1);
	if (rc)
		return rc;
	device = optind < argc ? argv[optind] : conf.device;
	if (!device)
		return usage(argv[0], "name a device, here or as device= in /etc/kjump.conf");
	rc = device_check(device, NULL, force);
	if (!rc)
		rc = device_on_hardware(device);
	if (!rc)
		rc = need_view();
	if (!rc && !machine_ram_loadable())
		rc = fail(KJ_REFUSED,
			  "RAM above 4 GB, which this i386 system has, can be saved but not loaded again; "
			  "boot with mem=4G, or use kjump snapshot");
	if (!rc)
		rc = have_peer(&conf);
	if (rc)
		return rc;
	peer_message(&m, ACTION_HIBERNATE);
	message_add(&m, "compress", "%s", image_algorithm_name(conf.compress));
	message_add(&m, "after", again ? "reboot" : "poweroff");
	hold_signals();
	if (shared_size() < MESSAGE_SIZE)
		rc = shared_resize(MESSAGE_SIZE);
	if (!rc)
		rc = peer_name_device(device, &m);
	if (!rc)
		rc = check_interrupted();
	if (rc)
		return rc;
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
