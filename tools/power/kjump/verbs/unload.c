// SPDX-License-Identifier: GPL-2.0
/* kjump unload */
#include "common/cli.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

static const char unload_help[] =
	"kjump unload [NAME]\n\n"
	"Unload the peer, or the one of that name, and free its memory. What ran in it is\n"
	"lost.\n";

int verb_unload(int argc, char **argv)
{
	static const struct option options[] = { { NULL } };
	int rc;

	while (next_option(argc, argv, options, unload_help) >= 0)
		;
	rc = check_arguments(argc, argv, "[NAME]");
	if (!rc)
		rc = need_jump_support();
	if (!rc)
		rc = peer_need(optind < argc ? argv[optind] : NULL);
	if (rc)
		return rc;
	kexec_unload();
	if (jump_loaded())
		rc = fail(KJ_FAILED, "not unloaded: the kernel is busy loading or jumping");
	return rc;
}
