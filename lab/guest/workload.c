// SPDX-License-Identifier: GPL-2.0
/*
 * workload: a machine at work, that notices when something goes wrong.
 *
 *   workload start [-m MB] [-t IP:PORT]... [DIR]...
 *   workload status | stop
 *
 * "start" leaves processes in the background: one counts every 10 ms, one
 * checks the content of MB megabytes (default 24) over and over, one per DIR
 * writes, syncs, re-reads and compares a file there, and one per IP:PORT sends
 * numbers to an echo server and checks what comes back. They report in a
 * memory-backed file, which "status" prints in one line.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define STATE_DIR "/tmp/workload"
#define STATE STATE_DIR "/status"
#define MAX_WORKERS 16

/* One per background process, written by that process only. */
struct worker {
	char kind;		/* c, m, d, t */
	uint32_t alive;
	uint64_t rounds, errors;
	char first_error[80];
};

struct state {
	uint32_t stop, workers;
	uint64_t counter;
	uint64_t monotonic_ms, wall_ms, max_gap_ms;
	struct worker worker[MAX_WORKERS];
};

static volatile struct state *st;

static uint64_t now_ms(clockid_t clock)
{
	struct timespec t;

	clock_gettime(clock, &t);
	return t.tv_sec * 1000ull + t.tv_nsec / 1000000;
}

static void nap(long ms)
{
	struct timespec t = { ms / 1000, ms % 1000 * 1000000 };

	nanosleep(&t, NULL);
}

/*
 * After what has begun at @began_ms: rest three times as long as it took, and at least
 * @least_ms. Something is at work at each moment, and others of the machine's get on, too.
 */
static void rest(uint64_t began_ms, long least_ms)
{
	long ms = 3 * (now_ms(CLOCK_MONOTONIC) - began_ms);

	/* What took long was away itself. */
	if (ms > 400)
		ms = 400;
	nap(ms > least_ms ? ms : least_ms);
}

static uint64_t next_random(uint64_t *x)
{
	*x ^= *x << 13;
	*x ^= *x >> 7;
	*x ^= *x << 17;
	return *x;
}

static void error(volatile struct worker *w, const char *what, int err)
{
	if (!w->errors)
		snprintf((char *)w->first_error, sizeof(w->first_error), "%s%s%s", what,
			 err ? ": " : "", err ? strerror(err) : "");
	w->errors++;
}

static void count(volatile struct worker *w)
{
	uint64_t last = now_ms(CLOCK_MONOTONIC);

	while (!st->stop) {
		uint64_t now;

		nap(10);
		now = now_ms(CLOCK_MONOTONIC);
		if (now < last)
			error(w, "time went backwards", 0);
		else if (now - last > st->max_gap_ms)
			st->max_gap_ms = now - last;
		last = now;
		st->monotonic_ms = now;
		st->wall_ms = now_ms(CLOCK_REALTIME);
		st->counter++;
		w->rounds++;
	}
}

static void check_memory(volatile struct worker *w, size_t mb)
{
	size_t words = (mb << 20) / 8;
	uint64_t seed = 0x9e3779b97f4a7c15ull ^ getpid();
	uint64_t *buf = mmap(NULL, words * 8, PROT_READ | PROT_WRITE,
			     MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	uint64_t x = seed;
	size_t i;

	if (buf == MAP_FAILED) {
		error(w, "mmap", errno);
		return;
	}
	for (i = 0; i < words; i++)
		buf[i] = next_random(&x);
	while (!st->stop) {
		uint64_t began = now_ms(CLOCK_MONOTONIC);

		for (i = 0, x = seed; i < words; i++) {
			if (buf[i] == next_random(&x))
				continue;
			error(w, "memory changed", 0);
			break;
		}
		w->rounds++;
		rest(began, 20);
	}
}

/* One write, sync, drop, read and compare; the error is reported by the caller. */
static const char *disk_round(const char *file, uint64_t seed)
{
	static uint64_t out[32768], in[32768];
	const char *bad = NULL;
	uint64_t x = seed;
	size_t i;
	int fd = open(file, O_RDWR | O_CREAT | O_TRUNC, 0600);

	if (fd < 0)
		return "open";
	errno = 0;	/* a comparison that fails has no errno */
	for (i = 0; i < 32768; i++)
		out[i] = next_random(&x);
	if (write(fd, out, sizeof(out)) != sizeof(out))
		bad = "write";
	else if (fsync(fd))
		bad = "fsync";
	else if (posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED))
		bad = "fadvise";
	else if (pread(fd, in, sizeof(in), 0) != sizeof(in))
		bad = "read";
	else if (memcmp(in, out, sizeof(in)))
		bad = "read back other data";
	if (close(fd) && !bad)
		bad = "close";
	return bad;
}

