/* SPDX-License-Identifier: GPL-2.0 */
/* Who uses which device of this kernel. */
#ifndef KJUMP_USERS_H
#define KJUMP_USERS_H

#include "common/kjump.h"

struct user {
	dev_t dev;
	char *what;			/* "mounted on /home" */
	bool writes;
	bool opened;			/* by a program, and not exclusively */
	bool whole;			/* only as the disk of partitions that are in use */
};

struct users {
	struct user *list;
	unsigned int count;
	unsigned int direct;		/* the others are below these */
};

/*
 * All devices in use: what cannot be opened exclusively, and what a program may write to.
 * @own: a device that this program itself has open, 0 for none.
 */
int users_find(struct users *users, dev_t own);
void users_free(struct users *users);
bool users_know(const struct users *users, dev_t dev);
/* What for, NULL if it is not in use. */
const char *users_what(const struct users *users, dev_t dev);
/*
 * The device of the file system that a file is on, 0 if it is on none; @known: that it is
 * in memory or on a network then.
 */
dev_t file_system_of(const char *path, bool *known);
/* Names of what is built on it (device mapper, RAID), NULL if there is nothing; to be freed. */
char *device_held_by(dev_t dev);

#endif
