// SPDX-License-Identifier: GPL-2.0
/* Loading the second kernel with the stock kexec tool. */
#include "cli.h"
#include "kexec.h"
#include "machine.h"
#include "peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* The window begins above what firmware and boot loaders use. */
#define WINDOW_START	MB
/* It ends here, or further if that is needed; never beyond what a kernel can be loaded to. */
#define WINDOW_DEFAULT	(64 * MB)
#define WINDOW_MAX	(1024 * MB)
/*
 * What the peer needs to run, kjump's buffers included; and for a bitmap and the
 * index of an image, 256 KB for each GB of RAM.
 */
#define WORKING_MEMORY	(24 * MB + machine_ram_size() / 4096)

/* --- the window --------------------------------------------------------- */

/* What the kernel at @path needs to unpack itself, from the setup header of a bzImage. */
static int kernel_size(const char *path, uint64_t *size)
{
	uint8_t header[0x268];
	uint32_t init_size;
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n;

	if (fd < 0)
		return fail(KJ_FAILED, "kernel %s: %s", path, strerror(errno));
	n = pread_full(fd, header, sizeof(header), 0);
	close(fd);
	if (n != sizeof(header) || memcmp(header + 0x202, "HdrS", 4))
		return fail(KJ_FAILED, "kernel %s: not a bzImage", path);
	memcpy(&init_size, header + 0x260, sizeof(init_size));
	*size = init_size;
	return KJ_OK;
}

/* The initramfs, packed and, from the end of a gzip file, unpacked. */
static int initrd_size(const char *path, uint64_t *packed, uint64_t *unpacked)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t magic[2] = { 0 };
	uint32_t length;
	struct stat st;

	if (fd < 0 || fstat(fd, &st)) {
		int error = errno;

		if (fd >= 0)
			close(fd);
		return fail(KJ_FAILED, "initramfs %s: %s", path, strerror(error));
	}
	*packed = (uint64_t)st.st_size;
	*unpacked = 4 * *packed;
	if (*packed > 18 && pread_full(fd, magic, 2, 0) == 2 && magic[0] == 0x1f &&
	    magic[1] == 0x8b && pread_full(fd, &length, 4, *packed - 4) == 4 && length > *packed)
		*unpacked = length;
	close(fd);
	return KJ_OK;
}

/* Where the RAM that begins below WINDOW_START or there ends. */
static uint64_t ram_end(void)
{
	struct mem_range *ram;
	uint64_t end = WINDOW_MAX;
	int i, n = machine_ram(NULL, &ram);

	for (i = 0; i < n; i++)
		if (ram[i].start <= WINDOW_START && ram[i].end > WINDOW_START)
			end = ram[i].end;
	free(ram);
	return end < WINDOW_MAX ? end : WINDOW_MAX;
}

/* As large as needed where nothing else is asked for, and never smaller. */
static int choose_window(struct conf *conf)
{
	uint64_t kernel = 0, packed = 0, unpacked = 0, need, end = ram_end();
	int rc = kernel_size(conf->kernel, &kernel);

	if (!rc)
		rc = initrd_size(conf->initrd, &packed, &unpacked);
	if (rc)
		return rc;
	need = WINDOW_START + kernel + packed + unpacked + WORKING_MEMORY;
	if (!conf->window) {
		conf->window = align_up(need, 8 * MB);
		if (conf->window < WINDOW_DEFAULT)
			conf->window = WINDOW_DEFAULT;
		if (conf->window > end && need <= end)
			conf->window = end;
	}
	if (conf->window >= need && conf->window <= end)
		return KJ_OK;
	if (need > end)
		return fail(KJ_FAILED,
			    "%s and %s need a window up to %llu MB, and RAM there ends at %llu MB; take smaller ones",
			    conf->kernel, conf->initrd, (unsigned long long)(need / MB + 1),
			    (unsigned long long)(end / MB));
	if (conf->window > end)
		return fail(KJ_FAILED, "a window up to %llu MB: RAM there ends at %llu MB",
			    (unsigned long long)(conf->window / MB),
			    (unsigned long long)(end / MB));
	return fail(KJ_FAILED,
		    "a window of %llu MB is too small: %llu MB for the kernel, %llu MB for the initramfs, %llu MB to work in; use --window=%lluM",
		    (unsigned long long)(conf->window / MB), (unsigned long long)(kernel / MB + 1),
		    (unsigned long long)((packed + unpacked) / MB + 1),
		    (unsigned long long)(WORKING_MEMORY / MB),
		    (unsigned long long)(align_up(need, 8 * MB) / MB));
}

