/* SPDX-License-Identifier: GPL-2.0 */
/* The steps of a restore. */
#ifndef KJUMP_RESTORE_H
#define KJUMP_RESTORE_H

#include "image/image.h"

/* @any_firmware: with whatever tables. */
int restore_check_machine(const struct image *image, bool any_firmware);
/* Read everything, load nothing. */
int restore_check_data(struct image *image);
/*
 * Have memory for it that this kernel keeps for huge pages or for a crash kernel, if it
 * takes that; and give back what can be, as nothing was resumed.
 */
void restore_take_kept_memory(const struct image *image);
void restore_give_back_memory(void);
int restore_load(struct image *image);
/* Returns only if the system was not resumed. */
int restore_jump(struct image *image);

#endif