static void use_disk(volatile struct worker *w, const char *dir)
{
	char file[256];

	snprintf(file, sizeof(file), "%s/workload.%d", dir, getpid());
	while (!st->stop) {
		uint64_t began = now_ms(CLOCK_MONOTONIC);
		const char *bad = disk_round(file, 1 + w->rounds);

		if (bad)
			error(w, bad, errno);
		w->rounds++;
		rest(began, bad ? 100 : 5);
	}
	unlink(file);
}

static void use_tcp(volatile struct worker *w, const char *target)
{
	struct sockaddr_in to = { .sin_family = AF_INET };
	struct timeval patience = { .tv_sec = 60 };
	char ip[32] = "";
	unsigned int port = 0;
	uint64_t seq, back;
	int fd = socket(AF_INET, SOCK_STREAM, 0), tries = 300;

	if (sscanf(target, "%31[^:]:%u", ip, &port) != 2 || !inet_aton(ip, &to.sin_addr)) {
		error(w, "bad IP:PORT", 0);
		return;
	}
	to.sin_port = htons(port);
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
	/* A card's link may be down for 2 s after each jump, and jumps be quick. */
	while (fd < 0 || connect(fd, (void *)&to, sizeof(to))) {
		if (fd < 0 || errno != EHOSTUNREACH || !tries--) {
			error(w, "connect", errno);
			return;
		}
		nap(100);
	}
	for (seq = 1; !st->stop; seq++) {
		size_t got = 0;

		if (send(fd, &seq, 8, MSG_NOSIGNAL) != 8) {
			error(w, "send", errno);
			return;
		}
		while (got < 8) {
			ssize_t n = recv(fd, (char *)&back + got, 8 - got, 0);

			if (n < 0 && errno == EINTR)
				continue;
			if (n <= 0) {
				error(w, n ? "recv" : "connection closed", n ? errno : 0);
				return;
			}
			got += n;
		}
		if (back != seq)
			error(w, "echo differs", 0);
		w->rounds++;
		nap(50);
	}
	close(fd);
}

