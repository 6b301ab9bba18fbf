// SPDX-License-Identifier: GPL-2.0
/* Memory that a kernel and its peer share; its first page is for messages. */
#include "peer/kexec.h"
#include "peer/shared.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#define SHARED		KEXEC_JUMP_SYSFS "shared"
#define SHARED_SIZE	KEXEC_JUMP_SYSFS "shared_size"

int shared_lock(void)
{
	int fd = open(SHARED, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return fail(KJ_FAILED, SHARED ": %s", strerror(errno));
	/* Held until this program ends. */
	if (flock(fd, LOCK_EX | LOCK_NB)) {
		close(fd);
		return fail(KJ_REFUSED, "another kjump is at work; wait until it has ended");
	}
	return KJ_OK;
}

uint64_t shared_size(void)
{
	return jump_number("shared_size");
}

int shared_resize(uint64_t size)
{
	char text[32];
	int fd, len, error = 0;

	size = align_up(size, PAGE);
	if (shared_size() == size)
		return KJ_OK;
	fd = open(SHARED_SIZE, O_WRONLY | O_CLOEXEC);
	if (fd < 0)
		return fail(KJ_FAILED, SHARED_SIZE ": %s", strerror(errno));
	len = snprintf(text, sizeof(text), "%llu\n", (unsigned long long)size);
	if (write(fd, text, (size_t)len) != len)
		error = errno;
	close(fd);
	if (error)
		return fail(KJ_FAILED, "cannot get %llu KB of memory to share with the peer: %s",
			    (unsigned long long)(size / KB), strerror(error));
	return KJ_OK;
}

void message_clear(struct message *m)
{
	memset(m, 0, sizeof(*m));
}

void message_add(struct message *m, const char *key, const char *fmt, ...)
{
	size_t at = strlen(m->text), room = sizeof(m->text) - at;
	char *line = m->text + at;
	size_t len;
	va_list ap;

	if (room < strlen(key) + 4)
		return;
	len = (size_t)sprintf(line, "%s=", key);
	va_start(ap, fmt);
	vsnprintf(line + len, room - len - 1, fmt, ap);
	va_end(ap);
	for (; line[len]; len++)
		if ((unsigned char)line[len] < ' ')
			line[len] = ' ';
	line[len] = '\n';
	line[len + 1] = 0;
}

char *message_get(const struct message *m, const char *key)
{
	size_t key_len = strlen(key);
	const char *line = m->text;

	while (*line) {
		size_t len = strcspn(line, "\n");

		if (len > key_len && line[key_len] == '=' && !strncmp(line, key, key_len))
			return xasprintf("%.*s", (int)(len - key_len - 1), line + key_len + 1);
		line += len + (line[len] == '\n');
	}
	return NULL;
}

uint64_t message_number(const struct message *m, const char *key)
{
	char *text = message_get(m, key);
	uint64_t n = text ? strtoull(text, NULL, 10) : 0;

	free(text);
	return n;
}

static int open_shared(int *fd)
{
	*fd = open(SHARED, O_RDWR | O_CLOEXEC);
	if (*fd < 0)
		return fail(KJ_FAILED, SHARED ": %s", strerror(errno));
	return KJ_OK;
}

int message_send(const struct message *m)
{
	int fd, rc = open_shared(&fd);

	if (rc)
		return rc;
	if (pwrite_full(fd, m, sizeof(*m), 0) < 0)
		rc = fail(KJ_FAILED, SHARED ": %s", strerror(errno));
	close(fd);
	return rc;
}

int message_read(struct message *m)
{
	int fd, rc = KJ_OK;

	message_clear(m);
	fd = shared_size() ? open(SHARED, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return KJ_NONE;
	if (pread_full(fd, m, sizeof(*m), 0) < 0)
		rc = KJ_NONE;
	close(fd);
	m->text[sizeof(m->text) - 1] = 0;
	return rc;
}

int shared_image(struct image *image)
{
	uint64_t size = shared_size();

	memset(image, 0, sizeof(*image));
	image->fd = -1;
	image->path = xasprintf("shared memory");
	image->shared = true;
	image->base = MESSAGE_SIZE;
	image->room = size > MESSAGE_SIZE ? size - MESSAGE_SIZE : 0;
	return open_shared(&image->fd);
}
