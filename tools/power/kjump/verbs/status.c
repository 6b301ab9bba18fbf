// SPDX-License-Identifier: GPL-2.0
/* What is loaded, preserved and saved. */
#include "common/cli.h"
#include "devices/device.h"
#include "peer/kexec.h"
#include "peer/shared.h"
#include "verbs/verbs.h"

#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { OPT_JSON = OPT_FIRST };

static const char status_help[] =
	"kjump status [--json] [DEVICE]\n\n"
	"What this kernel can, what is loaded and preserved, how the last jump ended, and\n"
	"which devices hold images. With DEVICE (or a file): the image on it.\n\n"
	"  --json     for programs\n";

static void put_json(const char *text)
{
	putchar('"');
	for (; *text; text++) {
		if (*text == '"' || *text == '\\')
			printf("\\%c", *text);
		else if ((unsigned char)*text < ' ')
			printf("\\u%04x", *text);
		else
			putchar(*text);
	}
	putchar('"');
}

/* --- images ------------------------------------------------------------- */

struct listing {
	bool json, all;			/* all: of all devices */
	unsigned int count;
};

static void image_as_json(const struct image *image, const char *path)
{
	const struct superblock *s = &image->super;
	char id[2 * IMAGE_ID_LEN + 1];

	image_id_text(s->id, id);
	fputs("{\"path\": ", stdout);
	put_json(path);
	printf(", \"state\": \"%s\", \"id\": \"%s\"", image_state_name(s->state), id);
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
		step("%s: an image, %s", path, image_state_name(s->state));
		return;
	}
	image_when(image, when, sizeof(when));
	step("%s: an image, %s: %s of %s, as %s (%s), saved %s", path, image_state_name(s->state),
	     human_size(s->data_bytes, size, sizeof(size)), *s->release ? s->release : "a kernel",
	     human_size(s->image_size, packed, sizeof(packed)),
	     image_algorithm_name(s->algorithm), when);
}

static int show_image(const char *path, struct listing *l)
{
	struct image image;
	int rc = image_open(&image, path, false);

	if (!rc)
		rc = image_read_super(&image);
	if (rc == KJ_BAD_IMAGE && l->json && l->all) {
		fputs(l->count++ ? ", {\"path\": " : "{\"path\": ", stdout);
		put_json(path);
		fputs(", \"state\": \"damaged\", \"why\": ", stdout);
		put_json(fail_text());
		putchar('}');
	}
	if (!rc) {
		if (l->json && l->count)
			fputs(", ", stdout);
		l->count++;
		if (l->json)
			image_as_json(&image, path);
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
		step("%s", fail_text());
	fail_clear();
	return 0;
}

/* --- this kernel -------------------------------------------------------- */

static const struct {
	const char *file, *text;
	bool number;
} facts[] = {
	{ "preserved", "preserved kernel", true },
	{ "jump_back_entry", "jumped to from", false },
	{ "confined_to", "confined to", false },
	{ "image_entry", "loaded, entry", false },
	{ "image_window", "loaded, window", false },
	{ "jumps", "jumps", true },
	{ "last", "last jump", false },
	{ "shared_size", "shared memory", true },
};

static void kernel_as_json(void)
{
	printf("\"supported\": %s, \"loaded\": %s", jump_supported() ? "true" : "false",
	       jump_loaded() ? "true" : "false");
	for (unsigned int i = 0; i < ARRAY_SIZE(facts); i++) {
		char *value = jump_file(facts[i].file);

		printf(", \"%s\": ", facts[i].file);
		if (facts[i].number)
			printf("%llu", strtoull(value, NULL, 0));
		else
			put_json(value);
		free(value);
	}
}

static void kernel_as_text(void)
{
	if (!jump_supported()) {
		step("kexec jump: not in this kernel");
		return;
	}
	for (unsigned int i = 0; i < ARRAY_SIZE(facts); i++) {
		char *value = jump_file(facts[i].file), *p;

		for (p = value; (p = strchr(p, '\n')); )
			*p = ' ';
		if (*value && strcmp(value, "0x0"))
			step("%-18s%s", facts[i].text, value);
		free(value);
	}
}

int verb_status(int argc, char **argv)
{
	static const struct option options[] = {
		{ "help", no_argument, NULL, 'h' },
		{ "json", no_argument, NULL, OPT_JSON },
		{ NULL }
	};
	struct listing l = { 0 };
	int c, rc;

	while ((c = next_option(argc, argv, options, status_help)) >= 0)
		if (c == OPT_JSON)
			l.json = true;
	rc = check_arguments(argc, argv, 0, 1);
	if (rc)
		return rc;
	if (optind < argc) {
		rc = show_image(argv[optind], &l);
		if (!rc && l.json)
			putchar('\n');
		return rc;
	}
	if (l.json) {
		putchar('{');
		kernel_as_json();
		fputs(", \"images\": [", stdout);
	} else {
		kernel_as_text();
	}
	l.all = true;
	device_for_each(visit, &l);
	if (l.json)
		puts("]}");
	else if (!l.count)
		step("%-18snone", "images");
	return KJ_OK;
}
