// SPDX-License-Identifier: GPL-2.0
/**
 * DOC: Several peers
 *
 * Besides the image that has no name, KEXEC_JUMP_MAX_PEERS others can be loaded, each
 * with a name, a window and backup pages of its own. Which of them a process means by
 * kexec_load(2) and reboot(2) it says beforehand, in /sys/kernel/kexec_jump/peer; that
 * lasts until it says something else, or ends, through execve(2), and concerns no other
 * process. Without, it is the one without a name. So kexec knows nothing of names, and
 * can be used with them::
 *
 *	sh -c 'echo blue >/sys/kernel/kexec_jump/peer; exec kexec --load-preserve-context ...'
 *
 * Windows may overlap, as one peer runs at a time. Each is jumped to from the kernel that
 * loaded them, and comes back to it. A peer that wants another one to run names it in the
 * same way, and jumps back: the kernel between them leaves its tasks, devices and other
 * CPUs as they are, sees that the other one can be jumped to, and jumps there. If not,
 * it goes on itself, and reboot(2) says why. What the peers know of each other is their
 * names: the memory of one is in no other one's view, nor in an image of the kernel that
 * loaded them. So when that is resumed from an image, all of them are gone.
 *
 * Behind a name can be said how many times it is jumped to by one reboot(2), such as
 * "blue*100": a series, between which devices and other CPUs rest, too. It ends early if
 * the peer dies, or asks for another one.
 */
#include "internal.h"

#include <linux/ctype.h>
#include <linux/err.h>
#include <linux/kstrtox.h>
#include <linux/pid.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/string.h>

/**
 * struct peer - a place for an image with a name
 * @name:	"" if the place is free
 * @image:	NULL while the first one of this name is being loaded
 *
 * Under the kexec lock; @name is changed, and the image freed, under kexec_jump_lock too.
 */
struct peer {
	char name[KEXEC_JUMP_NAME_LEN];
	struct kimage *image;
};

static struct peer peers[KEXEC_JUMP_MAX_PEERS];

/**
 * struct choice - which image a process means
 * @entry:	in @choices
 * @process:	its thread group
 * @name:	of the image, "" for the one that has none
 * @times:	how many times reboot(2) jumps to it
 */
struct choice {
	struct list_head entry;
	struct pid *process;
	char name[KEXEC_JUMP_NAME_LEN];
	unsigned int times;
};

/* Under kexec_jump_lock */
static LIST_HEAD(choices);

static void forget_choice(struct choice *choice)
{
	list_del(&choice->entry);
	put_pid(choice->process);
	kfree(choice);
}

/* Those of processes that have ended are forgotten. */
static struct choice *find_choice(void)
{
	struct choice *choice, *next, *found = NULL;

	list_for_each_entry_safe(choice, next, &choices, entry) {
		bool ended;

		rcu_read_lock();
		ended = !pid_task(choice->process, PIDTYPE_TGID);
		rcu_read_unlock();
		if (ended)
			forget_choice(choice);
		else if (choice->process == task_tgid(current))
			found = choice;
	}
	return found;
}

/* Something to be typed, printed in a line, and told from an option. */
static bool is_name(const char *name)
{
	size_t i, length = strlen(name);

	for (i = 0; i < length; i++)
		if (!isascii(name[i]) || (!isalnum(name[i]) && !strchr("._-", name[i])))
			return false;
	return length && length < KEXEC_JUMP_NAME_LEN && isalnum(name[0]);
}

/* The name of the image that the calling process means, "" for the one that has none. */
static const char *chosen_name(void)
{
	const struct choice *choice = find_choice();

	return choice ? choice->name : "";
}

/**
 * kexec_jump_show_choice - what the calling process has said, for users
 * @buf:	a page of sysfs
 *
 * Process context, under kexec_jump_lock.
 *
 * Return: bytes written.
 */
ssize_t kexec_jump_show_choice(char *buf)
{
	const struct choice *choice = find_choice();

	if (!choice || choice->times == 1)
		return sysfs_emit(buf, "%s\n", choice ? choice->name : "");
	return sysfs_emit(buf, "%s*%u\n", choice->name, choice->times);
}

/**
 * kexec_jump_choose - say which image the calling process means
 * @name:	a name, "" for the image that has none; need not be loaded. "*" and a
 *		number can follow: how many times reboot(2) jumps to it. Is changed
 *
 * Process context, under kexec_jump_lock.
 *
 * Return: 0, -ENOMEM, or, with a message, -EINVAL if this is no name or number.
 */
