// SPDX-License-Identifier: GPL-2.0
/* Device mapper, through its control device (Documentation/admin-guide/device-mapper). */
#include "devices/dm.h"
#include "devices/device.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define TABLE_SIZE	(64 * KB)

/* As the kernel has device numbers in 64 bits (huge_encode_dev()). */
static uint64_t encode(dev_t dev)
{
	return (minor(dev) & 0xff) | major(dev) << 8 | (uint64_t)(minor(dev) & ~0xffu) << 12;
}

static dev_t decode(uint64_t dev)
{
	return makedev(dev >> 8 & 0xfff, (dev & 0xff) | (dev >> 12 & 0xfff00));
}

static struct dm_ioctl *request(size_t size, uint32_t flags)
{
	struct dm_ioctl *io = xalloc(size);

	io->version[0] = DM_VERSION_MAJOR;
	io->data_size = (uint32_t)size;
	io->data_start = sizeof(*io);
	io->flags = flags;
	return io;
}

static int open_control(void)
{
	return open("/dev/mapper/control", O_RDWR | O_CLOEXEC);
}

bool dm_is(dev_t dev)
{
	char *dir = xasprintf("/sys/dev/block/%u:%u/dm", major(dev), minor(dev));
	bool is = !access(dir, F_OK);

	free(dir);
	return is;
}

static struct dm_ioctl *status(dev_t dev, uint32_t flags)
{
	struct dm_ioctl *io = request(TABLE_SIZE, flags);
	int fd = open_control();

	io->dev = encode(dev);
	if (fd < 0 || ioctl(fd, DM_TABLE_STATUS, io) || (io->flags & DM_BUFFER_FULL_FLAG)) {
		free(io);
		io = NULL;
	}
	if (fd >= 0)
		close(fd);
	return io;
}

struct dm_ioctl *dm_table(dev_t dev)
{
	return status(dev, DM_STATUS_TABLE_FLAG | DM_SECURE_DATA_FLAG);
}

/* The first of @types that any of it is; NULL if none, or if that cannot be read. */
static const char *any_of(dev_t dev, const char * const *types, unsigned int count)
{
	/* Not the table, which may have a key; nothing is written to have a newer status. */
	struct dm_ioctl *io = dm_is(dev) ? status(dev, DM_NOFLUSH_FLAG) : NULL;
	const char *found = NULL;
	uint32_t next = 0;

	for (uint32_t i = 0; io && !found && i < io->target_count; i++) {
		const struct dm_target_spec *spec =
			(const void *)((const char *)io + io->data_start + next);

		for (unsigned int j = 0; !found && j < count; j++)
			if (!strcmp(spec->target_type, types[j]))
				found = types[j];
		next = spec->next;
	}
	free(io);
	return found;
}

bool dm_encrypts(dev_t dev)
{
	static const char * const types[] = { "crypt" };

	return any_of(dev, types, ARRAY_SIZE(types));
}

bool dm_is_lvm(dev_t dev)
{
	char *file = xasprintf("/sys/dev/block/%u:%u/dm/uuid", major(dev), minor(dev));
	char *uuid = read_text(file);
	bool is = uuid && !strncmp(uuid, "LVM-", 4);

	free(uuid);
	free(file);
	return is;
}

const char *dm_restless(dev_t dev)
{
	static const char * const types[] = {
		"cache", "writecache", "era", "vdo", "snapshot-merge", "clone",
	};

	return any_of(dev, types, ARRAY_SIZE(types));
}

/* The pieces, each as the kernel reads it: header, parameters, to a multiple of 8 bytes. */
static struct dm_ioctl *packed(const struct dm_piece *pieces, unsigned int count, bool write)
{
	size_t size = sizeof(struct dm_ioctl);
	struct dm_ioctl *io;
	char *at;

