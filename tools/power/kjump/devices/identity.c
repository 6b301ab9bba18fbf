// SPDX-License-Identifier: GPL-2.0
/* What a disk is, whatever it is called. See identity.h. */
#include "devices/identity.h"
#include "devices/device.h"

#include <blkid/blkid.h>
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

/* Of sysfs, whatever the device's own. */
#define SECTOR	512ull

/* --- what sysfs says ---------------------------------------------------- */

/* A file's text without blanks around it, NULL if there is none. */
static char *word_of(const char *dir, const char *name)
{
	char *path = xasprintf("%s/%s", dir, name), *text = read_text(path), *p, *end;

	free(path);
	if (!text)
		return NULL;
	for (p = text; isspace((unsigned char)*p); p++)
		;
	memmove(text, p, strlen(p) + 1);
	end = text + strlen(text);
	while (end > text && isspace((unsigned char)end[-1]))
		*--end = 0;
	if (*text)
		return text;
	free(text);
	return NULL;
}

/* The unit serial number of SCSI: four bytes, of which the last is the length, and that. */
static char *vpd_serial(const char *disk)
{
	char *path = xasprintf("%s/device/vpd_pg80", disk), *text = NULL;
	unsigned char page[4 + 255];
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	ssize_t n = fd < 0 ? -1 : pread_full(fd, page, sizeof(page), 0);

	if (fd >= 0)
		close(fd);
	free(path);
	if (n > 4 && page[1] == 0x80) {
		size_t length = page[3] < n - 4 ? page[3] : (size_t)n - 4;
		const char *from = (const char *)page + 4;

		while (length && isspace((unsigned char)*from)) {
			from++;
			length--;
		}
		while (length && (isspace((unsigned char)from[length - 1]) || !from[length - 1]))
			length--;
		if (length)
			text = xasprintf("%.*s", (int)length, from);
	}
	return text;
}

static char *first_word(const char *dir, const char * const *names, unsigned int count)
{
	char *text = NULL;

	for (unsigned int i = 0; !text && i < count; i++)
		text = word_of(dir, names[i]);
	return text;
}

static uint64_t sectors_of(const char *dir, const char *name)
{
	char *text = word_of(dir, name);
	uint64_t n = text ? strtoull(text, NULL, 10) : 0;

	free(text);
	return n * SECTOR;
}

/* The id of the partition table on it, as libblkid has it. */
static char *table_id(const char *disk)
{
	char *name = strrchr(disk, '/') ? device_file(strrchr(disk, '/') + 1) : NULL;
	blkid_probe probe;
	const char *id;
	char *text = NULL;

	probe = name ? blkid_new_probe_from_filename(name) : NULL;
	free(name);
	if (!probe)
		return NULL;
	blkid_probe_enable_superblocks(probe, 0);
	blkid_probe_enable_partitions(probe, 1);
	if (!blkid_do_fullprobe(probe) &&
	    !blkid_probe_lookup_value(probe, "PTUUID", &id, NULL))
		text = xasprintf("%s", id);
	blkid_free_probe(probe);
	return text;
}

static bool is_pci_address(const char *word)
{
	unsigned int domain, bus, slot, function;
	int length = 0;

	return sscanf(word, "%x:%x:%x.%x%n", &domain, &bus, &slot, &function, &length) == 4 &&
		!word[length];
}

/*
 * Of what is counted by each kernel for itself, in the order it finds things in, what is
 * there whoever asks: of "ata3" the controller's own number for the port; of the targets of
 * Serial Attached SCSI, Fibre Channel and iSCSI their names, then @named is set.
 */
