// SPDX-License-Identifier: GPL-2.0
/*
 * tsctime: how long a command takes, by the processor's own counter, and how much
 * memory it had at most.
 *
 *   tsctime COMMAND [ARGUMENT]...
 *
 * The kernel's clocks stand still while another kernel runs; the time stamp
 * counter goes on. Prints "tsc=TICKS rss=KB" after the command's own output, and
 * ends with the command's exit status.
 */
#include <stdint.h>
#include <stdio.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

int main(int argc, char **argv)
{
	struct rusage usage;
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
	if (pid < 0 || wait4(pid, &status, 0, &usage) != pid) {
		perror("tsctime");
		return 2;
	}
	printf("tsc=%llu rss=%ld\n", (unsigned long long)(__rdtsc() - start), usage.ru_maxrss);
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
