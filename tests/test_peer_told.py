# SPDX-License-Identifier: GPL-2.0
"""The peer is confined, or is not entered: its command line, its kernel and its initramfs are what kjump knows them to be."""
import gzip
import os
import pathlib
import random
import re
import shutil
import struct
import subprocess

import pytest

from images import FAILED, OK, REFUSED
from jumps import SEED, sysfs
from kjlab.initramfs import cpio
from kjlab.util import BUILD

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "tools/power/kjump"
ENTRY = " kexec_jump_back_entry=0x7f123456789abcde"
OURS = ["oops=panic", "kexec_jump_vmcore=own", "kjump.serve"]
MB = 1 << 20

HARNESS = r"""
#include "common/machine.h"
#include "peer/peer.h"
#include <stdlib.h>
#include <string.h>

int __wrap_machine_ram(const char *iomem, struct mem_range **ranges)
{
	const char *p = getenv("RAM");
	unsigned long long start, end;
	int n = 0, used;

	*ranges = calloc(16, sizeof(**ranges));
	while (p && sscanf(p, "%llx-%llx,%n", &start, &end, &used) == 2) {
		(*ranges)[n].start = start;
		(*ranges)[n++].end = end;
		p += used;
	}
	return n;
}

uint64_t __wrap_machine_ram_size(void) { return 0; }
unsigned int __wrap_machine_possible_cpus(void) { return atoi(getenv("CPUS")); }

int main(int argc, char **argv)
{
	struct initramfs fs = { 0 };
	struct bzimage kernel = { 0 };
	struct mem_range window;
	char *line;
	int rc = 9;

	if (!strcmp(argv[1], "line")) {
		window.start = strtoull(argv[4], NULL, 0);
		window.end = strtoull(argv[5], NULL, 0);
		rc = peer_command_line(argv[2], argv[3], &window, (uint32_t)atoi(argv[6]), &line);
		if (!rc)
			puts(line);
	} else if (!strcmp(argv[1], "initramfs")) {
		rc = initramfs_read(argv[2], &fs);
		printf("%llu %llu\n", (unsigned long long)fs.packed, (unsigned long long)fs.unpacked);
	} else if (!strcmp(argv[1], "bzimage")) {
		rc = bzimage_read(argv[2], &kernel);
		printf("%u %u %u\n", kernel.cmdline_size, kernel.jump_version, kernel.alignment);
	} else if (!strcmp(argv[1], "alike")) {
		rc = bzimage_read_alike(argv[2], &kernel);
	} else if (!strcmp(argv[1], "place")) {
		window.start = MB;
		window.end = strtoull(argv[4], NULL, 0);
		kernel.alignment = strtoull(argv[3], NULL, 0);
		peer_place(argv[2], &kernel, &window);
		printf("%#llx-%#llx\n", (unsigned long long)window.start, (unsigned long long)window.end);
		rc = 0;
	} else if (!strcmp(argv[1], "window")) {
		struct conf conf = { .kernel = "K", .initrd = "I", .window = strtoull(argv[3], NULL, 0) };

		kernel.init_size = strtoull(argv[2], NULL, 0);
		rc = peer_window(&conf, &kernel, &fs, &window);
		printf("%#llx-%#llx\n", (unsigned long long)window.start, (unsigned long long)window.end);
	}
	if (rc)
		fprintf(stderr, "%s\n", fail_text());
	return rc;
}
"""


@pytest.fixture(scope="module")
def peer(tmp_path_factory):
    """peer(words, ram=): what kjump makes of them, on a machine that is played."""
    out = tmp_path_factory.mktemp("kjump")
    subprocess.run(["make", "-s", "-j2", "-C", SOURCE, f"O={out}", "CFLAGS=-O1 -g -fsanitize=address,undefined",
                    "LDFLAGS=-fsanitize=address,undefined", f"{out}/peer/command_line.o", f"{out}/peer/initramfs.o",
                    f"{out}/peer/bzimage.o", f"{out}/peer/window.o", f"{out}/peer/place.o", f"{out}/common/util.o",
                    f"{out}/common/progress.o", f"{out}/common/machine.o"], check=True)
    (out / "harness.c").write_text(HARNESS)
    subprocess.run(["gcc", "-w", "-D_GNU_SOURCE", "-pthread", "-fsanitize=address,undefined", "-I", SOURCE,
                    out / "harness.c", *out.glob("*/*.o"),
                    "-Wl,--wrap=machine_ram,--wrap=machine_ram_size,--wrap=machine_possible_cpus", "-o", out / "harness"], check=True)

    def run(*words, ram="0-9f000,100000-20000000,", cpus=2, rc=OK, says=""):
        p = subprocess.run([out / "harness", *map(str, words)], capture_output=True, text=True,
                           env={"RAM": ram, "CPUS": str(cpus), "ASAN_OPTIONS": "detect_leaks=0", "PATH": "/usr/bin:/bin"})
        if rc is None:
            return p
        assert p.returncode == rc and re.search(says, p.stderr), (words, p.returncode, p.stdout, p.stderr)
        return p.stdout.rstrip("\n")
    return run