static char *lasting_name(const char *dir, const char *word, bool *named)
{
	static const struct {
		const char *prefix, *class, *file, *as;
		bool target;
	} kinds[] = {
		{ "ata", "ata_port", "port_no", "ata", false },
		{ "end_device-", "sas_device", "sas_address", "sas-", true },
		{ "rport-", "fc_remote_ports", "port_name", "fc-", true },
		{ "session", "iscsi_session", "targetname", "iscsi-", true },
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(kinds); i++) {
		char *path, *name, *text = NULL;

		if (strncmp(word, kinds[i].prefix, strlen(kinds[i].prefix)))
			continue;
		path = xasprintf("%s/%s/%s/%s", dir, word, kinds[i].class, word);
		name = word_of(path, kinds[i].file);
		if (name) {
			text = xasprintf("%s%s", kinds[i].as, name);
			*named |= kinds[i].target;
		}
		free(name);
		free(path);
		return text;
	}
	return NULL;
}

/* Channel, target and unit of SCSI, without the number of the host; with @named only the unit. */
static char *scsi_unit(const char *word, bool named)
{
	unsigned int host, channel, target, unit;
	int length = 0;

	if (sscanf(word, "%u:%u:%u:%u%n", &host, &channel, &target, &unit, &length) != 4 ||
	    word[length])
		return NULL;
	return named ? xasprintf("%u", unit) : xasprintf("%u:%u:%u", channel, target, unit);
}

/* Of "2-1.4", a device below hubs, the ports without the number of the bus; not its interfaces. */
static char *usb_ports(const char *word)
{
	const char *ports = strchr(word, '-');

	if (!ports || strspn(word, "0123456789") != (size_t)(ports - word) ||
	    ports[1 + strspn(ports + 1, "0123456789.")])
		return NULL;
	return xasprintf("usb%s", ports + 1);
}

/* From a disk's directory of sysfs: the buses' addresses, without what a kernel makes up. */
static char *location(const char *disk)
{
	char *words = xasprintf("%s", disk), *rest = words, *word, *at = NULL;
	bool named = false;

	while ((word = strsep(&rest, "/"))) {
		size_t before = (size_t)(word - words);
		char *dir = xasprintf("%.*s", before ? (int)before - 1 : 0, disk), *step = NULL;

		if (is_pci_address(word)) {
			step = xasprintf("%s", word);
		} else if (at) {
			step = lasting_name(dir, word, &named);
			if (!step)
				step = usb_ports(word);
			if (!step)
				step = scsi_unit(word, named);
		}
		if (step)
			add_listed(&at, "/", step);
		free(step);
		free(dir);
	}
	free(words);
	return at;
}

int identity_of(dev_t dev, struct identity *id)
{
	static const char * const wwids[] = { "wwid", "device/wwid" };
	static const char * const serials[] = { "serial", "device/serial" };
	char *link = xasprintf("/sys/dev/block/%u:%u", major(dev), minor(dev));
	char *dir = realpath(link, NULL), *disk, *partition, *device;
	int rc = KJ_OK;

	memset(id, 0, sizeof(*id));
	free(link);
	if (!dir)
		return fail(KJ_FAILED, "no device %u:%u: %s", major(dev), minor(dev),
			    strerror(errno));
	disk = xasprintf("%s", dir);
	partition = xasprintf("%s/partition", dir);
	if (!access(partition, F_OK))
		*strrchr(disk, '/') = 0;
	device = xasprintf("%s/device", disk);
	if (access(device, F_OK)) {
		rc = KJ_NONE;
	} else {
		id->wwid = first_word(disk, wwids, ARRAY_SIZE(wwids));
		id->serial = first_word(disk, serials, ARRAY_SIZE(serials));
		if (!id->serial)
			id->serial = vpd_serial(disk);
		id->table = table_id(disk);
		id->at = location(disk);
		id->size = sectors_of(disk, "size");
		id->start = sectors_of(dir, "start");
		id->length = sectors_of(dir, "size");
	}
	free(device);
	free(partition);
	free(disk);
	free(dir);
	return rc;
}

void identity_free(struct identity *id)
{
	free(id->wwid);
	free(id->serial);
	free(id->table);
	free(id->at);
	memset(id, 0, sizeof(*id));
}

/* --- as text ------------------------------------------------------------ */

