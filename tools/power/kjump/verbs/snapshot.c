// SPDX-License-Identifier: GPL-2.0
/* kjump snapshot */
#include "common/cli.h"
#include "common/machine.h"
#include "devices/device.h"
#include "devices/names.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "verbs/verbs.h"

#include <errno.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/vfs.h>
#include <time.h>

/* More than the kernel insists on when memory is to be shared. */
#define KEPT_FREE	(20 * MB)

/* Of headers that may be older. */
#ifndef EXFAT_SUPER_MAGIC
#define EXFAT_SUPER_MAGIC	0x2011bab0
#endif
#define HFS_SUPER_MAGIC		0x4244
#define HFSPLUS_SUPER_MAGIC	0x482b
#define FAT_FILE_MAX		(4096ull * MB - 1)

enum { OPT_FORCE = OPT_FIRST, OPT_COMPRESS, OPT_VIA };

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

/*
 * Enough for most, or with @all for what cannot be packed at all; and leave something for
 * the system to go on with.
 */
static int share_for_image(const struct message *m, bool all)
{
	uint64_t in_use, want, unused, keep;

	/* What an earlier one that was killed has left. */
	if (shared_size() > m->room && shared_resize(0))
		return KJ_FAILED;
	in_use = memory_in_use();
	want = all ? in_use + image_overhead(in_use) + 8 * MB : in_use / 8 * 5 + 8 * MB;
	unused = meminfo_bytes("MemAvailable:");
	keep = unused / 8 + KEPT_FREE;
	unused = unused > keep ? unused - keep : 0;
	if (want > unused)
		want = unused;
	/* No image is smaller than that. What the kernel calls available need not all be of use. */
	for (; want >= in_use / 16; want = want / 4 * 3) {
		fail_clear();
		if (!shared_resize(want / PAGE * PAGE + m->room))
			return KJ_OK;
	}
	fail_clear();
	return fail(KJ_REFUSED,
		    "there is no free memory for an image of %llu MB in use; use --via=DEVICE",
		    (unsigned long long)(in_use / MB));
}

/* Where a file takes the room of its holes, too. */
static bool has_no_holes(const struct statfs *st)
{
	switch ((uint32_t)st->f_type) {
	case MSDOS_SUPER_MAGIC:
	case EXFAT_SUPER_MAGIC:
	case HFS_SUPER_MAGIC:
	case HFSPLUS_SUPER_MAGIC:
		return true;
	}
	return false;
}

static bool is_in_memory(const struct statfs *st)
{
	return (uint32_t)st->f_type == TMPFS_MAGIC;
}

