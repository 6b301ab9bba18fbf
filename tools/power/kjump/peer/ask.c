// SPDX-License-Identifier: GPL-2.0
/* The first kernel's side: asking the peer to do something. */
#include "common/firmware.h"
#include "common/machine.h"
#include "devices/device.h"
#include "devices/disks.h"
#include "devices/volume.h"
#include "peer/kexec.h"
#include "peer/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int need_jump_support(void)
{
	if (!jump_supported())
		return fail(KJ_FAILED, "this kernel cannot jump (no " KEXEC_JUMP_SYSFS
			    "; it needs CONFIG_KEXEC_JUMP)");
	if (geteuid())
		return fail(KJ_FAILED, "only root may do this");
	return shared_lock();
}

int need_loading(bool anew)
{
	char *lockdown = read_text("/sys/kernel/security/lockdown");
	char *disabled = read_text("/proc/sys/kernel/kexec_load_disabled");
	int rc = KJ_OK;

	if (lockdown && !strstr(lockdown, "[none]"))
		rc = fail(KJ_REFUSED,
			  "this kernel is locked down (/sys/kernel/security/lockdown: %s), as with Secure Boot: it loads no other kernel and does not let its memory be saved; boot with Secure Boot off, without lockdown=",
			  lockdown);
	else if (disabled && !strcmp(disabled, "1") && (anew || !jump_loaded()))
		rc = fail(KJ_REFUSED,
			  "loading kernels is switched off until the next boot (sysctl kernel.kexec_load_disabled=1)");
	free(disabled);
	free(lockdown);
	return rc;
}

int need_view(void)
{
	char *modes;
	int rc = need_jump_support();

	if (!rc)
		rc = need_loading(false);
	if (rc)
		return rc;
	if (jump_leads_back() && jump_loaded())
		return fail(KJ_REFUSED,
			    "this kernel was jumped to, and nobody but the one that jumped here would see its memory; do this there (kjump back)");
	/* What is not to be written to a disk is not shown to a peer, either. */
	modes = read_text("/sys/power/disk");
	if (modes && strstr(modes, "[disabled]"))
		rc = fail(KJ_REFUSED,
			  "this kernel does not let its memory be saved: it was booted with nohibernate or hibernate=no, or secret memory (memfd_secret) or CXL memory is in use");
	free(modes);
	return rc;
}

/* Memory kept for peers is in no image of this kernel. */
static uint64_t memory_of_peers(void)
{
	char *window = jump_file("image_window"), *peers = jump_file("peers");
	char *line, *rest = window;
	unsigned long long start, end;
	struct named_peer peer;
	uint64_t size = 0;

	while ((line = strsep(&rest, "\n")))
		if (sscanf(line, "%llx-%llx", &start, &end) == 2)
			size += end + 1 - start;
	rest = peers;
	while (peer_next(&rest, &peer))
		size += peer.window;
	free(peers);
	free(window);
	return size;
}

uint64_t memory_in_use(void)
{
	uint64_t all = machine_ram_size();
	uint64_t unused = meminfo_bytes("MemFree:") + memory_of_peers();

	if (!all)
		all = meminfo_bytes("MemTotal:");
	return all > unused ? all - unused : 0;
}

/* RAM of a kernel like this one that no image can have: for what can be moved, or CMA's. */
static uint64_t memory_only_movable(void)
{
	char *text = read_text("/proc/zoneinfo"), *rest = text, *line;
	uint64_t bytes = meminfo_bytes("CmaTotal:");
	unsigned long long pages;
	bool movable = false;
	char zone[16];

	while (rest && (line = strsep(&rest, "\n"))) {
		if (sscanf(line, "Node %*u, zone %15s", zone) == 1)
			movable = !strcmp(zone, "Movable");
		else if (movable && sscanf(line, " managed %llu", &pages) == 1)
			bytes += pages * PAGE;
	}
	free(text);
	return bytes;
}

/*
 * The kernel that resumes this system loads it beside itself: its own structures, 1/64 of
 * RAM, lists of what is loaded, and the @initramfs, bytes, have to fit into what is free
 * now, and into memory that can be had for that. Files that are only cached make room first,
 * as much as it will hardly need.
 */
int leave_room(uint64_t initramfs, bool make)
{
	uint64_t all = machine_ram_size(), only_movable = memory_only_movable();
	uint64_t ram = all > only_movable ? all - only_movable : all;
	uint64_t in_use = memory_in_use(), is_left, least = all / 50 + initramfs;
	uint64_t plenty = ram / 8 < 512 * MB ? ram / 8 : 512 * MB, cached;
	char is_free[32], wanted[32];

	if (ram < in_use + least + initramfs + plenty && make) {
		sync();
		write_line("/proc/sys/vm/drop_caches", "1");
		in_use = memory_in_use();
	} else if (!make) {
		is_left = meminfo_bytes("MemFree:");
		cached = meminfo_bytes("MemAvailable:");
		cached = cached > is_left ? cached - is_left : 0;
		in_use -= cached < in_use ? cached : in_use;
	}
	if (!ram || ram >= in_use + least)
		return KJ_OK;
	is_left = ram > in_use ? ram - in_use : 0;
	return fail(KJ_REFUSED,
		    "%s of memory are free%s, and the kernel that is to resume this system will need %s beside it: end something, or hibernate with less in memory%s",
		    human_size(is_left, is_free, sizeof(is_free)),
		    only_movable ? " beside what can be had for movable pages only" : "",
		    human_size(least, wanted, sizeof(wanted)),
		    only_movable ?
		    ", or boot with less for movable pages (kernelcore=, movablecore=, cma=)" : "");
}

