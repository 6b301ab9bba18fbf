/* SPDX-License-Identifier: GPL-2.0 */
/* Packing and unpacking a chunk with zstd or lz4. */
#ifndef KJUMP_CODEC_H
#define KJUMP_CODEC_H

#include <stddef.h>
#include <stdint.h>

struct codec;

struct codec *codec_new(uint32_t algorithm);
void codec_free(struct codec *c);
/* Returns the length, 0 if it does not fit in @room (then store it as it is). */
size_t codec_pack(struct codec *c, void *out, size_t room, const void *in, size_t len);
/* Whether exactly @out_len bytes came out. */
int codec_unpack(struct codec *c, void *out, size_t out_len, const void *in, size_t len);

#endif