int kexec_jump_choose(char *name)
{
	struct choice *choice = find_choice();
	char *number = strchr(name, '*');
	unsigned int times = 1;

	if (number) {
		*number++ = '\0';
		if (kstrtouint(number, 10, &times) || !times || times > KEXEC_JUMP_MAX_TIMES) {
			pr_err("peer: it is jumped to 1 to %d times\n", KEXEC_JUMP_MAX_TIMES);
			return -EINVAL;
		}
	}
	if (!*name && times == 1) {
		if (choice)
			forget_choice(choice);
		return 0;
	}
	if (*name && !is_name(name)) {
		pr_err("peer: a name is 1 to %d letters, digits, dots, dashes and underscores, the first one a letter or digit\n",
		       KEXEC_JUMP_NAME_LEN - 1);
		return -EINVAL;
	}
	if (!choice) {
		choice = kzalloc_obj(*choice);
		if (!choice)
			return -ENOMEM;
		choice->process = get_pid(task_tgid(current));
		list_add(&choice->entry, &choices);
	}
	strscpy(choice->name, name);
	choice->times = times;
	return 0;
}

static struct peer *find_peer(const char *name)
{
	unsigned int i;

	for (i = 0; i < KEXEC_JUMP_MAX_PEERS; i++)
		if (!strcmp(peers[i].name, name))
			return &peers[i];
	return NULL;
}

/**
 * kexec_jump_place - where the image goes that the calling process loads
 * @unnamed:	where it goes without a name
 * @flags:	flags of kexec_load(2)
 * @nr_segments: likewise
 *
 * Process context, kexec lock held. Once the load has succeeded or failed,
 * kexec_jump_tidy_places() is to be called.
 *
 * Return: the place, which may hold an image, or an ERR_PTR, with a message: -EINVAL
 * if what is loaded does not preserve the context, -ENOENT if there is nothing to
 * unload, -ENOSPC if all places are taken; name or not, -EBUSY if it would be started for
 * good by a kernel for which another one waits, which would be lost.
 */
struct kimage **kexec_jump_place(struct kimage **unnamed, unsigned long flags,
				 unsigned long nr_segments)
{
	bool unload = !nr_segments && !(flags & (KEXEC_LOAD_MORE | KEXEC_LOAD_CONTINUE));
	struct kimage **place = unnamed;
	struct peer *peer;
	const char *name;

	if (flags & KEXEC_ON_CRASH)
		return unnamed;
	mutex_lock(&kexec_jump_lock);
	name = chosen_name();
	if (!unload && !(flags & KEXEC_PRESERVE_CONTEXT) && kexec_jump_preserved_now()) {
		pr_err("no other kernel is loaded: the one that jumped here would be lost; jump back (kjump back) and load it there\n");
		place = ERR_PTR(-EBUSY);
		goto out;
	}
	if (!*name)
		goto out;
	peer = find_peer(name) ?: unload ? NULL : find_peer("");
	if (!unload && !(flags & KEXEC_PRESERVE_CONTEXT)) {
		pr_err("peer %s: only what preserves the context can be loaded with a name\n",
		       name);
		place = ERR_PTR(-EINVAL);
	} else if (!peer && unload) {
		pr_err("peer %s: not loaded\n", name);
		place = ERR_PTR(-ENOENT);
	} else if (!peer) {
		pr_err("peer %s: %d others are loaded, unload one (/sys/kernel/kexec_jump/peers)\n",
		       name, KEXEC_JUMP_MAX_PEERS);
		place = ERR_PTR(-ENOSPC);
	} else {
		strscpy(peer->name, name);
		place = &peer->image;
	}
out:
	mutex_unlock(&kexec_jump_lock);
	return place;
}

/**
 * kexec_jump_tidy_places - a place without an image is free
 *
 * Process context, kexec lock held.
 */
void kexec_jump_tidy_places(void)
{
	unsigned int i;

	mutex_lock(&kexec_jump_lock);
	for (i = 0; i < KEXEC_JUMP_MAX_PEERS; i++)
		if (!peers[i].image)
			memset(peers[i].name, 0, sizeof(peers[i].name));
	mutex_unlock(&kexec_jump_lock);
}

/**
 * kexec_jump_image - the images there are, one by one
 * @n:		0: the one without a name; then those that have one
 *
 * Under kexec_jump_lock or the kexec lock.
 *
 * Return: an image, if it has a name; NULL where there is none, up to
 * KEXEC_JUMP_MAX_PEERS; the one without a name only if it preserves the context.
 */
struct kimage *kexec_jump_image(unsigned int n)
{
	struct kimage *image = n ? READ_ONCE(peers[n - 1].image) : READ_ONCE(kexec_image);

	return image && image->preserve_context ? image : NULL;
}

