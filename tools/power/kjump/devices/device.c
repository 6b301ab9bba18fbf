// SPDX-License-Identifier: GPL-2.0
/* Which device may be written to, and which devices there are. */
#include "devices/device.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/fs.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* A target must be blank this far to be taken without --force. */
#define BLANK_SIZE	(128 * 1024u)

/* --- who uses it -------------------------------------------------------- */

struct user {
	dev_t dev;
	char *what;			/* "mounted on /home" */
	bool writes;
};

struct users {
	struct user *list;
	unsigned int count;
	unsigned int direct;		/* the others are below these */
};

static bool known(const struct users *users, dev_t dev)
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
	users->list[users->count++].what = what;
}

static void free_users(struct users *users)
{
	while (users->count)
		free(users->list[--users->count].what);
	free(users->list);
	users->list = NULL;
}

static void add_mounts(struct users *users)
{
	char *text = read_text("/proc/self/mountinfo");
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n"))) {
		unsigned int major, minor;
		char where[256], *source, *options;
		dev_t dev = 0;
		struct stat st;

		if (sscanf(line, "%*u %*u %u:%u %*s %255s", &major, &minor, where) != 3)
			continue;
		if (major)
			dev = makedev(major, minor);
		/* Type, source and the options of the file system itself come last. */
		source = strstr(line, " - ");
		source = source ? strchr(source + 3, ' ') : NULL;
		options = source ? strchr(source + 1, ' ') : NULL;
		if (!options)
			continue;
		*options++ = 0;
		/* btrfs and others show an anonymous device; the source is a path then. */
		if (!major && !strncmp(source + 1, "/dev/", 5) && !stat(source + 1, &st) &&
		    S_ISBLK(st.st_mode))
			dev = st.st_rdev;
		if (!dev)
			continue;
		add_user(users, dev, xasprintf("mounted on %s", where));
		users->list[users->count - 1].writes = !strcmp(options, "rw") ||
						       !strncmp(options, "rw,", 3);
	}
	free(text);
}

static void add_swaps(struct users *users)
{
	char *text = read_text("/proc/swaps");
	char *line, *rest = text;
	struct stat st;

	strsep(&rest, "\n");			/* the header */
	while ((line = strsep(&rest, "\n"))) {
		line[strcspn(line, " \t")] = 0;
		if (!*line || stat(line, &st))
			continue;
		add_user(users, S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev,
			 xasprintf("swap space (%s)", line));
		users->list[users->count - 1].writes = true;
	}
	free(text);
}

static bool read_dev(const char *path, dev_t *dev)
{
	unsigned int major, minor;
	char *text = read_text(path);
	bool ok = text && sscanf(text, "%u:%u", &major, &minor) == 2;

	if (ok)
		*dev = makedev(major, minor);
	free(text);
	return ok;
}

/* Devices named by the entries of a directory of sysfs, with their file "dev". */
static void add_listed(struct users *users, const char *dir, const char *what)
{
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *path = xasprintf("%s/%s/dev", dir, e->d_name);
		dev_t dev;

		if (e->d_name[0] != '.' && read_dev(path, &dev) && !known(users, dev))
			add_user(users, dev, xasprintf("%s", what));
		free(path);
	}
	if (d)
		closedir(d);
}

static void add_backing_file(struct users *users, const char *sys)
{
	char *path = xasprintf("%s/loop/backing_file", sys);
	char *file = read_text(path);
	struct stat st;

	if (file && !stat(file, &st)) {
		dev_t dev = S_ISBLK(st.st_mode) ? st.st_rdev : st.st_dev;

		if (!known(users, dev))
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

	add_listed(users, slaves, "part of a device that is in use");
	add_backing_file(users, sys);
	if (!access(partition, F_OK) && read_dev(disk, &parent) && !known(users, parent))
		add_user(users, parent, xasprintf("a disk with partitions in use"));
	free(disk);
	free(partition);
	free(slaves);
	free(sys);
}

/* A file system on a whole disk that has partitions: those are in use, too. */
static void add_partitions(struct users *users, dev_t dev)
{
	char *sys = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));

	add_listed(users, sys, "part of a disk that is in use");
	free(sys);
}

