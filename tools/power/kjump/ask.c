// SPDX-License-Identifier: GPL-2.0
/* The first kernel's side: asking the peer to do something. */
#include "cli.h"
#include "device.h"
#include "kexec.h"
#include "machine.h"
#include "peer.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>
#include <sys/statvfs.h>

/* More than the kernel insists on when memory is to be shared. */
#define KEPT_FREE	(20 * MB)

int need_jump_support(void)
{
	if (!jump_supported())
		return fail(KJ_FAILED, "this kernel cannot jump (no " KEXEC_JUMP_SYSFS
			    "; it needs CONFIG_KEXEC_JUMP)");
	if (geteuid())
		return fail(KJ_FAILED, "only root may do this");
	return shared_lock();
}

/* To jump, and to have this system's memory looked at by the peer. */
static int need_view(void)
{
	char *modes;
	int rc = need_jump_support();

	if (rc)
		return rc;
	/* What is not to be written to a disk is not shown to a peer, either. */
	modes = read_text("/sys/power/disk");
	if (modes && strstr(modes, "[disabled]"))
		rc = fail(KJ_REFUSED,
			  "this kernel does not let its memory be saved: it was booted with nohibernate or hibernate=no, or secret memory (memfd_secret) or CXL memory is in use");
	free(modes);
	return rc;
}

static uint64_t meminfo_bytes(const char *key)
{
	char *text = read_text("/proc/meminfo");
	char *line = text ? strstr(text, key) : NULL;
	uint64_t kb = line ? strtoull(line + strlen(key), NULL, 10) : 0;

	free(text);
	return kb * KB;
}

/* Memory kept for the peer is in no image of this kernel. */
static uint64_t memory_of_peer(void)
{
	char *window = jump_file("image_window"), *line, *rest = window;
	unsigned long long start, end;
	uint64_t size = 0;

	while ((line = strsep(&rest, "\n")))
		if (sscanf(line, "%llx-%llx", &start, &end) == 2)
			size += end + 1 - start;
	free(window);
	return size;
}

uint64_t memory_in_use(void)
{
	uint64_t all = machine_ram_size();
	uint64_t unused = meminfo_bytes("MemFree:") + memory_of_peer();

	if (!all)
		all = meminfo_bytes("MemTotal:");
	return all > unused ? all - unused : 0;
}

void peer_message(struct message *m, const char *action)
{
	message_clear(m);
	message_add(m, "action", "%s", action);
}

/* Jump with a message. What it asks for is not to be done at a later jump. */
static int send_and_jump(struct message *m)
{
	char *disks = device_busy_list(true), *busy = device_busy_list(false);
	struct message none;
	int rc = KJ_OK;

	/* Last, as there may be many. */
	message_add(m, "disks", "%s", disks);
	message_add(m, "busy", "%s", busy);
	free(disks);
	free(busy);
	if (shared_size() < MESSAGE_SIZE)
		rc = shared_resize(MESSAGE_SIZE);
	if (!rc)
		rc = message_send(m);
	if (rc)
		return rc;
	rc = jump();
	message_read(m);
	message_clear(&none);
	if (shared_size())
		message_send(&none);
	return rc;
}

int peer_ask(struct message *m)
{
	char *result, *text;
	int rc = send_and_jump(m);

	if (rc || jump_was_resumed())
		return rc;
	result = message_get(m, "result");
	text = message_get(m, "text");
	if (!result)
		rc = fail(KJ_PEER,
			  "the peer came back without an answer (does its initramfs run kjump serve?)");
	else if (strcmp(result, "ok"))
		rc = fail(KJ_PEER, "the peer failed: %s", text ? text : "it does not say why");
	free(result);
	free(text);
	return rc;
}