/* --- its command line --------------------------------------------------- */

/* What is about this kernel's place, disks and way of booting, not about the machine. */
static bool passed_on(const char *word)
{
	static const char * const not_for_peer[] = {
		"BOOT_IMAGE=", "initrd=", "root=", "rootfstype=", "rootflags=", "rootdelay=",
		"rootwait", "ro", "rw", "init=", "rdinit=", "ip=", "nfsroot=",
		"resume=", "resume_offset=", "resumedelay=", "resumewait", "noresume",
		"hibernate=", "crashkernel=", "elfcorehdr=", "kexec_jump_back_entry=",
		"kexec_jump_vmcore=", "mem=", "memmap=",
		"kjump.serve", "kjump.restore", "kjump.restore=",
		/* There is little of it. */
		"hugepages=", "hugepagesz=", "default_hugepagesz=", "hugetlb_cma=", "cma=",
		"kernelcore=", "movablecore=", "swiotlb=", "log_buf_len=",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(not_for_peer); i++) {
		size_t len = strlen(not_for_peer[i]);

		if (not_for_peer[i][len - 1] == '=' ? !strncmp(word, not_for_peer[i], len) :
		    !strcmp(word, not_for_peer[i]))
			return false;
	}
	return true;
}

char *peer_command_line(const char *own, const char *append)
{
	char *words = xasprintf("%s", own), *rest = words, *word;
	char *line = xasprintf("%s", "");

	while ((word = strsep(&rest, "\n "))) {
		char *more;

		if (!*word || !passed_on(word))
			continue;
		more = xasprintf("%s%s ", line, word);
		free(line);
		line = more;
	}
	free(words);
	/* A distribution's initramfs takes a /proc/vmcore for the sign of a crash. */
	words = xasprintf("%skexec_jump_vmcore=own kjump.serve%s%s", line,
			  append && *append ? " " : "", append ? append : "");
	free(line);
	return words;
}

/* --- kexec -------------------------------------------------------------- */

/* Run it; what it says goes to our standard error. */
static int run(const char *what, char **argv)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return fail(KJ_FAILED, "%s: %s", argv[0], strerror(errno));
	if (!child) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return fail(KJ_FAILED, "%s: %s", argv[0], strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return fail(KJ_FAILED, "%s could not load %s (it and the kernel log say why)",
			    argv[0], what);
	return KJ_OK;
}

