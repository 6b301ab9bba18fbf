/* SPDX-License-Identifier: GPL-2.0 */
/* The second kernel: loaded, asked to do something, doing it. */
#ifndef KJUMP_PEER_H
#define KJUMP_PEER_H

#include "common/conf.h"
#include "common/machine.h"
#include "peer/bzimage.h"
#include "peer/initramfs.h"
#include "peer/shared.h"

/*
 * What a message's action can be. The peer's reply has result=ok or error, text=,
 * and for what was saved bytes=, image= (lengths) and seconds=.
 */
#define ACTION_READY		"ready"
#define ACTION_SWITCH		"switch"
#define ACTION_HIBERNATE	"hibernate"
#define ACTION_SNAPSHOT		"snapshot"

/* Where a window ends, or further if that is needed. */
#define WINDOW_DEFAULT	(64 * MB)
/* More CPUs would make no use of the disk's speed, and take memory in the window. */
#define PEER_CPUS	4u

/*
 * window.c: physical memory for the peer, as large as needed where nothing else is asked
 * for, and never smaller.
 */
int peer_window(const struct conf *conf, const struct bzimage *kernel,
		const struct initramfs *fs, struct mem_range *window);
/*
 * place.c: move @window, the lowest there can be, to where the least has to be exchanged
 * at each jump, by what /proc/kpageflags or a file like it says; it stays where it is if
 * that is not known, or nothing is better.
 */
void peer_place(const char *kpageflags, const struct bzimage *kernel, struct mem_range *window);

/* load.c */
int peer_load(struct conf *conf);
/* Whether a peer is loaded, or could be; without loading it. */
int peer_check(struct conf *conf);
/* The peer, loaded if it is not yet. */
int have_peer(struct conf *conf);
/* Run the kexec tool; what it says goes to our standard error. */
int run_kexec(const char *what, char **argv);

/*
 * command_line.c: the words the peer gets, to be freed: those of this kernel (@own), what
 * kjump adds, and @append; before all of them a guard, that no RAM above 1 MB but @window
 * is free, for a kernel that would not find its entry. @limit: characters it can read.
 * KJ_REFUSED with the way out if the peer would not find what kexec puts at the end.
 */
int peer_command_line(const char *own, const char *append, const struct mem_range *window,
		      uint32_t limit, char **line);
/* Whether the parameter @name is on @line, with a value if @name ends in '='. */
bool command_line_has(const char *line, const char *name);
/* The last value of @name, which ends in '=', without quotes; to be freed, NULL for none. */
char *command_line_value(const char *line, const char *name);
/* All of them, with commas between them. */
char *command_line_values(const char *line, const char *name);

/* ask.c: the first kernel's side */
int need_jump_support(void);
/* That this kernel may load another one, or, unless @anew, has; nor is it locked down. */
int need_loading(bool anew);
/* To jump, and to have this system's memory looked at by the peer. */
int need_view(void);
/* Memory an image may take: all RAM but what is free. */
uint64_t memory_in_use(void);
/*
 * KJ_REFUSED if the kernel that resumes this one, with that @initramfs, will not fit beside
 * it; with @make, once files that are only cached have made room.
 */
int leave_room(uint64_t initramfs, bool make);
/* A message with an action, and with room for what every message has. */
int peer_message(struct message *m, const char *action);
/* Jump with a message. What it asks for is not to be done at a later jump. */
int send_and_jump(struct message *m);
/*
 * Jump with a message and wait for the answer. KJ_OK: it is in @m, and it is no
 * error; or this system was resumed from an image, see jump_was_resumed().
 */
int peer_ask(struct message *m);
/* Write a superblock that names @path for the peer; the name goes to @m. */
int peer_name_device(const char *path, struct message *m);
/* KJ_REFUSED if @path has no room for all memory in use; nothing is written. */
int peer_check_room(const char *path);

/*
 * serve.c, the peer's side: do what the first kernel asks for and jump back, again and
 * again (@back_first: after having jumped back, there to @to if that is no NULL, another
 * peer), until it leaves the machine to this one.
 */
int peer_serve(bool back_first, const char *to);

#endif