int peer_name_device(const char *path, struct message *m)
{
	char id[2 * IMAGE_ID_LEN + 1];
	struct image image;
	uint64_t need = memory_in_use();
	int rc = image_open(&image, path, true);

	need += image_overhead(need);
	if (!rc && image.room < need)
		rc = fail(KJ_REFUSED,
			  "%s is too small: it has %llu MB, and %llu MB of memory are in use",
			  path, (unsigned long long)(image.room / MB),
			  (unsigned long long)(need / MB + 1));
	if (!rc) {
		memset(&image.super, 0, sizeof(image.super));
		image_new_id(image.super.id);
		image_id_text(image.super.id, id);
		message_add(m, "id", "%s", id);
		message_add(m, "device", "%s", path);
		message_add(m, "room", "%llu", (unsigned long long)image.room);
		rc = image_write_super(&image, IMAGE_PREPARED);
	}
	image_close(&image);
	return rc;
}

/* The peer, loaded if it is not yet. */
static int have_peer(struct conf *conf)
{
	return jump_loaded() ? KJ_OK : peer_load(conf);
}

/* --- switch ------------------------------------------------------------- */

static const char switch_help[] =
	"kjump switch\n\n"
	"Jump to the peer that kjump load has loaded, and leave it to its shell. Returns\n"
	"when somebody jumps back there (kjump back).\n";

/*
 * Images that kjump save has made in the peer and did not mark: it died, or was left
 * by other means than kjump back.
 */
static void disown_saved(const struct message *m)
{
	char *ids = message_get(m, MESSAGE_SAVED), *rest = ids, *id;
	char *before = xasprintf("%s", fail_text());

	while ((id = strsep(&rest, ","))) {
		char *path = device_find_image(id, 0, NULL);

		fail_clear();
		if (!path)
			fail(KJ_NONE, "it is not the first thing on any block device");
		if (!path || image_disown(path, id))
			fprintf(stderr,
				"kjump: the image %s of this system, saved in the peer, must not be resumed, and could not be marked so (%s): overwrite it\n",
				id, fail_text());
		free(path);
	}
	fail_clear();
	if (*before)
		fail(KJ_FAILED, "%s", before);
	free(before);
	free(ids);
}

int verb_switch(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ NULL }
	};
	struct message m;
	double begun;
	int rc;

	while (next_option(argc, argv, options, switch_help) >= 0)
		;
	rc = check_arguments(argc, argv, 0, 0);
	if (!rc)
		rc = need_jump_support();
	if (rc)
		return rc;
	if (!jump_loaded())
		return fail(KJ_NONE, "nothing to jump to is loaded; kjump load does that");
	/* A peer without kjump does not read messages, and need not. */
	peer_message(&m, ACTION_SWITCH);
	begun = now_seconds();
	rc = send_and_jump(&m);
	if (!jump_was_resumed())
		disown_saved(&m);
	if (!rc)
		step(jump_was_resumed() ? "resumed from an image" : "back after %.2f s",
		     now_seconds() - begun);
	return rc;
}

/* --- hibernate ---------------------------------------------------------- */

/*
 * The system goes on: if the peer came as far as a complete image (and died when
 * it was to power off), nobody may resume that.
 */
static void disown(const char *device)
{
	if (image_disown(device, NULL))
		fprintf(stderr,
			"kjump: %s: if there is an image of this system on it, it must not be resumed, and could not be marked so: overwrite its first 4 KB\n",
			device);
}

enum { OPT_FORCE = OPT_FIRST, OPT_REBOOT, OPT_COMPRESS, OPT_VIA };

static const char hibernate_help[] =
	"kjump hibernate [--force] [--reboot] [--compress=lz4|zstd|none] [DEVICE]\n\n"
	"Save this system on DEVICE, a partition that nothing else uses (default: device=\n"
	"in /etc/kjump.conf), and power off. At the next boot \"kjump restore\" in the\n"
	"initramfs resumes it, and this command says so and ends. If it cannot be saved,\n"
	"the system goes on, and this command says why.\n\n"
	"  --force      overwrite what is on DEVICE, whatever it is; not if it is in use\n"
	"  --reboot     reboot instead of powering off\n"
	"  --compress   how (default: compress= in /etc/kjump.conf, or lz4)\n";

