// SPDX-License-Identifier: GPL-2.0
/*
 * kcalls: several kexec_load(2) calls of one process, and what may come between.
 *
 * Reads lines from its standard input:
 *
 *   load FLAGS ENTRY [MEM:MEMSZ[:FILE[:OFFSET]]]...
 *                 FILE's content, from OFFSET on and no more than MEMSZ bytes of
 *                 it, is the buffer; "!" is a buffer that is not there. Prints
 *                 "ok" or "errno=NN (text)".
 *   say WORD      prints it
 *   wait FILE     waits until there is such a file
 *   child         goes on in a child process that the parent waits for
 *   exec PROGRAM [ARGUMENT]
 *   sum FILE SIZE prints what programs/sum.S says of SIZE bytes that begin with
 *                 FILE's content
 *
 * Numbers are decimal or 0x hex. Exits at the end of the input.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_SEGMENTS 64

/* The kernel's struct kexec_segment. */
struct segment {
	void *buf;
	size_t bufsz;
	unsigned long mem;
	size_t memsz;
};

static void die(const char *what)
{
	perror(what);
	exit(2);
}

static unsigned long number(const char *s)
{
	return s ? strtoul(s, NULL, 0) : 0;
}

/* At most @most bytes of @file from @offset on. */
static void *content(const char *file, size_t offset, size_t most, size_t *size)
{
	int fd = open(file, O_RDONLY);
	struct stat st;
	char *buf;

	if (fd < 0 || fstat(fd, &st))
		die(file);
	*size = (size_t)st.st_size > offset ? st.st_size - offset : 0;
	if (*size > most)
		*size = most;
	buf = malloc(*size + 1);
	if (!buf || pread(fd, buf, *size, offset) != (ssize_t)*size)
		die(file);
	close(fd);
	return buf;
}

static void parse_segment(char *word, struct segment *seg)
{
	char *save, *file;

	seg->mem = number(strtok_r(word, ":", &save));
	seg->memsz = number(strtok_r(NULL, ":", &save));
	seg->buf = NULL;
	seg->bufsz = 0;
	file = strtok_r(NULL, ":", &save);
	if (file && !strcmp(file, "!")) {
		seg->buf = (void *)4096;
		seg->bufsz = seg->memsz;
	} else if (file) {
		seg->buf = content(file, number(strtok_r(NULL, ":", &save)), seg->memsz,
				   &seg->bufsz);
	}
}

static void load(char **word)
{
	struct segment seg[MAX_SEGMENTS];
	unsigned long flags = number(word[0]), entry = number(word[1]), n = 0, i;
	long ret;

	for (word += 2; *word && n < MAX_SEGMENTS; word++)
		parse_segment(*word, &seg[n++]);
	ret = syscall(SYS_kexec_load, entry, n, seg, flags);
	if (ret)
		printf("errno=%d (%s)\n", errno, strerror(errno));
	else
		printf("ok\n");
	for (i = 0; i < n; i++)
		if (seg[i].buf != (void *)4096)
			free(seg[i].buf);
}

static void wait_for(const char *file)
{
	while (access(file, F_OK))
		usleep(20000);
}

static void go_on_in_child(void)
{
	pid_t pid = fork();
	int status;

	if (pid < 0)
		die("fork");
	if (!pid)
		return;
	waitpid(pid, &status, 0);
	exit(0);
}

static void sum(const char *file, size_t size)
{
	uint32_t total = 0, dword;
	size_t have, i;
	char *buf = content(file, 0, size, &have);

	for (i = 0; i < size; i += 4) {
		dword = 0;
		if (i < have)
			memcpy(&dword, buf + i, have - i < 4 ? have - i : 4);
		total = (total << 1 | total >> 31) + dword;
	}
	free(buf);
	printf("%08x\n", total);
}

static void step(char **word)
{
	if (!strcmp(word[0], "load") && word[1] && word[2])
		load(word + 1);
	else if (!strcmp(word[0], "say") && word[1])
		printf("%s\n", word[1]);
	else if (!strcmp(word[0], "wait") && word[1])
		wait_for(word[1]);
	else if (!strcmp(word[0], "child"))
		go_on_in_child();
	else if (!strcmp(word[0], "exec") && word[1])
		execvp(word[1], word + 1);
	else if (!strcmp(word[0], "sum") && word[1] && word[2])
		sum(word[1], number(word[2]));
	else
		fprintf(stderr, "kcalls: what is \"%s\"?\n", word[0]);
}

int main(void)
{
	static char line[16384];

	setvbuf(stdout, NULL, _IOLBF, 0);
	/* A child must not read what its parent has read ahead. */
	setvbuf(stdin, NULL, _IONBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		char *word[MAX_SEGMENTS + 4] = { NULL }, *save;
		int n = 0;

		for (word[0] = strtok_r(line, " \n", &save); word[n] && n < MAX_SEGMENTS + 2; n++)
			word[n + 1] = strtok_r(NULL, " \n", &save);
		if (word[0])
			step(word);
	}
	return 0;
}
