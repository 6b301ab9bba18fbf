// SPDX-License-Identifier: GPL-2.0
/* kjump switch */
#include "common/cli.h"
#include "devices/device.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

#include <stdlib.h>
#include <string.h>

static const char switch_help[] =
	"kjump switch [NAME]\n\n"
	"Jump to the peer that kjump load has loaded, and leave it to its shell. Returns\n"
	"when somebody jumps back there (kjump back). In a peer: let another one run, by its\n"
	"name; kjump status lists them; without one it is kjump back.\n";

/*
 * Images that kjump save has made in the peer and did not mark: it died, or was left
 * by other means than kjump back.
 */
static void disown_saved(const struct message *m)
{
	char *ids = message_get(m, MESSAGE_SAVED), *rest = ids, *id;
	char *before = fail_put_aside();

	while ((id = strsep(&rest, ","))) {
		char *path = device_find_image(id, 0, NULL);

		fail_clear();
		if (!path)
			fail(KJ_NONE, "it is not the first thing on any block device");
		if (!path || image_disown(path, id))
			fprintf(stderr,
				"kjump: the image %s of this system, saved in the peer, must not be resumed, and could not be marked so (%s): overwrite it\n",
				id, fail_text());
		free(path);
	}
	fail_take_back(before);
	free(ids);
}

static bool is_one_of(const char *name, const char *state)
{
	char *peers = jump_file("peers"), *rest = peers;
	struct named_peer peer;
	bool found = false;

	while (!found && peer_next(&rest, &peer))
		found = !strcmp(peer.name, name) && !strcmp(peer.state, state);
	free(peers);
	return found;
}

int verb_switch(int argc, char **argv)
{
	static const struct option options[] = { { NULL } };
	const char *name;
	struct message m;
	double begun;
	int rc;

	while (next_option(argc, argv, options, switch_help) >= 0)
		;
	rc = check_arguments(argc, argv, "[NAME]");
	name = optind < argc ? argv[optind] : NULL;
	if (!rc && name && is_one_of(name, "self"))
		return fail(KJ_NONE, "%s is this kernel", name);
	/* Who waits where this one was jumped to from is to know what was saved of him here. */
	if (!rc && (name ? is_one_of(name, "other") : jump_leads_back()))
		return peer_serve(true, name);
	if (!rc)
		rc = need_jump_support();
	if (!rc)
		rc = peer_need(name);
	if (rc)
		return rc;
	/* A peer without kjump does not read messages, and need not. */
	rc = peer_message(&m, ACTION_SWITCH);
	if (rc)
		return rc;
	begun = now_seconds();
	rc = send_and_jump(&m);
	if (!jump_was_resumed())
		disown_saved(&m);
	if (!rc)
		step(jump_was_resumed() ? "resumed from an image" : "back after %.2f s",
		     now_seconds() - begun);
	return rc;
}
