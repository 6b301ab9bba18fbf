/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a running kernel uses of the firmware for as long as it runs, in place: the ACPI
 * tables with code and those they hang on, and EFI's runtime services.
 *
 * The tables name each other, and what else the firmware has set aside, by address: if
 * they are the same, all of it is where it was.
 */
#ifndef KJUMP_FIRMWARE_H
#define KJUMP_FIRMWARE_H

/* Lines, one for each, in the order of their names; to be freed. Empty: nothing is known. */
char *firmware_text(void);
/* The names of what is not the same in both, to be freed; NULL if all is. */
char *firmware_differences(const char *image, const char *here);

#endif
