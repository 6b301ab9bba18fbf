// SPDX-License-Identifier: GPL-2.0
/* Whether the disks are still as a saved system left them. See disks.h. */
#include "devices/disks.h"
#include "devices/device.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define PIECE_MAX	(1024 * KB)
#define SAMPLE		(4 * KB)
#define SAMPLES_MAX	1024u

/* --- as text ------------------------------------------------------------ */

void disks_free(struct disks *d)
{
	for (unsigned int i = 0; i < d->count; i++) {
		struct noted *n = &d->list[i];

		for (unsigned int j = 0; j < n->count; j++)
			identity_free(&n->pieces[j]);
		free(n->pieces);
		free(n->name);
	}
	free(d->list);
	memset(d, 0, sizeof(*d));
}

static void append(char **text, char *more)
{
	char *all = xasprintf("%s%s", *text, more);

	free(more);
	free(*text);
	*text = all;
}

/* NAME GUARD WRITES SEEN HASH PIECE... */
char *disks_text(const struct disks *d)
{
	char *text = xasprintf("%s", "");

	for (unsigned int i = 0; i < d->count; i++) {
		const struct noted *n = &d->list[i];
		char *name = word_pack(n->name);

		append(&text, xasprintf("%s %u %d %d %016llx", name, n->guard, n->writes, n->seen,
					(unsigned long long)n->hash));
		free(name);
		for (unsigned int j = 0; j < n->count; j++) {
			char *piece = identity_text(&n->pieces[j]);

			append(&text, xasprintf(" %s", piece));
			free(piece);
		}
		append(&text, xasprintf("\n"));
	}
	return text;
}

static bool parse_line(char *line, struct noted *n)
{
	char *name = strsep(&line, " "), *guard = strsep(&line, " ");
	char *writes = strsep(&line, " "), *seen = strsep(&line, " ");
	char *hash = strsep(&line, " "), *piece, *end;

	if (!name || !guard || !writes || !seen || !hash || !word_unpack(name))
		return false;
	n->name = xasprintf("%s", name);
	n->guard = (unsigned int)strtoul(guard, &end, 10);
	if (*end || n->guard > GUARDED_ALONG)
		return false;
	n->writes = !strcmp(writes, "1");
	n->seen = !strcmp(seen, "1");
	n->hash = strtoull(hash, &end, 16);
	if (*end)
		return false;
	while ((piece = strsep(&line, " "))) {
		n->pieces = xrealloc(n->pieces, (n->count + 1) * sizeof(*n->pieces));
		if (!identity_parse(piece, &n->pieces[n->count]))
			return false;
		n->count++;
	}
	return true;
}

bool disks_parse(const char *text, struct disks *d)
{
	char *lines = xasprintf("%s", text), *rest = lines, *line;
	bool good = true;

	memset(d, 0, sizeof(*d));
	while (good && (line = strsep(&rest, "\n"))) {
		if (!*line)
			continue;
		d->list = xrealloc(d->list, (d->count + 1) * sizeof(*d->list));
		memset(&d->list[d->count], 0, sizeof(*d->list));
		good = parse_line(line, &d->list[d->count++]);
	}
	free(lines);
	if (!good)
		disks_free(d);
	return good;
}

/* --- what is there ------------------------------------------------------ */

/* The disks this kernel has. */
struct here {
	struct {
		char *path;
		dev_t dev;
		struct identity id;
	} *list;
	unsigned int count;
};

static int add_disk(void *ctx, const char *path)
{
	struct here *h = ctx;
	struct identity id;
	struct stat st;

	if (stat(path, &st) || !S_ISBLK(st.st_mode) || identity_of(st.st_rdev, &id)) {
		fail_clear();
		return 0;
	}
	/* Whole ones: a piece is where it is on its disk, whatever the partitions are. */
	if (id.start || id.length != id.size) {
		identity_free(&id);
		return 0;
	}
	h->list = xrealloc(h->list, (h->count + 1) * sizeof(*h->list));
	h->list[h->count].path = xasprintf("%s", path);
	h->list[h->count].dev = st.st_rdev;
	h->list[h->count++].id = id;
	return 0;
}