def words_of(line):
    """As the kernel reads them: (name with value, quotes taken off) up to a --."""
    words, at = [], 0
    while True:
        while at < len(line) and line[at] in " \t\n\v\f\r":
            at += 1
        if at == len(line):
            return words
        start, quoted = at, False
        while at < len(line) and (quoted or line[at] not in " \t\n\v\f\r"):
            quoted ^= line[at] == '"'
            at += 1
        word = line[start:at]
        if word == "--":
            return words
        words.append(word)


def parameter(word):
    """What it sets, for init: a name or NAME=VALUE."""
    inner = word[1:] if word.startswith('"') else word
    if inner is not word and inner.endswith('"'):
        inner = inner[:-1]
    name, is_set, value = inner.partition("=")
    if value.startswith('"'):
        value = value[1:]
        value = value[:-1] if value.endswith('"') else value
    return name + is_set + value


def test_command_lines(peer):
    """Whatever this kernel was told, and whatever is appended: the entry is found, or it is refused."""
    rng = random.Random(SEED)
    parts = ['"', '"', " ", " ", "--", "-", "=", "a", "bc", "root=", "memmap=", "mem=", "console=ttyS0", "x" * 60,
             "\t", "\\", "kexec_jump_back_entry=0x1", "quiet", "é"]
    for own_parts, extra_parts in ((12, 4), (4, 12), (60, 30)):
        for _ in range(150):
            own, extra = ("".join(rng.choices(parts, k=rng.randrange(n))) for n in (own_parts, extra_parts))
            p = peer("line", own, extra, MB, 64 * MB, 2047, rc=None)
            split = words_of(extra)
            bad = (extra.count('"') % 2 or re.search(r'(?:^|\s)--(?:\s|$)', re.sub(r'"[^"]*"', "q", extra)) or
                   any(parameter(w).replace("-", "_").startswith("kexec_jump_back_entry=") for w in split))
            if p.returncode:
                assert p.returncode == REFUSED and (bad or "characters" in p.stderr and len(own + extra) > 1500), \
                    (SEED, own, extra, p)
                continue
            line = [l for l in p.stdout.split("\n") if not l.startswith("the peer is not told")][0]
            assert not bad, (SEED, own, extra, line)
            found = words_of(line + ENTRY)
            assert found[-1] == ENTRY[1:], (SEED, own, extra, line)
            assert len(line + ENTRY) < 2047
            # First the guard: all RAM above the window.
            assert found[0] == "memmap=0x1c000000$0x4000000", (SEED, line)
            told, ours = found[1:-1], [w for w in words_of(own) if w in found]
            assert told[told.index(OURS[0]):][:3] == OURS or OURS[0] in split
            assert told[len(told) - len(split):] == split, (SEED, own, extra, line)
            assert not any(parameter(w).startswith(("root=", "mem=", "memmap="))
                           for w in told[:len(told) - len(split)]), (SEED, line, ours)


def test_what_is_refused_says_why(peer):
    def line(own, extra="", limit=2047, **kw):
        return peer("line", own, extra, MB, 64 * MB, limit, **kw)
    line("", "a -- b", rc=REFUSED, says=r'after the -- in "-- b"; leave it out \(--append\)')
    line("", 'a b="c d', rc=REFUSED, says=r'after b="c d, as a quote is not closed')
    line("", "kexec-jump-back-entry=0", rc=REFUSED, says="is what kexec tells the peer")
    line("", "x" * 1900, rc=REFUSED, says=r"would have \d+ characters, and it reads 2047.*--command-line")
    line("x" * 1900, rc=REFUSED, says="use a shorter --append, or --command-line")
    line("x" * 100, limit=255, rc=REFUSED, says="reads 255 of them")
    # What is left of this kernel's, by what it means.
    assert line('quiet -- single root=x').split()[1:] == ["quiet", *OURS]
    assert line('"root=a b" "quiet" mem-map=1 hugepages=4 ro rootwait=5 "mem=1"').split()[1:] == ['"quiet"', "mem-map=1", *OURS]
    assert 'dyndbg="file a +p"' in line('dyndbg="file a +p" root=/dev/sda')
    # Guards: on both sides of the window, and above 4 GB; not where devices are between.
    ram = "0-9f000,100000-800000,900000-7fee0000,100000000-180000000,"
    assert peer("line", "", "", 16 * MB, 80 * MB, 2047, ram=ram).split()[:3] == \
        ["memmap=0xf00000$0x100000", "memmap=0x7aee0000$0x5000000", "memmap=0x80000000$0x100000000"]


