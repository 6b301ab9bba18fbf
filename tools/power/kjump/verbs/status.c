// SPDX-License-Identifier: GPL-2.0
/* What is loaded, preserved and saved. */
#include "common/cli.h"
#include "common/machine.h"
#include "devices/device.h"
#include "devices/names.h"
#include "peer/bzimage.h"
#include "peer/kexec.h"
#include "verbs/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPT_JSON = OPT_FIRST, OPT_TIMING, OPT_KERNEL };

static const char status_help[] =
	"kjump status [--json|--timing|--kernel=FILE] [DEVICE]\n\n"
	"What this kernel can, what is loaded and preserved, how the last jump ended, and\n"
	"which devices hold images. With DEVICE (or a file): the image on it.\n\n"
	"  --json     for programs\n"
	"  --timing   only how long each step of the last jump took, in milliseconds\n"
	"  --kernel   only whether that kernel can be jumped to, and resume a system\n";

/* --- images ------------------------------------------------------------- */

struct listing {
	bool json;
	unsigned int count;
};

/* @why: it is damaged, and nothing else is known. */
static void image_as_json(const struct image *image, const char *path, const char *why)
{
	static const char * const unknown[] = {
		"id", "release", "build_id", "compress", "saved_at", "data_bytes", "image_bytes",
	};
	const struct superblock *s = &image->super;
	char id[2 * IMAGE_ID_LEN + 1];

	fputs("{\"path\": ", stdout);
	put_json(path);
	if (why) {
		fputs(", \"state\": \"damaged\", \"why\": ", stdout);
		put_json(why);
		for (unsigned int i = 0; i < ARRAY_SIZE(unknown); i++)
			printf(", \"%s\": null", unknown[i]);
		putchar('}');
		return;
	}
	image_id_text(s->id, id);
	printf(", \"state\": \"%s\", \"why\": null, \"id\": \"%s\"", image_state_name(s->state),
	       id);
	fputs(", \"release\": ", stdout);
	put_json(s->release);
	fputs(", \"build_id\": ", stdout);
	put_json(s->build_id);
	printf(", \"compress\": \"%s\", \"saved_at\": %lld",
	       image_algorithm_name(s->algorithm), (long long)s->saved_at);
	printf(", \"data_bytes\": %llu, \"image_bytes\": %llu}",
	       (unsigned long long)s->data_bytes, (unsigned long long)s->image_size);
}

static void image_as_text(const struct image *image, const char *path)
{
	const struct superblock *s = &image->super;
	char size[32], packed[32], when[32];

	if (s->state == IMAGE_PREPARED || s->state == IMAGE_WRITING) {
		answer("%s: an image, %s", path, image_state_name(s->state));
		return;
	}
	image_when(image, when, sizeof(when));
	answer("%s: an image, %s: %s of %s, as %s (%s), saved %s", path,
	       image_state_name(s->state), human_size(s->data_bytes, size, sizeof(size)),
	       *s->release ? s->release : "a kernel",
	       human_size(s->image_size, packed, sizeof(packed)),
	       image_algorithm_name(s->algorithm), when);
}

static int show_image(const char *path, struct listing *l)
{
	struct image image;
	int rc = image_open(&image, path, false);

	if (!rc)
		rc = image_read_super(&image);
	if (rc == KJ_BAD_IMAGE && l->json) {
		fputs(l->count++ ? ", " : "", stdout);
		image_as_json(&image, path, fail_text());
	}
	if (!rc) {
		if (l->json && l->count)
			fputs(", ", stdout);
		l->count++;
		if (l->json)
			image_as_json(&image, path, NULL);
		else
			image_as_text(&image, path);
	}
	image_close(&image);
	return rc;
}

static int visit(void *ctx, const char *path)
{
	int rc = show_image(path, ctx);

	/* Damaged ones are worth a word; devices that cannot be read, or hold none, are not. */
	if (rc == KJ_BAD_IMAGE && !((struct listing *)ctx)->json)
		answer("%s", fail_text());
	fail_clear();
	return 0;
}

/* --- this kernel -------------------------------------------------------- */

/* How a fact is shown to programs; null where it is not known, as what only root may see. */
enum shape { YES_OR_NO, NUMBER, TEXT, ADDRESS, RANGES, PEERS };

static const struct {
	const char *file, *text;
	enum shape shape;
} facts[] = {
	{ "preserved", "preserved kernel", YES_OR_NO },
	{ "jump_back_entry", "jumped to from", ADDRESS },
	{ "confined_to", "confined to", RANGES },
	{ "image_entry", "loaded, entry", ADDRESS },
	{ "image_window", "loaded, window", RANGES },
	{ "held", "loaded, held", YES_OR_NO },
	{ "peers", "peers with names", PEERS },
	{ "jumps", "jumps", NUMBER },
	{ "last", "last jump", TEXT },
	{ "shared_size", "shared memory", NUMBER },
};

static void put_ranges(char *text)
{
	const char *before = "[";
	char *line, *rest = text;

	while ((line = strsep(&rest, "\n"))) {
		char *end = strchr(line, '-');

		if (!end)
			continue;
		*end++ = 0;
		printf("%s{\"first\": \"%s\", \"last\": \"%s\"}", before, line, end);
		before = ", ";
	}
	fputs(*before == '[' ? "[]" : "]", stdout);
}

