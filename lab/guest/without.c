// SPDX-License-Identifier: GPL-2.0
/*
 * without: run a command as root that lacks a capability, as a container's does.
 *
 *   without NUMBER COMMAND [ARGUMENT]...
 *
 * Numbers are those of <linux/capability.h>.
 */
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 3) {
		fprintf(stderr, "usage: without NUMBER COMMAND [ARGUMENT]...\n");
		return 2;
	}
	if (prctl(PR_CAPBSET_DROP, atoi(argv[1]), 0, 0, 0)) {
		perror("without");
		return 2;
	}
	execvp(argv[2], argv + 2);
	perror(argv[2]);
	return 127;
}
