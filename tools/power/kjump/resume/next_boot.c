// SPDX-License-Identifier: GPL-2.0
/*
 * Whether the next boot will resume what is saved now. See next_boot.h.
 *
 * A kernel that was installed since is what GRUB starts; if that one does not resume, it
 * mounts the disks, and the saved system is lost.
 */
#include "resume/next_boot.h"
#include "common/kjump.h"
#include "devices/users.h"
#include "devices/volume.h"
#include "peer/initramfs.h"
#include "peer/peer.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* The first word of a line; what follows it, in @rest. */
static size_t first_word(const char **line, const char *end, const char **rest)
{
	const char *p = *line;

	while (p < end && isspace((unsigned char)*p))
		p++;
	*line = p;
	while (p < end && !isspace((unsigned char)*p))
		p++;
	*rest = p;
	return (size_t)(p - *line);
}

static bool is_word(const char *word, size_t length, const char *text)
{
	return length == strlen(text) && !memcmp(word, text, length);
}

static char *copy(const char *from, const char *end)
{
	return xasprintf("%.*s", (int)(end - from), from);
}

/*
 * What grub-mkconfig writes: a line a command, with more than one "set default=", of which
 * the last is what counts if nobody asked for another entry; then entries and submenus.
 */
bool grub_default(const char *cfg, struct boot_entry *entry)
{
	static const char first[] = "default=\"0\"";
	bool is_first = true, inside = false;

	memset(entry, 0, sizeof(*entry));
	for (const char *line = cfg, *end; *line; line = *end ? end + 1 : end) {
		const char *word = line, *rest, *more;
		size_t length;

		end = strchrnul(line, '\n');
		length = first_word(&word, end, &rest);
		if (!inside && is_word(word, length, "set")) {
			length = first_word(&rest, end, &more);
			if (length >= 8 && !memcmp(rest, first, 8))
				is_first = is_word(rest, length, first);
		} else if (is_word(word, length, "submenu")) {
			return false;
		} else if (is_word(word, length, "menuentry")) {
			if (inside || !is_first)
				return false;
			inside = true;
		} else if (inside && is_word(word, length, "}")) {
			break;
		} else if (inside && (is_word(word, length, "linux") ||
				      is_word(word, length, "linuxefi"))) {
			length = first_word(&rest, end, &more);
			boot_entry_free(entry);
			entry->kernel = copy(rest, rest + length);
			entry->words = copy(more, end);
		} else if (inside && (is_word(word, length, "initrd") ||
				      is_word(word, length, "initrdefi"))) {
			free(entry->initrds);
			entry->initrds = copy(rest, end);
		}
	}
	return entry->kernel;
}

void boot_entry_free(struct boot_entry *entry)
{
	free(entry->kernel);
	free(entry->words);
	free(entry->initrds);
	memset(entry, 0, sizeof(*entry));
}

/* Somebody asked for another entry, once (grub-reboot). */
static bool asked_for_another(const char *env)
{
	const char *next = env ? strstr(env, "next_entry=") : NULL;

	return next && next[11] && next[11] != '\n';
}

static bool resumes(const char *words)
{
	return command_line_has(words, "kjump.restore") ||
		command_line_has(words, "kjump.restore=");
}

/* Its configuration is where distributions have it, and says that it cannot. */
static bool cannot_jump(const char *boot, const char *release)
{
	char *file = xasprintf("%s/config-%s", boot, release), *config = read_text(file);
	bool cannot = config && !strstr(config, "\nCONFIG_KEXEC_JUMP=y");

	free(config);
	free(file);
	return cannot;
}

/* The one of these files of @boot that resumes nothing, if that is so of all; to be freed. */
static char *without_kjump(const char *boot, const char *initrds)
{
	char *names = xasprintf("%s", initrds ? initrds : ""), *rest = names, *name, *last = NULL;
	struct initramfs fs = { 0 };

	while ((name = strsep(&rest, " \t"))) {
		if (!*name)
			continue;
		free(last);
		last = xasprintf("%s/%s", boot, basename(name));
		/* One that cannot be looked into may have anything. */
		if (initramfs_scan(last, &fs) || fs.has_kjump) {
			fail_clear();
			free(last);
			last = NULL;
			break;
		}
	}
	free(names);
	return last;
}

