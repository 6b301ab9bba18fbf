// SPDX-License-Identifier: GPL-2.0
/* kjump: kexec jump in one command. */
#include "common/kjump.h"
#include "verbs/verbs.h"

#include <fcntl.h>
#include <string.h>
#include <unistd.h>

static const struct verb {
	const char *name;
	int (*run)(int argc, char **argv);
	const char *arguments;
	const char *summary;
} verbs[] = {
	{ "load", verb_load, "", "load the second kernel, the peer" },
	{ "unload", verb_unload, "[NAME]", "unload the peer, or one that has a name" },
	{ "switch", verb_switch, "[NAME]", "jump to the peer, or to one that has a name" },
	{ "back", verb_back, "", "in the peer: jump back" },
	{ "serve", verb_serve, "", "in the peer: do what the first kernel asks for" },
	{ "save", verb_save, "TARGET", "in the peer: save the first kernel" },
	{ "hibernate", verb_hibernate, "[DEVICE]", "save this system and power off" },
	{ "restore", verb_restore, "[DEVICE]", "resume a system that was saved" },
	{ "snapshot", verb_snapshot, "FILE", "write a dump of this system and go on" },
	{ "extract", verb_extract, "IMAGE FILE", "make a dump of an image" },
	{ "call", verb_call, "PROGRAM...", "call a program without an operating system" },
	{ "status", verb_status, "[DEVICE]", "what is loaded, preserved and saved" },
	{ "setup", verb_setup, "[DEVICE]", "make this machine ready to hibernate" },
};

static void print_usage(FILE *to)
{
	fputs("kjump [-q|-v] VERB [OPTIONS] [ARGUMENTS]\n\n", to);
	for (unsigned int i = 0; i < ARRAY_SIZE(verbs); i++)
		fprintf(to, "  %-9s %-11s %s\n", verbs[i].name, verbs[i].arguments,
			verbs[i].summary);
	fputs("\nkjump help VERB says more about one; see also kjump(8). All take -q (--quiet):\n"
	      "say only what went wrong; and -v (--verbose): say more.\n", to);
}

static int run(int argc, char **argv)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(verbs); i++) {
		int rc;

		if (strcmp(argv[0], verbs[i].name))
			continue;
		rc = verbs[i].run(argc, argv);
		fflush(stdout);
		if (rc)
			fprintf(stderr, "kjump: %s\n", fail_text());
		/* What was begun is cleaned up. */
		let_signals_go();
		return rc;
	}
	fprintf(stderr, "kjump: what is \"%s\"? kjump --help lists the verbs\n", argv[0]);
	return KJ_USAGE;
}

int main(int argc, char **argv)
{
	/* Or the file that is opened next is what is printed to. */
	for (int fd = 0; fd <= STDERR_FILENO; fd++)
		if (fcntl(fd, F_GETFD) < 0 && open("/dev/null", O_RDWR) < 0)
			break;
	for (argv++, argc--; argc && *argv[0] == '-'; argv++, argc--) {
		if (!strcmp(argv[0], "-h") || !strcmp(argv[0], "--help")) {
			print_usage(stdout);
			return KJ_OK;
		}
		if (!strcmp(argv[0], "-V") || !strcmp(argv[0], "--version")) {
			puts("kjump " KJUMP_VERSION);
			return KJ_OK;
		}
		if (!strcmp(argv[0], "-q") || !strcmp(argv[0], "--quiet"))
			verbosity = -1;
		else if (!strcmp(argv[0], "-v") || !strcmp(argv[0], "--verbose"))
			verbosity = 1;
		else
			return run(argc, argv);
	}
	if (!argc) {
		print_usage(stderr);
		return KJ_USAGE;
	}
	if (strcmp(argv[0], "help"))
		return run(argc, argv);
	if (argc == 1) {
		print_usage(stdout);
		return KJ_OK;
	}
	/* help VERB is VERB --help */
	argv[0] = argv[1];
	argv[1] = (char *)"--help";
	return run(2, argv);
}