static void free_here(struct here *h)
{
	while (h->count) {
		h->count--;
		free(h->list[h->count].path);
		identity_free(&h->list[h->count].id);
	}
	free(h->list);
	memset(h, 0, sizeof(*h));
}

/* 0 for another disk; of those with one serial number, the one where it was comes first. */
static unsigned int likeness(const struct identity *disk, const struct identity *piece)
{
	return 2 * identity_compare(disk, piece) + !identity_moved(disk, piece);
}

/* The one disk a piece can be on; -1 if there is none, or more than one that may be. */
static int disk_of(const struct here *h, const struct identity *piece)
{
	unsigned int best = 2 * MAYBE_SAME_DISK - 1;
	bool unique = false;
	int found = -1;

	for (unsigned int i = 0; i < h->count; i++) {
		unsigned int like = likeness(&h->list[i].id, piece);

		if (like < best || like < 2 * MAYBE_SAME_DISK)
			continue;
		unique = like > best;
		best = like;
		found = (int)i;
	}
	return unique ? found : -1;
}

/* A partition that a piece of its disk is in, and the piece is then @offset bytes into it. */
struct within {
	const struct identity *piece;
	dev_t disk, dev;
	uint64_t offset;
};

static int look_within(void *ctx, const char *path)
{
	struct within *w = ctx;
	const struct identity *piece = w->piece;
	struct identity id;
	char *number;
	struct stat st;
	dev_t disk = 0;

	if (stat(path, &st) || !S_ISBLK(st.st_mode) || identity_of(st.st_rdev, &id)) {
		fail_clear();
		return 0;
	}
	number = xasprintf("/sys/dev/block/%u:%u/../dev", major(st.st_rdev), minor(st.st_rdev));
	if (id.length != id.size && device_number(number, &disk) && disk == w->disk &&
	    id.start <= piece->start && piece->length <= id.length &&
	    piece->start - id.start <= id.length - piece->length) {
		w->dev = st.st_rdev;
		w->offset = piece->start - id.start;
	}
	free(number);
	identity_free(&id);
	return w->dev != w->disk;
}

/* Enough to write to it: where the other one is, if that is known, or else by its names. */
static bool is_certain(const struct identity *disk, const struct identity *piece)
{
	enum same_disk same = identity_compare(disk, piece);

	if (disk->at && piece->at)
		return same != OTHER_DISK && !identity_moved(disk, piece);
	return same == SAME_DISK;
}

bool disks_find_piece(const struct identity *piece, dev_t *dev, uint64_t *offset)
{
	struct within w = { .piece = piece };
	struct here h = { 0 };
	int disk;
	bool found;

	device_for_each(add_disk, &h);
	disk = disk_of(&h, piece);
	found = disk >= 0 && is_certain(&h.list[disk].id, piece);
	if (found) {
		w.disk = h.list[disk].dev;
		w.dev = w.disk;
		w.offset = piece->start;
		/* As its volume has it: not the whole disk, which is in use by others, too. */
		device_for_each(look_within, &w);
		*dev = w.dev;
		*offset = w.offset;
	}
	free_here(&h);
	return found;
}

/* Of samples, this much of every so much. */
static uint64_t sample_step(uint64_t length)
{
	uint64_t step = align_up(length / SAMPLES_MAX, SAMPLE);

	return step > PIECE_MAX ? step : PIECE_MAX;
}

