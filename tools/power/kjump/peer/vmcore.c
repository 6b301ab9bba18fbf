// SPDX-License-Identifier: GPL-2.0
/* The memory of a preserved kernel, or a file like it. */
#include "peer/vmcore.h"

#include <linux/elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

/* Register notes of some thousand CPUs. */
#define NOTES_MAX	(16 * MB)

static int not_a_core(const struct vmcore *core, const char *why)
{
	return fail(KJ_FAILED, "%s: not the memory of a kernel (%s)", core->path, why);
}

/* The value of KEY= in vmcoreinfo's text, which need not end with a zero byte. */
static void info_value(const char *info, size_t len, const char *key, char *value, size_t room)
{
	const char *p = info, *end = info + len;
	size_t key_len = strlen(key);

	while (p < end) {
		const char *eol = memchr(p, '\n', (size_t)(end - p));
		size_t n = (size_t)((eol ? eol : end) - p);

		if (n > key_len && !memcmp(p, key, key_len)) {
			n -= key_len;
			if (n >= room)
				n = room - 1;
			memcpy(value, p + key_len, n);
			value[n] = 0;
			return;
		}
		if (!eol)
			return;
		p = eol + 1;
	}
}

static void read_notes(struct vmcore *core, const char *notes, size_t len)
{
	size_t at = 0;

	while (len - at >= sizeof(struct elf64_note)) {
		struct elf64_note note;
		uint64_t name_len, desc_len;
		const char *name, *desc;

		memcpy(&note, notes + at, sizeof(note));
		at += sizeof(note);
		name_len = align_up((uint64_t)note.n_namesz, 4);
		desc_len = align_up((uint64_t)note.n_descsz, 4);
		if (name_len + desc_len > len - at)
			return;
		name = notes + at;
		desc = name + name_len;
		at += (size_t)(name_len + desc_len);
		if (note.n_type == NT_PRSTATUS && note.n_namesz == 5 && !memcmp(name, "CORE", 5)) {
			core->nr_cpus++;
		} else if (note.n_namesz >= 10 && !memcmp(name, "VMCOREINFO", 10)) {
			info_value(desc, note.n_descsz, "OSRELEASE=", core->release,
				   sizeof(core->release));
			info_value(desc, note.n_descsz, "BUILD-ID=", core->build_id,
				   sizeof(core->build_id));
		}
	}
}

static int read_note_segment(struct vmcore *core, const struct elf64_phdr *ph)
{
	char *notes;
	int rc;

	if (ph->p_filesz > NOTES_MAX)
		return not_a_core(core, "its notes are too long");
	notes = xalloc((size_t)ph->p_filesz);
	rc = vmcore_read(core, notes, (size_t)ph->p_filesz, ph->p_offset);
	if (!rc)
		read_notes(core, notes, (size_t)ph->p_filesz);
	free(notes);
	return rc;
}

static int add_load(struct vmcore *core, const struct elf64_phdr *ph)
{
	struct load_range *load = &core->loads[core->nr_loads++];

	if (ph->p_offset % PAGE || ph->p_paddr % PAGE || ph->p_filesz % PAGE ||
	    ph->p_memsz % PAGE || ph->p_filesz > ph->p_memsz)
		return not_a_core(core, "a PT_LOAD is not of whole pages");
	if (ph->p_offset + ph->p_filesz < ph->p_offset || ph->p_paddr + ph->p_memsz < ph->p_paddr)
		return not_a_core(core, "a PT_LOAD wraps around");
	load->offset = ph->p_offset;
	load->paddr = ph->p_paddr;
	load->filesz = ph->p_filesz;
	load->memsz = ph->p_memsz;
	return KJ_OK;
}

