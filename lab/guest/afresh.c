// SPDX-License-Identifier: GPL-2.0
/*
 * afresh: what tells machines apart that were started from one saved state.
 *
 *   afresh NANOSECONDS SEED
 *
 * Sets the clock (since 1970, UTC), and has the kernel's random numbers
 * depend on SEED from now on.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/random.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct timespec now;
	long long ns;
	int fd;

	if (argc != 3) {
		fprintf(stderr, "usage: afresh NANOSECONDS SEED\n");
		return 2;
	}
	ns = atoll(argv[1]);
	now.tv_sec = ns / 1000000000;
	now.tv_nsec = ns % 1000000000;
	fd = open("/dev/urandom", O_RDWR);
	if (clock_settime(CLOCK_REALTIME, &now) || fd < 0 ||
	    write(fd, argv[2], strlen(argv[2])) < 0 ||
	    /* There may be none yet. */
	    (ioctl(fd, RNDRESEEDCRNG) && errno != ENODATA)) {
		perror("afresh");
		return 1;
	}
	return 0;
}
