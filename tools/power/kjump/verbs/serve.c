// SPDX-License-Identifier: GPL-2.0
/* kjump serve */
#include "common/cli.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

static const char serve_help[] =
	"kjump serve\n\n"
	"In a kernel that was jumped to, started by its init when kjump.serve is on the\n"
	"command line: do what the first kernel asks for (save it, power off), jump back, and\n"
	"do the same each time it jumps here again. Ends when the first kernel leaves the\n"
	"machine to this one (kjump switch).\n";

int verb_serve(int argc, char **argv)
{
	static const struct option options[] = { { NULL } };
	int rc;

	while (next_option(argc, argv, options, serve_help) >= 0)
		;
	rc = check_arguments(argc, argv, "");
	return rc ? rc : peer_serve(false, NULL);
}
