// SPDX-License-Identifier: GPL-2.0
/*
 * asuser: run a command as user 1000, with no capability left.
 *
 *   asuser COMMAND [ARGUMENT]...
 */
#include <grp.h>
#include <stdio.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: asuser COMMAND [ARGUMENT]...\n");
		return 2;
	}
	if (setgroups(0, NULL) || setgid(1000) || setuid(1000)) {
		perror("asuser");
		return 2;
	}
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}
