// SPDX-License-Identifier: GPL-2.0
/* Who uses which device of this kernel. */
#include "devices/device.h"
#include "devices/users.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

bool users_know(const struct users *users, dev_t dev)
{
	for (unsigned int i = 0; i < users->count; i++)
		if (users->list[i].dev == dev)
			return true;
	return false;
}

static void add_user(struct users *users, dev_t dev, char *what)
{
	users->list = xrealloc(users->list, (users->count + 1) * sizeof(*users->list));
	users->list[users->count].dev = dev;
	users->list[users->count].writes = false;
	users->list[users->count].whole = false;
	users->list[users->count].opened = false;
	users->list[users->count++].what = what;
}

void users_free(struct users *users)
{
	while (users->count)
		free(users->list[--users->count].what);
	free(users->list);
	users->list = NULL;
}

/* A line of mountinfo. */
struct mounted {
	unsigned int id;
	dev_t dev;			/* what it is on, 0 for nothing */
	char where[256];
	bool writes, no_disk;
};

/* In memory, or on another machine. */
static bool needs_no_disk(const char *type)
{
	static const char * const types[] = {
		"tmpfs", "ramfs", "rootfs", "devtmpfs",
		"nfs", "nfs4", "cifs", "smb3", "9p", "virtiofs", "ceph", "fuse.sshfs",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(types); i++)
		if (!strcmp(type, types[i]))
			return true;
	return false;
}

static bool parse_mount(char *line, struct mounted *m)
{
	unsigned int major, minor;
	char *type, *source, *options;
	struct stat st;

	if (sscanf(line, "%u %*u %u:%u %*s %255s", &m->id, &major, &minor, m->where) != 4)
		return false;
	m->dev = major ? makedev(major, minor) : 0;
	/* Type, source and the options of the file system itself come last. */
	type = strstr(line, " - ");
	source = type ? strchr(type + 3, ' ') : NULL;
	options = source ? strchr(source + 1, ' ') : NULL;
	if (!options)
		return false;
	*source = 0;
	*options++ = 0;
	m->no_disk = needs_no_disk(type + 3);
	/* btrfs and others show an anonymous device; the source is a path then. */
	if (!major && !strncmp(source + 1, "/dev/", 5) && !stat(source + 1, &st) &&
	    S_ISBLK(st.st_mode))
		m->dev = st.st_rdev;
	m->writes = !strcmp(options, "rw") || !strncmp(options, "rw,", 3);
	return true;
}

static void add_mounts(struct users *users)
{
	char *text = read_text("/proc/self/mountinfo");
	char *line, *rest = text;
	struct mounted m;

	while ((line = strsep(&rest, "\n"))) {
		if (!parse_mount(line, &m) || !m.dev)
			continue;
		add_user(users, m.dev, xasprintf("mounted on %s", m.where));
		users->list[users->count - 1].writes = m.writes;
	}
	free(text);
}

dev_t file_system_of(const char *path, bool *known)
{
	char *text = read_text("/proc/self/mountinfo");
	char *line, *rest = text;
	struct mounted m;
	struct statx st;
	dev_t dev = 0;

	*known = false;
	/* Not the file's own device: that may be a subvolume's. */
	if (!statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_MNT_ID, &st)) {
		while ((line = strsep(&rest, "\n"))) {
			if (!parse_mount(line, &m) || m.id != st.stx_mnt_id)
				continue;
			dev = m.dev;
			*known = m.no_disk;
			break;
		}
	}
	free(text);
	return dev;
}

static void add_swaps(struct users *users)
{
	char *text = read_text("/proc/swaps");
	char *line, *rest = text;
	struct stat st;
	bool known;
	dev_t dev;

	strsep(&rest, "\n");			/* the header */
	while ((line = strsep(&rest, "\n"))) {
		line[strcspn(line, " \t")] = 0;
		if (!*line || stat(line, &st))
			continue;
		dev = S_ISBLK(st.st_mode) ? st.st_rdev : file_system_of(line, &known);
		if (!dev)
			continue;
		add_user(users, dev, xasprintf("swap space (%s)", line));
		users->list[users->count - 1].writes = true;
	}
	free(text);
}

struct use {
	struct users *users;
	const char *what;
};

static void add_use(void *ctx, dev_t dev)
{
	const struct use *use = ctx;

	if (!users_know(use->users, dev))
		add_user(use->users, dev, xasprintf("%s", use->what));
}

static void add_devices_in(struct users *users, const char *dir, const char *what)
{
	device_numbers_in(dir, add_use, &(struct use){ users, what });
}

