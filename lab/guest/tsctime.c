// SPDX-License-Identifier: GPL-2.0
/*
 * tsctime: how long a command takes, by the processor's own counter.
 *
 *   tsctime COMMAND [ARGUMENT]...
 *
 * The kernel's clocks stand still while another kernel runs; the time stamp
 * counter goes on. Prints "tsc=TICKS" after the command's own output, and ends
 * with the command's exit status.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

int main(int argc, char **argv)
{
	uint64_t start;
	int status;
	pid_t pid;

	if (argc < 2) {
		fprintf(stderr, "usage: tsctime COMMAND [ARGUMENT]...\n");
		return 2;
	}
	start = __rdtsc();
	pid = fork();
	if (!pid) {
		execvp(argv[1], argv + 1);
		perror(argv[1]);
		_exit(127);
	}
	if (pid < 0 || waitpid(pid, &status, 0) != pid) {
		perror("tsctime");
		return 2;
	}
	printf("tsc=%llu\n", (unsigned long long)(__rdtsc() - start));
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