/* The devices this kernel uses, as they are now, and the firmware. */
static int add_devices(struct message *m)
{
	struct disks guarded, busy;
	int rc = disks_in_use(&guarded, &busy);
	char *text, *any_unguarded = message_get(m, "ignore_unguarded");

	/* To be resumed. Something may have been mounted since it was asked first. */
	if (!rc && any_unguarded)
		rc = disks_check_guards(&guarded, !strcmp(any_unguarded, "1"));
	free(any_unguarded);
	if (!rc) {
		text = disks_text(&guarded);
		message_add_text(m, "disks", text);
		free(text);
		text = disks_text(&busy);
		message_add_text(m, "busy", text);
		free(text);
		text = firmware_text();
		message_add_text(m, "firmware", text);
		free(text);
	}
	disks_free(&guarded);
	disks_free(&busy);
	return rc;
}

int peer_message(struct message *m, const char *action)
{
	struct message devices;
	int rc;

	message_init(&devices);
	rc = add_devices(&devices);
	message_init(m);
	message_add(m, "action", "%s", action);
	/* With some to spare: there may be more of them until the jump. */
	m->room = align_up(2 * devices.length + MESSAGE_REST, PAGE);
	message_add(m, "image_at", "%llu", (unsigned long long)m->room);
	message_free(&devices);
	return rc;
}

/* Somebody may have moved it, or taken a snapshot of it, while all was written to disks. */
static int check_volume(const struct message *m)
{
	char *volume = message_get_text(m, "volume"), *path = message_get(m, "device");
	char *now = NULL;
	int fd, rc = KJ_OK;

	if (volume && path) {
		fd = open(path, O_RDONLY | O_CLOEXEC);
		if (fd >= 0) {
			rc = volume_text(path, fd, &now);
			close(fd);
		}
		if (!rc && (!now || strcmp(volume, now)))
			rc = fail(KJ_REFUSED, "%s was changed just now; try again", path);
	}
	free_secret(volume);
	free_secret(now);
	free(path);
	return rc;
}

int send_and_jump(struct message *m)
{
	const uint64_t room = m->room;
	struct message none;
	int rc;

	/* What came to an end in between would leave what comes after the jump undone. */
	hold_signals();
	rc = add_devices(m);

	if (!rc)
		rc = check_volume(m);
	if (!rc && shared_size() < m->room)
		rc = shared_resize(m->room);
	if (!rc)
		rc = check_interrupted();
	if (!rc)
		rc = message_send(m);
	if (rc)
		return rc;
	rc = jump();
	message_free(m);
	message_read(m);
	/* Where the image begins, whatever the peer says. */
	m->room = room;
	message_init(&none);
	none.room = room;
	if (shared_size())
		message_send(&none);
	message_free(&none);
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

static int check_room(const struct image *image)
{
	uint64_t need = memory_in_use();

	need += image_overhead(need);
	if (image->room >= need)
		return KJ_OK;
	return fail(KJ_REFUSED,
		    "%s is too small: it has %llu MB, and %llu MB of memory are in use",
		    image->path, (unsigned long long)(image->room / MB),
		    (unsigned long long)(need / MB + 1));
}

int peer_check_room(const char *path)
{
	struct image image;
	int rc = image_open(&image, path, false);

	if (!rc && !image.volume)
		image.room -= volume_head_room(path);
	if (!rc)
		rc = check_room(&image);
	image_close(&image);
	return rc;
}

int peer_name_device(const char *path, struct message *m)
{
	char id[2 * IMAGE_ID_LEN + 1];
	struct image image = { .fd = -1 };
	int rc = volume_prepare(path);

	if (!rc)
		rc = image_open(&image, path, true);
	if (!rc)
		rc = check_room(&image);
	if (!rc && !image.volume && volume_head_room(path))
		rc = fail(KJ_FAILED, "%s: its first page cannot be read", path);
	if (!rc) {
		memset(&image.super, 0, sizeof(image.super));
		image_new_id(image.super.id);
		image_id_text(image.super.id, id);
		message_add(m, "id", "%s", id);
		message_add(m, "device", "%s", path);
		if (image.volume)
			message_add_text(m, "volume", image.volume);
		message_add(m, "room", "%llu", (unsigned long long)image.room);
		rc = image_mark_pieces(&image);
		if (!rc)
			rc = image_write_super(&image, IMAGE_PREPARED);
	}
	image_close(&image);
	return rc;
}