/* The file system must have room for what is in use, or for all memory. */
static int check_space(const char *file, bool shared)
{
	char *dir = xasprintf("%s", file), *slash = strrchr(dir, '/');
	uint64_t need = memory_in_use(), whole = machine_ram_size(), room;
	uint64_t image = shared ? need / 8 * 5 : 0, memory = meminfo_bytes("MemAvailable:");
	struct statfs st;
	int rc = KJ_OK;

	if (slash)
		slash[slash == dir] = 0;
	if (statfs(slash ? dir : ".", &st)) {
		rc = fail(KJ_FAILED, "%s: %s", slash ? dir : ".", strerror(errno));
	} else if ((uint32_t)st.f_type == MSDOS_SUPER_MAGIC && whole > FAT_FILE_MAX) {
		rc = fail(KJ_REFUSED,
			  "%s: a file on FAT may have 4096 MB, the dump has %llu MB; take another file system",
			  file, (unsigned long long)(whole / MB + 1));
	} else if (is_in_memory(&st) && memory < need + image) {
		rc = fail(KJ_REFUSED,
			  "%s: it would be in memory, of which %llu MB can be had, and this takes %llu MB; take a file on a disk%s",
			  file, (unsigned long long)(memory / MB),
			  (unsigned long long)((need + image) / MB + 1),
			  shared ? ", or have the image elsewhere (--via)" : "");
	} else {
		room = (uint64_t)st.f_bavail * (uint64_t)st.f_bsize;
		if (has_no_holes(&st) && need < whole)
			need = whole;
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
	uint64_t in_use = memory_in_use() - shared_size();
	double still = time_since_boot();
	char packed[32], size[32], *took;
	int rc = peer_ask(m);

	still = time_since_boot() - still;
	if (rc) {
		if (shared && message_number(m, "too_small")) {
			fail_clear();
			return fail(KJ_REFUSED,
				    "the image does not fit into %llu MB of free memory, it may need %llu MB; use --via=DEVICE",
				    (unsigned long long)(shared_size() / MB),
				    (unsigned long long)((in_use + image_overhead(in_use)) / MB));
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

static int write_dump(const struct message *m, const char *via, const char *file, bool force)
{
	struct image image;
	int rc = via ? image_open(&image, via, false) : shared_image(m, &image);

	if (!rc)
		rc = image_read_all(&image, false);
	if (!rc)
		rc = extract_image(&image, file, force);
	image_close(&image);
	return rc;
}

/*
 * Jump, and have the image saved in shared memory or on @via, which is on @disk; @m is the
 * answer then. If it does not fit into as much memory as it mostly takes, it is done once
 * more with all there is.
 */
static int save_image_of_us(const struct conf *conf, const char *via, const char *disk,
			    bool force, struct message *m)
{
	char *too_small = NULL;
	uint64_t had = 0;
	int rc = KJ_OK;

	for (unsigned int i = 0; i < 2; i++) {
		rc = peer_message(m, ACTION_SNAPSHOT);
		if (rc)
			break;
		message_add(m, "compress", "%s", image_algorithm_name(conf->compress));
		rc = via ? shared_resize(m->room) : share_for_image(m, i);
		if (!rc && via)
			rc = device_check_again(via, disk, force);
		if (!rc && via)
			rc = peer_name_device(via, m);
		if (!rc)
			rc = check_interrupted();
		if (!rc && i && shared_size() <= had)
			rc = fail(KJ_REFUSED, "%s", too_small);
		had = shared_size();
		if (!rc)
			rc = ask_for_snapshot(m, !via);
		if (i || rc != KJ_REFUSED || via || !message_number(m, "too_small"))
			break;
		too_small = xasprintf("%s", fail_text());
		fail_clear();
		message_free(m);
		step("once more, with all the memory there is: it packs badly");
	}
	free(too_small);
	return rc;
}

int verb_snapshot(int argc, char **argv)
{
	static const struct option options[] = {
		{ "via", required_argument, NULL, OPT_VIA },
		{ "force", no_argument, NULL, OPT_FORCE },
		{ "compress", required_argument, NULL, OPT_COMPRESS },
		{ NULL }
	};
	const char *via = NULL, *file;
	char *disk;
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
	rc = check_arguments(argc, argv, "FILE");
	if (rc)
		return rc;
	file = argv[optind];
	rc = extract_check_file(file, force);
	if (!rc && via)
		rc = device_named(&via, NEED_NOT_EXIST);
	if (!rc && via)
		rc = device_check(via, NULL, force);
	if (!rc && via)
		rc = device_on_hardware(via);
	if (!rc)
		rc = need_view();
	if (!rc)
		rc = check_space(file, !via);
	if (rc)
		return rc;
	disk = via ? device_identity(via) : NULL;
	rc = have_peer(&conf);
	if (rc)
		return rc;
	hold_signals();
	rc = save_image_of_us(&conf, via, disk, force, &m);
	free(disk);
	if (!rc)
		rc = write_dump(&m, via, file, force);
	if (!via && shared_size() > m.room && shared_resize(0) && !rc)
		rc = KJ_FAILED;
	if (!rc)
		step("%s is written", file);
	return rc;
}