int verb_hibernate(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "reboot", no_argument, NULL, OPT_REBOOT },
		{ "compress", required_argument, NULL, OPT_COMPRESS },
		{ NULL }
	};
	bool force = false, again = false;
	struct message m;
	struct conf conf;
	const char *device;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, hibernate_help)) >= 0) {
		if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_REBOOT)
			again = true;
		else if (c == OPT_COMPRESS && !image_algorithm(optarg, &conf.compress))
			return usage(argv[0], "no way to compress: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, 0, 1);
	if (rc)
		return rc;
	device = optind < argc ? argv[optind] : conf.device;
	if (!device)
		return usage(argv[0], "name a device, here or as device= in /etc/kjump.conf");
	rc = device_check(device, NULL, force);
	if (!rc)
		rc = device_on_hardware(device);
	if (!rc)
		rc = need_view();
	if (!rc && !machine_ram_loadable())
		rc = fail(KJ_REFUSED,
			  "RAM above 4 GB, which this i386 system has, can be saved but not loaded again; "
			  "boot with mem=4G, or use kjump snapshot");
	if (!rc)
		rc = have_peer(&conf);
	if (rc)
		return rc;
	peer_message(&m, ACTION_HIBERNATE);
	message_add(&m, "compress", "%s", image_algorithm_name(conf.compress));
	message_add(&m, "after", again ? "reboot" : "poweroff");
	hold_signals();
	if (shared_size() < MESSAGE_SIZE)
		rc = shared_resize(MESSAGE_SIZE);
	if (!rc)
		rc = peer_name_device(device, &m);
	if (!rc)
		rc = check_interrupted();
	if (rc)
		return rc;
	step("hibernating to %s", device);
	rc = peer_ask(&m);
	if (!rc && jump_was_resumed()) {
		step("resumed");
		return KJ_OK;
	}
	if (!rc)
		rc = fail(KJ_PEER, "the peer came back without having powered off");
	disown(device);
	return rc;
}

/* --- snapshot ----------------------------------------------------------- */

static const char snapshot_help[] =
	"kjump snapshot [--via=DEVICE] [--force] [--compress=lz4|zstd|none] FILE\n\n"
	"Write the memory of this system as it is at one moment to FILE, an ELF core file\n"
	"that crash, drgn and makedumpfile read, and go on. FILE may be on any file system.\n\n"
	"The peer saves the memory, compressed, where this system does not look meanwhile:\n"
	"  - in memory kept free for it, if there is enough (the default): fastest; the\n"
	"    image, about half of what is in use, must fit into free memory;\n"
	"  - on DEVICE, a partition that nothing else uses, with --via: for when memory is\n"
	"    too small or too full.\n"
	"FILE is written from that after the system goes on again. The peer stays loaded:\n"
	"the next snapshot need not boot it.\n\n"
	"  --force      replace FILE, and what is on DEVICE\n"
	"  --compress   how (default: compress= in /etc/kjump.conf, or lz4)\n";

/* Enough for most, and leave something for the system to go on with. */
static int share_for_image(void)
{
	uint64_t in_use, want, unused, keep;

	/* What an earlier one that was killed has left. */
	if (shared_size() > MESSAGE_SIZE && shared_resize(0))
		return KJ_FAILED;
	in_use = memory_in_use();
	want = in_use / 8 * 5 + 8 * MB;
	unused = meminfo_bytes("MemAvailable:");
	keep = unused / 8 + KEPT_FREE;
	unused = unused > keep ? unused - keep : 0;
	if (want > unused)
		want = unused;
	/* No image is smaller than that. What the kernel calls available need not all be of use. */
	for (; want >= in_use / 16; want = want / 4 * 3) {
		fail_clear();
		if (!shared_resize(want / PAGE * PAGE + MESSAGE_SIZE))
			return KJ_OK;
	}
	fail_clear();
	return fail(KJ_REFUSED,
		    "there is no free memory for an image of %llu MB in use; use --via=DEVICE",
		    (unsigned long long)(in_use / MB));
}

