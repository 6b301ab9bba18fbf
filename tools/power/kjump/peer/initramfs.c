// SPDX-License-Identifier: GPL-2.0
/*
 * What is in an initramfs: archives one after another, each as it is or packed, zeros
 * between them (Documentation/driver-api/early-userspace/buffer-format.rst). What is
 * packed is unpacked by the programs that made it.
 */
#include "peer/initramfs.h"
#include "format/format.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PIECE		(64 * KB)
#define HEADER		110u
#define NAME_MAX_LEN	4096u
/* The longest of the magics below. */
#define MAGIC_MAX	6u

/* --- archives ----------------------------------------------------------- */

static bool field(const struct cpio *c, unsigned int number, uint64_t *value)
{
	const char *p = c->head + 6 + 8 * number;

	*value = 0;
	for (int i = 0; i < 8; i++) {
		char d = p[i];

		if (d >= '0' && d <= '9')
			d -= '0';
		else if ((d | 0x20) >= 'a' && (d | 0x20) <= 'f')
			d = (char)((d | 0x20) - 'a' + 10);
		else
			return false;
		*value = *value << 4 | (unsigned int)d;
	}
	return true;
}

/* The header is there: how long the name after it is. */
static bool header_done(struct cpio *c)
{
	uint64_t name;

	if ((memcmp(c->head, "070701", 6) && memcmp(c->head, "070702", 6)) ||
	    !field(c, 11, &name) || !name || name > NAME_MAX_LEN)
		return false;
	c->want = align_up(HEADER + name, 4);
	return true;
}

/* Files of initramfs-tools, of mkinitcpio, and of dracut. */
static bool is_a_distribution_s(const char *name)
{
	static const char * const files[] = {
		"conf/initramfs.conf", "init_functions", "lib/dracut-lib.sh",
		"usr/lib/dracut-lib.sh",
	};

	for (unsigned int i = 0; i < ARRAY_SIZE(files); i++)
		if (!strcmp(name, files[i]))
			return true;
	return false;
}

/* In one of the folders of programs; scripts have its name, too. */
static bool is_program(const char *path, const char *name)
{
	const char *slash = strrchr(path, '/');

	return slash && !strcmp(slash + 1, name) &&
	       slash - path >= 3 && !memcmp(slash - 3, "bin", 3);
}

static void begin_crypttab(struct cpio *c, uint64_t size)
{
	c->fs->long_crypttab = size >= CRYPTTAB_MAX;
	if (c->fs->long_crypttab)
		return;
	c->keep = c->fs->crypttab;
	c->to_keep = (size_t)size;
	c->keep[size] = 0;
}

static void begin_kjump(struct cpio *c, uint64_t size)
{
	c->fs->has_kjump = true;
	c->to_search = size;
	c->marked = 0;
}

static bool entry_done(struct cpio *c)
{
	const char *name = c->head + HEADER;
	uint64_t mode, size;

	c->head[c->want - 1] = 0;
	if (!field(c, 1, &mode) || !field(c, 6, &size))
		return false;
	c->have = 0;
	c->want = HEADER;
	c->skip = align_up(size, 4);
	if (!strcmp(name, "TRAILER!!!")) {
		c->ended = true;
		return true;
	}
	while (*name == '/' || (*name == '.' && name[1] == '/'))
		name++;
	if (!S_ISDIR(mode) && !strcmp(name, "init"))
		c->fs->has_init = true;
	if (is_program(name, "kjump") && S_ISREG(mode) && (mode & 0111))
		begin_kjump(c, size);
	c->fs->sets_up_disks |= is_a_distribution_s(name);
	c->fs->initramfs_tools |= !strcmp(name, "conf/initramfs.conf");
	if (S_ISREG(mode) && !strcmp(name, "cryptroot/crypttab"))
		begin_crypttab(c, size);
	if (S_ISREG(mode))
		c->fs->unpacked += align_up(size, PAGE);
	return true;
}

void cpio_begin(struct cpio *c, struct initramfs *fs)
{
	memset(c, 0, sizeof(*c));
	c->fs = fs;
	c->want = HEADER;
}

