/* SPDX-License-Identifier: GPL-2.0 */
/* The names people and boot loaders have for devices. */
#ifndef KJUMP_NAMES_H
#define KJUMP_NAMES_H

#include "common/kjump.h"

/*
 * Replace @name by the device file that it stands for: UUID=, LABEL=, PARTUUID=, PARTLABEL=
 * or /dev/disk/by-{uuid,label,partuuid,partlabel}/, whether or not udev has run; any other
 * name is itself. The file's name stays until the next call.
 *
 * KJ_NONE if there is no such device, not even after @wait seconds (a file may be missing if
 * that is NEED_NOT_EXIST); KJ_REFUSED if there is more than one.
 */
#define NEED_NOT_EXIST	-1
int device_named(const char **name, double wait);

#endif
