// SPDX-License-Identifier: GPL-2.0
/* Produce, work on in parallel, consume in order; with a bounded queue. */
#include "common/kjump.h"
#include "image/pipeline.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

enum { JOB_FREE, JOB_READY, JOB_DONE };

/* Codecs keep their tables on the heap. */
#define STACK_SIZE	(256 * 1024)

/* Job n is in slot n % nr_jobs; all counters only grow. */
struct run {
	const struct pipeline *p;
	struct job jobs[JOBS_MAX];
	unsigned int nr_jobs;
	uint32_t produced, taken, consumed;
	bool ended;			/* nothing follows what was produced */
	int error;			/* the first one: everybody stops */
	pthread_mutex_t lock;
	/* A job for the producer, for a worker, and the next one to consume */
	pthread_cond_t freed, ready, done;
};

static struct job *slot(struct run *r, uint32_t number)
{
	return &r->jobs[number % r->nr_jobs];
}

static void wake_all(struct run *r)
{
	pthread_cond_broadcast(&r->freed);
	pthread_cond_broadcast(&r->ready);
	pthread_cond_broadcast(&r->done);
}

static void stop(struct run *r, int error)
{
	pthread_mutex_lock(&r->lock);
	if (!r->error)
		r->error = error;
	wake_all(r);
	pthread_mutex_unlock(&r->lock);
}

static void *producer(void *arg)
{
	struct run *r = arg;

	for (;;) {
		struct job *job = slot(r, r->produced);
		bool end = false;
		int rc;

		pthread_mutex_lock(&r->lock);
		while (job->state != JOB_FREE && !r->error)
			pthread_cond_wait(&r->freed, &r->lock);
		rc = r->error;
		pthread_mutex_unlock(&r->lock);
		if (rc)
			return NULL;
		job->number = r->produced;
		job->in_len = 0;
		job->out_len = 0;
		rc = r->p->produce(r->p->ctx, job, &end);
		if (rc) {
			stop(r, rc);
			return NULL;
		}
		pthread_mutex_lock(&r->lock);
		if (end) {
			r->ended = true;
		} else {
			job->state = JOB_READY;
			r->produced++;
			pthread_cond_signal(&r->ready);
		}
		if (end)
			wake_all(r);
		pthread_mutex_unlock(&r->lock);
		if (end)
			return NULL;
	}
}

static void *worker(void *arg)
{
	struct run *r = arg;
	struct codec *codec = codec_new(r->p->algorithm);

	for (;;) {
		struct job *job;
		int rc;

		pthread_mutex_lock(&r->lock);
		while (r->taken == r->produced && !r->ended && !r->error)
			pthread_cond_wait(&r->ready, &r->lock);
		if (r->error || r->taken == r->produced) {
			pthread_mutex_unlock(&r->lock);
			break;
		}
		job = slot(r, r->taken++);
		pthread_mutex_unlock(&r->lock);

		rc = r->p->work(r->p->ctx, codec, job);
		if (rc) {
			stop(r, rc);
			break;
		}
		pthread_mutex_lock(&r->lock);
		job->state = JOB_DONE;
		if (job->number == r->consumed)
			pthread_cond_signal(&r->done);
		pthread_mutex_unlock(&r->lock);
	}
	codec_free(codec);
	return NULL;
}

static void consume(struct run *r)
{
	for (;;) {
		struct job *job = slot(r, r->consumed);
		bool done;
		int rc;

		pthread_mutex_lock(&r->lock);
		while (!r->error && job->state != JOB_DONE &&
		       !(r->ended && r->consumed == r->produced))
			pthread_cond_wait(&r->done, &r->lock);
		done = r->error || job->state != JOB_DONE;
		pthread_mutex_unlock(&r->lock);
		if (done)
			return;
		rc = check_interrupted();
		if (!rc)
			rc = r->p->consume(r->p->ctx, job);
		if (rc) {
			stop(r, rc);
			return;
		}
		pthread_mutex_lock(&r->lock);
		job->state = JOB_FREE;
		r->consumed++;
		pthread_cond_signal(&r->freed);
		pthread_mutex_unlock(&r->lock);
	}
}

int pipeline_run(const struct pipeline *p)
{
	unsigned int workers = online_cpus(), started = 0, i;
	pthread_t threads[1 + WORKERS_MAX];
	struct run *r = xalloc(sizeof(*r));
	pthread_attr_t attr;
	int rc;

	if (workers > WORKERS_MAX)
		workers = WORKERS_MAX;
	r->p = p;
	r->nr_jobs = 2 * workers + 2;
	pthread_mutex_init(&r->lock, NULL);
	pthread_cond_init(&r->freed, NULL);
	pthread_cond_init(&r->ready, NULL);
	pthread_cond_init(&r->done, NULL);
	for (i = 0; i < r->nr_jobs; i++) {
		r->jobs[i].in = xalloc_pages(p->in_size);
		r->jobs[i].out = xalloc_pages(p->out_size);
	}
	pthread_attr_init(&attr);
	pthread_attr_setstacksize(&attr, STACK_SIZE);
	for (i = 0; i < 1 + workers; i++) {
		if (pthread_create(&threads[i], &attr, i ? worker : producer, r))
			break;
		started++;
	}
	if (started < 2)
		stop(r, fail(KJ_FAILED, "cannot start threads"));
	consume(r);
	for (i = 0; i < started; i++)
		pthread_join(threads[i], NULL);
	rc = r->error;
	for (i = 0; i < r->nr_jobs; i++) {
		free(r->jobs[i].in);
		free(r->jobs[i].out);
	}
	pthread_attr_destroy(&attr);
	pthread_cond_destroy(&r->freed);
	pthread_cond_destroy(&r->ready);
	pthread_cond_destroy(&r->done);
	pthread_mutex_destroy(&r->lock);
	free(r);
	return rc;
}