static void keep(struct cpio *c, const uint8_t *data, size_t length)
{
	if (length > c->to_keep)
		length = c->to_keep;
	if (!length)
		return;
	memcpy(c->keep, data, length);
	c->keep += length;
	c->to_keep -= length;
}

static void search(struct cpio *c, const uint8_t *data, size_t length)
{
	static const char mark[] = IMAGE_MARK;

	if (length > c->to_search)
		length = (size_t)c->to_search;
	c->to_search -= length;
	for (size_t i = 0; i < length && !c->fs->knows_image; i++) {
		if (data[i] == mark[c->marked])
			c->marked++;
		else
			c->marked = data[i] == mark[0];
		c->fs->knows_image = !mark[c->marked];
	}
}

size_t cpio_take(struct cpio *c, const uint8_t *data, size_t length)
{
	size_t at = 0;

	while (at < length && !c->bad && !(c->ended && !c->skip)) {
		size_t n = length - at;

		if (c->skip) {
			if (n > c->skip)
				n = (size_t)c->skip;
			keep(c, data + at, n);
			search(c, data + at, n);
			c->skip -= n;
		} else {
			if (n > c->want - c->have)
				n = c->want - c->have;
			memcpy(c->head + c->have, data + at, n);
			c->have += n;
			if (c->have == c->want)
				c->bad = c->want == HEADER ? !header_done(c) : !entry_done(c);
		}
		at += n;
	}
	return at;
}

/* --- the file ----------------------------------------------------------- */

/* By how it begins; the kernel knows the same (lib/decompress.c). */
static const struct packer {
	const char *magic;
	size_t length;
	const char *program;
} packers[] = {
	{ "\037\213", 2, "gzip" },
	{ "\037\236", 2, "gzip" },
	{ "BZh", 3, "bzip2" },
	{ "\135\0\0", 3, "xz" },
	{ "\3757zXZ", 6, "xz" },
	{ "\211LZO", 4, "lzop" },
	{ "\002!L\030", 4, "lz4" },
	{ "(\265/\375", 4, "zstd" },
};

struct scan {
	const char *path;
	int fd;
	struct initramfs *fs;
	struct cpio cpio;
	uint8_t *piece;
};

static int no_archive(const struct scan *s, uint64_t offset)
{
	return fail(KJ_REFUSED,
		    "initramfs %s: not one (no archive at %llu, or it is cut off); name another (--initrd)",
		    s->path, (unsigned long long)offset);
}

/* Archives and zeros between them, from one buffer to the next. */
static bool take_all(struct scan *s, const uint8_t *data, size_t length)
{
	size_t at = 0;

	while (at < length) {
		if (s->cpio.ended && !s->cpio.skip) {
			if (!data[at]) {
				at++;
				continue;
			}
			cpio_begin(&s->cpio, s->fs);
		}
		at += cpio_take(&s->cpio, data + at, length - at);
		if (s->cpio.bad)
			return false;
	}
	return true;
}

/* @fd: what the program writes. */
static int take_unpacked(struct scan *s, int fd, uint64_t offset)
{
	ssize_t n;

	cpio_begin(&s->cpio, s->fs);
	while ((n = read(fd, s->piece, PIECE))) {
		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return fail(KJ_FAILED, "initramfs %s: %s", s->path, strerror(errno));
		if (!take_all(s, s->piece, (size_t)n))
			return no_archive(s, offset);
	}
	return KJ_OK;
}

static void unpack_with(const char *program, int from, int to)
{
	int null = open("/dev/null", O_WRONLY);

	dup2(from, STDIN_FILENO);
	dup2(to, STDOUT_FILENO);
	/* Most complain of what follows the archive. */
	dup2(null, STDERR_FILENO);
	execlp(program, program, "-dc", (char *)NULL);
	_exit(127);
}

