// SPDX-License-Identifier: GPL-2.0
/*
 * kjreboot: jump, by reboot(LINUX_REBOOT_CMD_KEXEC) and nothing else.
 *
 *   kjreboot [-n TIMES]
 *
 * kexec -e also syncs and takes the network down first. Prints "reboot: ret=0"
 * or "reboot: errno=NN (text)" each time it comes back; exit 1 if any failed.
 */
#include <errno.h>
#include <linux/reboot.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	int c, bad = 0;
	long n = 1;

	while ((c = getopt(argc, argv, "n:")) != -1) {
		if (c != 'n') {
			fprintf(stderr, "usage: kjreboot [-n TIMES]\n");
			return 2;
		}
		n = strtol(optarg, NULL, 0);
	}
	while (n-- > 0) {
		long ret = syscall(SYS_reboot, LINUX_REBOOT_MAGIC1, LINUX_REBOOT_MAGIC2,
				   LINUX_REBOOT_CMD_KEXEC, NULL);

		if (ret) {
			printf("reboot: errno=%d (%s)\n", errno, strerror(errno));
			bad = 1;
		} else {
			printf("reboot: ret=0\n");
		}
		fflush(stdout);
	}
	return bad;
}