static void drop_cached(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

int peer_load(struct conf *conf)
{
	char *own, *line, *argv[9];
	unsigned int i = 0, n;
	int rc = conf_complete(conf);

	if (!rc)
		rc = choose_window(conf);
	if (rc)
		return rc;
	own = read_text("/proc/cmdline");
	line = peer_command_line(own ? own : "", conf->append);
	free(own);
	argv[i++] = xasprintf("%s", conf->kexec);
	argv[i++] = xasprintf("--load-preserve-context");
	/* It would hash all of the window twice, most of it zeros. */
	argv[i++] = xasprintf("--no-checks");
	argv[i++] = xasprintf("%s", conf->kernel);
	argv[i++] = xasprintf("--mem-min=%#llx", WINDOW_START);
	argv[i++] = xasprintf("--mem-max=%#llx", (unsigned long long)conf->window - 1);
	argv[i++] = xasprintf("--initrd=%s", conf->initrd);
	argv[i++] = xasprintf("--append=%s", line);
	n = i;
	argv[i] = NULL;
	step("loading %s with %s", conf->kernel, conf->initrd);
	rc = run(conf->kernel, argv);
	/* kexec has read them; they would only be saved with all else. */
	drop_cached(conf->kernel);
	drop_cached(conf->initrd);
	for (i = 0; i < n; i++)
		free(argv[i]);
	free(line);
	return rc;
}

/* --- load --------------------------------------------------------------- */

enum {
	OPT_KERNEL = OPT_FIRST,
	OPT_INITRD,
	OPT_WINDOW,
	OPT_APPEND,
	OPT_READY,
	OPT_MEM,
	OPT_FORCE,
};

static const char load_help[] =
	"kjump load [--kernel=FILE] [--initrd=FILE] [--window=SIZE] [--append=WORDS] [--ready]\n\n"
	"Load the second kernel, the peer, to jump to later. What was loaded before stays\n"
	"if this fails.\n\n"
	"  --kernel   default: kernel= in /etc/kjump.conf, /boot/bzImage, or this kernel's\n"
	"             file in /boot\n"
	"  --initrd   its initramfs, with kjump in it; default: initrd= in /etc/kjump.conf,\n"
	"             /boot/rootfs.gz, or this kernel's initramfs\n"
	"  --window   it may use memory up to this address (default: what it needs,\n"
	"             at least 64M)\n"
	"  --append   more words for its command line\n"
	"  --ready    also boot it and come back, so that later jumps are fast\n";

static int make_ready(void)
{
	struct message m;
	int rc;

	peer_message(&m, ACTION_READY);
	step("booting the peer");
	rc = peer_ask(&m);
	if (!rc)
		step("the peer is ready");
	return rc;
}

int verb_load(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "kernel", required_argument, NULL, OPT_KERNEL },
		{ "initrd", required_argument, NULL, OPT_INITRD },
		{ "window", required_argument, NULL, OPT_WINDOW },
		{ "append", required_argument, NULL, OPT_APPEND },
		{ "ready", no_argument, NULL, OPT_READY },
		{ NULL }
	};
	bool ready = false;
	struct conf conf;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, load_help)) >= 0) {
		if (c == OPT_KERNEL)
			conf.kernel = optarg;
		else if (c == OPT_INITRD)
			conf.initrd = optarg;
		else if (c == OPT_APPEND)
			conf.append = optarg;
		else if (c == OPT_READY)
			ready = true;
		else if (c == OPT_WINDOW && (!parse_size(optarg, &conf.window) ||
					     conf.window % PAGE || conf.window <= WINDOW_START))
			return usage(argv[0], "no size above 1M: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, 0, 0);
	if (!rc)
		rc = need_jump_support();
	if (!rc)
		rc = peer_load(&conf);
	if (!rc && ready)
		rc = make_ready();
	return rc;
}

/* --- call --------------------------------------------------------------- */

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
	char *words[7] = { NULL };
	int rc;

	/* Only the tool is needed, but a kernel to be named is no reason to fail. */
	conf->kernel = conf->kernel ? conf->kernel : "";
	conf->initrd = conf->initrd ? conf->initrd : "";
	rc = conf_complete(conf);
	if (rc)
		return rc;
	words[0] = conf->kexec;
	words[1] = "--load-preserve-context";
	words[2] = "--args-none";
	words[3] = (char *)program;
	words[4] = "--mem-min=0x100000";
	words[5] = xasprintf("--mem-max=%#llx", (unsigned long long)(conf->window ? conf->window :
							     WINDOW_DEFAULT) - 1);
	rc = run(program, words);
	free(words[5]);
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
		{ "help", no_argument, NULL, 'h' },
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
	rc = check_arguments(argc, argv, 1, 1);
	if (!rc && access(argv[optind], R_OK))
		rc = fail(KJ_FAILED, "%s: %s", argv[optind], strerror(errno));
	if (!rc && at && is_elf(argv[optind]))
		rc = usage(argv[0], "an ELF program says itself where it belongs: no --mem");
	if (!rc)
		rc = need_jump_support();
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
