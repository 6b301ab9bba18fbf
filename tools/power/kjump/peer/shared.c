// SPDX-License-Identifier: GPL-2.0
/* Memory that a kernel and its peer share: a message, and behind it, maybe, an image. */
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
	int error;

	size = align_up(size, PAGE);
	if (shared_size() == size)
		return KJ_OK;
	snprintf(text, sizeof(text), "%llu", (unsigned long long)size);
	error = write_line(SHARED_SIZE, text);
	if (error)
		return fail(KJ_FAILED, "cannot get %llu KB of memory to share with the peer: %s",
			    (unsigned long long)(size / KB), strerror(error));
	return KJ_OK;
}

void message_init(struct message *m)
{
	memset(m, 0, sizeof(*m));
	m->text = xalloc(1);
}

void message_free(struct message *m)
{
	free(m->text);
	memset(m, 0, sizeof(*m));
}

void message_add(struct message *m, const char *key, const char *fmt, ...)
{
	char *value = NULL, *p;
	size_t len;
	va_list ap;

	va_start(ap, fmt);
	value = xvasprintf(fmt, ap);
	va_end(ap);
	for (p = value; *p; p++)
		if ((unsigned char)*p < ' ')
			*p = ' ';
	p = xasprintf("%s=%s\n", key, value);
	len = strlen(p);
	m->text = xrealloc(m->text, m->length + len + 1);
	memcpy(m->text + m->length, p, len + 1);
	m->length += len;
	free(p);
	free(value);
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

void message_add_text(struct message *m, const char *key, const char *text)
{
	char *word = word_pack(text);

	message_add(m, key, "%s", word);
	free(word);
}

char *message_get_text(const struct message *m, const char *key)
{
	char *text = message_get(m, key);

	if (!text || word_unpack(text))
		return text;
	free(text);
	return NULL;
}

void message_keep(struct message *m, const struct message *old)
{
	static const char * const kept[] = { "disks", "busy", "firmware" };

	for (unsigned int i = 0; i < ARRAY_SIZE(kept); i++) {
		char *value = message_get(old, kept[i]);

		if (value)
			message_add(m, kept[i], "%s", value);
		free(value);
	}
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
	int fd, rc;

	if (m->length >= m->room)
		return fail(KJ_FAILED,
			    "what is to be said has %zu bytes, and there is room for %llu; try again",
			    m->length, (unsigned long long)m->room);
	rc = open_shared(&fd);
	if (rc)
		return rc;
	if (pwrite_full(fd, m->text, m->length + 1, 0) < 0)
		rc = fail(KJ_FAILED, SHARED ": %s", strerror(errno));
	close(fd);
	return rc;
}

int message_read(struct message *m)
{
	uint64_t size = shared_size(), image_at;
	int fd, rc = KJ_OK;

	message_init(m);
	fd = size ? open(SHARED, O_RDONLY | O_CLOEXEC) : -1;
	if (fd < 0)
		return KJ_NONE;
	while (!rc && !memchr(m->text + (m->length ? m->length - PAGE : 0), 0,
			      m->length ? PAGE : 0)) {
		if (m->length + PAGE > size) {
			/* It has no end. */
			rc = KJ_NONE;
			break;
		}
		m->text = xrealloc(m->text, m->length + PAGE + 1);
		if (pread_full(fd, m->text + m->length, PAGE, m->length) != (ssize_t)PAGE)
			rc = KJ_NONE;
		m->length += PAGE;
	}
	close(fd);
	if (rc)
		m->text[0] = 0;
	m->length = strlen(m->text);
	image_at = message_number(m, "image_at");
	m->room = image_at && image_at < size ? image_at : size;
	return rc;
}

int shared_image(const struct message *m, struct image *image)
{
	uint64_t size = shared_size();

	memset(image, 0, sizeof(*image));
	image->fd = -1;
	image->path = xasprintf("shared memory");
	image->shared = true;
	image->base = m->room;
	image->room = size > m->room ? size - m->room : 0;
	return open_shared(&image->fd);
}