static bool hash_piece(XXH64_state_t *state, const char *path, const struct identity *piece,
		       bool samples)
{
	/* What this kernel has cached of it may be old. */
	int fd = open(path, O_RDONLY | O_DIRECT | O_CLOEXEC);
	uint64_t at = 0, step = sample_step(piece->length);
	void *data = xalloc_pages(PIECE_MAX);
	bool good = fd >= 0;

	while (good && at < piece->length) {
		uint64_t left = piece->length - at, most = samples && at ? SAMPLE : PIECE_MAX;
		size_t n = left < most ? (size_t)left : (size_t)most;

		good = pread_full(fd, data, n, piece->start + at) == (ssize_t)n;
		XXH64_update(state, data, n);
		at += samples ? step : n;
	}
	free(data);
	if (fd >= 0)
		close(fd);
	return good;
}

enum state { MISSING, MOVED, CHANGED, AS_IT_WAS };

/* MISSING if some piece is not there; MOVED if one is there, but elsewhere. */
static enum state hash_of(const struct here *h, const struct noted *n, uint64_t *hash)
{
	enum state found = n->count ? AS_IT_WAS : MISSING;
	XXH64_state_t state;

	XXH64_reset(&state, 0);
	for (unsigned int i = 0; i < n->count; i++) {
		const struct identity *piece = &n->pieces[i];
		int disk = disk_of(h, piece);

		if (disk < 0)
			return MISSING;
		if (identity_moved(&h->list[disk].id, piece))
			found = MOVED;
		/* One that only may be it is known by what is on it. */
		if (n->guard == UNGUARDED ?
		    identity_compare(&h->list[disk].id, piece) != SAME_DISK :
		    !hash_piece(&state, h->list[disk].path, piece, n->guard == GUARDED_SAMPLES))
			return MISSING;
	}
	*hash = n->guard != UNGUARDED ? XXH64_digest(&state) : 0;
	return found;
}

int disks_check_guards(const struct disks *d, bool any_unguarded)
{
	char *names = NULL;
	int rc = KJ_OK;

	for (unsigned int i = 0; i < d->count; i++)
		if (d->list[i].guard == UNGUARDED && d->list[i].writes)
			add_listed(&names, ", ", d->list[i].name);
	if (names && any_unguarded)
		step("changes before the system is resumed would not be noticed: %s", names);
	else if (names)
		rc = fail(KJ_REFUSED,
			  "nobody would notice if what this system writes to is changed before it is resumed, and it would damage what is there then; unmount or stop it, or have it read-only (--ignore-unguarded saves the system all the same): %s",
			  names);
	free(names);
	return rc;
}

int disks_look(struct disks *d, bool any_missing)
{
	char *unseen = NULL;
	struct here h = { 0 };
	int rc = KJ_OK;

	device_for_each(add_disk, &h);
	for (unsigned int i = 0; i < d->count; i++) {
		struct noted *n = &d->list[i];

		n->seen = hash_of(&h, n, &n->hash) != MISSING;
		if (n->count && n->writes && !n->seen)
			add_listed(&unseen, ", ", n->name);
	}
	free_here(&h);
	if (unseen && any_missing)
		step("not found, so changes would not be noticed: %s", unseen);
	else if (unseen)
		rc = fail(KJ_FAILED,
			  "this kernel does not find %s, which the system to be saved has in use (has it the driver?): changes before the resume would not be noticed; --ignore-missing saves it all the same",
			  unseen);
	free(unseen);
	return rc;
}

static bool is_place_taken(const struct here *h, const struct noted *n)
{
	for (unsigned int i = 0; i < n->count; i++) {
		int own = disk_of(h, &n->pieces[i]);

		for (unsigned int j = 0; j < h->count; j++)
			if ((int)j != own && identity_same_place(&h->list[j].id, &n->pieces[i]))
				return true;
	}
	return false;
}

/* @any_missing: wherever it is. */
static enum state state_of(const struct here *h, const struct noted *n, bool any_missing)
{
	uint64_t hash;
	enum state state = hash_of(h, n, &hash);

	/* To its system one that is elsewhere is not there, unless another one is where it was. */
	if (state == MOVED && !n->writes && !is_place_taken(h, n))
		state = MISSING;
	if (state == MISSING || (state == MOVED && !any_missing))
		return state;
	return hash != n->hash ? CHANGED : AS_IT_WAS;
}

