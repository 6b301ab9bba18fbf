// SPDX-License-Identifier: GPL-2.0
/* What a program that is called is told, and what it returns. */
#include "peer/kexec.h"
#include "peer/program.h"
#include "peer/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SHARED		KEXEC_JUMP_SYSFS "shared"
#define CHUNK		(256 * KB)
#define AT_ONCE		(64 * KB)

/* What is shared cannot be used by anybody else: of this machine's memory, so much. */
static uint64_t limit(void)
{
	return memory_size() / 4;
}

/* Arguments, each with its zero byte, as they lie behind the block. */
static int put_arguments(struct program_call *call)
{
	uint64_t size = 0;

	if (call->argc > (int)KJ_CALL_ARGC)
		return fail(KJ_USAGE,
			    "call: %d arguments, a program can be given %u; give it a file with --input",
			    call->argc - 1, KJ_CALL_ARGC - 1);
	for (int i = 0; i < call->argc; i++)
		size += strlen(call->argv[i]) + 1;
	if (size > KJ_CALL_ARGUMENTS)
		return fail(KJ_USAGE,
			    "call: arguments of %llu bytes, a program can be given %u; give it a file with --input",
			    (unsigned long long)size, KJ_CALL_ARGUMENTS);
	call->told = xalloc(KJ_CALL_ARGUMENTS);
	for (int i = 0; i < call->argc; i++) {
		size_t len = strlen(call->argv[i]) + 1;

		memcpy(call->told + call->told_size, call->argv[i], len);
		call->told_size += len;
	}
	call->block.argc = (uint32_t)call->argc;
	call->block.arguments_at = sizeof(call->block);
	call->block.arguments_size = call->told_size;
	return KJ_OK;
}

