// SPDX-License-Identifier: GPL-2.0
/* Packing and unpacking a chunk with zstd or lz4. */
#include "image/codec.h"
#include "image/image.h"

#include <lz4.h>
#include <stdlib.h>
#include <zstd.h>

/* The first of the fast levels: images are as small as with level 1, sooner. */
#define ZSTD_LEVEL	-1

struct codec {
	uint32_t algorithm;
	ZSTD_CCtx *pack;
	ZSTD_DCtx *unpack;
};

struct codec *codec_new(uint32_t algorithm)
{
	struct codec *c = xalloc(sizeof(*c));

	c->algorithm = algorithm;
	return c;
}

void codec_free(struct codec *c)
{
	ZSTD_freeCCtx(c->pack);
	ZSTD_freeDCtx(c->unpack);
	free(c);
}

static size_t pack_zstd(struct codec *c, void *out, size_t room, const void *in, size_t len)
{
	size_t n;

	if (!c->pack)
		c->pack = ZSTD_createCCtx();
	if (!c->pack)
		return 0;
	n = ZSTD_compressCCtx(c->pack, out, room, in, len, ZSTD_LEVEL);
	return ZSTD_isError(n) ? 0 : n;
}

size_t codec_pack(struct codec *c, void *out, size_t room, const void *in, size_t len)
{
	int n;

	switch (c->algorithm) {
	case IMAGE_ZSTD:
		return pack_zstd(c, out, room, in, len);
	case IMAGE_LZ4:
		n = LZ4_compress_default(in, out, (int)len, (int)room);
		return n > 0 ? (size_t)n : 0;
	}
	return 0;
}

int codec_unpack(struct codec *c, void *out, size_t out_len, const void *in, size_t len)
{
	switch (c->algorithm) {
	case IMAGE_ZSTD:
		if (!c->unpack)
			c->unpack = ZSTD_createDCtx();
		if (!c->unpack)
			return -1;
		if (ZSTD_decompressDCtx(c->unpack, out, out_len, in, len) == out_len)
			return 0;
		break;
	case IMAGE_LZ4:
		if (LZ4_decompress_safe(in, out, (int)len, (int)out_len) == (int)out_len)
			return 0;
		break;
	}
	return -1;
}
