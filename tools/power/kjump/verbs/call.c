// SPDX-License-Identifier: GPL-2.0
/* kjump call */
#include "common/cli.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { OPT_MEM = OPT_FIRST, OPT_FORCE };

static const char call_help[] =
	"kjump call [--mem=ADDRESS] [--force] PROGRAM\n\n"
	"Call PROGRAM in physical address mode and come back when it returns. An ELF\n"
	"program is loaded where it says (with kexec), a flat one at ADDRESS (default 32M),\n"
	"and entered at its beginning: it must be linked for ADDRESS, for what it writes\n"
	"outside its own memory is this system's. The stack it is given has 4 KB.\n\n"
	"  --mem      where to; a multiple of 4096, memory that is RAM\n"
	"  --force    although a peer is loaded: it is lost\n";

/* Flat: the file as it is, and a page for what it keeps after its end. */
static int load_flat(const char *program, uint64_t address)
{
	struct kexec_segment segment;
	struct stat st;
	int fd, error;

	fd = open(program, O_RDONLY | O_CLOEXEC);
	if (fd < 0 || fstat(fd, &st))
		return fail(KJ_FAILED, "%s: %s", program, strerror(errno));
	segment.bufsz = (size_t)st.st_size;
	segment.memsz = align_up(segment.bufsz, PAGE) + PAGE;
	segment.mem = (unsigned long)address;
	segment.buf = xalloc(segment.bufsz);
	if (pread_full(fd, (void *)segment.buf, segment.bufsz, 0) != (ssize_t)segment.bufsz) {
		close(fd);
		return fail(KJ_FAILED, "%s: cannot be read", program);
	}
	close(fd);
	error = kexec_load_call(segment.mem, 1, &segment, KEXEC_PRESERVE_CONTEXT);
	free((void *)segment.buf);
	return error ? fail(KJ_FAILED, "loading %s: %s (the kernel log says more)", program,
			    strerror(-error)) : KJ_OK;
}

static int load_elf(struct conf *conf, const char *program)
{
	char *words[8] = { NULL };
	int rc;

	/* Only the tool is needed, but a kernel to be named is no reason to fail. */
	conf->kernel = conf->kernel ? conf->kernel : "";
	conf->initrd = conf->initrd ? conf->initrd : "";
	rc = conf_complete(conf);
	if (rc)
		return rc;
	words[0] = conf->kexec;
	words[1] = "--load-preserve-context";
	words[2] = "--kexec-syscall";
	words[3] = "--args-none";
	words[4] = (char *)program;
	words[5] = "--mem-min=0x100000";
	words[6] = xasprintf("--mem-max=%#llx", (unsigned long long)(conf->window ? conf->window :
							     WINDOW_DEFAULT) - 1);
	rc = run_kexec(program, words);
	free(words[6]);
	return rc;
}

static bool is_elf(const char *path)
{
	char magic[4] = "";
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool elf = fd >= 0 && pread_full(fd, magic, 4, 0) == 4 && !memcmp(magic, "\177ELF", 4);

	if (fd >= 0)
		close(fd);
	return elf;
}

int verb_call(int argc, char **argv)
{
	static const struct option options[] = {
		{ "mem", required_argument, NULL, OPT_MEM },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ NULL }
	};
	uint64_t address = 32 * MB;
	bool force = false, at = false;
	struct conf conf;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, call_help)) >= 0) {
		if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_MEM && (!parse_size(optarg, &address) || address % PAGE))
			return usage(argv[0], "no address of a page: \"%s\"", optarg);
		at |= c == OPT_MEM;
	}
	rc = check_arguments(argc, argv, "PROGRAM");
	if (!rc && access(argv[optind], R_OK))
		rc = fail(KJ_FAILED, "%s: %s", argv[optind], strerror(errno));
	if (!rc && at && is_elf(argv[optind]))
		rc = usage(argv[0], "an ELF program says itself where it belongs: no --mem");
	if (!rc)
		rc = need_jump_support();
	if (!rc)
		rc = need_loading();
	if (!rc && jump_loaded() && !force)
		rc = fail(KJ_REFUSED,
			  "a peer is loaded, and calling a program replaces it; use --force");
	if (!rc)
		rc = is_elf(argv[optind]) ? load_elf(&conf, argv[optind]) :
			load_flat(argv[optind], address);
	if (rc)
		return rc;
	rc = jump();
	kexec_unload();
	if (!rc)
		step("%s returned", argv[optind]);
	return rc;
}
