/* SPDX-License-Identifier: GPL-2.0 */
/* Options and answers of the verbs. */
#ifndef KJUMP_CLI_H
#define KJUMP_CLI_H

#include "common/kjump.h"

#include <getopt.h>

/* Codes of options that have no letter begin here. */
#define OPT_FIRST	256

/*
 * getopt_long(), with the options that all verbs have besides @options; --help prints
 * @help and ends the program, an option nobody knows ends it with KJ_USAGE.
 */
int next_option(int argc, char **argv, const struct option *options, const char *help);
/* The same, up to the first argument: what follows is another program's. */
int next_leading_option(int argc, char **argv, const struct option *options, const char *help);
/* Wrong arguments: says so and returns KJ_USAGE. */
int usage(const char *verb, const char *fmt, ...) __printf(2, 3);
/*
 * Arguments after the options, as usage lines have them: "IMAGE FILE", "[DEVICE]",
 * "FILE [MORE...]".
 * KJ_USAGE, with its name, if one is missing, or with what it is, if there is one more.
 */
int check_arguments(int argc, char **argv, const char *names);

/* Prints a string as JSON has it, which is UTF-8 (RFC 8259); a file's name may be anything. */
void put_json(const char *text);
/* For who is asked: @rc, or KJ_FAILED if what was printed could not be written. */
int answered(int rc);

#endif