static void add_backing_file(struct users *users, const char *sys)
{
	char *path = xasprintf("%s/loop/backing_file", sys);
	char *file = read_text(path);
	struct stat st;

	if (file && !stat(file, &st)) {
		dev_t dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;

		if (!users_know(users, dev))
			add_user(users, dev, xasprintf("below a loop device (%s)", file));
	}
	free(file);
	free(path);
}

/* What @dev consists of: the disk of a partition, the parts of a mapped device. */
static void add_below(struct users *users, dev_t dev)
{
	char *sys = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	char *slaves = xasprintf("%s/slaves", sys);
	char *partition = xasprintf("%s/partition", sys);
	char *disk = xasprintf("%s/../dev", sys);
	dev_t parent;

	add_devices_in(users, slaves, "part of a device that is in use");
	add_backing_file(users, sys);
	if (!access(partition, F_OK) && device_number(disk, &parent) &&
	    !users_know(users, parent)) {
		add_user(users, parent, xasprintf("a disk with partitions in use"));
		users->list[users->count - 1].whole = true;
	}
	free(disk);
	free(partition);
	free(slaves);
	free(sys);
}

/* A file system on a whole disk that has partitions: those are in use, too. */
static void add_partitions(struct users *users, dev_t dev)
{
	char *sys = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));

	add_devices_in(users, sys, "part of a disk that is in use");
	free(sys);
}

char *device_held_by(dev_t dev)
{
	char *dir = xasprintf("/sys/dev/block/%u:%u/holders", major(dev), minor(dev));
	char *names = NULL;
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		if (e->d_name[0] != '.')
			add_listed(&names, ", ", e->d_name);
	}
	if (d)
		closedir(d);
	free(dir);
	return names;
}

/* Some partition of it is in use, which keeps others from the disk as well. */
static bool has_used_partition(const struct users *users, const char *name)
{
	char *dir = xasprintf("/sys/class/block/%s", name);
	DIR *d = opendir(dir);
	struct dirent *e;
	bool used = false;

	while (d && !used && (e = readdir(d))) {
		char *path = xasprintf("%s/%s/dev", dir, e->d_name), *above = NULL;
		dev_t dev;

		if (e->d_name[0] != '.' && device_number(path, &dev))
			used = users_know(users, dev) || (above = device_held_by(dev));
		free(above);
		free(path);
	}
	if (d)
		closedir(d);
	free(dir);
	return used;
}

/* All of its disk is: who keeps others from that keeps them from its partitions. */
static bool has_used_disk(const struct users *users, const char *name)
{
	char *path = xasprintf("/sys/class/block/%s/../dev", name), *above = NULL;
	dev_t disk;
	bool used = false;

	if (device_number(path, &disk)) {
		above = device_held_by(disk);
		used = above;
		/* To have opened it keeps nobody from anything. */
		for (unsigned int i = 0; !used && i < users->count; i++)
			used = users->list[i].dev == disk && !users->list[i].opened;
	}
	free(above);
	free(path);
	return used;
}

static void add_claimed(struct users *users, dev_t dev)
{
	static const char what[] =
		"held by a mount elsewhere, a file system of several devices, or a program";

	add_user(users, dev, xasprintf("%s", what));
	users->list[users->count - 1].writes = true;
}

/*
 * What somebody has opened exclusively: file systems mounted in another namespace or
 * hidden by other mounts, journals and further devices of file systems, and the like; not
 * what is part of another device. Partitions first: a disk cannot be opened either while
 * one of them is in use.
 */
static int add_exclusive(struct users *users, bool partitions)
{
	struct dirent **names;
	int n = scandir("/sys/class/block", &names, NULL, alphasort);

	if (n < 0)
		return fail(KJ_FAILED, "cannot tell which disks are in use: /sys/class/block: %s",
			    strerror(errno));
	for (int i = 0; i < n; i++) {
		const char *name = names[i]->d_name;
		char *sys = xasprintf("/sys/class/block/%s/dev", name);
		char *partition = xasprintf("/sys/class/block/%s/partition", name);
		char *path = device_file(name), *above = NULL;
		dev_t dev;
		int fd;

		if (name[0] != '.' && !access(partition, F_OK) == partitions &&
		    device_number(sys, &dev) && !users_know(users, dev)) {
			fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
			if (fd < 0 && errno == EBUSY) {
				above = device_held_by(dev);
				if (!above && !(partitions ? has_used_disk(users, name) :
						has_used_partition(users, name)))
					add_claimed(users, dev);
			}
			if (fd >= 0)
				close(fd);
		}
		free(above);
		free(path);
		free(partition);
		free(sys);
		free(names[i]);
	}
	free(names);
	return KJ_OK;
}

