/* SPDX-License-Identifier: GPL-2.0 */
/* Memory that a kernel and its peer share; its first page is for messages. */
#ifndef KJUMP_SHARED_H
#define KJUMP_SHARED_H

#include "image/image.h"

#define MESSAGE_SIZE	4096u

/* In what is kept for kjump save by hand: ids of the images it has made, "ID,ID". */
#define MESSAGE_SAVED	"saved"

/* Lines key=value. */
struct message {
	char text[MESSAGE_SIZE];
};

/* One kjump at a time jumps here: KJ_REFUSED if another one is at it. */
int shared_lock(void);
uint64_t shared_size(void);
/* At least this many bytes; more is given back. 0 frees it. */
int shared_resize(uint64_t size);

void message_clear(struct message *m);
/* Control characters in the value become blanks; what does not fit is cut off. */
void message_add(struct message *m, const char *key, const char *fmt, ...)
	__printf(3, 4);
/* To be freed; NULL if it is not there. */
char *message_get(const struct message *m, const char *key);
uint64_t message_number(const struct message *m, const char *key);
int message_send(const struct message *m);
/* KJ_NONE if there is none. */
int message_read(struct message *m);

/* The rest of the shared memory as a place for an image. */
int shared_image(struct image *image);

#endif