/* Names of what is built on it: device mapper, RAID. */
static char *held_by(dev_t dev)
{
	char *dir = xasprintf("/sys/dev/block/%u:%u/holders", major(dev), minor(dev));
	char *names = NULL;
	DIR *d = opendir(dir);
	struct dirent *e;

	while (d && (e = readdir(d))) {
		char *more;

		if (e->d_name[0] == '.')
			continue;
		more = xasprintf("%s%s%s", names ? names : "", names ? ", " : "", e->d_name);
		free(names);
		names = more;
	}
	if (d)
		closedir(d);
	free(dir);
	return names;
}

static char *file_of(const char *name)
{
	char *path = xasprintf("/dev/%s", name), *p;

	for (p = path; (p = strchr(p, '!')); )
		*p = '/';
	return path;
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

		if (e->d_name[0] != '.' && read_dev(path, &dev))
			used = known(users, dev) || (above = held_by(dev));
		free(above);
		free(path);
	}
	if (d)
		closedir(d);
	free(dir);
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
		char *path = file_of(name), *above = NULL;
		dev_t dev;
		int fd;

		if (name[0] != '.' && !access(partition, F_OK) == partitions &&
		    read_dev(sys, &dev) && !known(users, dev)) {
			fd = open(path, O_RDONLY | O_EXCL | O_NONBLOCK | O_CLOEXEC);
			if (fd < 0 && errno == EBUSY) {
				above = held_by(dev);
				if (!above && !has_used_partition(users, name))
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

		if (e->d_name[0] != '.' && read_dev(number, &dev)) {
			above = known(users, dev) ? NULL : held_by(dev);
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
		if (!known(users, dev)) {
			free(path);
			path = xasprintf("/proc/%s/comm", pid);
			comm = read_text(path);
			add_user(users, dev, xasprintf("opened for writing by %s, process %s",
						       comm ? comm : "a program", pid));
			users->list[users->count - 1].writes = true;
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

/* @own: a device that this program itself has open, 0 for none. */
static int find_users(struct users *users, dev_t own)
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

static const char *user_of(const struct users *users, dev_t dev)
{
	for (unsigned int i = 0; i < users->count; i++)
		if (users->list[i].dev == dev)
			return users->list[i].what;
	return NULL;
}

/* The first @count of them, each once. */
static char *list_of(const struct users *users, unsigned int count)
{
	char *list = xasprintf("%s", "");
	struct users seen = { 0 };

	for (unsigned int i = 0; i < count; i++) {
		dev_t dev = users->list[i].dev;
		char *more;

		if (known(&seen, dev))
			continue;
		add_user(&seen, dev, NULL);
		more = xasprintf("%s%s%u:%u", list, *list ? "," : "", major(dev), minor(dev));
		free(list);
		list = more;
	}
	free_users(&seen);
	return list;
}

int device_busy_lists(char **direct, char **all)
{
	struct users users;
	int rc = find_users(&users, 0);

	*direct = list_of(&users, users.direct);
	*all = list_of(&users, users.count);
	free_users(&users);
	return rc;
}

int device_none_written(dev_t own)
{
	struct users users;
	int rc = find_users(&users, own);

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
	free_users(&users);
	return rc;
}

/* Its name as the kernel has it, "sda1". */
static char *device_name(dev_t dev)
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
	char *name = device_name(dev), *path = name ? file_of(name) : NULL;

	free(name);
	return path;
}

int device_on_hardware(const char *path)
{
	static const char * const made_up[] = {
		"dm-", "md", "loop", "zram", "ram", "nbd", "drbd", "bcache",
	};
	char *name = NULL;
	struct stat st;
	int rc = KJ_OK;

	if (stat(path, &st) || !S_ISBLK(st.st_mode))
		return fail(KJ_USAGE, "%s is not a block device", path);
	name = device_name(st.st_rdev);
	for (unsigned int i = 0; name && !rc && i < ARRAY_SIZE(made_up); i++)
		if (!strncmp(name, made_up[i], strlen(made_up[i])))
			rc = fail(KJ_REFUSED,
				  "%s (%s) is set up by this system, the peer would not find it; take a disk or partition",
				  path, name);
	free(name);
	return rc;
}

bool device_list_next(const char **list, dev_t *dev)
{
	unsigned int major, minor;

	if (!*list || sscanf(*list, "%u:%u", &major, &minor) != 2)
		return false;
	*dev = makedev(major, minor);
	*list = strchr(*list, ',');
	if (*list)
		(*list)++;
	return true;
}

static bool listed(const char *busy, dev_t dev)
{
	dev_t other;

	while (device_list_next(&busy, &other))
		if (other == dev)
			return true;
	return false;
}

static int check_unused(const char *path, dev_t dev, const char *busy)
{
	struct users users;
	char *above;
	int fd, rc;
	const char *what;

	if (listed(busy, dev))
		return fail(KJ_REFUSED, "%s is in use by the preserved kernel; take another device",
			    path);
	rc = find_users(&users, 0);
	what = user_of(&users, dev);
	if (rc) {
		/* Not to be told. */
	} else if (what) {
		rc = fail(KJ_REFUSED, "%s is in use: %s; take another device, or free it first",
			  path, what);
	} else {
		above = held_by(dev);
		if (above)
			rc = fail(KJ_REFUSED, "%s is in use: part of %s", path, above);
		free(above);
	}
	free_users(&users);
	if (rc)
		return rc;
	/* Whoever else holds it. */
	fd = open(path, O_RDONLY | O_EXCL | O_CLOEXEC);
	if (fd < 0)
		return fail(errno == EBUSY ? KJ_REFUSED : KJ_FAILED, "%s: %s", path,
			    errno == EBUSY ? "in use" : strerror(errno));
	close(fd);
	return KJ_OK;
}

/* --- what is on it ------------------------------------------------------ */

struct signature {
	unsigned int offset;
	const char *bytes;
	unsigned int len;
	const char *what;
};

#define SIGNATURE(offset, bytes, what) { offset, bytes, sizeof(bytes) - 1, what }

/* The more particular first: a boot sector ends in 55 aa, too. */
static const struct signature signatures[] = {
	SIGNATURE(0x438, "\x53\xef", "an ext2, ext3 or ext4 file system"),
	SIGNATURE(4086, "SWAPSPACE2", "swap space"),
	SIGNATURE(4086, "S1SUSPEND", "swap space with a hibernated system"),
	SIGNATURE(4086, "LINHIB0001", "swap space with a hibernated system"),
	SIGNATURE(0, "LUKS\xba\xbe", "an encrypted device (LUKS)"),
	SIGNATURE(0, "XFSB", "an XFS file system"),
	SIGNATURE(0x10040, "_BHRfS_M", "a btrfs file system"),
	SIGNATURE(0x218, "LVM2 001", "an LVM physical volume"),
	SIGNATURE(0x18, "LVM2 001", "an LVM physical volume"),
	SIGNATURE(0x1000, "\xfc\x4e\x2b\xa9", "part of a RAID"),
	SIGNATURE(0, "\xfc\x4e\x2b\xa9", "part of a RAID"),
	SIGNATURE(0x400, "\x10\x20\xf5\xf2", "an F2FS file system"),
	SIGNATURE(0, "hsqs", "a squashfs file system"),
	SIGNATURE(0x8001, "CD001", "an ISO 9660 file system"),
	SIGNATURE(0x200, "EFI PART", "a partition table (GPT)"),
	SIGNATURE(3, "NTFS    ", "an NTFS file system"),
	SIGNATURE(3, "EXFAT   ", "an exFAT file system"),
	SIGNATURE(0x36, "FAT", "a FAT file system"),
	SIGNATURE(0x52, "FAT32", "a FAT file system"),
	SIGNATURE(0, "\177ELF", "an ELF file"),
	SIGNATURE(0x1fe, "\x55\xaa", "a partition table or boot sector"),
};

static const char *looks_like(const uint8_t *data, size_t len)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(signatures); i++) {
		const struct signature *s = &signatures[i];

		if (s->offset + s->len <= len && !memcmp(data + s->offset, s->bytes, s->len))
			return s->what;
	}
	return "something";
}

/* One that can still be resumed is as much as a file system. */
static int check_image(const char *path)
{
	struct image image;
	char when[32];
	int rc = image_open(&image, path, false);

	if (!rc && !image_read_super(&image) && image.super.state == IMAGE_COMPLETE) {
		image_when(&image, when, sizeof(when));
		rc = fail(KJ_REFUSED,
			  "%s holds the image of a system saved %s that was not resumed; --force overwrites it, and that system is lost",
			  path, when);
	} else if (!rc) {
		/* Damaged, or no good any more. */
		fail_clear();
	}
	image_close(&image);
	return rc;
}

static int check_content(const char *path)
{
	uint8_t *data;
	ssize_t n;
	int fd, rc = KJ_OK;

	fd = open(path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	data = xalloc(BLANK_SIZE);
	n = pread_full(fd, data, BLANK_SIZE, 0);
	if (n < 0)
		rc = fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	else if (n >= 8 && !memcmp(data, IMAGE_MAGIC, 8))
		rc = check_image(path);
	else if (!is_zero(data, (size_t)n))
		rc = fail(KJ_REFUSED, "%s holds %s; --force overwrites it", path,
			  looks_like(data, (size_t)n));
	free(data);
	close(fd);
	return rc;
}

/* Nobody means to make a file where devices are. */
static bool is_device_name(const char *path)
{
	return !strncmp(path, "/dev/", 5) && strncmp(path, "/dev/shm/", 9);
}

int device_check(const char *path, const char *busy, bool force)
{
	struct stat st;
	int rc;

	if (stat(path, &st)) {
		if (errno == ENOENT && !is_device_name(path))
			return KJ_OK;		/* a file to be made */
		return fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	}
	if (!S_ISBLK(st.st_mode) && !S_ISREG(st.st_mode))
		return fail(KJ_USAGE, "%s is neither a block device nor a regular file", path);
	if (S_ISBLK(st.st_mode)) {
		rc = check_unused(path, st.st_rdev, busy);
		if (rc)
			return rc;
	}
	return force ? KJ_OK : check_content(path);
}

/* --- finding devices ---------------------------------------------------- */

int device_for_each(int (*visit)(void *ctx, const char *path), void *ctx)
{
	struct dirent **names;
	int n = scandir("/sys/class/block", &names, NULL, alphasort);
	int i, rc = 0;

	for (i = 0; i < n; i++) {
		if (names[i]->d_name[0] != '.' && !rc) {
			char *path = file_of(names[i]->d_name);

			rc = visit(ctx, path);
			free(path);
		}
		free(names[i]);
	}
	if (n >= 0)
		free(names);
	return rc;
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

static void write_to(const char *path, const char *text)
{
	int fd = open(path, O_WRONLY | O_CLOEXEC);

	/* What cannot be asked finds nothing. */
	if (fd >= 0 && write(fd, text, strlen(text)) < 0)
		errno = 0;
	if (fd >= 0)
		close(fd);
}

static int reread_partitions(void *ctx, const char *path)
{
	char *partition = xasprintf("/sys/class/block/%s/partition", strrchr(path, '/') + 1);
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
	write_to("/sys/bus/pci/rescan", "1");
	while (d && (e = readdir(d))) {
		char *path = xasprintf("/sys/class/scsi_host/%s/scan", e->d_name);

		if (e->d_name[0] != '.')
			write_to(path, "- - -");
		free(path);
	}
	if (d)
		closedir(d);
}

bool device_wait(const char *path, double seconds)
{
	double until = now_seconds() + seconds;

	while (access(path, F_OK)) {
		if (!is_device_name(path) || now_seconds() >= until)
			return false;
		usleep(50 * 1000);
	}
	return true;
}