/**
 * kexec_jump_in_any_window - does an address lie in the window of an image?
 * @addr:	physical
 *
 * Not asked of images of preserved kernels: nobody comes back from there.
 *
 * Under kexec_jump_lock or the kexec lock.
 *
 * Return: whether it does.
 */
bool kexec_jump_in_any_window(u64 addr)
{
	unsigned int n;

	for (n = 0; n <= KEXEC_JUMP_MAX_PEERS; n++) {
		const struct kimage *image = kexec_jump_image(n);

		if (image && !image->jump->from_image && kexec_jump_in_window(image->jump, addr))
			return true;
	}
	return false;
}

/* Outside the windows of all images. Under kexec_jump_lock, or with tasks frozen. */
struct kexec_jump_pool kexec_jump_outside_all = {
	.holds = kexec_jump_in_any_window,
	.inside = LIST_HEAD_INIT(kexec_jump_outside_all.inside),
	.unusable = LIST_HEAD_INIT(kexec_jump_outside_all.unusable),
};

/* The image of that name, @unnamed if that is empty. Under kexec_jump_lock */
static struct kimage *own_image(struct kimage *unnamed, const char *name)
{
	const struct peer *peer;

	if (!*name)
		return unnamed;
	peer = find_peer(name);
	return peer ? peer->image : NULL;
}

/**
 * kexec_jump_loaded - the jump of the image that the calling process means
 *
 * Process context, under kexec_jump_lock.
 *
 * Return: the jump, or NULL if no such image that preserves the context is loaded.
 */
struct kexec_jump *kexec_jump_loaded(void)
{
	const struct kimage *image = own_image(kexec_jump_image(0), chosen_name());

	return image ? image->jump : NULL;
}

/* No more than fit, whoever writes to it meanwhile. */
static u32 nr_names(const struct kexec_jump_header *header)
{
	return min_t(u32, READ_ONCE(header->nr_names), KEXEC_JUMP_MAX_PEERS);
}

/*
 * The number of a peer of the kernel that jumped here, counted from 1, or 0 if there is
 * no other one of that name, or no way to it: it is reached through that kernel.
 */
static u32 their_number(const char *name)
{
	const struct kexec_jump_header *header = kexec_jump_preserved_now();
	const struct kimage *back = kexec_jump_image(0);
	u32 i;

	if (!header || !back || back->jump->entry != header->entry)
		return 0;
	for (i = 0; i < nr_names(header); i++)
		if (i + 1 != header->own_number &&
		    !strncmp(header->names[i], name, sizeof(header->names[i])))
			return i + 1;
	return 0;
}

/* NULL if it is not there. Under kexec_jump_lock */
static struct kimage *meant(struct kimage *unnamed, const char *name)
{
	struct kimage *image = own_image(unnamed, name);

	if (!image && *name && their_number(name))
		return unnamed;
	return image;
}

/**
 * kexec_jump_meant - the image that the calling process jumps to
 * @unnamed:	the one without a name
 *
 * Process context, kexec lock held.
 *
 * Return: the image, or NULL if there is none, with a message if it should have a name.
 */
struct kimage *kexec_jump_meant(struct kimage *unnamed)
{
	struct kimage *image;
	const char *name;

	mutex_lock(&kexec_jump_lock);
	name = chosen_name();
	image = meant(unnamed, name);
	if (*name && !image)
		pr_notice("peer %s: not loaded\n", name);
	mutex_unlock(&kexec_jump_lock);
	return image;
}

/**
 * kexec_jump_would_run - would reboot(2) of the calling process run what is loaded?
 * @unnamed:	where the image without a name is
 *
 * Process context. Who shuts the system down asks for this, to start what is loaded
 * instead of the firmware.
 *
 * Return: 0 if the image it means is not there, or is held; 1; -ERESTARTSYS.
 */
int kexec_jump_would_run(struct kimage **unnamed)
{
	const struct kimage *image;
	bool would;

	/* Images are freed under it, too. It may be held for as long as a series of calls takes. */
	if (mutex_lock_interruptible(&kexec_jump_lock))
		return -ERESTARTSYS;
	image = meant(READ_ONCE(*unnamed), chosen_name());
	would = image && !(image->preserve_context && kexec_jump_image_held(image));
	mutex_unlock(&kexec_jump_lock);
	return would;
}

/**
 * kexec_jump_plan - how the calling process wants it to go on
 * @attempt:	what was found by kexec_jump_meant(). Its @more_times are set, and its
 *		@next_number if another peer is to run when this kernel has jumped back
 *
 * Process context, under kexec_jump_lock.
 *
 * Return: 0, or with a message -EINVAL if it is to be jumped to several times, and is
 * a kernel that was not loaded by this one, or -EBUSY if nobody comes back from there and
 * another kernel waits for this one.
 */
