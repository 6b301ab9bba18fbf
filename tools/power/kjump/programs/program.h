/* SPDX-License-Identifier: GPL-2.0 */
/*
 * For programs that are called without an operating system: arguments, input, output.
 * A program defines main(); what that returns is its exit code. It runs with
 * interrupts off, on a stack of 16 KB, without floating point.
 *
 * Called by others than kjump call, it has no arguments and no input, and what it
 * writes is lost.
 */
#ifndef KJUMP_PROGRAM_H
#define KJUMP_PROGRAM_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* As in the kernel. */
#define __printf(format_at, values_at) __attribute((format(printf, format_at, values_at)))
#define __packed __attribute((packed))
#define __aligned(bytes) __attribute((aligned(bytes)))
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

int main(int argc, char **argv);

/* Bytes of kjump call's --input. */
uint64_t kj_input_size(void);
/* Read some of them, from this byte on; returns how many there were. */
size_t kj_read(uint64_t at, void *buf, size_t len);
/* Append to the output; returns how many bytes there was room for. */
size_t kj_write(const void *buf, size_t len);
void kj_puts(const char *text);
/* %s %c %d %u %x, with a width, which may begin with 0; %llx; %%. */
void kj_printf(const char *fmt, ...) __printf(1, 2);

/* The machine was started by UEFI. */
bool kj_is_efi(void);
/* Whether all of this memory is the program's, and none of the system's that called. */
bool kj_owns(uint64_t start, uint64_t end);
/* A number as in C; false if the text is none, or does not fit. */
bool kj_number(const char *text, uint32_t *n);

void *memcpy(void *to, const void *from, size_t len);
void *memset(void *to, int byte, size_t len);
size_t strlen(const char *text);
int strncmp(const char *a, const char *b, size_t len);

#endif