static int read_headers(struct vmcore *core)
{
	struct elf64_phdr *phs = NULL;
	struct elf64_hdr eh;
	uint64_t end;
	size_t len;
	int rc, i;

	rc = vmcore_read(core, &eh, sizeof(eh), 0);
	if (rc)
		return rc;
	if (memcmp(eh.e_ident, ELFMAG, SELFMAG) || eh.e_ident[EI_CLASS] != ELFCLASS64 ||
	    eh.e_ident[EI_DATA] != ELFDATA2LSB || eh.e_type != ET_CORE)
		return not_a_core(core, "no 64-bit ELF core file");
	if (eh.e_machine != EM_386 && eh.e_machine != EM_X86_64)
		return not_a_core(core, "of another architecture");
	if (eh.e_phentsize != sizeof(struct elf64_phdr) || !eh.e_phnum || eh.e_phnum == PN_XNUM)
		return not_a_core(core, "bad program headers");
	core->entry = eh.e_entry;
	core->machine = eh.e_machine;
	len = eh.e_phnum * sizeof(struct elf64_phdr);
	phs = xalloc(len);
	core->loads = xalloc(eh.e_phnum * sizeof(struct load_range));
	rc = vmcore_read(core, phs, len, eh.e_phoff);
	core->size = eh.e_phoff + len;
	for (i = 0; !rc && i < eh.e_phnum; i++) {
		if (phs[i].p_type == PT_NOTE)
			rc = read_note_segment(core, &phs[i]);
		else if (phs[i].p_type == PT_LOAD)
			rc = add_load(core, &phs[i]);
		end = phs[i].p_offset + phs[i].p_filesz;
		if (end > core->size)
			core->size = end;
	}
	free(phs);
	if (!rc && !core->nr_loads)
		rc = not_a_core(core, "no PT_LOAD");
	return rc;
}

int vmcore_open(struct vmcore *core, const char *path)
{
	struct stat st;
	int rc;

	memset(core, 0, sizeof(*core));
	core->path = xasprintf("%s", path);
	core->fd = open(path, O_RDONLY | O_CLOEXEC);
	if (core->fd < 0 && errno == ENOENT && !strcmp(path, VMCORE))
		return fail(KJ_NONE,
			    "%s is not there: this kernel was not jumped to, or has no CONFIG_PROC_VMCORE",
			    path);
	if (core->fd < 0)
		return fail(KJ_FAILED, "%s: %s", path, strerror(errno));
	rc = read_headers(core);
	if (rc)
		return rc;
	if (!fstat(core->fd, &st) && st.st_size && (uint64_t)st.st_size < core->size)
		return not_a_core(core, "it is cut off");
	return KJ_OK;
}

void vmcore_close(struct vmcore *core)
{
	if (core->fd >= 0)
		close(core->fd);
	core->fd = -1;
	free(core->loads);
	free(core->path);
	core->loads = NULL;
	core->path = NULL;
}

int vmcore_read(struct vmcore *core, void *buf, size_t len, uint64_t offset)
{
	ssize_t n = pread_full(core->fd, buf, len, offset);

	if (n < 0)
		return fail(KJ_FAILED, "%s: reading at %llu: %s", core->path,
			    (unsigned long long)offset, strerror(errno));
	/* It need not end with a whole page. */
	if ((size_t)n < len && offset + (size_t)n < core->size)
		return fail(KJ_FAILED, "%s: ends at %llu, too early", core->path,
			    (unsigned long long)(offset + (size_t)n));
	memset((char *)buf + n, 0, len - (size_t)n);
	return KJ_OK;
}

int vmcore_extents(struct vmcore *core, struct extents *list)
{
	uint64_t pages = (core->size + PAGE - 1) / PAGE, at = 0;

	while (at < pages) {
		off_t data = lseek(core->fd, (off_t)(at * PAGE), SEEK_DATA);
		uint64_t first, end;
		off_t hole;

		if (data < 0 && errno == ENXIO)
			break;
		if (data < 0 && errno == EINVAL) {
			/* It does not know holes. */
			extents_add(list, at, pages - at);
			break;
		}
		hole = data < 0 ? -1 : lseek(core->fd, data, SEEK_HOLE);
		if (hole < 0)
			return fail(KJ_FAILED, "%s: looking for holes: %s", core->path,
				    strerror(errno));
		first = (uint64_t)data / PAGE;
		end = ((uint64_t)hole + PAGE - 1) / PAGE;
		if (first < at)
			first = at;
		if (end > pages)
			end = pages;
		if (first >= end)
			break;
		extents_add(list, first, end - first);
		at = end;
	}
	return KJ_OK;
}
