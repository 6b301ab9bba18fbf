// SPDX-License-Identifier: GPL-2.0
/* Names, ids and checksums of an image. */
#include "format/format.h"

#include <endian.h>
#include <linux/elf-em.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#define XXH_INLINE_ALL
#include <xxhash.h>

static_assert(BYTE_ORDER == LITTLE_ENDIAN, "the format is little endian");

static const char * const state_names[] = {
	[IMAGE_PREPARED] = "prepared",
	[IMAGE_WRITING] = "half-written",
	[IMAGE_COMPLETE] = "complete",
	[IMAGE_USED] = "used",
	[IMAGE_SNAPSHOT] = "snapshot",
};

static const char * const algorithm_names[] = {
	[IMAGE_RAW] = "none",
	[IMAGE_ZSTD] = "zstd",
	[IMAGE_LZ4] = "lz4",
};

const char *image_state_name(uint32_t state)
{
	return state && state < ARRAY_SIZE(state_names) ? state_names[state] : "unknown";
}

const char *image_algorithm_name(uint32_t algorithm)
{
	return algorithm < ARRAY_SIZE(algorithm_names) ? algorithm_names[algorithm] : "unknown";
}

bool image_algorithm(const char *name, uint32_t *algorithm)
{
	uint32_t i;

	for (i = 0; i < ARRAY_SIZE(algorithm_names); i++)
		if (!strcmp(name, algorithm_names[i])) {
			*algorithm = i;
			return true;
		}
	return false;
}

void image_new_id(uint8_t *id)
{
	if (getrandom(id, IMAGE_ID_LEN, GRND_NONBLOCK) == IMAGE_ID_LEN)
		return;
	/* Early in boot there may be no randomness; different is all it must be. */
	for (int i = 0; i < IMAGE_ID_LEN; i += 8) {
		struct timespec ts;
		uint64_t half;

		clock_gettime(i ? CLOCK_MONOTONIC : CLOCK_REALTIME, &ts);
		half = XXH64(&ts, sizeof(ts), (uint64_t)getpid());
		memcpy(id + i, &half, sizeof(half));
	}
}

void image_id_text(const uint8_t *id, char text[2 * IMAGE_ID_LEN + 1])
{
	for (int i = 0; i < IMAGE_ID_LEN; i++)
		sprintf(text + 2 * i, "%02x", id[i]);
}

uint64_t chunk_hash(const struct superblock *super, uint32_t number,
		    const void *data, size_t length)
{
	uint64_t seed;

	/* A chunk of another image, or at another place, has another hash. */
	memcpy(&seed, super->id, sizeof(seed));
	seed += number;
	/* Without 64-bit multiplication XXH64 takes three times as long. */
	if (super->machine == EM_386)
		return XXH32(data, length, (uint32_t)(seed ^ seed >> 32));
	return XXH64(data, length, seed);
}
