// SPDX-License-Identifier: GPL-2.0
/*
 * mirror DEVICE DEVICE: make /dev/md0 of two devices, in sync, without a superblock.
 */
#include <fcntl.h>
#include <linux/fs.h>
#include <linux/raid/md_u.h>
#include <linux/raid/md_p.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define MD_MAJOR 9

int main(int argc, char **argv)
{
	mdu_array_info_t array = { .level = 1, .nr_disks = 2, .raid_disks = 2, .not_persistent = 1,
				   .state = 1 << MD_SB_CLEAN };
	int md, disk;
	uint64_t size;

	if (argc != 3)
		return 2;
	mknod("/dev/md0", S_IFBLK | 0600, makedev(MD_MAJOR, 0));
	md = open("/dev/md0", O_RDWR);
	disk = open(argv[1], O_RDONLY);
	if (md < 0 || disk < 0 || ioctl(disk, BLKGETSIZE64, &size)) {
		perror("mirror");
		return 1;
	}
	close(disk);
	array.size = size >> 10;
	if (ioctl(md, SET_ARRAY_INFO, &array)) {
		perror("SET_ARRAY_INFO");
		return 1;
	}
	for (int i = 0; i < 2; i++) {
		mdu_disk_info_t info = { .number = i, .raid_disk = i,
					 .state = 1 << MD_DISK_ACTIVE | 1 << MD_DISK_SYNC };
		struct stat st;

		if (stat(argv[i + 1], &st)) {
			perror(argv[i + 1]);
			return 1;
		}
		info.major = major(st.st_rdev);
		info.minor = minor(st.st_rdev);
		if (ioctl(md, ADD_NEW_DISK, &info)) {
			perror("ADD_NEW_DISK");
			return 1;
		}
	}
	if (ioctl(md, RUN_ARRAY, NULL)) {
		perror("RUN_ARRAY");
		return 1;
	}
	return 0;
}
