// SPDX-License-Identifier: GPL-2.0
/* kjump load */
#include "common/cli.h"
#include "common/conf.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

enum {
	OPT_KERNEL = OPT_FIRST,
	OPT_INITRD,
	OPT_WINDOW,
	OPT_APPEND,
	OPT_COMMAND_LINE,
	OPT_READY,
	OPT_NAME,
};

static const char load_help[] =
	"kjump load [--kernel=FILE] [--initrd=FILE] [--window=SIZE] [--append=WORDS]\n"
	"           [--command-line=WORDS] [--name=NAME] [--ready]\n\n"
	"Load the second kernel, the peer, to jump to later. What was loaded before stays\n"
	"if this fails.\n\n"
	"  --kernel   default: kernel= in /etc/kjump.conf, /boot/bzImage, or this kernel's\n"
	"             file in /boot\n"
	"  --initrd   its initramfs, with kjump in it; default: initrd= in /etc/kjump.conf,\n"
	"             /boot/rootfs.gz, or what kjump-mkinitramfs made for this kernel\n"
	"  --window   it may use memory up to this address (default: what it needs,\n"
	"             at least 64M)\n"
	"  --append   more words for its command line\n"
	"  --command-line\n"
	"             what it is told of the machine, instead of this kernel's own words\n"
	"  --name     one more peer, besides others; kjump switch NAME jumps to it\n"
	"  --ready    also boot it and come back, so that later jumps are fast\n";

static int make_ready(void)
{
	struct message m;
	int rc;

	rc = peer_message(&m, ACTION_READY);
	if (rc)
		return rc;
	step("booting the peer");
	rc = peer_ask(&m);
	if (!rc)
		step("the peer is ready");
	return rc;
}

int verb_load(int argc, char **argv)
{
	static const struct option options[] = {
		{ "kernel", required_argument, NULL, OPT_KERNEL },
		{ "initrd", required_argument, NULL, OPT_INITRD },
		{ "window", required_argument, NULL, OPT_WINDOW },
		{ "append", required_argument, NULL, OPT_APPEND },
		{ "command-line", required_argument, NULL, OPT_COMMAND_LINE },
		{ "name", required_argument, NULL, OPT_NAME },
		{ "ready", no_argument, NULL, OPT_READY },
		{ NULL }
	};
	const char *name = NULL;
	bool ready = false;
	struct conf conf;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, load_help)) >= 0) {
		if (c == OPT_KERNEL)
			conf.kernel = optarg;
		else if (c == OPT_INITRD)
			conf.initrd = optarg;
		else if (c == OPT_APPEND)
			conf.append = optarg;
		else if (c == OPT_COMMAND_LINE)
			conf.command_line = optarg;
		else if (c == OPT_NAME)
			name = optarg;
		else if (c == OPT_READY)
			ready = true;
		else if (c == OPT_WINDOW && !window_size(optarg, &conf.window))
			return usage(argv[0], "no size above 1M: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, "");
	if (!rc)
		rc = need_jump_support();
	if (!rc && name)
		rc = peer_choose(name);
	if (!rc)
		rc = peer_load(&conf);
	if (!rc && ready)
		rc = make_ready();
	return rc;
}