static int map_state(int flags)
{
	int fd = open(STATE, O_RDWR | flags, 0600);

	if (fd < 0 || ((flags & O_CREAT) && ftruncate(fd, sizeof(*st))))
		return -1;
	st = mmap(NULL, sizeof(*st), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
	close(fd);
	return st == MAP_FAILED ? -1 : 0;
}

static void spawn(char kind, size_t mb, const char *arg)
{
	volatile struct worker *w;
	pid_t pid;
	int null;

	if (st->workers == MAX_WORKERS) {
		fprintf(stderr, "workload: at most %d processes\n", MAX_WORKERS);
		exit(2);
	}
	w = &st->worker[st->workers++];
	w->kind = kind;
	w->alive = 1;
	pid = fork();
	if (pid < 0) {
		perror("workload: fork");
		exit(1);
	}
	if (pid)
		return;
	setsid();
	null = open("/dev/null", O_RDWR);
	dup2(null, 0);
	dup2(null, 1);
	dup2(null, 2);
	switch (kind) {
	case 'c':
		count(w);
		break;
	case 'm':
		check_memory(w, mb);
		break;
	case 'd':
		use_disk(w, arg);
		break;
	case 't':
		use_tcp(w, arg);
		break;
	}
	w->alive = 0;
	_exit(0);
}

static int status(void)
{
	uint64_t rounds[128] = { 0 }, errors[128] = { 0 }, all = 0;
	uint32_t i;

	for (i = 0; i < st->workers; i++) {
		volatile struct worker *w = &st->worker[i];

		rounds[(int)w->kind] += w->rounds;
		errors[(int)w->kind] += w->errors;
		all += w->errors;
	}
	printf("counter=%llu mem=%s mem_rounds=%llu disk_rounds=%llu disk_errors=%llu "
	       "tcp_rounds=%llu tcp_errors=%llu max_gap_ms=%llu mono_ms=%llu wall_ms=%llu errors=%llu",
	       (unsigned long long)st->counter, errors['m'] ? "BAD" : "ok",
	       (unsigned long long)rounds['m'], (unsigned long long)rounds['d'],
	       (unsigned long long)errors['d'], (unsigned long long)rounds['t'],
	       (unsigned long long)errors['t'], (unsigned long long)st->max_gap_ms,
	       (unsigned long long)st->monotonic_ms, (unsigned long long)st->wall_ms,
	       (unsigned long long)all);
	for (i = 0; i < st->workers; i++)
		if (st->worker[i].errors)
			printf(" [%c: %s]", st->worker[i].kind, (char *)st->worker[i].first_error);
	printf("\n");
	return all ? 1 : 0;
}

static int start(int argc, char **argv)
{
	const char *tcp[MAX_WORKERS];
	int c, n = 0, i;
	long mb = 24;

	while ((c = getopt(argc, argv, "m:t:")) != -1) {
		if (c == 'm')
			mb = atol(optarg);
		else if (c == 't' && n < MAX_WORKERS)
			tcp[n++] = optarg;
		else
			return 2;
	}
	mkdir(STATE_DIR, 0700);
	if (!map_state(0)) {
		for (i = 0; i < (int)st->workers; i++) {
			if (!st->worker[i].alive)
				continue;
			fprintf(stderr, "workload: already running\n");
			return 1;
		}
		unlink(STATE);
	}
	if (map_state(O_CREAT | O_EXCL)) {
		perror("workload: " STATE);
		return 1;
	}
	spawn('c', 0, NULL);
	spawn('m', mb, NULL);
	for (i = optind; i < argc; i++)
		spawn('d', 0, argv[i]);
	for (i = 0; i < n; i++)
		spawn('t', 0, tcp[i]);
	printf("workload: %u processes\n", st->workers);
	return 0;
}

static int stop(void)
{
	int i, tries, alive = 1;

	st->stop = 1;
	for (tries = 0; alive && tries < 600; tries++) {
		alive = 0;
		for (i = 0; i < (int)st->workers; i++)
			alive += st->worker[i].alive;
		if (alive)
			nap(100);
	}
	if (alive)
		printf("hung=%d ", alive);
	i = status();
	unlink(STATE);
	return alive || i;
}

int main(int argc, char **argv)
{
	const char *verb = argc > 1 ? argv[1] : "";

	signal(SIGCHLD, SIG_IGN);
	if (!strcmp(verb, "start"))
		return start(argc - 1, argv + 1);
	if (strcmp(verb, "status") && strcmp(verb, "stop")) {
		fprintf(stderr, "usage: workload start [-m MB] [-t IP:PORT]... [DIR]... | status | stop\n");
		return 2;
	}
	if (map_state(0)) {
		fprintf(stderr, "workload: not running\n");
		return 1;
	}
	return !strcmp(verb, "stop") ? stop() : status();
}
