// SPDX-License-Identifier: GPL-2.0
/* Whether the firmware is as a saved system knows it. See firmware.h. */
#include "common/firmware.h"
#include "common/kjump.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

#define TABLES		"/sys/firmware/acpi/tables"
#define RUNTIME_MAP	"/sys/firmware/efi/runtime-map"

static bool hash_file(XXH64_state_t *state, const char *path, size_t offset, size_t most)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	uint8_t data[4096];
	ssize_t n = -1;

	while (fd >= 0 && most) {
		n = pread(fd, data, most < sizeof(data) ? most : sizeof(data), (off_t)offset);
		if (n <= 0)
			break;
		XXH64_update(state, data, (size_t)n);
		offset += (size_t)n;
		most -= (size_t)n;
	}
	if (fd >= 0)
		close(fd);
	return fd >= 0 && n >= 0;
}

static void add_line(char **text, const char *name, const XXH64_state_t *state)
{
	char *more = xasprintf("%s%s %016llx\n", *text, name,
			       (unsigned long long)XXH64_digest(state));

	free(*text);
	*text = more;
}

/* Offsets and lengths (ACPI 6.5, tables 5.9 and 5.11). */
#define FADT_FACS	36u		/* 4 bytes */
#define FADT_X_FACS	132u		/* 8 bytes */
#define FACS_SIGNATURE	8u		/* of the hardware, 4 bytes */

/* What of the FADT says where tables are, or depends on that. */
static const struct { unsigned int offset, length; } fadt_addresses[] = {
	{ 9, 1 },			/* checksum */
	{ FADT_FACS, 8 },		/* and DSDT */
	{ FADT_X_FACS, 16 },
};

#define FADT_ROOM	1024u

static size_t read_fadt(uint8_t *fadt)
{
	int fd = open(TABLES "/FACP", O_RDONLY | O_CLOEXEC);
	ssize_t n = fd >= 0 ? pread(fd, fadt, FADT_ROOM, 0) : -1;

	if (fd >= 0)
		close(fd);
	return n > 0 ? (size_t)n : 0;
}

static void add_fadt(char **text, const uint8_t *fadt, size_t length)
{
	uint8_t masked[FADT_ROOM];
	XXH64_state_t state;

	memcpy(masked, fadt, FADT_ROOM);
	for (unsigned int i = 0; i < ARRAY_SIZE(fadt_addresses); i++)
		memset(masked + fadt_addresses[i].offset, 0, fadt_addresses[i].length);
	XXH64_reset(&state, 0);
	XXH64_update(&state, masked, length);
	add_line(text, "FACP", &state);
}

/* Much changes in it: where it is, and what it says of the hardware. */
static void add_facs(char **text, const uint8_t *fadt)
{
	XXH64_state_t state;

	XXH64_reset(&state, 0);
	if (!hash_file(&state, TABLES "/FACS", FACS_SIGNATURE, 4))
		return;
	XXH64_update(&state, fadt + FADT_FACS, 4);
	XXH64_update(&state, fadt + FADT_X_FACS, 8);
	add_line(text, "FACS", &state);
}

static void add_fixed_tables(char **text)
{
	uint8_t fadt[FADT_ROOM] = { 0 };
	size_t length = read_fadt(fadt);

	add_fadt(text, fadt, length);
	if (length)
		add_facs(text, fadt);
}

static void add_table(char **text, const char *name)
{
	char *path = xasprintf("%s/%s", TABLES, name);
	XXH64_state_t state;

	XXH64_reset(&state, 0);
	if (hash_file(&state, path, 0, SIZE_MAX))
		add_line(text, name, &state);
	free(path);
}

/* Memory that firmware keeps for itself, and the tables' code may write to. */
static void add_nvs(char **text)
{
	char *iomem = read_text("/proc/iomem"), *rest = iomem, *line;
	bool any = false;
	XXH64_state_t state;

	XXH64_reset(&state, 0);
	while (rest && (line = strsep(&rest, "\n"))) {
		if (!strstr(line, " : ACPI Non-volatile Storage"))
			continue;
		XXH64_update(&state, line, strlen(line));
		any = true;
	}
	free(iomem);
	if (any)
		add_line(text, "NVS", &state);
}

static bool has_code(const char *name)
{
	static const char * const tables[] = { "DSDT", "SSDT", "PSDT" };

	for (unsigned int i = 0; i < ARRAY_SIZE(tables); i++)
		if (!strncmp(name, tables[i], 4))
			return true;
	return false;
}

static int is_used(const struct dirent *e)
{
	return has_code(e->d_name);
}

static int is_number(const struct dirent *e)
{
	return *e->d_name >= '0' && *e->d_name <= '9';
}

/*
 * What runtime services are made of: their code, data, registers and ports (UEFI 2.10,
 * table 7.6). The kernel keeps other memory, too, for tables it reads when it boots;
 * where the firmware has these depends on what it found on the disks.
 */
static bool is_service(const char *region)
{
	char *path = xasprintf("%s/%s/type", RUNTIME_MAP, region);
	char *text = read_text(path);
	unsigned long type = text ? strtoul(text, NULL, 0) : 0;

	free(path);
	free(text);
	return type == 5 || type == 6 || type == 11 || type == 12;
}

static void add_runtime_map(char **text)
{
	static const char * const files[] = {
		"type", "phys_addr", "virt_addr", "num_pages", "attribute",
	};
	struct dirent **names;
	int n = scandir(RUNTIME_MAP, &names, is_number, versionsort);
	XXH64_state_t state;

	if (n < 0)
		return;
	XXH64_reset(&state, 0);
	for (int i = 0; i < n; i++) {
		bool counts = is_service(names[i]->d_name);

		for (unsigned int j = 0; counts && j < ARRAY_SIZE(files); j++) {
			char *path = xasprintf("%s/%s/%s", RUNTIME_MAP, names[i]->d_name, files[j]);

			hash_file(&state, path, 0, SIZE_MAX);
			free(path);
		}
		free(names[i]);
	}
	free(names);
	if (n)
		add_line(text, "EFI-runtime-map", &state);
}

char *firmware_text(void)
{
	char *text = xasprintf("%s", "");
	struct dirent **names;
	int n = scandir(TABLES, &names, is_used, alphasort);

	for (int i = 0; i < n; i++) {
		add_table(&text, names[i]->d_name);
		free(names[i]);
	}
	if (n >= 0) {
		free(names);
		add_fixed_tables(&text);
	}
	add_nvs(&text);
	add_runtime_map(&text);
	return text;
}

/* Whether @text has this line; a line ends with its newline. */
static bool has_line(const char *text, const char *line, size_t length)
{
	while (*text) {
		size_t n = strcspn(text, "\n");

		if (n == length && !strncmp(text, line, n))
			return true;
		text += n + (text[n] == '\n');
	}
	return false;
}

/* Names of lines of @one that @other has not: of tables with code, or of what else there is. */
static void add_differences(char **names, const char *one, const char *other, bool code)
{
	while (*one) {
		size_t n = strcspn(one, "\n");
		int name = (int)strcspn(one, "\n ");
		char *more;

		if (has_code(one) == code && !has_line(other, one, n)) {
			more = xasprintf("%.*s", name, one);
			add_listed(names, ", ", more);
			free(more);
		}
		one += n + (one[n] == '\n');
	}
}

char *firmware_differences(const char *image, const char *here, bool code)
{
	char *names = NULL;

	add_differences(&names, image, here, code);
	/* What is here in addition, or is other and was named already. */
	if (!names)
		add_differences(&names, here, image, code);
	return names;
}