	for (unsigned int i = 0; i < count; i++)
		size += sizeof(struct dm_target_spec) +
			align_up(strlen(pieces[i].params) + 1, 8);
	io = request(size, DM_SECURE_DATA_FLAG | (write ? 0 : DM_READONLY_FLAG));
	io->target_count = count;
	at = (char *)io + io->data_start;
	for (unsigned int i = 0; i < count; i++) {
		struct dm_target_spec *spec = (struct dm_target_spec *)at;
		size_t length = strlen(pieces[i].params) + 1;

		spec->sector_start = pieces[i].start;
		spec->length = pieces[i].length;
		snprintf(spec->target_type, sizeof(spec->target_type), "%s", pieces[i].type);
		memcpy(spec + 1, pieces[i].params, length);
		spec->next = (uint32_t)(sizeof(*spec) + align_up(length, 8));
		at += spec->next;
	}
	return io;
}

static int open_numbered(dev_t dev, bool write)
{
	char *path = xasprintf("/dev/dm-%u", minor(dev));
	int fd = open(path, (write ? O_RDWR : O_RDONLY) | O_DIRECT | O_CLOEXEC);

	if (fd < 0)
		fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	free(path);
	return fd;
}

/* What concerns the device of that name. */
static int about(int mapper, unsigned long what, const char *name, uint32_t flags, uint64_t *dev)
{
	struct dm_ioctl *io = request(sizeof(*io), flags);
	int error;

	snprintf(io->name, sizeof(io->name), "%s", name);
	error = ioctl(mapper, what, io) ? errno : 0;
	*dev = io->dev;
	free(io);
	return error;
}

int dm_open_new(const struct dm_piece *pieces, unsigned int count, bool write)
{
	/* Nobody else's, and no other one of this process, which may not be gone yet. */
	static unsigned int number;
	struct dm_ioctl *table = packed(pieces, count, write);
	int mapper = open_control(), fd = -1, error;
	sigset_t all, before;
	uint64_t dev;

	/* Nothing is left of it if somebody ends this program. */
	sigfillset(&all);
	sigprocmask(SIG_BLOCK, &all, &before);
	snprintf(table->name, sizeof(table->name), DM_OWN_NAME "%d-%u", (int)getpid(), number++);
	error = mapper < 0 ? errno : about(mapper, DM_DEV_CREATE, table->name, 0, &dev);
	if (error) {
		fail(KJ_FAILED,
		     "device mapper: %s (this kernel needs dm-mod: kjump-mkinitramfs puts it into the peer's initramfs, for the device in /etc/kjump.conf, then kjump unload)",
		     strerror(error));
	} else {
		char name[DM_NAME_LEN];

		memcpy(name, table->name, sizeof(name));
		error = ioctl(mapper, DM_TABLE_LOAD, table) ? errno : 0;
		if (!error)
			/* Without the flag for it, that resumes it. */
			error = about(mapper, DM_DEV_SUSPEND, name, 0, &dev);
		if (error)
			fail(KJ_FAILED,
			     "device mapper: %s (the kernel log says more; for what is encrypted it needs dm-crypt, xts and aes: kjump-mkinitramfs puts them into the peer's initramfs, for the device in /etc/kjump.conf, then kjump unload)",
			     strerror(error));
		else
			fd = open_numbered(decode(dev), write);
		/* Once nobody has it open: who looks at new devices may have, too. */
		about(mapper, DM_DEV_REMOVE, name, DM_DEFERRED_REMOVE, &dev);
	}
	sigprocmask(SIG_SETMASK, &before, NULL);
	if (mapper >= 0)
		close(mapper);
	/* There are keys in it. */
	explicit_bzero(table, table->data_size);
	free(table);
	return fd;
}

static int look_at(void *ctx, const char *path)
{
	char **found = ctx, *file;
	struct stat st;

	if (stat(path, &st) || !S_ISBLK(st.st_mode) || !dm_encrypts(st.st_rdev))
		return 0;
	file = xasprintf("/sys/dev/block/%u:%u/dm/name", major(st.st_rdev), minor(st.st_rdev));
	*found = read_text(file);
	free(file);
	return !!*found;
}

char *dm_any_encrypted(void)
{
	char *found = NULL;

	device_for_each(look_at, &found);
	return found;
}