int disks_compare(const struct disks *d, const char *image, double wait, bool any_missing,
		  bool any_changed)
{
	static const char * const what[] = {
		[MISSING] =
		"not there: %s, which its system has in use; connect them",
		[MOVED] =
		"connected elsewhere than before: %s, and its system would use what is there now; put them back",
		[CHANGED] =
		"changed since its system left them, by a mount or repair: %s; its files would be damaged",
	};
	const bool ignored[] = {
		[MISSING] = any_missing, [MOVED] = any_missing, [CHANGED] = any_changed,
	};
	double until = now_seconds() + wait;
	char *lists[ARRAY_SIZE(what)] = { NULL }, *only_read = NULL, *all = NULL;
	bool last, waiting;
	int rc = KJ_OK;

	/* Some appear late. */
	do {
		struct here h = { 0 };

		last = now_seconds() >= until;
		device_for_each(add_disk, &h);
		for (unsigned int i = 0; i < ARRAY_SIZE(lists); i++) {
			free(lists[i]);
			lists[i] = NULL;
		}
		free(only_read);
		only_read = NULL;
		for (unsigned int i = 0; i < d->count; i++) {
			enum state state = d->list[i].seen ?
				state_of(&h, &d->list[i], any_missing) : AS_IT_WAS;

			if (state == AS_IT_WAS || ignored[state] ||
			    (state != CHANGED && d->list[i].guard == GUARDED_ALONG))
				continue;
			/* Nothing can be lost that it only reads. */
			if (state == MISSING && !d->list[i].writes)
				add_listed(&only_read, ", ", d->list[i].name);
			else
				add_listed(&lists[state], ", ", d->list[i].name);
		}
		free_here(&h);
		waiting = (lists[MISSING] || only_read) && !last && !check_interrupted();
		if (waiting)
			usleep(100 * 1000);
	} while (waiting);
	rc = check_interrupted();
	if (only_read)
		step("not there: %s, which its system only reads", only_read);
	free(only_read);
	for (unsigned int i = 0; i < ARRAY_SIZE(lists); i++) {
		char *text, *more;

		if (!lists[i])
			continue;
		text = xasprintf(what[i], lists[i]);
		more = xasprintf("%s (--ignore-%s resumes all the same)", text,
				 i == CHANGED ? "changed" : "missing");
		add_listed(&all, "; ", more);
		free(more);
		free(text);
		free(lists[i]);
	}
	if (all)
		rc = fail(KJ_BAD_IMAGE, "%s: %s", image, all);
	free(all);
	return rc;
}

static bool writes_to(const struct disks *d, const struct noted *then)
{
	for (unsigned int i = 0; i < d->count; i++) {
		const struct noted *now = &d->list[i];

		for (unsigned int j = 0; now->writes && j < now->count; j++)
			for (unsigned int k = 0; k < then->count; k++)
				if (identity_compare(&now->pieces[j], &then->pieces[k]) ==
				    SAME_DISK &&
				    identity_overlap(&now->pieces[j], &then->pieces[k]))
					return true;
	}
	return false;
}

char *disks_taken_over(const struct disks *d, const struct disks *now)
{
	bool has_root = false, root_is_lost = false;
	struct here h = { 0 };
	char *names = NULL;

	device_for_each(add_disk, &h);
	for (unsigned int i = 0; i < d->count; i++) {
		const struct noted *n = &d->list[i];
		bool is_root = strstr(n->name, "(mounted on /)");

		if (!n->seen || !n->writes || n->guard == UNGUARDED)
			continue;
		has_root |= is_root;
		if (state_of(&h, n, true) != CHANGED || !writes_to(now, n))
			continue;
		add_listed(&names, ", ", n->name);
		root_is_lost |= is_root;
	}
	free_here(&h);
	/* Without a stick, or what it shares with this system, it might still be resumed. */
	if (names && has_root && !root_is_lost) {
		free(names);
		names = NULL;
	}
	return names;
}
