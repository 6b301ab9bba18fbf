// SPDX-License-Identifier: GPL-2.0
/* kexec_load(2), the jump, and what /sys/kernel/kexec_jump says. */
#include "peer/kexec.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/reboot.h>
#include <stdlib.h>
#include <string.h>
#include <sys/reboot.h>
#include <sys/syscall.h>
#include <unistd.h>

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

static int choose(const char *name)
{
	int fd = open(KEXEC_JUMP_SYSFS "peer", O_WRONLY | O_CLOEXEC);
	int error = fd < 0 ? errno : 0;

	if (!error && dprintf(fd, "%s\n", name) < 0)
		error = errno;
	if (fd >= 0)
		close(fd);
	if (error == ENOENT && !*name)
		error = 0;
	if (error == ENOENT)
		return fail(KJ_FAILED, "this kernel has one peer, which has no name");
	if (error == EINVAL)
		return fail(KJ_USAGE,
			    "\"%s\" is no name: up to 15 letters, digits, dots, dashes and underscores, the first one a letter or digit",
			    name);
	return error ? fail(KJ_FAILED, "peer %s: %s", name, strerror(error)) : KJ_OK;
}

int peer_choose(const char *name)
{
	chosen = name;
	/* A line of text has an end, and what is behind it would not be looked at. */
	if (name && (!*name || strchr(name, '\n')))
		return fail(KJ_USAGE, "\"%s\" is no name", name);
	return choose(name ? name : "");
}

int peer_choose_again(void)
{
	return chosen ? choose(chosen) : KJ_OK;
}

char *peers_in_state(const char *state)
{
	char *peers = jump_file("peers"), *line, *rest = peers, *names = xasprintf("%s", "");

	while ((line = strsep(&rest, "\n"))) {
		char *before = names, name[32], is[32];

		if (sscanf(line, "%31s %31s", name, is) != 2 || (state && strcmp(is, state)))
			continue;
		names = xasprintf("%s%s%s", before, *before ? " " : "", name);
		free(before);
	}
	free(peers);
	return names;
}

bool jump_loaded(void)
{
	return jump_number("image_entry");
}

bool jump_was_resumed(void)
{
	char *last = jump_file("last");
	bool resumed = strstr(last, "resumed from an image");

	free(last);
	return resumed;
}

void jump_hold(bool hold)
{
	int fd;

	/* Nobody jumps by chance to one that has a name. */
	if (chosen)
		return;
	fd = open(KEXEC_JUMP_SYSFS "held", O_WRONLY | O_CLOEXEC);

	/* That nothing is loaded, or is being loaded, comes out at the jump. */
	if (fd < 0 || write(fd, hold ? "1" : "0", 1) < 0)
		errno = 0;
	if (fd >= 0)
		close(fd);
}

int peer_none(void)
{
	char *names;

	if (!chosen)
		return fail(KJ_NONE, "nothing to jump to is loaded; kjump load does that");
	names = peers_in_state(NULL);
	fail(KJ_NONE, "no peer %s is loaded; there is %s", chosen,
	     *names ? names : "none with a name");
	free(names);
	return KJ_NONE;
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
		rc = peer_none();
	else
		rc = fail(KJ_FAILED, "the jump failed: %s (last: %s; the kernel log says more)",
			  strerror(error), last);
	free(last);
	return rc;
}

int jump(void)
{
	char *last;
	int error, rc = KJ_OK;

	fflush(stdout);
	sync();
	jump_hold(false);
	error = reboot(LINUX_REBOOT_CMD_KEXEC) ? errno : 0;
	jump_hold(true);
	if (error)
		return not_jumped(error);
	last = jump_file("last");
	if (!strncmp(last, "test at", 7))
		rc = fail(KJ_FAILED, "not jumped: a %s (/sys/power/pm_test is set)", last);
	free(last);
	return rc;
}
