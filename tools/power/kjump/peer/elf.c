// SPDX-License-Identifier: GPL-2.0
/* Programs that are ELF files. See program.h. */
#include "common/kjump.h"
#include "peer/program.h"

#include <elf.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

int elf_place(const char *program, uint64_t *start, uint64_t *end)
{
	union {
		Elf32_Ehdr h32;
		Elf64_Ehdr h64;
	} header = { 0 };
	int fd = open(program, O_RDONLY | O_CLOEXEC);
	bool wide, whole = fd >= 0 && pread_full(fd, &header, sizeof(header), 0) > 0;
	unsigned int i, n, size;
	uint64_t at;

	wide = header.h32.e_ident[EI_CLASS] == ELFCLASS64;
	n = wide ? header.h64.e_phnum : header.h32.e_phnum;
	at = wide ? header.h64.e_phoff : header.h32.e_phoff;
	size = wide ? sizeof(Elf64_Phdr) : sizeof(Elf32_Phdr);
	*start = UINT64_MAX;
	*end = 0;
	for (i = 0; whole && i < n; i++) {
		union {
			Elf32_Phdr p32;
			Elf64_Phdr p64;
		} p;
		uint64_t from, bytes;

		whole = pread_full(fd, &p, size, (off_t)(at + (uint64_t)i * size)) ==
			(ssize_t)size;
		bytes = wide ? p.p64.p_memsz : p.p32.p_memsz;
		if (!whole || (wide ? p.p64.p_type : p.p32.p_type) != PT_LOAD || !bytes)
			continue;
		from = wide ? p.p64.p_paddr : p.p32.p_paddr;
		whole = bytes < UINT64_MAX / 2 && from < UINT64_MAX / 2 - 2 * PAGE;
		if (from < *start)
			*start = from / PAGE * PAGE;
		if (from + bytes > *end)
			*end = align_up(from + bytes, PAGE);
	}
	if (fd >= 0)
		close(fd);
	return whole && *start < *end ? KJ_OK :
		fail(KJ_FAILED, "%s: damaged, or there is nothing to load in it", program);
}

uint16_t elf_machine(const char *path)
{
	/* Up to there it has the same layout for 32 and 64 bits. */
	Elf32_Ehdr header = { .e_machine = EM_NONE };
	int fd = open(path, O_RDONLY | O_CLOEXEC);
	bool elf = fd >= 0 &&
		   pread_full(fd, &header, sizeof(header), 0) == (ssize_t)sizeof(header) &&
		   !memcmp(header.e_ident, ELFMAG, SELFMAG);

	if (fd >= 0)
		close(fd);
	return elf ? header.e_machine : EM_NONE;
}