/* A name, its state, and for those of this kernel the size of the window in kB. */
static void put_peers(char *text)
{
	const char *before = "[";
	struct named_peer peer;

	while (peer_next(&text, &peer)) {
		printf("%s{\"name\": \"%s\", \"state\": \"%s\", \"window_bytes\": ", before,
		       peer.name, peer.state);
		if (peer.has_window)
			printf("%llu}", (unsigned long long)peer.window);
		else
			fputs("null}", stdout);
		before = ", ";
	}
	fputs(*before == '[' ? "[]" : "]", stdout);
}

static void put_fact(const char *file, enum shape shape)
{
	char *path = xasprintf(KEXEC_JUMP_SYSFS "%s", file), *value = read_text(path);

	if (!value)
		fputs("null", stdout);
	else if (shape == YES_OR_NO)
		fputs(strtoull(value, NULL, 0) ? "true" : "false", stdout);
	else if (shape == NUMBER)
		printf("%llu", strtoull(value, NULL, 0));
	else if (shape == RANGES)
		put_ranges(value);
	else if (shape == PEERS)
		put_peers(value);
	else if (shape == ADDRESS && !strtoull(value, NULL, 0))
		fputs("null", stdout);
	else
		put_json(value);
	free(value);
	free(path);
}

static void kernel_as_json(void)
{
	char *entry = read_text(KEXEC_JUMP_SYSFS "image_entry");

	printf("\"supported\": %s, \"loaded\": %s", jump_supported() ? "true" : "false",
	       !entry ? "null" : strtoull(entry, NULL, 0) ? "true" : "false");
	free(entry);
	for (unsigned int i = 0; i < ARRAY_SIZE(facts); i++) {
		printf(", \"%s\": ", facts[i].file);
		put_fact(facts[i].file, facts[i].shape);
	}
}

static void kernel_as_text(void)
{
	if (!jump_supported()) {
		answer("kexec jump: not in this kernel");
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(facts); i++) {
		char *value = jump_file(facts[i].file), *p;

		for (p = value; (p = strchr(p, '\n')); )
			*p = ' ';
		if (*value && strcmp(value, "0x0"))
			answer("%-18s%s", facts[i].text, value);
		free(value);
	}
}

/* Steps that the last attempt did not reach took no time. */
static int show_timing(void)
{
	char *steps = jump_file("steps"), *line, *rest = steps, name[32];
	double in, back, in_all = 0, back_all = 0;

	answer("%-18s%12s%12s", "step", "going, ms", "back, ms");
	while ((line = strsep(&rest, "\n"))) {
		if (sscanf(line, "%31s %lf %lf", name, &in, &back) != 3)
			continue;
		answer("%-18s%12.3f%12.3f", name, in / 1000, back / 1000);
		in_all += in;
		back_all += back;
	}
	answer("%-18s%12.3f%12.3f", "all", in_all / 1000, back_all / 1000);
	free(steps);
	return KJ_OK;
}

static int show_kernel(const char *path)
{
	struct bzimage kernel;
	int rc = bzimage_read(path, &kernel);

	if (!rc)
		answer("%s: a kernel with kexec jump, version %u, for %s", path,
		       kernel.jump_version, machine_name(kernel.machine));
	return rc;
}

static int status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "json", no_argument, NULL, OPT_JSON },
		{ "timing", no_argument, NULL, OPT_TIMING },
		{ "kernel", required_argument, NULL, OPT_KERNEL },
		{ NULL }
	};
	const char *kernel = NULL;
	struct listing l = { 0 };
	bool timing = false, hidden;
	int c, rc;

	while ((c = next_option(argc, argv, options, status_help)) >= 0)
		if (c == OPT_JSON)
			l.json = true;
		else if (c == OPT_TIMING)
			timing = true;
		else if (c == OPT_KERNEL)
			kernel = optarg;
	rc = timing + l.json + !!kernel > 1 ?
		usage(argv[0], "one of --json, --timing and --kernel") :
		check_arguments(argc, argv, timing || kernel ? "" : "[DEVICE]");
	if (rc)
		return rc;
	if (kernel)
		return show_kernel(kernel);
	if (timing && jump_supported())
		return show_timing();
	if (optind < argc) {
		const char *device = argv[optind];

		rc = device_named(&device, NEED_NOT_EXIST);
		if (!rc)
			rc = show_image(device, &l);
		if (l.count && l.json)
			putchar('\n');
		return rc;
	}
	hidden = device_hidden();
	if (l.json) {
		putchar('{');
		kernel_as_json();
		fputs(hidden ? ", \"images\": null" : ", \"images\": [", stdout);
	} else {
		kernel_as_text();
	}
	if (!hidden)
		device_for_each(visit, &l);
	if (l.json)
		puts(hidden ? "}" : "]}");
	else if (!l.count)
		answer("%-18s%s", "images", hidden ? "only root may look for them" : "none");
	return jump_supported() ? KJ_OK :
		fail(KJ_NONE, "this kernel cannot jump (it needs CONFIG_KEXEC_JUMP)");
}

int verb_status(int argc, char **argv)
{
	return answered(status(argc, argv));
}