static int check_entry(const char *boot, const struct boot_entry *entry, const char *device)
{
	const char *name = basename(entry->kernel), *release = strchr(name, '-');
	char *initrd;
	int rc = KJ_OK;

	if (release && cannot_jump(boot, release + 1))
		return fail(KJ_REFUSED,
			    "the next boot starts %s, the first in %s/grub/grub.cfg: it has no kexec jump (CONFIG_KEXEC_JUMP) and would not resume this system; remove it, or make another one the first, or --any-boot",
			    name, boot);
	if (!resumes(entry->words))
		return fail(KJ_REFUSED,
			    "the next boot, %s by %s/grub/grub.cfg, does not have kjump.restore=%s and would not resume this system: kjump setup %s, or --any-boot",
			    name, boot, device, device);
	initrd = without_kjump(boot, entry->initrds);
	if (initrd)
		rc = fail(KJ_REFUSED,
			  "the next boot, %s, has no kjump in its initramfs, %s, and would not resume this system: have it made again (update-initramfs -u -k all), or --any-boot",
			  name, initrd);
	free(initrd);
	return rc;
}

/* Most boots are like this one. */
static void judge_by_this_boot(const char *device)
{
	char *own = read_text("/proc/cmdline");

	if (own && !resumes(own)) {
		step("the next boot must have kjump.restore=%s on its command line, unlike this,",
		     device);
		step("else nothing is resumed, and what is in memory now is lost");
	}
	free(own);
}

int next_boot_check(const char *boot, const char *device)
{
	char *cfg_file = xasprintf("%s/grub/grub.cfg", boot), *cfg = read_text(cfg_file);
	char *env_file = xasprintf("%s/grub/grubenv", boot), *env = read_text(env_file);
	struct boot_entry entry = { 0 };
	int rc = KJ_OK;

	if (cfg && !asked_for_another(env) && grub_default(cfg, &entry))
		rc = check_entry(boot, &entry, device);
	else
		judge_by_this_boot(device);
	boot_entry_free(&entry);
	free(env);
	free(env_file);
	free(cfg);
	free(cfg_file);
	return rc;
}

/* --- what is encrypted -------------------------------------------------- */

static void list_key(void *names, const char *name)
{
	add_listed(names, "\n", name);
}

struct key {
	const char *name;
	bool found;
};

static void find_key(void *ctx, const char *name)
{
	struct key *key = ctx;

	key->found |= !strcmp(name, key->name);
}

/* crypttab(5): name, device, key, and options with commas between them. */
static bool has_option(char *line, const char *name)
{
	char *word, *option;
	int field = 0;

	while ((word = strsep(&line, " \t"))) {
		if (!*word)
			continue;
		if (!field && strcmp(word, name))
			return false;
		if (field++ < 3)
			continue;
		while ((option = strsep(&word, ",")))
			if (!strcmp(option, "initramfs") || !strcmp(option, "x-initrd.attach"))
				return true;
		return false;
	}
	return false;
}

static bool told_to_open(const char *crypttab, const char *name)
{
	char *text = read_text(crypttab), *rest = text, *line;
	bool told = false;

	while (!told && rest && (line = strsep(&rest, "\n")))
		told = has_option(line, name);
	free(text);
	return told;
}

int next_boot_opens(const char *crypttab, const char *device)
{
	char *names = NULL, *rest;
	struct key key;
	struct stat st;
	bool known;
	int rc = KJ_OK;

	if (!stat(device, &st) && S_ISBLK(st.st_mode))
		volume_keys(st.st_rdev, list_key, &names);
	rest = names;
	while (!rc && rest) {
		key = (struct key){ .name = strsep(&rest, "\n") };
		/* What the root file system is on is opened, whatever is said of it. */
		volume_keys(file_system_of("/", &known), find_key, &key);
		if (!key.found && !told_to_open(crypttab, key.name))
			rc = fail(KJ_REFUSED,
				  "no initramfs opens %s, which %s is on, so that the next boot would not resume this system: add the option initramfs in %s and update-initramfs -u, or --closed",
				  key.name, device, crypttab);
	}
	free(names);
	return rc;
}