static int unpack(struct scan *s, const struct packer *p, uint64_t offset)
{
	int ends[2], status, rc;
	pid_t child;

	if (lseek(s->fd, (off_t)offset, SEEK_SET) < 0 || pipe2(ends, O_CLOEXEC))
		return fail(KJ_FAILED, "initramfs %s: %s", s->path, strerror(errno));
	child = fork();
	if (!child)
		unpack_with(p->program, s->fd, ends[1]);
	close(ends[1]);
	if (child < 0) {
		close(ends[0]);
		return fail(KJ_FAILED, "%s: %s", p->program, strerror(errno));
	}
	rc = take_unpacked(s, ends[0], offset);
	close(ends[0]);
	while (waitpid(child, &status, 0) < 0 && errno == EINTR)
		;
	if (!rc && WIFEXITED(status) && WEXITSTATUS(status) == 127)
		return fail(KJ_FAILED,
			    "initramfs %s: to look into it takes %s, which is not there: install it, or pack it with gzip",
			    s->path, p->program);
	/* What a program thinks of bytes after the archive is no matter, if that was whole. */
	return rc || (s->cpio.ended && !s->cpio.skip) ? rc : no_archive(s, offset);
}

static const struct packer *packer_of(const uint8_t *data, size_t length)
{
	for (unsigned int i = 0; i < ARRAY_SIZE(packers); i++)
		if (length >= packers[i].length &&
		    !memcmp(data, packers[i].magic, packers[i].length))
			return &packers[i];
	return NULL;
}

/* Everything from @offset on: archives that are not packed, then, maybe, one that is. */
static int scan(struct scan *s)
{
	uint64_t offset = 0;
	ssize_t n;

	/* As after an archive: what comes is zeros, or begins one. */
	cpio_begin(&s->cpio, s->fs);
	s->cpio.ended = true;
	while ((n = pread_full(s->fd, s->piece, PIECE, offset)) > 0) {
		size_t at = 0;

		while (at < (size_t)n) {
			const struct packer *p;

			if (s->cpio.ended && !s->cpio.skip) {
				if (!s->piece[at]) {
					at++;
					continue;
				}
				/* Not all of how it begins: once more, from there. */
				if (at && (size_t)n - at < MAGIC_MAX && n == (ssize_t)PIECE)
					break;
				p = packer_of(s->piece + at, (size_t)n - at);
				if (p)
					return unpack(s, p, offset + at);
				cpio_begin(&s->cpio, s->fs);
			}
			at += cpio_take(&s->cpio, s->piece + at, (size_t)n - at);
			if (s->cpio.bad)
				return no_archive(s, offset + at);
		}
		offset += at;
	}
	if (n < 0)
		return fail(KJ_FAILED, "initramfs %s: %s", s->path, strerror(errno));
	return s->cpio.ended && !s->cpio.skip ? KJ_OK : no_archive(s, offset);
}

int initramfs_scan(const char *path, struct initramfs *fs)
{
	struct scan s = { .path = path, .fs = fs, .piece = xalloc(PIECE) };
	struct stat st;
	int rc;

	memset(fs, 0, sizeof(*fs));
	s.fd = open(path, O_RDONLY | O_CLOEXEC);
	if (s.fd < 0 || fstat(s.fd, &st)) {
		rc = fail(KJ_FAILED, "initramfs %s: %s", path, strerror(errno));
	} else {
		fs->packed = (uint64_t)st.st_size;
		rc = scan(&s);
	}
	if (s.fd >= 0)
		close(s.fd);
	free(s.piece);
	return rc;
}

int initramfs_read(const char *path, struct initramfs *fs)
{
	int rc = initramfs_scan(path, fs);

	if (!rc && !fs->has_init)
		rc = fail(KJ_REFUSED,
			  "initramfs %s: there is no /init in it; name another (--initrd)",
			  path);
	if (!rc && !fs->has_kjump)
		rc = fail(KJ_REFUSED,
			  "initramfs %s: there is no kjump in it, so the peer would not come back; name one that kjump-mkinitramfs has made (--initrd)",
			  path);
	if (!rc && fs->sets_up_disks)
		rc = fail(KJ_REFUSED,
			  "initramfs %s: it is to boot a system from its disks, which are not the peer's; name one that kjump-mkinitramfs has made (--initrd)",
			  path);
	return rc;
}
