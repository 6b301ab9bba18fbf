// SPDX-License-Identifier: GPL-2.0
/* What the peer is told on its command line. */
#include "peer/peer.h"

#include <stdlib.h>
#include <string.h>

/* What is about this kernel's place, disks and way of booting, not about the machine. */
static bool passed_on(const char *word)
{
	static const char * const not_for_peer[] = {
		"BOOT_IMAGE=", "initrd=", "root=", "rootfstype=", "rootflags=", "rootdelay=",
		"rootwait", "ro", "rw", "init=", "rdinit=", "ip=", "nfsroot=",
		"resume=", "resume_offset=", "resumedelay=", "resumewait", "noresume",
		"hibernate=", "crashkernel=", "elfcorehdr=", "kexec_jump_back_entry=",
		"kexec_jump_vmcore=", "mem=", "memmap=",
		"kjump.serve", "kjump.restore", "kjump.restore=",
		/* There is little of it. */
		"hugepages=", "hugepagesz=", "default_hugepagesz=", "hugetlb_cma=", "cma=",
		"kernelcore=", "movablecore=", "swiotlb=", "log_buf_len=",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(not_for_peer); i++) {
		size_t len = strlen(not_for_peer[i]);

		if (not_for_peer[i][len - 1] == '=' ? !strncmp(word, not_for_peer[i], len) :
		    !strcmp(word, not_for_peer[i]))
			return false;
	}
	return true;
}

char *peer_command_line(const char *own, const char *append)
{
	char *words = xasprintf("%s", own), *rest = words, *word;
	char *line = xasprintf("%s", "");

	while ((word = strsep(&rest, "\n "))) {
		char *more;

		if (!*word || !passed_on(word))
			continue;
		more = xasprintf("%s%s ", line, word);
		free(line);
		line = more;
	}
	free(words);
	/* A distribution's initramfs takes a /proc/vmcore for the sign of a crash. */
	words = xasprintf("%skexec_jump_vmcore=own kjump.serve%s%s", line,
			  append && *append ? " " : "", append ? append : "");
	free(line);
	return words;
}
