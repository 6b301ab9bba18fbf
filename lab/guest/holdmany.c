// SPDX-License-Identifier: GPL-2.0
/*
 * holdmany N: make N loop devices, keep them open for writing, say so in /tmp/holdmany, and wait.
 */
#include <fcntl.h>
#include <linux/loop.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <unistd.h>

#define FIRST	1000

int main(int argc, char **argv)
{
	int n = argc > 1 ? atoi(argv[1]) : 0, control = open("/dev/loop-control", O_RDWR);
	struct rlimit many = { n + 64, n + 64 };
	char path[32];

	if (control < 0 || setrlimit(RLIMIT_NOFILE, &many)) {
		perror("holdmany");
		return 1;
	}
	for (int i = 0; i < n; i++) {
		snprintf(path, sizeof(path), "/dev/loop%d", FIRST + i);
		if (ioctl(control, LOOP_CTL_ADD, FIRST + i) < 0 || open(path, O_RDWR) < 0) {
			perror(path);
			return 1;
		}
	}
	fclose(fopen("/tmp/holdmany", "w"));
	for (;;)
		pause();
}
