// SPDX-License-Identifier: GPL-2.0
/* The peer's side: doing what the first kernel asks for, and going back. */
#include "devices/device.h"
#include "peer/kexec.h"
#include "peer/peer.h"
#include "peer/vmcore.h"

#include <errno.h>
#include <linux/kd.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/reboot.h>
#include <termios.h>
#include <unistd.h>

/* Going back can fail for a moment: a device that is busy, an event that woke us. */
#define RETRY_SECONDS	1
/* Or as long as a device that has failed stays that way. */
#define RETRIES		30

/* Disks are found in the background while the peer boots; later they are there at once. */
#define DEVICE_SECONDS	30
#define AGAIN_SECONDS	10

/* --- going back --------------------------------------------------------- */

/* The image that leads back stays loaded; only the first time it must be made. */
static int load_way_back(void)
{
	struct kexec_segment none = { 0 };
	unsigned long entry = (unsigned long)jump_number("jump_back_entry");
	int error;

	if (jump_loaded())
		return jump_number("image_entry") == entry ? KJ_OK :
			fail(KJ_REFUSED,
			     "something else than the way back is loaded here; unload it (kjump unload, kexec -u)");
	if (!entry)
		return fail(KJ_NONE, "this kernel was not jumped to: there is no way back");
	error = kexec_load_call(entry, 1, &none, KEXEC_PRESERVE_CONTEXT);
	return error ? fail(KJ_FAILED, "loading the way back: %s (the kernel log says more)",
			    strerror(-error)) : KJ_OK;
}

/* Or, through the first kernel, to another peer. */
static int go_back(const char *to)
{
	int rc = load_way_back();

	if (!rc)
		rc = saved_disown();
	if (!rc && to)
		rc = peer_choose(to);
	if (!rc)
		rc = jump();
	if (to)
		peer_choose(NULL);
	return rc;
}

/* --- doing it ----------------------------------------------------------- */

/*
 * By the name the first kernel wrote on it: device names may differ here. Where
 * it was there is looked first, as opening a disk may wait for its controller.
 * A volume has no device here; what is told of it says where it is.
 */
static int look_for(const char *id, const char *likely, const char *volume, struct image *image)
{
	char found[2 * IMAGE_ID_LEN + 1], *path;
	int rc;

	image_close(image);
	if (volume) {
		rc = image_open_volume(image, likely, volume);
	} else {
		path = device_find_image(id, IMAGE_PREPARED, likely);
		rc = path ? image_open(image, path, true) : KJ_NONE;
		free(path);
	}
	if (!rc)
		rc = image_read_super(image);
	image_id_text(image->super.id, found);
	if (!rc && (image->super.state != IMAGE_PREPARED || strcmp(id, found)))
		rc = fail(KJ_NONE, "%s: something else is there", likely);
	if (!rc)
		rc = image_check_pieces(image);
	return rc;
}

static int open_by_id(const char *id, const char *likely, const char *volume, struct image *image)
{
	static bool found_one;
	double until = now_seconds() + (found_one ? AGAIN_SECONDS : DEVICE_SECONDS);
	bool looked_again = false;
	int rc;

	while ((rc = look_for(id, likely, volume, image)) == KJ_NONE) {
		fail_clear();
		if (now_seconds() >= until)
			return fail(KJ_FAILED,
				    "the peer does not find %s: its kernel has no driver for it (kjump-mkinitramfs puts those of the disks there are now into the peer's initramfs), or it was connected after the peer had booted; then kjump load --ready boots another one",
				    likely);
		/* It may be newer than what this kernel knows. */
		if (!looked_again)
			device_rescan();
		looked_again = true;
		usleep(50 * 1000);
	}
	found_one |= !rc;
	return rc;
}

/* As it was. */
struct keyboard {
	bool is_terminal, has_mode;
	struct termios terminal;
	int mode;
};

/* By Ctrl-S or Scroll Lock, somebody at the console stops who writes to it. */
static void keyboard_off(struct keyboard *k)
{
	struct termios t;

	/* Who is in the background may do this, too. */
	signal(SIGTTOU, SIG_IGN);
	k->is_terminal = !tcgetattr(STDOUT_FILENO, &k->terminal);
	if (k->is_terminal) {
		t = k->terminal;
		t.c_iflag &= ~(tcflag_t)IXON;
		tcsetattr(STDOUT_FILENO, TCSANOW, &t);
		tcflow(STDOUT_FILENO, TCOON);
	}
	k->has_mode = !ioctl(STDOUT_FILENO, KDGKBMODE, &k->mode) &&
		      !ioctl(STDOUT_FILENO, KDSKBMODE, K_OFF);
}

static void keyboard_on(const struct keyboard *k)
{
	if (k->is_terminal)
		tcsetattr(STDOUT_FILENO, TCSANOW, &k->terminal);
	if (k->has_mode)
		ioctl(STDOUT_FILENO, KDSKBMODE, k->mode);
}