def test_windows(peer):
    """Wherever there is room below 1 GB, as low as can be."""
    def window(need, upto=0, **kw):
        return peer("window", need * MB, upto * MB, **kw)
    assert window(20) == "0x100000-0x4000000"
    assert window(60) == "0x100000-0x5800000"
    assert window(20, 48) == "0x100000-0x3000000"
    window(60, 48, rc=REFUSED, says="a window up to 48 MB is too small: 61 MB for the kernel.*use --window=88M")
    window(500, rc=REFUSED, says="K and I need a window of 525 MB, .* 0x100000-0x20000000; take smaller ones")
    window(20, 600, rc=REFUSED, says="a window up to 600 MB: there is no RAM right below that")
    # As UEFI leaves it.
    ram = "0-9f000,100000-800000,808000-80b000,900000-3e000000,3f000000-80000000,"
    assert window(20, ram=ram) == "0x900000-0x4000000"
    assert window(60, ram=ram) == "0x900000-0x6000000"
    assert window(20, 512, ram=ram) == "0x900000-0x20000000"
    window(990, ram=ram, rc=REFUSED, says="0x900000-0x3e000000")
    window(20, 8, ram=ram, rc=REFUSED, says="a window up to 8 MB is too small.*use --window=56M")


def test_many_processors(peer):
    """What a kernel keeps for each that there could be would not fit into a window."""
    def told(cpus, own="", extra=""):
        return [w for w in peer("line", own, extra, MB, 64 * MB, 2047, cpus=cpus).split() if "cpus" in w]

    assert told(4) == [] and told(240) == ["nr_cpus=4"] and told(8, own="maxcpus=2") == ["maxcpus=2", "nr_cpus=4"]
    # Who wants a whole system there says so.
    assert told(8, extra="nr_cpus=8") == ["nr_cpus=8"]
    sizes = [int(peer("window", 40 * MB, 0, cpus=n).partition("-")[2], 0) // MB for n in (1, 2, 3, 4, 8, 240)]
    assert sizes == [72, 72, 72, 80, 80, 80]


def test_places(peer, tmp_path):
    """Where the most can be moved away, by what /proc/kpageflags says; as low as can be."""
    lru, buddy, slab, poisoned = 1 << 5, 1 << 10, 1 << 7, 1 << 19
    flags = tmp_path / "kpageflags"

    def place(*pieces, align=2 * MB, **kw):
        pages = [0] * (512 * MB // 4096)
        for start, end, kind in pieces:
            for page in range(int(start * MB) // 4096, int(end * MB) // 4096):
                pages[page] = kind
        flags.write_bytes(struct.pack(f"<{len(pages)}Q", *pages))
        return tuple(int(end, 16) / MB for end in peer("place", flags, align, 64 * MB, **kw).split("-"))

    lowest = (1, 64)
    assert place() == lowest
    assert place((1, 512, buddy)) == (4, 68)
    # The kernel's text and data are in the lowest.
    assert place((1, 40, 0), (40, 512, buddy)) == (40, 104)
    assert place((1, 40, 0), (40, 512, buddy), align=16 * MB) == (48, 112)
    assert place((1, 40, 0), (40, 512, buddy), align=0) == lowest
    # In a block all or nothing, whoever uses it; the last one in which anything is does not count.
    assert place((1, 500, lru), *((n, n + 1 / 256, slab) for n in range(0, 200, 4))) == (200, 264)
    assert place((1, 500, lru), *((n + 1.5, n + 1.5 + 1 / 256, lru | poisoned) for n in range(0, 200, 4))) == (200, 264)
    # Where a journal may hold some of it, less; but that is better than what cannot be moved.
    private, uptodate, active = 1 << 35, 1 << 3, 1 << 6
    for held in private, private | uptodate | active:
        assert place((1, 400, lru | held), (400, 512, lru | private | uptodate)) == (400, 464)
        assert place((1, 400, lru | held), (400, 512, slab)) == (4, 68)
    # Partly.
    assert place((100, 132, buddy), (133, 140, slab), (300, 320, lru)) == (68, 132)
    # Not where there is no RAM, or the pages are not known.
    ram = "0-9f000,100000-9000000,a000000-20000000,"
    assert place((1, 120, 0), (120, 512, lru), ram=ram) == (160, 224)
    flags.write_bytes(b"")
    assert peer("place", flags, 2 * MB, 64 * MB) == peer("place", tmp_path / "none", 2 * MB, 64 * MB) == "0x100000-0x4000000"


FILES = {"init": 0o100755, "sbin/kjump": 0o100755, "etc/x": 0o100644}


def archive(tmp_path, *names):
    files = {}
    for i, name in enumerate(names):
        path = tmp_path / f"file{i}"
        path.write_bytes(random.Random(i).randbytes(5000 + i))
        files[f"/{name}"] = path
    return cpio(files)


def test_initramfs(peer, tmp_path):
    whole = archive(tmp_path, "init", "sbin/kjump", "etc/x")
    early = archive(tmp_path, "kernel/x86/microcode/AuthenticAMD.bin")
    where = tmp_path / "initrd"

    def look(data, **kw):
        where.write_bytes(data)
        return peer("initramfs", where, **kw)
    assert look(whole) == f"{len(whole)} {3 * 8192}"
    packed = {"gzip": gzip.compress(whole)}
    for program in "xz --check=crc32", "bzip2", "zstd", "lz4 -l", "xz --format=lzma", "lzop":
        if shutil.which(program.split()[0]):
            packed[program] = subprocess.run([*program.split(), "-c"], input=whole, capture_output=True, check=True).stdout
    assert {"xz --check=crc32", "zstd", "lz4 -l"} <= set(packed), "lab/packages/check"
    for program, data in packed.items():
        assert look(data) == f"{len(data)} {3 * 8192}", program
        # As distributions have it: microcode first, then zeros, then what is packed.
        for gap in 0, 512, 65536 - len(early) - 4:
            assert look(early + bytes(gap) + data) == f"{len(early) + gap + len(data)} {4 * 8192}", (program, gap)
        look(data[:len(data) // 2], rc=REFUSED, says="initramfs .*initrd: not one .*cut off")
    # Several that are packed alike, one after another.
    look(gzip.compress(archive(tmp_path, "init")) + gzip.compress(archive(tmp_path, "usr/sbin/kjump")))
    for data in b"", bytes(5000), b"\x7fELF" + bytes(5000), b"070701" + b"x" * 500, whole[:-600], gzip.compress(b"no"):
        look(data, rc=REFUSED)
    look(archive(tmp_path, "sbin/kjump"), rc=REFUSED, says="there is no /init in it; name another")
    look(archive(tmp_path, "init"), rc=REFUSED, says=r"there is no kjump in it.*\(--initrd\)")
    look(archive(tmp_path, "init", "kjump.d/x", "etc/kjumps"), rc=REFUSED, says="there is no kjump in it")
    # A distribution's own has kjump in it, too, to resume.
    for name in "conf/initramfs.conf", "usr/lib/dracut-lib.sh", "init_functions":
        look(archive(tmp_path, "init", "usr/sbin/kjump", name), rc=REFUSED, says="not the peer's; .*kjump-mkinitramfs")
    look(b"\x89LZO" + bytes(50), rc=FAILED if not shutil.which("lzop") else REFUSED,
         says="" if shutil.which("lzop") else "takes lzop, which is not there: install it")
    # Whatever it is: an answer.
    rng = random.Random(SEED)
    for _ in range(200):
        data = bytearray(whole)
        for _ in range(rng.randrange(1, 6)):
            data[rng.randrange(len(data))] = rng.randrange(256)
        where.write_bytes(data)
        p = peer("initramfs", where, rc=None)
        assert p.returncode in (OK, FAILED, REFUSED), (SEED, p)


def test_kernel_says_so(peer, tmp_path):
    """The mark of a kernel that can come back, in those of the lab and of the unchanged source."""
    for variant in "x86_64", "i386", "i386-small":
        assert peer("bzimage", BUILD / variant / "bzImage").split()[:2] == ["2047", "1"], variant
    # One that is for the other architecture could not come back.
    peer("alike", BUILD / os.uname().machine / "bzImage")
    for variant in "i386", "i386-small":
        peer("alike", BUILD / variant / "bzImage", rc=REFUSED, says="it is for i386, this kernel for x86_64.*--kernel")
    image = bytearray((BUILD / "x86_64/bzImage").read_bytes())
    at = image.index(b"KJMP")
    assert image.count(b"LToP") == 1 and 0 < at - image.index(b"LToP") < 64
    other = tmp_path / "bzImage"

    def changed(where, data, **kw):
        other.write_bytes(image[:where] + data + image[where + len(data):])
        peer("bzimage", other, **kw)
    changed(at, b"XJMP", rc=REFUSED, says="bzImage: it cannot jump back: built without CONFIG_KEXEC_JUMP.*--kernel")
    changed(at + 8, b"\2", rc=REFUSED, says="it has version 2 of kexec jump, kjump and this kernel have 1")
    changed(0x206, b"\x0e\x02", rc=REFUSED, says="cannot jump back")
    changed(0x268, b"\xff\xff\xff\xff", rc=REFUSED, says="cannot jump back")
    changed(at + 4, b"\xff\xff\xff\xff", rc=REFUSED, says="cannot jump back")
    changed(0x202, b"xxxx", rc=FAILED, says="not a bzImage")


def test_told_and_found(boot, variant):
    """What kernels make of lines drawn at random is what kjump meant; the longest one it takes is read whole."""
    rng = random.Random(SEED)
    g = boot(variant, smp=2, memory="256M", disks=False, net=False)
    # The guest's shell takes all but ' as it is. Where the window is says the line, too, and so how long it is.
    parts = ['"', " ", "  ", "=", "=", "a", "b", "-", "--", "x1", "k_"]

    def draw(n):
        while True:
            line = "t" + "".join(rng.choices(parts, k=n)) + ' t2="u v" '
            if line.count('"') % 2 == 0 and " -- " not in re.sub(r'"[^"]*"', "q", line):
                return line

    longest = None
    for own, extra in ((draw(20) + '-- root=no "open', draw(12)), ("quiet", draw(20)), ("", None)):
        common = "lab.name=B lab.mount=0 console=ttyS1,115200 tsc_early_khz=1000000 no_timer_check"
        if extra is None:
            # The longest that is not refused: the peer must still read all of it.
            r = g.run(f"kjump load --window=64M --command-line=quiet --append='{common} {'y' * 2000}'", timeout=300)
            assert r.rc == REFUSED, r
            would_have, reads = map(int, re.search(r"would have (\d+) characters, and it reads (\d+)", r.out).groups())
            longest = 2000 - (would_have - reads)
            own, extra = "quiet", "y" * longest
            r = g.run(f"kjump load --window=64M --command-line=quiet --append='{common} {extra}y'", timeout=300)
            assert r.rc == REFUSED, r
        g.run(f"kjump load --window=64M --command-line='{own}' --append='{common} {extra}'", timeout=300).check()
        window = sysfs(g, "image_window")
        g.jump("kjump switch", to="B")
        line = g.run("cat /proc/cmdline").out
        read = words_of(line)
        assert read[-1].startswith("kexec_jump_back_entry=") and sysfs(g, "confined_to") == window, (SEED, line)
        meant = [w for w in words_of(own) + words_of(extra) if w.count('"') % 2 == 0]
        assert [w for w in read if w in meant] == meant, (SEED, line)
        # Those no kernel knows go to init: with a value to its environment, the last of a name.
        told = set(g.run("tr '\\0' '\\n' </proc/1/environ; tr '\\0' '\\n' </proc/1/cmdline").out.splitlines())
        for name in {parameter(w).partition("=")[0] for w in meant if w.startswith("t")}:
            last = [p for w in meant if (p := parameter(w)).partition("=")[0] == name][-1]
            if "=" in last and "." not in name:
                assert last in told, (SEED, last, told, line)
        g.jump("kjump back", to="A")
        assert sysfs(g, "last") == "ok"
    assert longest > 1500


def test_a_kernel_that_does_not_look(boot, variant):
    """The guard alone: a peer that is not told where it came from keeps to its window all the same."""
    g = boot(variant, smp=2, memory="256M", disks=False, net=False)
    words = g.run("kjump load && cat /sys/kernel/kexec_jump/image_window", timeout=300).check().out
    end = int(re.findall(r"-(0x[0-9a-f]+)$", words, re.M)[-1], 16) + 1
    g.jump("kjump switch", to="B")
    guards = [w for w in g.run("cat /proc/cmdline").out.split() if w.startswith("memmap=")]
    g.jump("kjump back", to="A")
    # The same words, for a kernel that was not jumped to.
    b = boot(variant, memory="256M", disks=False, net=False, append=" ".join(guards))
    ram = [(int(a, 16), int(z, 16) + 1) for a, z in
           re.findall(r"^([0-9a-f]+)-([0-9a-f]+) : System RAM", b.run("cat /proc/iomem").out, re.M)]
    assert ram and all(z <= end for _, z in ram), (guards, ram)