int kexec_jump_plan(struct kexec_jump_attempt *attempt)
{
	const struct choice *choice = find_choice();

	if (attempt->image->jump->from_image && kexec_jump_preserved_now()) {
		pr_err("an image is not resumed: the kernel that jumped here would be lost; jump back (kjump back) and resume it there\n");
		return -EBUSY;
	}
	if (!choice)
		return 0;
	attempt->more_times = choice->times - 1;
	if (*choice->name && attempt->image == kexec_jump_image(0))
		attempt->next_number = their_number(choice->name);
	if (!attempt->more_times || kexec_jump_is_told(attempt->image->jump))
		return 0;
	pr_err("peer: only what this kernel has loaded itself is jumped to several times\n");
	return -EINVAL;
}

/**
 * kexec_jump_tell_names - write into the header which peers there are
 * @jump:	the jump to be made; its header is to be sealed afterwards
 *
 * Process context, kexec lock held.
 */
void kexec_jump_tell_names(struct kexec_jump *jump)
{
	struct kexec_jump_header *header = kexec_jump_header(jump);
	unsigned int i;

	header->nr_names = 0;
	header->own_number = 0;
	header->next_number = 0;
	memset(header->names, 0, sizeof(header->names));
	for (i = 0; i < KEXEC_JUMP_MAX_PEERS; i++) {
		if (!peers[i].image)
			continue;
		memcpy(header->names[header->nr_names++], peers[i].name, KEXEC_JUMP_NAME_LEN);
		if (peers[i].image->jump == jump)
			header->own_number = header->nr_names;
	}
}

/* The image of the peer that the one that came back has asked for, or NULL. */
static struct kimage *asked_for(const struct kexec_jump_attempt *attempt)
{
	u32 number = kexec_jump_is_told(attempt->image->jump) ? attempt->next_number : 0;
	unsigned int i;

	for (i = 0; number && i < KEXEC_JUMP_MAX_PEERS; i++)
		if (peers[i].image && !--number)
			return peers[i].image;
	return NULL;
}

/**
 * kexec_jump_next - is there another jump to be made?
 * @attempt:	just back; the kexec lock is held. Its @more_times are counted down
 *
 * Return: the image to jump to, or NULL.
 */
struct kimage *kexec_jump_next(struct kexec_jump_attempt *attempt)
{
	struct kimage *next;

	if (attempt->peer_died || attempt->from_image)
		return NULL;
	next = asked_for(attempt);
	if (next) {
		attempt->more_times = 0;
	} else if (attempt->more_times) {
		attempt->more_times--;
		next = attempt->image;
	}
	return next;
}

/**
 * kexec_jump_unload - unload an image, or all of them
 * @image:	loaded, preserving the context; NULL: all
 *
 * Process context, kexec lock held.
 */
void kexec_jump_unload(const struct kimage *image)
{
	unsigned int i;

	if (!image || kexec_image == image)
		kimage_free(xchg(&kexec_image, NULL));
	for (i = 0; i < KEXEC_JUMP_MAX_PEERS; i++)
		if (!image || peers[i].image == image)
			kimage_free(xchg(&peers[i].image, NULL));
	kexec_jump_tidy_places();
}

static ssize_t list_own(char *buf)
{
	ssize_t length = 0;
	unsigned int i;

	for (i = 0; i < KEXEC_JUMP_MAX_PEERS; i++) {
		const struct kimage *image = READ_ONCE(peers[i].image);
		const struct kexec_jump *jump = image ? image->jump : NULL;

		if (jump)
			length += sysfs_emit_at(buf, length, "%s %s %lu\n", peers[i].name,
						jump->peer_preserved ? "preserved" : "loaded",
						jump->nr_pages << (PAGE_SHIFT - 10));
	}
	return length;
}

/**
 * kexec_jump_list_peers - which peers there are, for users
 * @buf:	a page of sysfs
 *
 * Process context, under kexec_jump_lock.
 *
 * Return: bytes written.
 */
ssize_t kexec_jump_list_peers(char *buf)
{
	const struct kexec_jump_header *header = kexec_jump_preserved_now();
	ssize_t length = list_own(buf);
	u32 i;

	for (i = 0; header && i < nr_names(header); i++) {
		char name[KEXEC_JUMP_NAME_LEN];

		/* Whoever wrote it. */
		strscpy(name, header->names[i], sizeof(name));
		if (is_name(name))
			length += sysfs_emit_at(buf, length, "%s %s\n", name,
						i + 1 == header->own_number ? "self" : "other");
	}
	return length;
}