char *identity_text(const struct identity *id)
{
	const struct {
		const char *key, *value;
	} texts[] = {
		{ "wwid", id->wwid }, { "serial", id->serial }, { "table", id->table },
		{ "at", id->at },
	};
	char *line = xasprintf("size=%llu;start=%llu;length=%llu", (unsigned long long)id->size,
			       (unsigned long long)id->start, (unsigned long long)id->length);

	for (unsigned int i = 0; i < ARRAY_SIZE(texts); i++) {
		char *value, *more;

		if (!texts[i].value)
			continue;
		value = word_pack(texts[i].value);
		more = xasprintf("%s;%s=%s", line, texts[i].key, value);
		free(value);
		free(line);
		line = more;
	}
	return line;
}

static bool set(struct identity *id, const char *key, char *value)
{
	const struct {
		const char *key;
		char **text;
		uint64_t *number;
	} fields[] = {
		{ "wwid", &id->wwid, NULL }, { "serial", &id->serial, NULL },
		{ "table", &id->table, NULL }, { "at", &id->at, NULL },
		{ "size", NULL, &id->size },
		{ "start", NULL, &id->start }, { "length", NULL, &id->length },
	};
	char *end;

	for (unsigned int i = 0; i < ARRAY_SIZE(fields); i++) {
		if (strcmp(key, fields[i].key))
			continue;
		if (fields[i].number) {
			errno = 0;
			*fields[i].number = strtoull(value, &end, 10);
			return *value >= '0' && *value <= '9' && !*end && !errno;
		}
		if (*fields[i].text || !word_unpack(value))
			return false;
		*fields[i].text = xasprintf("%s", value);
		return true;
	}
	/* A later version may know more. */
	return true;
}

bool identity_parse(const char *text, struct identity *id)
{
	char *words = xasprintf("%s", text), *rest = words, *word;
	bool good = true;

	memset(id, 0, sizeof(*id));
	while (good && (word = strsep(&rest, ";"))) {
		char *value = strchr(word, '=');

		good = value;
		if (value) {
			*value++ = 0;
			good = set(id, word, value);
		}
	}
	free(words);
	if (good && id->size && id->length && id->start <= UINT64_MAX - id->length)
		return true;
	identity_free(id);
	return false;
}

/* --- comparing ---------------------------------------------------------- */

/* What both have decides; @decided: they have it. */
static bool both(const char *a, const char *b, bool *equal)
{
	if (!a || !b)
		return false;
	*equal = !strcmp(a, b);
	return true;
}

enum same_disk identity_compare(const struct identity *a, const struct identity *b)
{
	bool named = a->wwid || a->serial || b->wwid || b->serial, equal;

	/* Worldwide names are unique; serial numbers should be, but for some cheap sticks. */
	if (both(a->wwid, b->wwid, &equal))
		return equal ? SAME_DISK : OTHER_DISK;
	if (both(a->serial, b->serial, &equal)) {
		if (!equal)
			return OTHER_DISK;
		return a->size == b->size ? SAME_DISK : MAYBE_SAME_DISK;
	}
	if (a->size != b->size)
		return OTHER_DISK;
	if (both(a->table, b->table, &equal) && !equal)
		return OTHER_DISK;
	/* Not every driver asks a disk for all its names: usb-storage and UAS differ. */
	if (named)
		return both(a->at, b->at, &equal) && !equal ? OTHER_DISK : MAYBE_SAME_DISK;
	if (a->table && b->table)
		return SAME_DISK;
	if (both(a->at, b->at, &equal))
		return equal ? SAME_DISK : OTHER_DISK;
	return MAYBE_SAME_DISK;
}

bool identity_moved(const struct identity *a, const struct identity *b)
{
	bool equal;

	return both(a->at, b->at, &equal) && !equal;
}

bool identity_same_place(const struct identity *a, const struct identity *b)
{
	bool equal;

	return both(a->at, b->at, &equal) && equal;
}

bool identity_overlap(const struct identity *a, const struct identity *b)
{
	return a->start < b->start + b->length && b->start < a->start + a->length;
}
