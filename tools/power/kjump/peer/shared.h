/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that a kernel and its peer share: a message, and behind it, maybe, an image. */
#ifndef KJUMP_SHARED_H
#define KJUMP_SHARED_H

#include "image/image.h"

/* What a message and its answer have beside the lists of devices: paths, texts, numbers. */
#define MESSAGE_REST	(16 * KB)

/* In what is kept for kjump save by hand: ids of the images it has made, "ID,ID". */
#define MESSAGE_SAVED	"saved"

/* Lines key=value, as many as there are. */
struct message {
	char *text;			/* ends with a zero byte, also in the shared memory */
	size_t length;
	uint64_t room;			/* bytes it or its answer may take; then the image */
};

/* One kjump at a time jumps here: KJ_REFUSED if another one is at it. */
int shared_lock(void);
uint64_t shared_size(void);
/* At least this many bytes; more is given back. 0 frees it. */
int shared_resize(uint64_t size);

void message_init(struct message *m);
void message_free(struct message *m);
/* Control characters in the value become blanks. */
void message_add(struct message *m, const char *key, const char *fmt, ...)
	__printf(3, 4);
/* A text of several lines. */
void message_add_text(struct message *m, const char *key, const char *text);
char *message_get_text(const struct message *m, const char *key);
/* What kjump save needs to be told of the first kernel, from one message to another. */
void message_keep(struct message *m, const struct message *old);
/* To be freed; NULL if it is not there. */
char *message_get(const struct message *m, const char *key);
uint64_t message_number(const struct message *m, const char *key);
/* KJ_FAILED if it does not fit into its room. */
int message_send(const struct message *m);
/* Initializes @m; KJ_NONE if there is none. */
int message_read(struct message *m);

/* The shared memory after @m as a place for an image. */
int shared_image(const struct message *m, struct image *image);

#endif
