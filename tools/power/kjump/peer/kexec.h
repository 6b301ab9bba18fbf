/* SPDX-License-Identifier: GPL-2.0 */
/* kexec_load(2), the jump, and what /sys/kernel/kexec_jump says. */
#ifndef KJUMP_KEXEC_H
#define KJUMP_KEXEC_H

#include "common/kjump.h"

#define KEXEC_JUMP_SYSFS	"/sys/kernel/kexec_jump/"
#define KEXEC_SEGMENTS_MAX	16

#define KEXEC_PRESERVE_CONTEXT	0x002ul
#define KEXEC_LOAD_MORE		0x100ul
#define KEXEC_LOAD_CONTINUE	0x200ul
#define KEXEC_NO_DEVICES	0x400ul

/* As the kernel takes it. */
struct kexec_segment {
	const void *buf;
	size_t bufsz;
	unsigned long mem;
	size_t memsz;
};

int kexec_load_call(unsigned long entry, unsigned long nr_segments,
		    const struct kexec_segment *segments, unsigned long flags);
void kexec_unload(void);

/*
 * Several peers can be loaded, each with a name: from now on all else here, and whatever
 * this process starts, means the one of that name; NULL: the one without. It need not be
 * loaded.
 */
int peer_choose(const char *name);
/* Again, in a process that was forked. */
int peer_choose_again(void);
/* Choose one, NULL: the one without a name, that has to be loaded; else KJ_NONE. */
int peer_need(const char *name);

/* A peer that has a name, and its state, as the kernel calls it. */
struct named_peer {
	char name[32];
	char state[32];
	bool has_window;	/* that is known here */
	uint64_t window;	/* bytes */
};

/* The next one of what is left of jump_file("peers"); false at its end. */
bool peer_next(char **list, struct named_peer *peer);
/* Names of those that are in that state, NULL: in any; NULL if there are none. To be freed. */
char *peers_in_state(const char *state);

/* A file of /sys/kernel/kexec_jump, "" if it is not there. To be freed. */
char *jump_file(const char *name);
bool jump_supported(void);
uint64_t jump_number(const char *name);
/* Whether something to jump to is loaded. */
bool jump_loaded(void);
bool jump_leads_back(void);		/* it is the way back of a peer, or nothing is */

/* From now on, nobody but kjump is to jump to what is loaded; a reboot is a reboot. */
int jump_hold(bool hold);

/* The next jump() is so many jumps, between which devices rest. */
int jump_times(uint64_t times);
/*
 * Jump. KJ_OK when somebody jumped back here; KJ_PEER if the other kernel died;
 * otherwise it was not left or not reached, and why is in fail_text().
 */
int jump(void);
/* After jump(): this kernel was brought back from an image. */
bool jump_was_resumed(void);

#endif
