// SPDX-License-Identifier: GPL-2.0
/* kexec_load(2), the jump, and what /sys/kernel/kexec_jump says. */
#include "peer/kexec.h"

#include <errno.h>
#include <linux/reboot.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

/* How long others may be loading something. */
#define HOLD_TRIES	100u
#define HOLD_PAUSE_US	(50 * 1000)

int kexec_load_call(unsigned long entry, unsigned long nr_segments,
		    const struct kexec_segment *segments, unsigned long flags)
{
	if (!syscall(SYS_kexec_load, entry, nr_segments, segments, flags))
		return 0;
	return -errno;
}

void kexec_unload(void)
{
	kexec_load_call(0, 0, NULL, 0);
}

char *jump_file(const char *name)
{
	char *path = xasprintf(KEXEC_JUMP_SYSFS "%s", name);
	char *text = read_text(path);

	free(path);
	return text ? text : xasprintf("%s", "");
}

bool jump_supported(void)
{
	return !access(KEXEC_JUMP_SYSFS, F_OK);
}

uint64_t jump_number(const char *name)
{
	char *text = jump_file(name);
	uint64_t n = strtoull(text, NULL, 0);

	free(text);
	return n;
}

static const char *chosen;

int peer_choose(const char *name)
{
	const char *line = name ? name : "";
	int error;

	chosen = name;
	/* A line of text has an end, and what is behind it would not be looked at. */
	if (name && (!*name || strchr(name, '\n')))
		error = EINVAL;
	else
		error = write_line(KEXEC_JUMP_SYSFS "peer", line);
	if (error == ENOENT && !name)
		return KJ_OK;
	if (error == ENOENT)
		return fail(KJ_FAILED, "this kernel has one peer, which has no name");
	if (error == EINVAL)
		return fail(KJ_USAGE,
			    "\"%s\" is no name: up to 15 letters, digits, dots, dashes and underscores, the first one a letter or digit",
			    line);
	return error ? fail(KJ_FAILED, "peer %s: %s", line, strerror(error)) : KJ_OK;
}

int peer_choose_again(void)
{
	return chosen ? peer_choose(chosen) : KJ_OK;
}

int jump_times(uint64_t times)
{
	unsigned long long n = times;
	char *line = xasprintf("%s*%llu", chosen ? chosen : "", n);
	int error = write_line(KEXEC_JUMP_SYSFS "peer", line);

	free(line);
	if (error == ENOENT || error == EINVAL)
		return fail(KJ_FAILED, "this kernel cannot jump %llu times at once", n);
	return error ? fail(KJ_FAILED, "%llu times: %s", n, strerror(error)) : KJ_OK;
}

bool peer_next(char **list, struct named_peer *peer)
{
	unsigned long long kb;
	char *line;
	int n;

	while ((line = strsep(list, "\n"))) {
		n = sscanf(line, "%31s %31s %llu", peer->name, peer->state, &kb);
		peer->has_window = n > 2;
		peer->window = n > 2 ? kb * KB : 0;
		if (n > 1)
			return true;
	}
	return false;
}

char *peers_in_state(const char *state)
{
	char *peers = jump_file("peers"), *rest = peers, *names = NULL;
	struct named_peer peer;

	while (peer_next(&rest, &peer))
		if (!state || !strcmp(peer.state, state))
			add_listed(&names, " ", peer.name);
	free(peers);
	return names;
}

bool jump_loaded(void)
{
	return jump_number("image_entry");
}

bool jump_leads_back(void)
{
	uint64_t back = jump_number("jump_back_entry"), entry = jump_number("image_entry");

	return back && jump_number("preserved") && (!entry || entry == back);
}

bool jump_was_resumed(void)
{
	char *last = jump_file("last");
	bool resumed = strstr(last, "resumed from an image");

	free(last);
	return resumed;
}

int jump_hold(bool hold)
{
	int error = 0;

	/* Nobody jumps by chance to one that has a name. */
	if (chosen)
		return KJ_OK;
	/*
	 * Others may be loading something just now, as a crash kernel. That nothing is loaded
	 * comes out at the jump.
	 */
	for (unsigned int n = 0; n < HOLD_TRIES; n++) {
		error = write_line(KEXEC_JUMP_SYSFS "held", hold ? "1" : "0");
		if (error != EBUSY)
			break;
		usleep(HOLD_PAUSE_US);
	}
	return !error || error == ENODATA ? KJ_OK :
		fail(KJ_FAILED, KEXEC_JUMP_SYSFS "held: %s", strerror(error));
}

static int none_loaded(void)
{
	char *names;

	if (!chosen)
		return fail(KJ_NONE, "nothing to jump to is loaded; kjump load does that");
	names = peers_in_state(NULL);
	fail(KJ_NONE, "no peer %s is loaded; there is %s", chosen,
	     names ? names : "none with a name");
	free(names);
	return KJ_NONE;
}

int peer_need(const char *name)
{
	int rc = name ? peer_choose(name) : KJ_OK;

	return rc || jump_loaded() ? rc : none_loaded();
}

static int not_jumped(int error)
{
	char *last = jump_file("last");
	int rc;

	if (error == EOWNERDEAD)
		rc = fail(KJ_PEER, "the other kernel died: %s", last);
	else if (error == EPERM)
		rc = fail(KJ_FAILED, "only root may jump");
	else if (error == EINVAL && !jump_loaded())
		rc = none_loaded();
	else
		rc = fail(KJ_FAILED, "the jump failed: %s (last: %s; the kernel log says more)",
			  strerror(error), last);
	free(last);
	return rc;
}

int jump(void)
{
	bool not_stock_s = jump_number("held") || jump_leads_back();
	char *last;
	int error, rc = KJ_OK;

	fflush(stdout);
	sync();
	if (jump_hold(false))
		return KJ_FAILED;
	error = reboot(LINUX_REBOOT_CMD_KEXEC) ? errno : 0;
	if (jump_hold(not_stock_s))
		fail_clear();
	if (error)
		return not_jumped(error);
	last = jump_file("last");
	if (!strncmp(last, "test at", 7))
		rc = fail(KJ_FAILED, "not jumped: a %s (/sys/power/pm_test is set)", last);
	free(last);
	return rc;
}
