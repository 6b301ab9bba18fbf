// SPDX-License-Identifier: GPL-2.0
/* /etc/kjump.conf */
#include "common/conf.h"
#include "image/image.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#define CONF_FILE	"/etc/kjump.conf"

static char *trim(char *text)
{
	char *end;

	while (isspace((unsigned char)*text))
		text++;
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = 0;
	return text;
}

static int parse_yes(const char *value, bool *yes)
{
	*yes = !strcmp(value, "yes");
	return *yes || !strcmp(value, "no") ? 0 : -1;
}

bool window_size(const char *text, uint64_t *size)
{
	return parse_size(text, size) && !(*size % PAGE) && *size > WINDOW_START;
}

static int set(struct conf *conf, const char *key, const char *value)
{
	/* A name may be in quotes; in a command line they are the kernel's. */
	const struct {
		const char *key;
		char **value;
		bool name;
	} texts[] = {
		{ "kernel", &conf->kernel, true },
		{ "initrd", &conf->initrd, true },
		{ "append", &conf->append, false },
		{ "command-line", &conf->command_line, false },
		{ "device", &conf->device, true },
		{ "kexec", &conf->kexec, true },
		{ "modules", &conf->modules, false },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(texts); i++)
		if (!strcmp(key, texts[i].key)) {
			*texts[i].value = xasprintf("%s", value);
			if (texts[i].name)
				unquote(*texts[i].value);
			return 0;
		}
	if (!strcmp(key, "window"))
		return window_size(value, &conf->window) ? 0 : -1;
	if (!strcmp(key, "ignore-unguarded"))
		return parse_yes(value, &conf->any_unguarded);
	if (!strcmp(key, "unencrypted"))
		return parse_yes(value, &conf->unencrypted);
	if (!strcmp(key, "compress"))
		return image_algorithm(value, &conf->compress) ? 0 : -1;
	return -1;
}

int conf_read(struct conf *conf)
{
	const char *path = getenv("KJUMP_CONF");
	char *text, *line, *rest;
	unsigned int number = 0;
	int rc = KJ_OK;

	memset(conf, 0, sizeof(*conf));
	conf->compress = IMAGE_COMPRESS_DEFAULT;
	if (!path)
		path = CONF_FILE;
	text = read_text(path);
	if (!text)
		return errno == ENOENT ? KJ_OK : fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	rest = text;
	while (!rc && (line = strsep(&rest, "\n"))) {
		char *value;

		number++;
		line = trim(line);
		if (!*line || *line == '#')
			continue;
		value = strchr(line, '=');
		if (value)
			*value++ = 0;
		if (!value || set(conf, trim(line), trim(value)))
			rc = fail(KJ_FAILED, "%s line %u: cannot make sense of \"%s%s%s\"", path,
				  number, line, value ? "=" : "", value ? value : "");
	}
	free(text);
	return rc;
}

char *first_there(const char *folder, const char * const *patterns, unsigned int count)
{
	struct utsname u;

	uname(&u);
	for (unsigned int i = 0; i < count; i++) {
		const char *release = strstr(patterns[i], "%s");
		char *path;

		if (release)
			path = xasprintf("%s%.*s%s%s", folder, (int)(release - patterns[i]),
					 patterns[i], u.release, release + 2);
		else
			path = xasprintf("%s%s", folder, patterns[i]);
		if (!access(path, R_OK))
			return path;
		free(path);
	}
	return NULL;
}

static char *find_kexec(void)
{
	static const char * const usual[] = { "/sbin/kexec", "/usr/sbin/kexec", "/bin/kexec" };
	char *dirs = xasprintf("%s", getenv("PATH") ? getenv("PATH") : "");
	char *dir, *rest = dirs, *found = NULL;

	while (!found && (dir = strsep(&rest, ":"))) {
		char *path = xasprintf("%s/kexec", dir);

		if (*dir && !access(path, X_OK))
			found = path;
		else
			free(path);
	}
	free(dirs);
	return found ? found : first_there("", usual, ARRAY_SIZE(usual));
}

int conf_complete(struct conf *conf)
{
	static const char * const kernels[] = { "bzImage", "vmlinuz-%s" };
	/* A distribution's own would set up the disks, which are not the peer's. */
	static const char * const initrds[] = { "rootfs.gz", "kjump-initrd.img-%s" };

	if (!conf->kernel)
		conf->kernel = first_there("/boot/", kernels, ARRAY_SIZE(kernels));
	if (!conf->kernel)
		return fail(KJ_FAILED,
			    "no kernel for the peer: name one (--kernel, or kernel= in %s)",
			    CONF_FILE);
	if (!conf->initrd)
		conf->initrd = first_there("/boot/", initrds, ARRAY_SIZE(initrds));
	if (!conf->initrd)
		return fail(KJ_FAILED,
			    "no initramfs for the peer: name one that has kjump in it (--initrd, or initrd= in %s)",
			    CONF_FILE);
	if (!conf->kexec)
		conf->kexec = find_kexec();
	if (!conf->kexec)
		return fail(KJ_FAILED, "no kexec in $PATH or /sbin: install kexec-tools");
	return KJ_OK;
}
