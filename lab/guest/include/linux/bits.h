/* SPDX-License-Identifier: GPL-2.0 */
/* What <linux/kexec_jump_abi.h> needs of the kernel's headers, for programs of the guest. */
#ifndef LAB_LINUX_BITS_H
#define LAB_LINUX_BITS_H

#include <stdbool.h>
#include <stddef.h>

#define BIT_ULL(n)		(1ULL << (n))
#define offsetofend(type, member) \
	(offsetof(type, member) + sizeof(((type *)0)->member))

#endif