static int save_as_asked(const struct message *m, struct message *reply,
			 enum image_state final)
{
	char *id = message_get(m, "id"), *compress = message_get(m, "compress");
	char *device = message_get(m, "device"), *text = message_get_text(m, "disks");
	char *firmware = message_get_text(m, "firmware"), *volume = message_get_text(m, "volume");
	uint64_t room = message_number(m, "room");
	uint32_t algorithm = IMAGE_COMPRESS_DEFAULT;
	struct image image = { .fd = -1 };
	struct save_result result;
	struct disks disks = { 0 };
	struct keyboard keyboard;
	int rc;

	keyboard_off(&keyboard);
	if (compress)
		image_algorithm(compress, &algorithm);
	if (id) {
		rc = open_by_id(id, device ? device : "the device", volume, &image);
	} else {
		rc = shared_image(m, &image);
		image_new_id(image.super.id);
	}
	image.final = final;
	if ((!text || !disks_parse(text, &disks)) && !rc)
		rc = fail(KJ_FAILED, "the peer does not understand which disks are in use");
	image.disks = &disks;
	image.any_missing = message_number(m, "ignore_missing");
	image.firmware = firmware;
	/* The partition table may have been changed since this kernel read it. */
	if (room && image.room > room)
		image.room = room;
	if (!rc)
		rc = save_vmcore(VMCORE, &image, algorithm, &result);
	if (!rc) {
		message_add(reply, "bytes", "%llu", (unsigned long long)result.data_bytes);
		message_add(reply, "image", "%llu", (unsigned long long)result.image_size);
		message_add(reply, "seconds", "%.2f", result.seconds);
	} else if (!id && rc == KJ_REFUSED) {
		message_add(reply, "too_small", "1");
	}
	image_close(&image);
	free_secret(volume);
	disks_free(&disks);
	free(firmware);
	free(text);
	free(id);
	free(compress);
	free(device);
	/* When the machine is to be switched off, that is not over yet. */
	if (rc || final != IMAGE_COMPLETE)
		keyboard_on(&keyboard);
	return rc;
}

static void power_off(const struct message *m, const struct message *saved)
{
	char *after = message_get(m, "after"), *took = message_get(saved, "seconds");
	bool again = after && !strcmp(after, "reboot");
	char size[32], packed[32];

	human_size(message_number(saved, "bytes"), size, sizeof(size));
	human_size(message_number(saved, "image"), packed, sizeof(packed));
	step("saved %s as %s in %s s; %s", size, packed, took ? took : "?",
	     again ? "rebooting" : "powering off");
	free(after);
	free(took);
	sync();
	reboot(again ? RB_AUTOBOOT : RB_POWER_OFF);
	/* No way to power off: the image is complete, so nothing may run on. */
	reboot(RB_HALT_SYSTEM);
	for (;;)
		pause();
}

/* Returns whether to go back; false leaves the machine to whoever is here. */
static bool serve_once(void)
{
	struct message m, reply;
	char *action;
	bool back = true;
	int rc = KJ_OK;

	fail_clear();
	if (message_read(&m) && shared_size())
		rc = fail(KJ_FAILED, "the peer cannot read what it is to do");
	action = message_get(&m, "action");
	message_init(&reply);
	reply.room = m.room;
	if (rc) {
		/* Back, with that answer. */
	} else if (!action || !strcmp(action, ACTION_SWITCH)) {
		back = false;
	} else if (!strcmp(action, ACTION_HIBERNATE)) {
		rc = save_as_asked(&m, &reply, IMAGE_COMPLETE);
		if (!rc)
			power_off(&m, &reply);
	} else if (!strcmp(action, ACTION_SNAPSHOT)) {
		rc = save_as_asked(&m, &reply, IMAGE_SNAPSHOT);
	} else if (strcmp(action, ACTION_READY)) {
		rc = fail(KJ_FAILED, "the peer does not know the action %s", action);
	}
	message_add(&reply, "result", rc ? "error" : "ok");
	if (rc) {
		message_add(&reply, "text", "%s", fail_text());
		fprintf(stderr, "kjump: %s\n", fail_text());
	}
	/* Kept for kjump save by hand. */
	message_keep(&reply, &m);
	if (shared_size())
		message_send(&reply);
	fail_clear();
	message_free(&m);
	message_free(&reply);
	free(action);
	return back;
}

/*
 * Nobody may be there to try again, and the first kernel waits. A panic leads back, too, and
 * asks no device of this kernel for anything.
 */
static int go_back_at_last(void)
{
	for (unsigned int n = 1;; n++) {
		int rc = go_back(NULL);

		if (!rc || rc == KJ_NONE || rc == KJ_REFUSED)
			return rc;
		fprintf(stderr, "kjump: %s; trying again\n", fail_text());
		fail_clear();
		if (n == RETRIES) {
			fprintf(stderr, "kjump: this kernel cannot go back and is ended\n");
			write_line("/proc/sysrq-trigger", "c");
		}
		sleep(RETRY_SECONDS);
	}
}

int peer_serve(bool back_first, const char *to)
{
	int rc = need_jump_support();

	if (!rc && !jump_number("jump_back_entry"))
		rc = fail(KJ_NONE,
			  "this kernel was not jumped to: nobody to serve or to go back to");
	if (!rc && back_first)
		rc = go_back(to);

	while (!rc && serve_once())
		rc = go_back_at_last();
	/* Whoever is here may go back with stock kexec. */
	if (!rc)
		jump_hold(false);
	return rc;
}
