/* SPDX-License-Identifier: GPL-2.0 */
/* The second kernel: loaded, asked to do something, doing it. */
#ifndef KJUMP_PEER_H
#define KJUMP_PEER_H

#include "conf.h"
#include "shared.h"

/*
 * What a message's action can be. The peer's reply has result=ok or error, text=,
 * and for what was saved bytes=, image= (lengths) and seconds=.
 */
#define ACTION_READY		"ready"
#define ACTION_SWITCH		"switch"
#define ACTION_HIBERNATE	"hibernate"
#define ACTION_SNAPSHOT		"snapshot"

/* load.c */
int peer_load(struct conf *conf);
/* What the peer needs to know of the first kernel: the words after its own. */
char *peer_command_line(const char *own, const char *append);

/* ask.c: the first kernel's side */
int need_jump_support(void);
/* Memory an image may take: all RAM but what is free. */
uint64_t memory_in_use(void);
/* A message with an action and what every message has. */
void peer_message(struct message *m, const char *action);
/*
 * Jump with a message and wait for the answer. KJ_OK: it is in @m, and it is no
 * error; or this system was resumed from an image, see jump_was_resumed().
 */
int peer_ask(struct message *m);
/* Write a superblock that names @path for the peer; the name goes to @m. */
int peer_name_device(const char *path, struct message *m);

#endif