/* The file system must have room for what is in use. */
static int check_space(const char *file)
{
	char *dir = xasprintf("%s", file), *slash = strrchr(dir, '/');
	uint64_t need = memory_in_use(), room;
	struct statvfs st;
	int rc = KJ_OK;

	if (slash)
		slash[slash == dir] = 0;
	if (statvfs(slash ? dir : ".", &st)) {
		rc = fail(KJ_FAILED, "%s: %s", slash ? dir : ".", strerror(errno));
	} else {
		room = (uint64_t)st.f_bavail * st.f_frsize;
		if (room < need)
			rc = fail(KJ_REFUSED,
				  "%s: the file system has %llu MB free, the dump may need %llu MB",
				  file, (unsigned long long)(room / MB),
				  (unsigned long long)(need / MB + 1));
	}
	free(dir);
	return rc;
}

/* Goes on while this system stands still; by the real-time clock, in seconds. */
static double time_since_boot(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_BOOTTIME, &ts);
	return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static int ask_for_snapshot(struct message *m, bool shared)
{
	double still = time_since_boot();
	char packed[32], size[32], *took;
	int rc = peer_ask(m);

	still = time_since_boot() - still;
	if (rc) {
		if (shared && message_number(m, "too_small")) {
			fail_clear();
			return fail(KJ_REFUSED,
				    "the image does not fit into %llu MB of free memory; use --via=DEVICE",
				    (unsigned long long)(shared_size() / MB));
		}
		return rc;
	}
	took = message_get(m, "seconds");
	human_size(message_number(m, "bytes"), size, sizeof(size));
	human_size(message_number(m, "image"), packed, sizeof(packed));
	step("the system stood still for %.1f s, %s s of it for saving %s as %s", still,
	     took ? took : "?", size, packed);
	free(took);
	return KJ_OK;
}

static int write_dump(const char *via, const char *file, bool force)
{
	struct image image;
	int rc = via ? image_open(&image, via, false) : shared_image(&image);

	if (!rc)
		rc = image_read_all(&image, false);
	if (!rc)
		rc = extract_image(&image, file, force);
	image_close(&image);
	return rc;
}

int verb_snapshot(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "via", required_argument, NULL, OPT_VIA },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "compress", required_argument, NULL, OPT_COMPRESS },
		{ NULL }
	};
	const char *via = NULL, *file;
	bool force = false;
	struct message m;
	struct conf conf;
	int c, rc = conf_read(&conf);

	if (rc)
		return rc;
	while ((c = next_option(argc, argv, options, snapshot_help)) >= 0) {
		if (c == OPT_FORCE)
			force = true;
		else if (c == OPT_VIA)
			via = optarg;
		else if (c == OPT_COMPRESS && !image_algorithm(optarg, &conf.compress))
			return usage(argv[0], "no way to compress: \"%s\"", optarg);
	}
	rc = check_arguments(argc, argv, 1, 1);
	if (rc)
		return rc;
	file = argv[optind];
	rc = extract_check_file(file, force);
	if (!rc && via)
		rc = device_check(via, NULL, force);
	if (!rc && via)
		rc = device_on_hardware(via);
	if (!rc)
		rc = need_view();
	if (!rc)
		rc = check_space(file);
	if (!rc)
		rc = have_peer(&conf);
	if (rc)
		return rc;
	peer_message(&m, ACTION_SNAPSHOT);
	message_add(&m, "compress", "%s", image_algorithm_name(conf.compress));
	hold_signals();
	rc = via ? shared_resize(MESSAGE_SIZE) : share_for_image();
	if (!rc && via)
		rc = peer_name_device(via, &m);
	if (!rc)
		rc = check_interrupted();
	if (!rc)
		rc = ask_for_snapshot(&m, !via);
	if (!rc)
		rc = write_dump(via, file, force);
	if (!via && shared_size() > MESSAGE_SIZE && shared_resize(0) && !rc)
		rc = KJ_FAILED;
	if (!rc)
		step("%s is written", file);
	return rc;
}
