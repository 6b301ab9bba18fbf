// SPDX-License-Identifier: GPL-2.0
/* Which devices there are, and what they are called. */
#include "devices/device.h"
#include "devices/dm.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <linux/major.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define CLASS_BLOCK	"/sys/class/block"

char *device_file(const char *name)
{
	char *path = xasprintf("/dev/%s", name), *p;

	for (p = path; (p = strchr(p, '!')); )
		*p = '/';
	return path;
}

char *device_name(dev_t dev)
{
	char *sys = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	char target[PATH_MAX], *name = NULL;
	ssize_t n = readlink(sys, target, sizeof(target) - 1);

	if (n > 0) {
		target[n] = 0;
		name = strrchr(target, '/');
	}
	free(sys);
	return name ? xasprintf("%s", name + 1) : NULL;
}

char *device_path(dev_t dev)
{
	char *name = device_name(dev), *path = name ? device_file(name) : NULL;

	free(name);
	return path;
}

bool device_number(const char *path, dev_t *dev)
{
	unsigned int major, minor;
	char *text = read_text(path);
	bool ok = text && sscanf(text, "%u:%u", &major, &minor) == 2;

	if (ok)
		*dev = makedev(major, minor);
	free(text);
	return ok;
}

void device_numbers_in(const char *dir, void (*visit)(void *ctx, dev_t dev), void *ctx)
{
	DIR *d = opendir(dir);
	struct dirent *e;
	dev_t dev;

	while (d && (e = readdir(d))) {
		char *path = xasprintf("%s/%s/dev", dir, e->d_name);

		if (e->d_name[0] != '.' && device_number(path, &dev))
			visit(ctx, dev);
		free(path);
	}
	if (d)
		closedir(d);
}

/* Another kjump has it for the moment. */
static bool is_own(const char *name)
{
	char *file = xasprintf(CLASS_BLOCK "/%s/dm/name", name), *text = read_text(file);
	unsigned int process, number;
	int end = 0;
	/* A volume of somebody else's may begin like that. */
	bool own = text && sscanf(text, DM_OWN_NAME "%u-%u%n", &process, &number, &end) == 2 &&
		   !text[end];

	free(text);
	free(file);
	return own;
}

int device_for_each(int (*visit)(void *ctx, const char *path), void *ctx)
{
	struct dirent **names;
	int n = scandir(CLASS_BLOCK, &names, NULL, alphasort);
	int i, rc = 0;

	for (i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' && !rc && !is_own(names[i]->d_name)) {
			char *path = device_file(names[i]->d_name);

			rc = visit(ctx, path);
			free(path);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return rc;
}

static int is_there(void *ctx, const char *path)
{
	*(bool *)ctx = true;
	return !access(path, F_OK);
}

int device_searchable(void)
{
	bool any = false;

	if (access(CLASS_BLOCK, X_OK))
		return fail(KJ_FAILED, CLASS_BLOCK ": %s; mount /sys (-t sysfs)", strerror(errno));
	if (!device_for_each(is_there, &any) && any)
		return fail(KJ_FAILED,
			    "none of the block devices there are is in /dev; mount it (-t devtmpfs)");
	return KJ_OK;
}

static int is_hidden(void *ctx, const char *path)
{
	struct stat st;

	(void)ctx;
	if (!access(path, R_OK) || errno != EACCES || stat(path, &st))
		return 0;
	/* A floppy's or CD-ROM's drive may be for others than a disk. */
	return major(st.st_rdev) != FLOPPY_MAJOR && major(st.st_rdev) != SCSI_CDROM_MAJOR;
}

bool device_hidden(void)
{
	return device_for_each(is_hidden, NULL);
}

struct wanted {
	const char *id;
	enum image_state state;
	char *path;
};

static int has_image(void *ctx, const char *path)
{
	char id[2 * IMAGE_ID_LEN + 1];
	struct wanted *w = ctx;
	struct image image;

	if (!image_open(&image, path, false) && !image_read_super(&image) &&
	    (!w->state || w->state == image.super.state)) {
		image_id_text(image.super.id, id);
		if (!strcmp(id, w->id))
			w->path = xasprintf("%s", path);
	}
	fail_clear();
	image_close(&image);
	return !!w->path;
}

char *device_find_image(const char *id, enum image_state state, const char *likely)
{
	struct wanted w = { .id = id, .state = state };

	if (!(likely && has_image(&w, likely)))
		device_for_each(has_image, &w);
	return w.path;
}

static int reread_partitions(void *ctx, const char *path)
{
	char *partition = xasprintf(CLASS_BLOCK "/%s/partition", strrchr(path, '/') + 1);
	int fd = access(partition, F_OK) ? open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC) : -1;

	(void)ctx;
	if (fd >= 0) {
		ioctl(fd, BLKRRPART);
		close(fd);
	}
	free(partition);
	return 0;
}

void device_rescan(void)
{
	DIR *d = opendir("/sys/class/scsi_host");
	struct dirent *e;

	device_for_each(reread_partitions, NULL);
	/* What cannot be asked finds nothing. */
	write_line("/sys/bus/pci/rescan", "1");
	while (d && (e = readdir(d))) {
		char *path = xasprintf("/sys/class/scsi_host/%s/scan", e->d_name);

		if (e->d_name[0] != '.')
			write_line(path, "- - -");
		free(path);
	}
	if (d)
		closedir(d);
}

/* Nobody means to make a file where devices are. */
bool device_is_name(const char *path)
{
	return !strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9);
}
