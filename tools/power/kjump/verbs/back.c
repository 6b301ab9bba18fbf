// SPDX-License-Identifier: GPL-2.0
/* kjump back */
#include "common/cli.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

static const char back_help[] =
	"kjump back\n\n"
	"In a kernel that was jumped to: jump back. When the first kernel jumps here again,\n"
	"this command does what it asks for, as kjump serve does, or ends.\n";

int verb_back(int argc, char **argv)
{
	static const struct option options[] = { { NULL } };
	int rc;

	while (next_option(argc, argv, options, back_help) >= 0)
		;
	rc = check_arguments(argc, argv, "");
	return rc ? rc : peer_serve(true, NULL);
}
