// SPDX-License-Identifier: GPL-2.0
/*
 * mapped NAME SECTORS TARGET PARAMETERS: make a device of device mapper, /dev/dm-N.
 */
#include <fcntl.h>
#include <linux/dm-ioctl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>

static struct {
	struct dm_ioctl io;
	struct dm_target_spec spec;
	char params[4096];
} request;

static int ask(int fd, unsigned long what, const char *name)
{
	request.io.version[0] = DM_VERSION_MAJOR;
	request.io.data_size = sizeof(request);
	request.io.data_start = sizeof(request.io);
	snprintf(request.io.name, sizeof(request.io.name), "%s", name);
	return ioctl(fd, what, &request);
}

int main(int argc, char **argv)
{
	int fd = open("/dev/mapper/control", O_RDWR);

	if (argc != 5 || fd < 0) {
		perror("mapped");
		return 2;
	}
	if (ask(fd, DM_DEV_CREATE, argv[1])) {
		perror("DM_DEV_CREATE");
		return 1;
	}
	memset(&request, 0, sizeof(request));
	request.io.target_count = 1;
	request.spec.length = strtoull(argv[2], NULL, 0);
	snprintf(request.spec.target_type, sizeof(request.spec.target_type), "%s", argv[3]);
	snprintf(request.params, sizeof(request.params), "%s", argv[4]);
	if (ask(fd, DM_TABLE_LOAD, argv[1])) {
		perror("DM_TABLE_LOAD");
		return 1;
	}
	memset(&request, 0, sizeof(request));
	/* Without a flag to suspend it: it begins. */
	if (ask(fd, DM_DEV_SUSPEND, argv[1])) {
		perror("DM_DEV_SUSPEND");
		return 1;
	}
	return 0;
}
