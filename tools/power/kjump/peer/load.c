// SPDX-License-Identifier: GPL-2.0
/* Loading the second kernel with the stock kexec tool. */
#include "peer/kexec.h"
#include "peer/peer.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int run_kexec(const char *what, char **argv)
{
	pid_t child = fork();
	int status;

	if (child < 0)
		return fail(KJ_FAILED, "%s: %s", argv[0], strerror(errno));
	if (!child) {
		dup2(STDERR_FILENO, STDOUT_FILENO);
		if (peer_choose_again()) {
			fprintf(stderr, "%s\n", fail_text());
			_exit(127);
		}
		execv(argv[0], argv);
		fprintf(stderr, "%s: %s\n", argv[0], strerror(errno));
		_exit(127);
	}
	while (waitpid(child, &status, 0) < 0)
		if (errno != EINTR)
			return fail(KJ_FAILED, "%s: %s", argv[0], strerror(errno));
	if (!WIFEXITED(status) || WEXITSTATUS(status))
		return fail(KJ_FAILED, "%s could not load %s (it and the kernel log say why)",
			    argv[0], what);
	return KJ_OK;
}

static void drop_cached(const char *path)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return;
	posix_fadvise(fd, 0, 0, POSIX_FADV_DONTNEED);
	close(fd);
}

/* What a load takes: files that will do, a window, a command line (to be freed). */
static int plan(struct conf *conf, struct mem_range *window, char **line)
{
	struct initramfs fs;
	struct bzimage kernel;
	char *own;
	int rc = need_loading(true);

	if (!rc)
		rc = conf_complete(conf);
	if (!rc)
		rc = bzimage_read_alike(conf->kernel, &kernel);
	if (!rc)
		rc = initramfs_read(conf->initrd, &fs);
	if (!rc)
		rc = peer_window(conf, &kernel, &fs, window);
	if (!rc && !conf->window)
		peer_place(NULL, &kernel, window);
	if (rc)
		return rc;
	own = conf->command_line ? xasprintf("%s", conf->command_line) :
				   read_text("/proc/cmdline");
	rc = peer_command_line(own ? own : "", conf->append, window, kernel.cmdline_size, line);
	free(own);
	if (!rc)
		detail("the peer's window is %#llx-%#llx, its command line %s",
		       (unsigned long long)window->start, (unsigned long long)window->end, *line);
	return rc;
}

int peer_check(struct conf *conf)
{
	struct mem_range window;
	char *line = NULL;
	int rc = jump_loaded() ? KJ_OK : plan(conf, &window, &line);

	free(line);
	return rc;
}

int peer_load(struct conf *conf)
{
	char *line, *argv[10];
	struct mem_range window;
	unsigned int i = 0, n;
	bool any_before = jump_loaded();
	int rc = plan(conf, &window, &line);

	if (rc)
		return rc;
	/* What is loaded and not held, the next reboot would jump to. */
	hold_signals();
	argv[i++] = xasprintf("%s", conf->kexec);
	argv[i++] = xasprintf("--load-preserve-context");
	/* Later versions would try kexec_file_load(2), which has no such flag, and give up. */
	argv[i++] = xasprintf("--kexec-syscall");
	/* It would hash all of the window twice, most of it zeros. */
	argv[i++] = xasprintf("--no-checks");
	argv[i++] = xasprintf("%s", conf->kernel);
	argv[i++] = xasprintf("--mem-min=%#llx", (unsigned long long)window.start);
	argv[i++] = xasprintf("--mem-max=%#llx", (unsigned long long)window.end - 1);
	argv[i++] = xasprintf("--initrd=%s", conf->initrd);
	argv[i++] = xasprintf("--append=%s", line);
	n = i;
	argv[i] = NULL;
	step("loading %s with %s", conf->kernel, conf->initrd);
	rc = run_kexec(conf->kernel, argv);
	/* If it was ended, it may have loaded all of it. */
	if ((!rc || (!any_before && jump_loaded())) && jump_hold(true) && !rc)
		rc = KJ_FAILED;
	/* kexec has read them; they would only be saved with all else. */
	drop_cached(conf->kernel);
	drop_cached(conf->initrd);
	for (i = 0; i < n; i++)
		free(argv[i]);
	free(line);
	return rc;
}

int have_peer(struct conf *conf)
{
	return jump_loaded() ? KJ_OK : peer_load(conf);
}
