/* SPDX-License-Identifier: GPL-2.0 */
/* Produce, work on in parallel, consume in order; with a bounded queue. */
#ifndef KJUMP_PIPELINE_H
#define KJUMP_PIPELINE_H

#include "image/codec.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/*
 * Memory: (2 * WORKERS_MAX + 2) jobs with two buffers each, 10 MB with chunks of
 * 512 KB. The man page states the sum of everything.
 */
#define WORKERS_MAX	4u
#define JOBS_MAX	(2 * WORKERS_MAX + 2)

struct job {
	uint32_t number;
	uint8_t *in, *out;
	size_t in_len, out_len;
	uint64_t extra;			/* what a step wants to tell the next */
	int state;
};

struct pipeline {
	size_t in_size, out_size;
	uint32_t algorithm;
	void *ctx;
	/* Fill job->in; *end instead if there is no more. One thread. */
	int (*produce)(void *ctx, struct job *job, bool *end);
	/* From job->in to job->out, in one of several threads, each with its codec. */
	int (*work)(void *ctx, struct codec *codec, struct job *job);
	/* In order, in the thread that called pipeline_run(). */
	int (*consume)(void *ctx, struct job *job);
};

/* KJ_OK, the first error of any of them, or that of check_interrupted(). */
int pipeline_run(const struct pipeline *p);

#endif
