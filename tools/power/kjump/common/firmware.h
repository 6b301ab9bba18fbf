/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What a running kernel uses of the firmware for as long as it runs, in place.
 *
 * The registers that the FADT names, the FACS, the memory that sleeps (NVS) and EFI's
 * runtime services must be where they were. The ACPI tables with code differ if only a
 * device is missing; a kernel that is resumed puts its own back in their place.
 */
#ifndef KJUMP_FIRMWARE_H
#define KJUMP_FIRMWARE_H

#include <stdbool.h>

/* Lines, one for each, its name first; to be freed. Empty: nothing is known. */
char *firmware_text(void);
/*
 * The names of what is not the same in both, to be freed; NULL if all is. Of the tables
 * with code, or of the rest.
 */
char *firmware_differences(const char *image, const char *here, bool code);

#endif