/* What is part of another device, or what a loop device is on, whether that is in use or not. */
static void add_held(struct users *users)
{
	DIR *d = opendir("/sys/class/block");
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *sys = xasprintf("/sys/class/block/%s", e->d_name);
		char *number = xasprintf("%s/dev", sys), *above = NULL;
		dev_t dev;

		if (e->d_name[0] != '.' && device_number(number, &dev)) {
			above = users_know(users, dev) ? NULL : device_held_by(dev);
			if (above)
				add_user(users, dev, xasprintf("part of %s", above));
			add_backing_file(users, sys);
		}
		free(above);
		free(number);
		free(sys);
	}
	if (d)
		closedir(d);
}

/* Of a RAID, and of nothing else: who manages that has it open, and does not write to it. */
static bool is_member(dev_t dev)
{
	char *names = device_held_by(dev), *rest = names, *name;
	bool all = names;

	while ((name = strsep(&rest, ", ")))
		all &= !*name || !strncmp(name, "md", 2);
	free(names);
	return all;
}

static void add_opened_by(struct users *users, const char *pid)
{
	char *dir = xasprintf("/proc/%s/fd", pid);
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *path = xasprintf("%s/%s", dir, e->d_name), *comm;
		struct statx st;
		struct stat link;
		dev_t dev;

		/* The link's mode is how it was opened. No server of a network is asked. */
		if (e->d_name[0] == '.' || lstat(path, &link) || !(link.st_mode & 0200) ||
		    statx(AT_FDCWD, path, AT_STATX_DONT_SYNC, STATX_TYPE, &st) ||
		    !S_ISBLK(st.stx_mode)) {
			free(path);
			continue;
		}
		dev = makedev(st.stx_rdev_major, st.stx_rdev_minor);
		if (!users_know(users, dev) && !is_member(dev)) {
			free(path);
			path = xasprintf("/proc/%s/comm", pid);
			comm = read_text(path);
			add_user(users, dev, xasprintf("opened for writing by %s, process %s",
						       comm ? comm : "a program", pid));
			users->list[users->count - 1].writes = true;
			users->list[users->count - 1].opened = true;
			free(comm);
		}
		free(path);
	}
	if (d)
		closedir(d);
	free(dir);
}

/* Programs that write to a device without a file system. */
static int add_opened(struct users *users)
{
	DIR *d = opendir("/proc");
	struct dirent *e;

	if (!d)
		return fail(KJ_FAILED, "cannot tell which disks are in use: /proc: %s",
			    strerror(errno));
	while ((e = readdir(d)))
		if (*e->d_name >= '0' && *e->d_name <= '9' && atoi(e->d_name) != getpid())
			add_opened_by(users, e->d_name);
	closedir(d);
	return KJ_OK;
}

int users_find(struct users *users, dev_t own)
{
	unsigned int i;
	int rc;

	memset(users, 0, sizeof(*users));
	if (own)
		add_user(users, own, xasprintf("opened by kjump"));
	add_mounts(users);
	add_swaps(users);
	rc = add_opened(users);
	if (!rc)
		rc = add_exclusive(users, true);
	if (!rc)
		rc = add_exclusive(users, false);
	users->direct = users->count;
	add_held(users);
	for (i = 0; i < users->count; i++)
		add_below(users, users->list[i].dev);
	for (i = 0; i < users->direct; i++)
		add_partitions(users, users->list[i].dev);
	return rc;
}

const char *users_what(const struct users *users, dev_t dev)
{
	for (unsigned int i = 0; i < users->count; i++)
		if (users->list[i].dev == dev)
			return users->list[i].what;
	return NULL;
}

int device_none_written(dev_t own)
{
	struct users users;
	int rc = users_find(&users, own);

	for (unsigned int i = 0; !rc && i < users.direct; i++) {
		char *path;

		if (!users.list[i].writes)
			continue;
		path = device_path(users.list[i].dev);
		rc = fail(KJ_REFUSED,
			  "this system is at work: %s is %s, and may be in use by the saved system; restore from the initramfs, or unmount it (--ignore-mounts resumes all the same)",
			  path ? path : "a device", users.list[i].what);
		free(path);
	}
	users_free(&users);
	return rc;
}