/* The input, behind the arguments: from a file, or from whatever has no size before it ends. */
static int put_input(struct program_call *call)
{
	const char *name = call->input;
	char size[32], most[32];
	int fd = STDIN_FILENO, rc = KJ_OK;
	ssize_t n = 1;

	call->block.input_at = call->block.arguments_at + call->told_size;
	if (!name)
		return KJ_OK;
	if (!strcmp(name, "-"))
		name = "standard input";
	else
		fd = open(name, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(KJ_FAILED, "%s: %s", name, strerror(errno));
	while (n > 0 && call->block.input_size <= limit()) {
		call->told = xrealloc(call->told, call->told_size + AT_ONCE);
		n = read(fd, call->told + call->told_size, AT_ONCE);
		if (n < 0 && errno == EINTR) {
			n = 1;
			continue;
		}
		if (n <= 0)
			break;
		call->told_size += (size_t)n;
		call->block.input_size += (size_t)n;
	}
	if (n < 0)
		rc = fail(KJ_FAILED, "%s: %s", name, strerror(errno));
	else if (call->block.input_size > limit())
		rc = fail(KJ_REFUSED,
			  "%s: more than %s, a program can be given a quarter of this machine's memory of %s; give it a part",
			  name, human_size(limit(), most, sizeof(most)),
			  human_size(memory_size(), size, sizeof(size)));
	if (fd != STDIN_FILENO)
		close(fd);
	return rc;
}

static int open_output(struct program_call *call)
{
	const char *name = call->output;

	call->out = STDOUT_FILENO;
	if (!name || !strcmp(name, "-"))
		return KJ_OK;
	call->out = open(name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	call->made = call->out >= 0;
	if (call->made)
		file_begun(name);
	else if (errno == EEXIST)
		call->out = open(name, O_WRONLY | O_CLOEXEC);
	if (call->out < 0)
		return fail(KJ_FAILED, "%s: %s", name, strerror(errno));
	return KJ_OK;
}

int program_prepare(struct program_call *call)
{
	char room[32], most[32];
	int rc;

	call->out = -1;
	call->block = (struct kj_call) {
		.magic = KJ_CALL_MAGIC,
		.version = KJ_CALL_VERSION,
		.size = sizeof(call->block),
		.flags = access("/sys/firmware/efi", F_OK) ? 0 : KJ_CALL_EFI,
		.output_room = call->room,
	};
	if (call->room > limit())
		return fail(KJ_REFUSED,
			    "--room=%s: more than a quarter of this machine's memory, %s",
			    human_size(call->room, room, sizeof(room)),
			    human_size(limit(), most, sizeof(most)));
	rc = put_arguments(call);
	if (!rc)
		rc = put_input(call);
	call->block.output_at = sizeof(call->block) + call->told_size;
	return rc ? rc : open_output(call);
}

int program_tell(struct program_call *call)
{
	uint64_t size = call->block.output_at + call->room;
	int fd, rc;

	/* In a peer there is memory to share only with the kernel it was jumped to from. */
	call->alone = jump_number("jump_back_entry");
	if (call->alone && (call->argc > 1 || call->input || call->output))
		return fail(KJ_REFUSED,
			    "a kernel that was jumped to has no arguments, input and output for programs");
	if (call->alone)
		return KJ_OK;
	/* What others have left there is nothing for the program. */
	rc = shared_resize(0);
	if (!rc)
		rc = shared_resize(size);
	if (rc)
		return rc;
	fd = open(SHARED, O_RDWR | O_CLOEXEC);
	if (fd < 0 || pwrite_full(fd, &call->block, sizeof(call->block), 0) < 0 ||
	    pwrite_full(fd, call->told, call->told_size, sizeof(call->block)) < 0)
		rc = fail(KJ_FAILED, SHARED ": %s", strerror(errno));
	if (fd >= 0)
		close(fd);
	return rc;
}

/* Copy what the program wrote. */
static int write_output(struct program_call *call, int from, uint64_t size)
{
	const char *name = call->output ? call->output : "standard output";
	uint64_t done = 0;
	char *buf;

	/* Of what is no file there is nothing to cut off. */
	if (call->out != STDOUT_FILENO && ftruncate(call->out, 0) && errno != EINVAL)
		return fail(KJ_FAILED, "%s: %s", name, strerror(errno));
	fflush(stdout);
	buf = xalloc(CHUNK);
	while (done < size) {
		size_t len = size - done < CHUNK ? (size_t)(size - done) : CHUNK, at = 0;

		if (pread_full(from, buf, len, call->block.output_at + done) != (ssize_t)len) {
			free(buf);
			return fail(KJ_FAILED, SHARED ": cannot be read");
		}
		while (at < len) {
			ssize_t n = write(call->out, buf + at, len - at);

			if (n < 0 && errno == EINTR)
				continue;
			if (n < 0) {
				free(buf);
				return fail(KJ_FAILED, "%s: %s", name, strerror(errno));
			}
			at += (size_t)n;
		}
		done += len;
	}
	free(buf);
	if (call->out != STDOUT_FILENO && close(call->out)) {
		call->out = -1;
		return fail(KJ_FAILED, "%s: %s", name, strerror(errno));
	}
	call->out = -1;
	if (call->made)
		file_is_whole();
	return KJ_OK;
}

/* What a program has no business to change, and what it may say. */
static int check_answer(const struct program_call *call, const struct kj_call *answer)
{
	const size_t asked = offsetof(struct kj_call, output_size);

	if (memcmp(answer, &call->block, asked))
		return fail(KJ_PEER,
			    "%s has overwritten what it was told; what it returns is not to be trusted",
			    call->argv[0]);
	if (answer->output_size > call->room)
		return fail(KJ_PEER,
			    "%s says that it wrote %llu bytes, and there is room for %llu; see --room",
			    call->argv[0], (unsigned long long)answer->output_size,
			    (unsigned long long)call->room);
	if (answer->state > KJ_CALL_ENDED)
		return fail(KJ_PEER, "%s ended in a state that does not exist: %u",
			    call->argv[0], answer->state);
	return KJ_OK;
}

int program_result(struct program_call *call, uint32_t *code, uint64_t *size)
{
	struct kj_call answer;
	int fd, rc;

	*code = 0;
	*size = 0;
	if (call->alone)
		return KJ_OK;
	fd = open(SHARED, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || pread_full(fd, &answer, sizeof(answer), 0) != (ssize_t)sizeof(answer))
		rc = fail(KJ_FAILED, SHARED ": %s", strerror(errno));
	else
		rc = check_answer(call, &answer);
	if (!rc) {
		*size = answer.output_size;
		if (answer.state == KJ_CALL_ENDED)
			*code = answer.exit_code;
		rc = write_output(call, fd, *size);
	}
	if (fd >= 0)
		close(fd);
	return rc;
}

void program_free(struct program_call *call)
{
	if (call->out > STDOUT_FILENO)
		close(call->out);
	free(call->told);
}
