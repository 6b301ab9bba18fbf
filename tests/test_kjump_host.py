# SPDX-License-Identifier: GPL-2.0
"""kjump on the host, with files in the place of memory and devices: images are right, or refused."""
import contextlib
import gzip
import json
import os
import pathlib
import random
import re
import resource
import shutil
import signal
import stat
import struct
import subprocess
import tempfile
import time

import pytest

from kjlab import lint
from kjlab.initramfs import cpio
from kjlab.util import lock

SOURCE = pathlib.Path(__file__).resolve().parents[1] / "tools/power/kjump"
PAGE, MB = 4096, 1 << 20
OK, FAILED, USAGE, NONE, REFUSED, BAD, PEER = range(7)
PREPARED, WRITING, COMPLETE, USED, SNAPSHOT = range(1, 6)
VERBS = "load switch unload back serve save hibernate restore snapshot extract call status setup".split()
EM_386, EM_X86_64 = 3, 62


# --- building -----------------------------------------------------------------

@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """Directory with kjump, built without a warning."""
    out = tmp_path_factory.mktemp("kjump")
    p = subprocess.run(["make", "-s", "-j2", "-C", SOURCE, f"O={out}", "CFLAGS=-O1 -Werror"],
                       capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    return out


@pytest.fixture
def tmp_path():
    """In memory if there is room: many files are written, and each is flushed."""
    shm = pathlib.Path("/dev/shm")
    room = shm.is_dir() and os.access(shm, os.W_OK) and shutil.disk_usage(shm).free > 512 * MB
    with tempfile.TemporaryDirectory(prefix="kjump-", dir=shm if room else None) as name:
        yield pathlib.Path(name)


class Done:
    def __init__(self, p):
        self.rc, self.out, self.err = p.returncode, p.stdout, p.stderr


@pytest.fixture
def kjump(built, tmp_path):
    """kjump(words): runs it and checks the exit code."""
    def run(*words, rc=OK, says="", limit=None, ignore=False, memory=None, **kw):
        def before():
            if limit is not None:
                resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
                resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit))
            if memory is not None:
                resource.setrlimit(resource.RLIMIT_DATA, (memory, memory))
            if ignore:
                signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        env = {**os.environ, "KJUMP_CONF": str(tmp_path / "kjump.conf"), "TZ": "UTC"}
        p = subprocess.run([built / "kjump", *map(str, words)], capture_output=True, text=True,
                           timeout=60, env=env, cwd=tmp_path, preexec_fn=before,
                           restore_signals=not ignore, **kw)
        assert p.returncode == rc, (words, p.returncode, p.stdout, p.stderr)
        assert says in p.stderr, (words, p.stderr)
        # One line says what is wrong.
        assert p.stderr.count("\n") == (1 if rc > 0 else 0), p.stderr
        return Done(p)
    return run


# --- a preserved kernel's memory ----------------------------------------------

def note(name, kind, desc):
    name += b"\0"
    pad = lambda b: b + b"\0" * (-len(b) % 4)
    return struct.pack("<III", len(name), len(desc), kind) + pad(name) + pad(desc)


def make_core(path, ranges, data, cpus=2, machine=EM_X86_64, entry=0x5000):
    """An ELF core: ranges [(address, length)], data {address: bytes}; the rest is holes."""
    notes = b"".join(note(b"CORE", 1, b"r" * 336) for _ in range(cpus))
    notes += note(b"VMCOREINFO", 0, b"OSRELEASE=6.12.9-lab\nBUILD-ID=0123abcd\nPAGESIZE=4096\n")
    offset, first = 2 * PAGE, 64 + 56 * (len(ranges) + 1)
    headers = struct.pack("<IIQQQQQQ", 4, 0, first, 0, 0, len(notes), len(notes), 0)
    where = []
    for address, length in ranges:
        headers += struct.pack("<IIQQQQQQ", 1, 7, offset, 0, address, length, length, 0)
        where.append((address, length, offset))
        offset += length
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 4, machine, 1, entry, 64, 0, 0, 64, 56,
                       len(ranges) + 1, 0, 0, 0)
    with open(path, "wb") as f:
        f.write(head + headers + notes)
        f.truncate(offset)
        for address, content in data.items():
            a, length, o = next(w for w in where if w[0] <= address < w[0] + w[1])
            assert address + len(content) <= a + length
            f.seek(o + address - a)
            f.write(content)
    return path


RANGES = [(0x1000, 0x9e000), (MB, 15 * MB), (64 * MB, 4 * MB)]


def make_usual(path, seed=1, **kw):
    """Some of everything: dense, page by page, packing well and not at all, zeros."""
    r = random.Random(seed)
    data = {0x1000: r.randbytes(0x9e000), 64 * MB: bytes(MB), 64 * MB + MB: b"text %d " % seed * 40000}
    for n in range(0, 600, 2):
        data[MB + n * PAGE] = r.randbytes(PAGE) if n % 3 else b"%04d" % n * 1024
    data[8 * MB] = r.randbytes(MB) + bytes(range(256)) * 4096
    return make_core(path, RANGES, data, **kw)


@pytest.fixture
def core(tmp_path):
    return make_usual(tmp_path / "core")


@pytest.fixture
def image(kjump, core, tmp_path):
    kjump("save", "--from", core, tmp_path / "image")
    return tmp_path / "image"


def data_map(path):
    """[(offset, end)] of what is not a hole."""
    found, at = [], 0
    with open(path, "rb") as f, contextlib.suppress(OSError):
        while True:
            start = os.lseek(f.fileno(), at, os.SEEK_DATA)
            at = os.lseek(f.fileno(), start, os.SEEK_HOLE)
            found.append((start, at))
    return found


def same(a, b):
    return a.read_bytes() == b.read_bytes() and data_map(a) == data_map(b)


# --- the format, from the outside ---------------------------------------------

def xxh64(data, seed=0):
    m = (1 << 64) - 1
    p1, p2, p3, p4, p5 = (0x9e3779b185ebca87, 0xc2b2ae3d27d4eb4f, 0x165667b19e3779f9,
                          0x85ebca77c2b2ae63, 0x27d4eb2f165667c5)
    rol = lambda x, n: (x << n | x >> 64 - n) & m
    turn = lambda acc, lane: rol(acc + lane * p2 & m, 31) * p1 & m
    at, n = 0, len(data)
    if n >= 32:
        v = [seed + p1 + p2 & m, seed + p2 & m, seed, seed - p1 & m]
        for at in range(0, n - 31, 32):
            v = [turn(a, lane) for a, lane in zip(v, struct.unpack_from("<4Q", data, at))]
        at += 32
        h = rol(v[0], 1) + rol(v[1], 7) + rol(v[2], 12) + rol(v[3], 18) & m
        for a in v:
            h = ((h ^ turn(0, a)) * p1 + p4) & m
    else:
        h = seed + p5
    h = h + n & m
    while n - at >= 8:
        h = (rol(h ^ turn(0, struct.unpack_from("<Q", data, at)[0]), 27) * p1 + p4) & m
        at += 8
    if n - at >= 4:
        h = (rol(h ^ struct.unpack_from("<I", data, at)[0] * p1 & m, 23) * p2 + p3) & m
        at += 4
    for byte in data[at:]:
        h = rol(h ^ byte * p5 & m, 11) * p1 & m
    h = (h ^ h >> 33) * p2 & m
    h = (h ^ h >> 29) * p3 & m
    return h ^ h >> 32


FIELDS = {"version": ("<I", 8), "state": ("<I", 12), "machine": ("<I", 32), "algorithm": ("<I", 36),
          "entry": ("<Q", 40), "data_bytes": ("<Q", 56), "image_size": ("<Q", 64), "index_offset": ("<Q", 72),
          "index_length": ("<Q", 80), "index_hash": ("<Q", 88)}


def field(path, name):
    form, at = FIELDS[name]
    return struct.unpack_from(form, path.read_bytes(), at)[0]


def set_fields(path, **values):
    """Change the superblock, with a right checksum."""
    data = bytearray(path.read_bytes())
    for name, value in values.items():
        form, at = FIELDS[name]
        struct.pack_into(form, data, at, value)
    struct.pack_into("<Q", data, 504, xxh64(data[:504]))
    path.write_bytes(data)


def edit_index(path, change):
    """Let change(bytearray) edit the index, with right checksums."""
    data = bytearray(path.read_bytes())
    at, length = field(path, "index_offset"), field(path, "index_length")
    index = data[at:at + length]
    change(index)
    data[at:at + length] = index
    path.write_bytes(data)
    set_fields(path, index_hash=xxh64(index))


def chunks(path):
    """[(offset, bytes)] of the chunks with their headers."""
    data, at, found = path.read_bytes(), PAGE, []
    while at < field(path, "index_offset") and data[at:at + 4] == b"KHCK":
        length = 24 + struct.unpack_from("<I", data, at + 8)[0]
        found.append((at, data[at:at + length]))
        at += length
    return found


# --- what is saved is what comes back -----------------------------------------

@pytest.mark.parametrize("how", ["zstd", "lz4", "none"])
def test_round_trip(kjump, core, tmp_path, how):
    kjump("save", f"--compress={how}", "--from", core, "image")
    kjump("extract", "image", "dump")
    assert same(core, tmp_path / "dump")
    size, data = (tmp_path / "image").stat().st_size, sum(e - s for s, e in data_map(core))
    assert size < (data + 64 * 1024 if how == "none" else data * 0.85)
    assert not list(tmp_path.glob("dump.kjump-part*"))


@pytest.fixture
def block_devices():
    """Nobody else makes images on block devices meanwhile: kjump looks at all there are."""
    with lock("block-devices"):
        yield


def test_what_is_saved_can_be_seen(built, kjump, core, image, block_devices):
    seen = json.loads(kjump("status", "--json", image).out)
    assert seen["state"] == "complete" and seen["release"] == "6.12.9-lab"
    assert seen["build_id"] == "0123abcd" and seen["compress"] == "lz4"
    assert seen["data_bytes"] == sum(e - s for s, e in data_map(core))
    assert seen["image_bytes"] == image.stat().st_size
    assert abs(seen["saved_at"] - core.stat().st_mtime) < 3600
    assert "6.12.9-lab" in kjump("status", image).out
    whole = json.loads(kjump("status", "--json", rc=NONE, says="cannot jump").out)
    assert whole["images"] == [] and whole["supported"] is False and whole["loaded"] is None
    # One that is damaged has the same keys.
    flip(image, 300)
    damaged = json.loads(kjump("status", "--json", image, rc=BAD, says="damaged").out)
    assert list(damaged) == list(seen) and damaged["state"] == "damaged" and "superblock" in damaged["why"]
    # Whatever a file is called.
    for name, told in ((b"h\xc3\xbc \xe2\x82\xac \xf0\x9f\x92\xbe\x7f", "h\u00fc \u20ac \U0001f4be\x7f"),
                       (b'\xff \xc0\xaf \xed\xa0\x80 \xe2\x82\x1f"\\', '\ufffd \ufffd\ufffd \ufffd\ufffd\ufffd \ufffd\ufffd\x1f"\\')):
        odd = image.parent / os.fsdecode(name)
        image.rename(odd)
        assert json.loads(kjump_bytes(built, "--json", odd))["path"] == f"{image.parent}/{told}"
        odd.rename(image)


def kjump_bytes(built, *words):
    return subprocess.run([built / "kjump", "status", *words], stdout=subprocess.PIPE).stdout.decode()


@pytest.mark.parametrize("words", [[], ["--json"]])
def test_answer_that_cannot_be_written(built, image, words):
    with open("/dev/full", "w") as full:
        p = subprocess.run([built / "kjump", "status", *words, image], stdout=full, stderr=subprocess.PIPE, text=True)
    assert p.returncode == FAILED and "the answer cannot be written: No space left" in p.stderr, p


def test_saving_again_over_an_old_image(kjump, core, image, tmp_path):
    """A smaller image over a larger one; ids differ. One that can be resumed is not lost by accident."""
    before = json.loads(kjump("status", "--json", image).out)
    other = make_core(tmp_path / "small", [(MB, MB)], {MB: b"small" * 1000})
    kjump("save", "--from", other, image, rc=REFUSED, says="that was not resumed; --force overwrites it")
    assert json.loads(kjump("status", "--json", image).out) == before
    for state in PREPARED, WRITING, USED, SNAPSHOT:
        set_fields(image, state=state)
        kjump("save", "--from", other, image)
        assert json.loads(kjump("status", "--json", image).out)["state"] == "complete"
    # Of a version whose states this one cannot know.
    set_fields(image, version=7)
    kjump("save", "--from", other, image, rc=REFUSED, says="of another version of kjump (7; ")
    kjump("save", "--force", "--from", other, image)
    after = json.loads(kjump("status", "--json", image).out)
    assert before["id"] != after["id"] and after["image_bytes"] == image.stat().st_size
    kjump("extract", image, "dump")
    assert same(other, tmp_path / "dump")


@pytest.mark.parametrize("make", ["one page", "all holes", "no whole page"])
def test_unusual_cores(kjump, tmp_path, make):
    data = {"one page": {5 * MB: b"x" * PAGE}, "all holes": {}, "no whole page": {5 * MB + 7: b"y"}}[make]
    core = make_core(tmp_path / "core", [(MB, 16 * MB)], data)
    kjump("save", "--from", core, "image")
    kjump("extract", "image", "dump")
    assert same(core, tmp_path / "dump")


def test_bounded_memory(kjump, tmp_path):
    """What the man page says is enough, also with memory in pieces of a page."""
    r = random.Random(3)
    core = make_core(tmp_path / "core", [(0, 128 * MB)],
                     {n * PAGE: r.randbytes(PAGE // 2) for n in range(0, 128 * MB // PAGE, 2)})
    stated = int(re.search(r"take (\d+) MB or less", (SOURCE / "kjump.8").read_text())[1])
    kjump("save", "--from", core, "image", memory=stated * MB)
    kjump("extract", "image", "dump", memory=stated * MB)
    assert same(core, tmp_path / "dump")
    kjump("extract", "--force", "image", "dump", memory=MB, rc=FAILED, says="memory")


# --- what is damaged is refused, and nothing is lost --------------------------

def check_refused(kjump, image, tmp_path, rc, says):
    """Neither extracted nor resumed, and what was there before still is."""
    dump = tmp_path / "dump"
    dump.write_text("precious")
    kjump("extract", "--force", image, dump, rc=rc, says=says)
    assert dump.read_text() == "precious" and not list(tmp_path.glob("dump.kjump-part*"))
    kjump("restore", "--check", "--wait=0", image, rc=rc, says=says)


def flip(path, at):
    data = bytearray(path.read_bytes())
    data[at] ^= 0x10
    path.write_bytes(data)


def test_flipped_superblock(kjump, image, tmp_path):
    for at in range(0, 512, 9):
        flip(image, at)
        rc, says = (NONE, "no image") if at < 8 else (BAD, "damaged")
        kjump("extract", image, "dump", rc=rc, says=says)
        kjump("restore", "--check", image, rc=rc, says=says)
        flip(image, at)
    assert not (tmp_path / "dump").exists()
    kjump("extract", image, "dump")


def test_flipped_chunks(kjump, core, tmp_path):
    image = tmp_path / "image"
    for how in "zstd", "lz4", "none":
        kjump("save", "--force", f"--compress={how}", "--from", core, image)
        found = chunks(image)
        assert len(found) > 10
        for n in 0, 5, len(found) - 1:
            at, data = found[n]
            for within in 0, 4, 8, 12, 16, 24, len(data) // 2, len(data) - 1:
                flip(image, at + within)
                kjump("extract", image, "dump", rc=BAD, says=f"damaged (chunk {n} of {len(found)})")
                flip(image, at + within)
        at, data = found[7]
        flip(image, at + len(data) - 3)
        check_refused_by_extract_only(kjump, image, tmp_path)


def check_refused_by_extract_only(kjump, image, tmp_path):
    dump = tmp_path / "dump"
    dump.write_text("precious")
    kjump("extract", "--force", image, dump, rc=BAD, says="damaged (chunk 7 ")
    assert dump.read_text() == "precious" and not list(tmp_path.glob("dump.kjump-part*"))
    dump.unlink()


def test_flipped_index(kjump, image, tmp_path):
    start, length = field(image, "index_offset"), field(image, "index_length")
    for at in sorted({*range(0, length, length // 20), length - 1}):
        flip(image, start + at)
        kjump("extract", image, "dump", rc=BAD, says="damaged (index)")
        flip(image, start + at)
    flip(image, start)
    check_refused(kjump, image, tmp_path, BAD, "damaged (index)")


def test_index_that_lies(built, kjump, image, tmp_path):
    """Wrong numbers with right checksums: refused, or about the machine only; never a crash."""
    good, r, refused = image.read_bytes(), random.Random(5), 0
    for n in range(30):
        def change(index):
            at = r.randrange(24) if n % 2 else r.randrange(96, len(index))
            index[at] ^= 1 << r.randrange(8)
        edit_index(image, change)
        p = subprocess.run([built / "kjump", "extract", "--force", image, tmp_path / "dump"],
                           capture_output=True, text=True, timeout=60)
        assert p.returncode in (OK, BAD), p
        refused += p.returncode == BAD
        image.write_bytes(good)
    assert refused > 15


def test_files_that_are_there(kjump, core, tmp_path):
    """What is saved is for its owner alone, and goes where it was said to go."""
    image, other = tmp_path / "image", tmp_path / "other"
    kjump("save", "--from", core, image)
    assert stat.S_IMODE(image.stat().st_mode) == 0o600
    image.chmod(0o644)
    if not os.getuid():
        os.chown(image, 65534, 65534)
    kjump("save", "--force", "--from", core, image)
    assert stat.S_IMODE(image.stat().st_mode) == 0o600 and image.stat().st_uid == os.getuid()
    before = image.read_bytes()
    for link in lambda: other.symlink_to(image), lambda: other.hardlink_to(image):
        link()
        kjump("save", "--force", "--from", core, other, rc=REFUSED, says="is a link" if other.is_symlink() else "another name")
        assert image.read_bytes() == before
        kjump("extract", other, "dump")                 # To read is another matter.
        (tmp_path / "dump").unlink()
        other.unlink()
    other.symlink_to(tmp_path / "new")
    kjump("save", "--force", "--from", core, other, rc=FAILED)
    assert not (tmp_path / "new").exists()


def test_two_extracts_at_once(built, image, core, tmp_path):
    """Each writes its own; the file is one of them, and whole."""
    for options in ["--force"], []:
        dump = tmp_path / f"dump{len(options)}"
        both = [subprocess.Popen([built / "kjump", "extract", *options, image, dump], stdout=subprocess.DEVNULL,
                                 stderr=subprocess.DEVNULL) for _ in range(2)]
        codes = sorted(p.wait(60) for p in both)
        assert codes == [OK, OK] or not options and codes == [OK, REFUSED] or codes == [OK, FAILED], codes
        assert same(core, dump) and not list(tmp_path.glob("dump*part*"))


def test_out_of_memory(kjump, image, core, tmp_path):
    """Nothing is left behind, and what was there stays."""
    dump = tmp_path / "dump"
    for limit in 2, 4, 6:
        kjump("extract", image, dump, memory=limit * MB, rc=FAILED, says="out of memory")
        kjump("save", "--from", core, "new", memory=limit * MB, rc=FAILED, says="out of memory")
        assert sorted(p.name for p in tmp_path.iterdir()) == ["core", "image"]


def test_loads_that_contradict(kjump, image, tmp_path):
    """PT_LOADs that are not within themselves, the file or each other; or that leave data out."""
    good, header = image.read_bytes(), 128
    OFFSET, PADDR, FILESZ, MEMSZ = range(4)

    def get(index, load, what):
        return struct.unpack_from("<Q", index, header + 32 * load + 8 * what)[0]

    def put(load, what, value):
        def change(index):
            new = value(index) if callable(value) else value
            assert new != get(index, load, what)
            struct.pack_into("<Q", index, header + 32 * load + 8 * what, new)
        edit_index(image, change)
        check_refused(kjump, image, tmp_path, BAD, "damaged (index)")
        image.write_bytes(good)

    put(0, MEMSZ, lambda i: get(i, 0, FILESZ) - PAGE)
    put(0, MEMSZ, 0)
    put(0, FILESZ, lambda i: get(i, 0, FILESZ) + 1)
    put(0, OFFSET, 1 << 40)
    put(0, OFFSET, (1 << 64) - PAGE)
    put(0, PADDR, (1 << 64) - PAGE)
    put(1, PADDR, lambda i: get(i, 0, PADDR))
    put(1, PADDR, lambda i: get(i, 0, PADDR) + get(i, 0, MEMSZ) - PAGE)
    put(1, OFFSET, lambda i: get(i, 0, OFFSET))
    put(1, OFFSET, lambda i: get(i, 1, OFFSET) - PAGE)
    put(0, FILESZ, PAGE)


def test_headers_are_not_believed(kjump, image, tmp_path):
    """A small sparse file that claims to be large takes no memory."""
    good = image.read_bytes()
    for length in 3 << 30, 1 << 40:
        image.write_bytes(good)
        set_fields(image, data_bytes=1 << 50, index_length=length, image_size=1 << 42)
        os.truncate(image, 1 << 42)
        for verb in (["extract", image, "dump"], ["restore", "--check", image]):
            kjump(*verb, memory=8 * MB, rc=BAD, says="damaged (index)")


def test_cut_off(kjump, image, tmp_path):
    data = image.read_bytes()
    r = random.Random(2)
    for length in [0, 1, 7, 8, 100, 511, 512, 4095, 4096, 4097, *(r.randrange(len(data)) for _ in range(20)),
                   len(data) - PAGE, len(data) - 1]:
        image.write_bytes(data[:length])
        kjump("extract", image, "dump", rc=NONE if length < 8 else BAD,
              says="no image" if length < 8 else "damaged")
    check_refused(kjump, image, tmp_path, BAD, "damaged (cut off")


@pytest.mark.parametrize("state,says", [(PREPARED, "only prepared"), (WRITING, "half-written"),
                                        (9, "damaged (unknown state 9)")])
def test_states_that_hold_nothing(kjump, image, tmp_path, state, says):
    set_fields(image, state=state)
    check_refused(kjump, image, tmp_path, BAD, says)


@pytest.mark.parametrize("state,says", [(USED, "already used"), (SNAPSHOT, "a snapshot")])
def test_states_that_are_only_to_look_at(kjump, core, image, tmp_path, state, says):
    set_fields(image, state=state)
    kjump("restore", image, rc=BAD, says=says)
    assert field(image, "state") == state
    kjump("extract", image, "dump")
    assert same(core, tmp_path / "dump")


def test_other_version(kjump, image, tmp_path):
    set_fields(image, version=3)
    check_refused(kjump, image, tmp_path, BAD, "version 3")


def test_sizes_that_lie(kjump, image, tmp_path):
    good = image.read_bytes()
    for values in ({"index_offset": 1 << 62}, {"index_offset": 4097}, {"index_length": 1 << 40},
                   {"index_length": 0}, {"image_size": 0}, {"algorithm": 7}, {"index_offset": 0}):
        set_fields(image, **values)
        check_refused(kjump, image, tmp_path, BAD, "damaged")
        image.write_bytes(good)


def test_chunks_at_the_wrong_place(kjump, core, tmp_path):
    """Two chunks of the same length exchanged; a chunk of another image of the same memory."""
    for name in "one", "two":
        kjump("save", "--compress=none", "--from", core, name)
    one, two = tmp_path / "one", tmp_path / "two"
    (a, first), (b, second) = chunks(one)[2:4]
    assert len(first) == len(second)
    good = one.read_bytes()
    data = bytearray(good)
    data[a:a + len(first)], data[b:b + len(first)] = second, first
    one.write_bytes(data)
    kjump("extract", one, "dump", rc=BAD, says="damaged (chunk 2")
    # Even with its number put right.
    struct.pack_into("<I", data, a + 4, 2)
    struct.pack_into("<I", data, b + 4, 3)
    one.write_bytes(data)
    kjump("extract", one, "dump", rc=BAD, says="damaged (chunk ")
    data = bytearray(good)
    data[a:a + len(first)] = chunks(two)[2][1]
    one.write_bytes(data)
    kjump("extract", one, "dump", rc=BAD, says="damaged (chunk 2")
    assert not (tmp_path / "dump").exists()


# --- a save that does not end -------------------------------------------------

def check_old_new_or_none(kjump, image, old, new, tmp_path):
    """Which is there after the end of a save: entirely "old", entirely "new" or none."""
    dump = tmp_path / "dump"
    state = json.loads(kjump("status", "--json", image).out)["state"]
    if state != "complete":
        assert state == "half-written"
        check_refused(kjump, image, tmp_path, BAD, "half-written")
        return "none"
    kjump("extract", "--force", image, dump)
    if same(dump, new):
        return "new"
    assert same(dump, old)
    return "old"


def test_killed_at_any_place(kjump, core, tmp_path):
    """The writer dies when it writes beyond N bytes, for many N."""
    new, image = make_usual(tmp_path / "new", seed=2), tmp_path / "image"
    kjump("save", "--from", new, image)
    size, ends = image.stat().st_size, []
    for limit in [0, PAGE, *range(MB // 2, size - PAGE, MB // 2), size - PAGE, size - 1, size]:
        image.unlink()
        kjump("save", "--from", core, image)
        kjump("save", "--force", "--from", new, image, limit=limit,
              rc=0 if limit >= size else -signal.SIGXFSZ)
        ends.append(check_old_new_or_none(kjump, image, core, new, tmp_path))
    assert ends[0] == "old" and ends[-1] == "new" and set(ends[1:-1]) == {"none"}


def test_killed_at_any_time(built, kjump, core, tmp_path):
    new, image, r = tmp_path / "new", tmp_path / "image", random.Random()
    make_core(new, [(0, 64 * MB)], {0: random.Random(1).randbytes(32 * MB)})
    command = [built / "kjump", "save", "--force", "--from", new, image]
    kjump("save", "--from", core, image)
    start = time.monotonic()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    duration = time.monotonic() - start
    for n in range(12):
        image.unlink()
        kjump("save", "--from", core, image)
        p = subprocess.Popen(command, stdout=subprocess.DEVNULL)
        time.sleep(r.uniform(0, duration))
        p.kill()
        p.wait()
        check_old_new_or_none(kjump, image, core, new, tmp_path)


def test_no_space(kjump, core, image):
    """A write that fails is reported, and what is there is not taken for an image."""
    for limit in PAGE, MB:
        kjump("save", "--force", "--from", core, image, limit=limit, ignore=True, rc=FAILED, says="File too large")
        kjump("restore", "--check", image, rc=BAD, says="half-written")
    # A new file does not stay behind.
    kjump("save", "--from", core, "other", limit=MB, ignore=True, rc=FAILED)
    assert not image.with_name("other").exists()


def test_no_space_for_a_dump(kjump, image, tmp_path):
    dump = tmp_path / "dump"
    dump.write_text("precious")
    kjump("extract", "--force", image, dump, limit=18 * MB, ignore=True, rc=FAILED)
    assert dump.read_text() == "precious" and not list(tmp_path.glob("dump.kjump-part*"))


# --- what is there already ----------------------------------------------------

# What makes each, or where it begins and how.
ON_IT = {"a file system (ext2)": "mke2fs -q -F", "swap space": "mkswap -q", "a file system (xfs)": "mkfs.xfs -q",
         "a file system (btrfs)": "mkfs.btrfs -q", "a file system (vfat)": "mkfs.vfat",
         "an encrypted device (crypto_LUKS)": (0, b"LUKS\xba\xbe\0\1"),
         # At the end, and the beginning is blank.
         "a part of a RAID or of LVM (linux_raid_member)": (4 * MB - 0x10000, struct.pack("<4I", 0xa92b4efc, 0, 90, 0)),
         "something": (100000, b"?")}


def fill(path, what):
    path.write_bytes(b"")
    os.truncate(path, 320 * MB if "xfs" in what else 128 * MB if "btrfs" in what else 4 * MB)
    if isinstance(ON_IT[what], str):
        subprocess.run([*ON_IT[what].split(), path], check=True, capture_output=True)
        return
    at, data = ON_IT[what]
    with open(path, "r+b") as f:
        f.seek(at)
        f.write(data)


@pytest.mark.parametrize("what", ON_IT)
def test_target_with_something_on_it(kjump, core, tmp_path, what):
    target = tmp_path / "target"
    fill(target, what)
    before = target.read_bytes()
    kjump("save", "--from", core, target, rc=REFUSED, says=what)
    assert target.read_bytes() == before
    kjump("save", "--force", "--from", core, target)
    kjump("extract", target, "dump")
    assert same(core, tmp_path / "dump")


def raid_member():
    """As mdadm writes it (1.2), 4 KB behind the beginning."""
    sb = bytearray(256)
    struct.pack_into("<2I", sb, 0, 0xa92b4efc, 1)
    struct.pack_into("<Q", sb, 144, 8)
    total = sum(struct.unpack("<64I", sb))
    struct.pack_into("<I", sb, 216, (total & 0xffffffff) + (total >> 32))
    return bytes(sb)


@pytest.mark.parametrize("what,at,data", [
    ("a partition table (dos)", 446, struct.pack("<4B4B2I", 0, 0, 2, 0, 0x83, 0, 3, 0, 2048, 2048) + bytes(48) + b"\x55\xaa"),
    ("a part of a RAID or of LVM (linux_raid_member)", 4096, raid_member())])
def test_old_image_under_something_new(kjump, image, core, tmp_path, what, at, data):
    """Whoever made that has left the beginning of the image as it was."""
    set_fields(image, state=4)
    used = image.read_bytes()
    image.write_bytes(used[:at] + data + used[at + len(data):])
    before = image.read_bytes()
    kjump("save", "--from", core, image, rc=REFUSED, says=f"{what}, and what is left of an old image")
    assert image.read_bytes() == before
    kjump("save", "--force", "--from", core, image)
    # What is at the end outlasts that, and the next one is no less welcome for it.
    with open(image, "r+b") as f:
        where, end = ON_IT["a part of a RAID or of LVM (linux_raid_member)"]
        f.truncate(128 * MB)
        f.seek(where + 124 * MB)
        f.write(end)
    set_fields(image, state=4)
    kjump("save", "--from", core, image)


def test_closed_files(built, tmp_path):
    """What is said does not go to the file that is opened next."""
    with subprocess.Popen(["sh", "-c", 'exec "$0" restore --wait=60 LABEL=missing <&- >&- 2>&-', built / "kjump"]) as p:
        fds = pathlib.Path(f"/proc/{p.pid}/fd")
        while p.poll() is None and not (os.readlink(fds.with_name("exe")) == str(built / "kjump") and
                                        all((fds / str(n)).is_symlink() for n in range(3))):
            time.sleep(0.01)
        assert [os.readlink(fds / str(n)) for n in range(3)] == 3 * ["/dev/null"]
        p.kill()


def test_blank_target(kjump, core, tmp_path):
    target = tmp_path / "target"
    target.write_bytes(bytes(MB))
    kjump("save", "--from", core, target)
    kjump("extract", target, "dump")
    assert same(core, tmp_path / "dump")


def test_existing_dump_is_kept(kjump, image, core, tmp_path):
    dump = tmp_path / "dump"
    dump.write_text("precious")
    kjump("extract", image, dump, rc=REFUSED, says="--force")
    assert dump.read_text() == "precious"
    kjump("extract", "--force", image, dump)
    assert same(core, dump)
    (tmp_path / "dir").mkdir()
    kjump("extract", "--force", image, "dir", rc=REFUSED, says="not a regular file")
    kjump("extract", image, "no/such/dir", rc=FAILED, says="no/such/dir")


def test_what_is_no_core_is_not_saved(kjump, image, tmp_path):
    """...and an old image stays what it was."""
    before = image.read_bytes()
    (tmp_path / "text").write_text("no ELF" * 1000)
    (tmp_path / "empty").write_bytes(b"")
    cut = make_usual(tmp_path / "cut")
    os.truncate(cut, 9 * MB)
    odd = make_core(tmp_path / "odd", [(MB + 5, MB)], {})
    for name, says in (("text", "no 64-bit ELF"), ("empty", "empty"), (cut, "cut off"),
                       (odd, "whole pages"), ("missing", "No such file"), ("/dev/null", "/dev/null")):
        kjump("save", "--from", name, image, rc=FAILED, says=says)
    make_usual(tmp_path / "arm", machine=183)
    kjump("save", "--from", "arm", image, rc=FAILED, says="architecture")
    assert image.read_bytes() == before


# --- block devices ------------------------------------------------------------

@pytest.fixture
def loop(tmp_path, block_devices):
    """loop(size): a block device of that size, zeros."""
    devices = []

    def make(size):
        backing = tmp_path / f"backing{len(devices)}"
        backing.touch()
        os.truncate(backing, size)
        p = subprocess.run(["losetup", "-f", "--show", backing], capture_output=True, text=True)
        if p.returncode:
            pytest.skip(f"no loop devices here: {p.stderr.strip()}")
        devices.append(p.stdout.strip())
        return devices[-1], backing
    yield make
    for device in devices:
        subprocess.run(["losetup", "-d", device], check=True)


def test_block_device(kjump, core, tmp_path, loop):
    device, backing = loop(16 * MB)
    kjump("save", "--from", core, device)
    kjump("extract", device, "dump")
    assert same(core, tmp_path / "dump")
    assert device in kjump("restore", "--list").out and device in kjump("status", rc=NONE).out
    found = json.loads(kjump("status", "--json", rc=NONE).out)["images"]
    assert [i["state"] for i in found if i["path"] == device] == ["complete"]
    kjump("restore", "--check", "--wait=0", rc=BAD, says=f"{device}: from another machine")
    other, _ = loop(16 * MB)
    kjump("save", "--from", core, other)
    kjump("restore", "--check", "--wait=0", rc=REFUSED, says="there are 2 images, and 0 of them fit; name the device")
    # A copy is no other image.
    shutil.copy(backing, _)
    kjump("restore", "--check", "--wait=0", rc=BAD, says="from another machine")


def test_device_too_small(kjump, core, tmp_path, loop):
    """Known before anything is written."""
    device, backing = loop(4 * MB)
    kjump("save", "--from", core, device, rc=REFUSED, says=f"{device} is too small: it has 4 MB")
    assert not backing.read_bytes().strip(b"\0")


def test_device_in_use(kjump, core, tmp_path, loop):
    """Mounted or swapped on: refused whatever is asked for."""
    mounted, backing = loop(16 * MB)
    subprocess.run(["mke2fs", "-q", mounted], check=True)
    (tmp_path / "mnt").mkdir()
    subprocess.run(["mount", mounted, tmp_path / "mnt"], check=True)
    try:
        kjump("save", "--force", "--from", core, mounted, rc=REFUSED, says=f"mounted on {tmp_path}/mnt")
    finally:
        subprocess.run(["umount", tmp_path / "mnt"], check=True)
    subprocess.run(["e2fsck", "-fn", backing], check=True, capture_output=True)
    swap, _ = loop(16 * MB)
    subprocess.run(["mkswap", swap], check=True, capture_output=True)
    kjump("save", "--from", core, swap, rc=REFUSED, says="holds swap space")
    p = subprocess.run(["swapon", swap], capture_output=True, text=True)
    if p.returncode:
        pytest.skip(f"no swapping here: {p.stderr.strip()}")
    try:
        kjump("save", "--force", "--from", core, swap, rc=REFUSED, says="swap space")
    finally:
        subprocess.run(["swapoff", swap], check=True)


# --- loading, with a kernel that is played ------------------------------------

HARNESS = r"""
#include "common/machine.h"
#include "peer/kexec.h"
#include "resume/resume.h"
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A page is absent, announced or filled; what it holds is in a file of the size of memory. */
static unsigned char state[1 << 16];
static int memory, calls, begun, fail_at = -1;

int kexec_load_call(unsigned long entry, unsigned long n, const struct kexec_segment *s, unsigned long flags)
{
	static unsigned long last;
	static int filling;

	if (calls++ == fail_at)
		return -ENOMEM;
	if (n > KEXEC_SEGMENTS_MAX || !(flags & KEXEC_PRESERVE_CONTEXT) ||
	    begun != !!(flags & KEXEC_LOAD_CONTINUE))
		return -EINVAL;
	begun = 1;
	for (; n--; s++) {
		if (!s->memsz || s->mem % PAGE || s->memsz % PAGE || s->bufsz > s->memsz)
			return -EADDRNOTAVAIL;
		if (!s->bufsz && (filling || s->mem < last))
			return -EPROTO;		/* not all first, not ascending */
		filling |= !!s->bufsz;
		last = s->mem;
		for (unsigned long at = 0; at < s->memsz; at += PAGE) {
			unsigned char *p = &state[(s->mem + at) / PAGE];

			if (*p != (s->bufsz ? 1 : 0))
				return -EEXIST;
			*p = s->bufsz ? 2 : 1;
			if (s->bufsz)
				pwrite(memory, (char *)s->buf + at, PAGE, s->mem + at);
		}
	}
	if (!(flags & KEXEC_LOAD_MORE))
		printf("entry %#lx calls %d\n", entry, calls);
	return 0;
}
void kexec_unload(void) { puts("unloaded"); }
int jump_hold(bool hold) { printf("held %d\n", hold); return 0; }
int jump(void)
{
	char *how = getenv("JUMP");

	printf("jump\n");
	fflush(stdout);
	if (!how)
		_exit(77);			/* resumed: nothing comes after */
	return fail(atoi(how), "played");
}

/* RAM as RAM=start-end,... has it. */
int __wrap_machine_ram(const char *iomem, struct mem_range **ranges)
{
	char *p = getenv("RAM");
	int n = 0;

	(void)iomem;
	*ranges = xalloc(64 * sizeof(**ranges));
	for (; p && *p; n++) {
		(*ranges)[n].start = strtoull(p, &p, 16);
		(*ranges)[n].end = strtoull(p + 1, &p, 16);
		p += *p == ',';
	}
	return n ? (int)merge_ranges(*ranges, n) : -1;
}
unsigned int __wrap_machine_present_cpus(void) { return atoi(getenv("CPUS")); }

int main(int argc, char **argv)
{
	struct image image;
	int rc;

	(void)argc;
	if (getenv("FAIL_AT"))
		fail_at = atoi(getenv("FAIL_AT"));
	memory = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
	rc = image_open(&image, argv[1], true);
	if (!rc)
		rc = image_read_all(&image, true);
	if (!rc)
		rc = restore_check_machine(&image, false);
	if (!rc)
		rc = restore_load(&image);
	/* What was announced and not filled is zeros. */
	unsigned int pages = sizeof(state);

	while (pages && !state[pages - 1])
		pages--;
	ftruncate(memory, pages * (off_t)PAGE);
	if (!rc)
		rc = restore_jump(&image);
	if (rc)
		fprintf(stderr, "%s\n", fail_text());
	return rc;
}
"""


def linked(built, name, source, objects, *flags):
    """A program of this source and of kjump's."""
    (built / f"{name}.c").write_text(source)
    p = subprocess.run(["gcc", "-w", "-D_GNU_SOURCE", "-pthread", "-I", SOURCE, built / f"{name}.c", *objects, *flags,
                        "-static", "-lzstd", "-llz4", "-lblkid", "-o", built / name], capture_output=True, text=True)
    assert p.returncode == 0, p.stderr
    return built / name


@pytest.fixture(scope="module")
def harness(built):
    """The restore of kjump on a kernel that is played."""
    objects = [o for o in built.glob("*/*.o") if str(o.relative_to(built).with_suffix("")) in
               "image/image image/stream image/unpack image/pipeline image/codec format/format format/super "
               "format/index format/extents common/util common/firmware common/progress common/machine common/words "
               "devices/disks devices/dm devices/find devices/identity devices/map devices/users devices/volume "
               "resume/resume".split()]
    return linked(built, "harness", HARNESS, objects, "-Wl,--wrap=machine_ram,--wrap=machine_present_cpus")


LOCATION = r"""
#include "devices/identity.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *__wrap_realpath(const char *path, char *resolved)
{
	return strdup(getenv("DISK"));
}

int main(void)
{
	struct identity id;

	return identity_of(0x801, &id) || !id.at || puts(id.at) < 0;
}
"""


def test_place_of_a_disk(built, tmp_path):
    """What a kernel counts for itself, in the order it finds things in, is no part of it."""
    program = linked(built, "location", LOCATION, built.glob("*/*.o"), "-Wl,--wrap=realpath")
    pci = "pci0000:00/0000:00:1c.0/0000:03:00.0"

    def place(path, **names):
        disk = tmp_path / "devices" / pci / path
        (disk / "device").mkdir(parents=True, exist_ok=True)
        for name, text in names.items():
            at, kind, file = name.split("__")
            word = next(part for part in path.split("/") if part.startswith(at))
            folder = tmp_path / "devices" / pci / path.split(word)[0] / word / kind / word
            folder.mkdir(parents=True, exist_ok=True)
            (folder / file).write_text(text + "\n")
        p = subprocess.run([program], env={"DISK": str(disk)}, capture_output=True, text=True)
        assert p.returncode == 0, p.stderr
        assert p.stdout.startswith("0000:00:1c.0/0000:03:00.0")
        return p.stdout.strip().removeprefix("0000:00:1c.0/0000:03:00.0")

    assert place("nvme/nvme0/nvme0n1") == ""
    assert place("virtio2/host3/target3:0:1/3:0:1:4/block/sda") == "/0:1:4"
    assert place("usb2/2-1/2-1.4/2-1.4:1.0/host5/target5:0:0/5:0:0:1/block/sda") == "/usb1/usb1.4/0:0:1"
    assert place("ata7/host6/target6:0:0/6:0:0:0/block/sda", ata7__ata_port__port_no="2") == "/ata2/0:0:0"
    assert place("host7/port-7:3/end_device-7:3/target7:0:5/7:0:5:0/block/sda",
                 end__sas_device__sas_address="0x5000c500a1b2c3d4") == "/sas-0x5000c500a1b2c3d4/0"
    assert place("host7/port-7:0/expander-7:0/port-7:0:9/end_device-7:0:9/target7:0:9/7:0:9:2/block/sdb",
                 end__sas_device__sas_address="0x5000c500a1b2c3d5") == "/sas-0x5000c500a1b2c3d5/2"
    # A RAID that the controller makes has no device of the transport's.
    assert place("host7/target7:1:0/7:1:0:0/block/sdc") == "/1:0:0"
    assert place("host2/rport-2:0-4/target2:0:3/2:0:3:11/block/sda",
                 rport__fc_remote_ports__port_name="0x2100000e1e09d5c0") == "/fc-0x2100000e1e09d5c0/11"
    assert place("host4/session2/target4:0:0/4:0:0:1/block/sda",
                 session__iscsi_session__targetname="iqn.2026-11.test:disk") == "/iscsi-iqn.2026-11.test:disk/1"


RAM = ",".join(f"{a:x}-{a + n:x}" for a, n in RANGES)


@pytest.fixture
def restore(harness, tmp_path):
    def run(image, rc=77, says="", ram=RAM, cpus=2, **env):
        p = subprocess.run([harness, image, tmp_path / "memory"], capture_output=True, text=True,
                           env={"RAM": ram, "CPUS": str(cpus), **env})
        assert p.returncode == rc, (p.returncode, p.stdout, p.stderr)
        assert says in p.stderr, p.stderr
        return p.stdout
    return run


def need_64bit():
    if os.uname().machine != "x86_64":
        pytest.skip("the images made here are of x86_64")


def memory_of(core):
    """{page address: content} of the core's data."""
    pages, offset = {}, 2 * PAGE
    raw = core.read_bytes()
    wheres = []
    for address, length in RANGES:
        wheres.append((offset, length, address))
        offset += length
    for start, end in data_map(core):
        for at in range(start, end, PAGE):
            for o, length, address in wheres:
                if o <= at < o + length:
                    pages[address + at - o] = raw[at:at + PAGE]
    return pages


def test_loading(restore, image, core, tmp_path):
    """Every page lands where it was, each once, 16 segments a call; then it is used, then the jump."""
    need_64bit()
    out = restore(image)
    assert re.search(r"entry 0x5000 calls \d+", out) and out.rstrip().endswith("jump")
    memory = (tmp_path / "memory").read_bytes()
    pages = memory_of(core)
    assert len(pages) > 900
    for address, content in pages.items():
        assert memory[address:address + PAGE] == content, hex(address)
    # Nothing else was written.
    filled = {at for at in range(0, len(memory), PAGE) if memory[at:at + PAGE].strip(b"\0")}
    assert filled <= set(pages) and len(memory) == max(pages) + PAGE
    assert field(image, "state") == USED
    restore(image, rc=BAD, says="already used")


def test_loading_fails(restore, image):
    """At the first call, in the middle, at the last: the image is as good as before."""
    need_64bit()
    calls = int(re.search(r"calls (\d+)", restore(image, JUMP=str(FAILED), rc=FAILED))[1])
    assert calls > 20
    for at in 0, 1, calls // 2, calls - 1:
        assert "jump" not in restore(image, FAIL_AT=str(at), rc=FAILED, says="memory does not suffice")
        assert field(image, "state") == COMPLETE


def test_jump_fails(restore, image):
    """Still here: the image can be resumed another time. The other one ran: it cannot."""
    need_64bit()
    assert restore(image, JUMP=str(FAILED), rc=FAILED).endswith("unloaded\n")
    assert field(image, "state") == COMPLETE
    restore(image, JUMP=str(PEER), rc=PEER)
    assert field(image, "state") == USED


def test_damage_is_found_before_the_jump(restore, image):
    need_64bit()
    at, data = chunks(image)[-1]
    flip(image, at + len(data) - 1)
    assert "jump" not in restore(image, rc=BAD, says="damaged (chunk")
    assert field(image, "state") == COMPLETE


def test_other_machines(restore, image, kjump, core, tmp_path):
    need_64bit()
    good = image.read_bytes()
    for ram in (RAM.replace("4400000", "4500000"), RAM.rpartition(",")[0], RAM + ",8000000-9000000",
                RAM.replace("1000-", "0-", 1)):
        assert restore(image, ram=ram, rc=BAD, says="from another machine: not all of") == ""
    restore(image, ram="", rc=FAILED, says="/proc/iomem")
    for cpus in 1, 4:
        restore(image, cpus=cpus, rc=BAD, says=f"it has {cpus} CPUs, the image needs 2")
    header = 24

    def other_vendor(index):
        index[header + 8] ^= 1

    def change(word, value):
        def edit(index):
            struct.pack_into("<I", index, header + 24 + 4 * word, value)
        image.write_bytes(good)
        edit_index(image, edit)

    # 1.edx has a bit that no CPU has; then none at all: this machine has more.
    change(0, 1 << 10)
    restore(image, rc=BAD, says="its CPU lacks features: CPUID 1.edx is")
    change(0, 0)
    restore(image)
    # Another model, which is what matters not; narrower and wider addresses.
    change(2, 0x12345678)
    restore(image)
    change(12, 0x2020)
    restore(image)
    for width in 0xff20, 0x20ff:
        change(12, width)
        restore(image, rc=BAD, says="CPUID 80000008.eax")
    image.write_bytes(good)
    edit_index(image, other_vendor)
    restore(image, rc=BAD, says="a CPU of")
    image.write_bytes(good)
    set_fields(image, machine=EM_386)
    restore(image, rc=BAD, says="the image i386")
    image.write_bytes(good)
    set_fields(image, entry=0)
    restore(image, rc=BAD, says="no entry")
    image.write_bytes(good)
    # What touches is one: a memory map cut in other places is the same memory.
    first, second = RAM.split(",", 1)
    restore(image, ram=first.replace("1000-", "1000-2000,2000-", 1) + "," + second)


# --- what the next boot will do -----------------------------------------------

NEXT_BOOT = """
#include "resume/next_boot.h"
#include "common/kjump.h"
#include <stdlib.h>
#include <string.h>

char *__real_read_text(const char *path);

char *__wrap_read_text(const char *path)
{
	return strcmp(path, "/proc/cmdline") ? __real_read_text(path) : strdup(getenv("OWN"));
}

int main(int argc, char **argv)
{
	struct next_boot next = { 0 };
	int rc = next_boot_check(argv[1], argv[2], argv[3], &next);

	if (next.opens)
		printf("it opens: %s\\n", next.opens);
	if (rc)
		puts(fail_text());
	return rc;
}
"""
# As grub-mkconfig writes it.
GRUB_CFG = """
if [ -s $prefix/grubenv ]; then
  load_env
fi
if [ "${{next_entry}}" ] ; then
   set default="${{next_entry}}"
   set next_entry=
   save_env next_entry
   set boot_once=true
else
   set default="{default}"
fi
function load_video {{
  insmod all_video
}}
{before}
menuentry 'Debian GNU/Linux' --class debian $menuentry_id_option 'gnulinux-simple' {{
	load_video
	if [ x$grub_platform = xxen ]; then insmod xzio; insmod lzopio; fi
	echo	'Loading Linux ...'
	linux	{folder}/vmlinuz-6.12.117 root=/dev/mapper/debian--vg-root ro quiet {words}
	{initrd}
}}
submenu 'Advanced options for Debian GNU/Linux' $menuentry_id_option 'gnulinux-advanced' {{
	menuentry 'Debian GNU/Linux, with Linux 6.12.117' $menuentry_id_option 'gnulinux-6.12.117-advanced' {{
		load_video
		linux	/boot/vmlinuz-6.12.117 root=/dev/sda1 ro kjump.restore
		initrd	/boot/initrd.img-6.12.117
	}}
	menuentry 'Debian > 6.1' --id old {{
		linux	/boot/vmlinuz-6.1.0-9-amd64 root=/dev/sda1 ro
		initrd	/boot/initrd.img-6.1.0-9-amd64
	}}
}}
menuentry "Debian's other (on /dev/sdb1)" $menuentry_id_option 'osprober-1' {{
	linux	/boot/vmlinuz-5.10 root=/dev/sdb1
	initrd	/boot/initrd.img-5.10
}}
menuentry 'Windows' $menuentry_id_option 'osprober-chain-1' {{
	chainloader	/efi/Microsoft/Boot/bootmgfw.efi
}}
"""


def grub_cfg(**what):
    return GRUB_CFG.format(**{"default": "0", "before": "", "folder": "/boot", "words": "kjump.restore=PARTUUID=1234",
                              "initrd": "initrd\t/boot/initrd.img-6.12.117"} | what)


def kernel_file(version, machine=os.uname().machine):
    """The beginnings of a bzImage, whose kernel says that it has this version of kexec jump; 0: that it has none."""
    setup = bytearray(1024)
    setup[0x1f1], setup[0x202:0x206], setup[0x206:0x208] = 1, b"HdrS", b"\x0f\x02"
    setup[0x236] = machine == "x86_64"
    chunks = b"KJMP" + struct.pack("<II", 12, version) if version else b""
    return bytes(setup) + b"LToP" + struct.pack("<II", 12, 12 + len(chunks)) + chunks


# What GRUB tells the kernel that it starts.
BY_GRUB = "BOOT_IMAGE=/boot/vmlinuz-6.12.117 root=/dev/sda1"


@pytest.fixture(scope="module")
def next_boot_program(built):
    return linked(built, "next-boot", NEXT_BOOT, built.glob("*/*.o"), "-Wl,--wrap=read_text")


@pytest.fixture
def next_boot(next_boot_program, tmp_path):
    """Asks about a device, of a system with the files in tmp_path as /boot, booted with the command line @own."""
    def ask(device, own=BY_GRUB, says=None):
        p = subprocess.run([next_boot_program, tmp_path, tmp_path / "efivars", device], capture_output=True, text=True,
                           env={**os.environ, "OWN": own})
        assert p.returncode == (REFUSED if says else OK), p
        if says:
            assert re.search(says, p.stdout) and "--any-boot" in p.stdout and "must have" not in p.stdout, p
        return p.stdout + p.stderr
    return ask


@pytest.mark.parametrize("what,says", [
    ({}, None),
    ({"words": "kjump.restore"}, None),
    # Nobody would set that up.
    ({"words": "kjump.restore", "device": "/dev/mapper/vg-lv"}, "has kjump.restore without a name, would not set up /dev/mapper/vg-lv"),
    *(({"words": f"kjump.restore={name}", "device": "/dev/mapper/vg-lv"}, None) for name in ("/dev/vg/lv", "/dev/mapper/vg-lv")),
    *(({"words": f"kjump.restore={name}", "device": "/dev/mapper/vg-lv"},
       f"has kjump.restore={name}, would not set up /dev/mapper/vg-lv by that name")
      for name in ("/dev/disk/by-id/dm-name-vg-lv", "/dev/dm-3", "UUID=12-34")),
    ({"folder": ""}, None),
    # Others have the option, too, and theirs does not resume anything.
    ({"kernel": 0}, r"vmlinuz-6.12.117, by \S+/grub/grub.cfg: it has no kexec jump"),
    ({"kernel": 99}, "vmlinuz-6.12.117, by .* or another version of it"),
    ({"kernel": None}, None),
    # An image is of one architecture, but a boot loader may have kernels of both.
    ({"machine": "i686" if os.uname().machine == "x86_64" else "x86_64"}, "6.12.117, by .* is for another architecture"),
    ({"words": "splash"}, "does not have kjump.restore=/dev/null"),
    ({"words": "splash", "grub": "grub2"}, r"by \S+/grub2/grub.cfg, does not have kjump.restore=/dev/null"),
    ({"words": "", "default": "${saved_entry}", "env": "saved_entry=osprober-1\n####", "grub": "grub2"}, "5.10 by .* does not have"),
    ({"words": ""}, "does not have kjump.restore=/dev/null"),
    ({"words": "-- kjump.restore"}, "does not have kjump.restore=/dev/null"),
    ({"words": "kjump.restore=/dev/null kjump.restore=no"}, "kjump.restore=no"),
    ({"words": "kjump.restore=/dev/zero"}, "has kjump.restore=/dev/zero and would not .* from /dev/null"),
    ({"words": "kjump.restore=/dev/zero kjump.restore=/dev/null"}, None),
    ({"words": '"kjump.restore=PARTLABEL=to hibernate"'}, None),
    ({"initrd": ""}, "has no initramfs"),
    # Where the root file system is elsewhere, initramfs-tools goes another way.
    ({"words": "kjump.restore boot=nfs"}, r"6.12.117 does not boot from a local disk \(boot=nfs\)"),
    ({"words": "kjump.restore root=/dev/nfs nfsroot=10.0.0.1:/srv"}, r"\(root=/dev/nfs\)"),
    ({"words": "kjump.restore boot=live"}, r"\(boot=live\)"), ({"words": "kjump.restore boot=local"}, None),
    ({"words": "kjump.restore boot=zfs"}, None), ({"words": "kjump.restore boot=UUID=12-34"}, None),
    ({"words": "", "env": "saved_entry=1\nnext_entry=\n####"}, "does not have kjump.restore=/dev/null"),
    # Another one is the default: by number, identifier, title; remembered; asked for once.
    ({"words": "", "default": "1>0"}, None),
    ({"words": "", "default": "gnulinux-advanced>gnulinux-6.12.117-advanced"}, None),
    ({"default": "1>1"}, "6.1.0-9-amd64 by .* does not have"),
    ({"default": "gnulinux-advanced>old"}, "6.1.0-9-amd64 by .* does not have"),
    ({"default": "Advanced options for Debian GNU/Linux>Debian >> 6.1"}, "6.1.0-9-amd64 by .* does not have"),
    ({"default": "Debian's other (on /dev/sdb1)"}, "5.10 by .* does not have"),
    ({"default": "2"}, "5.10 by .* does not have"),
    ({"default": "7"}, None), ({"words": "", "default": "gone"}, "6.12.117 by .* does not have"),
    ({"default": "${saved_entry}"}, None),
    ({"default": "${saved_entry}", "env": "saved_entry=osprober-1\n####"}, "5.10 by .* does not have"),
    ({"default": "${saved_entry}", "env": "saved_entry=0\nprev_saved_entry=2\n##"}, "5.10 by .* does not have"),
    ({"env": "next_entry=1>1\n####"}, "6.1.0-9-amd64 by .* does not have"),
    ({"words": "", "env": "next_entry=gnulinux-advanced>0\n####"}, None),
    # What starts is not known from these files alone, or is no Linux.
    *(({"words": "", **what}, r"starts is not known from \S+/grub/grub.cfg; this one had no kjump.restore=/dev/null") for what in (
        {"default": "${something}"}, {"default": "1"}, {"default": "1>gone"}, {"default": "osprober-chain-1"},
        {"before": "submenu 'Snapshots' {\n menuentry 'x' {\n linux /x\n }\n}"}, {"before": "menuentry 'Other' {\n\tchainloader +1\n}"})),
    # For good, it would resume what must not be.
    *(({"words": f"kjump.restore kjump.ignore={what}"}, "has kjump.ignore=, so that it would resume a system although others")
      for what in ("changed", "missing,mounts")), ({"words": "kjump.restore kjump.ignore=missing"}, None),
    # That kernel would refuse what this one saves.
    *(({"words": f"kjump.restore {word}"}, f"by .*/grub.cfg, has {word}, unlike this one") for word in (
        "lockdown=integrity", "mem=512M", "memmap=1M!1G", "nr_cpus=1", "maxcpus=1", "no5lvl", "nosmp")),
    *(({"words": f"kjump.restore {word}", "own": f"{BY_GRUB} {word}"}, None) for word in ("mem=512M", "nr_cpus=1", "no5lvl")),
    ({"words": r"kjump.restore memmap=2M\$512M", "own": f"{BY_GRUB} memmap=2M$512M"}, None),
    ({"words": r"kjump.restore memmap=2M\$256M memmap=2M\$512M", "own": f"{BY_GRUB} memmap=2M$512M"}, r"has memmap=2M\$256M,2M\$512M, unlike"),
    ({"words": "kjump.restore kjump.ignore=changed kjump.ignore=missing"}, "has kjump.ignore=, so that"),
    ({"words": "kjump.restore mem=512M", "own": f"{BY_GRUB} mem=1G"}, "has mem=512M, unlike this one"),
    ({"words": "kjump.restore", "own": f"{BY_GRUB} mem=1G lockdown=integrity"}, None),
])
def test_next_boot(next_boot, tmp_path, what, says):
    """A system is not saved for a boot that will not resume it."""
    grub = tmp_path / what.get("grub", "grub")
    grub.mkdir()
    cfg = grub_cfg(**{k: v for k, v in what.items() if k not in ("kernel", "machine", "env", "device", "grub", "own")})
    (grub / "grub.cfg").write_text(cfg)
    if "env" in what:
        (grub / "grubenv").write_text("# GRUB Environment Block\n" + what["env"])
    version = what.get("kernel", 1)
    if version is not None:
        (tmp_path / "vmlinuz-6.12.117").write_bytes(kernel_file(version, what.get("machine", os.uname().machine)))
    next_boot(what.get("device", "/dev/null"), what.get("own", BY_GRUB), says)


@pytest.mark.parametrize("files,says", [
    ([["init", "usr/sbin/kjump"]], None),
    # One made before the package was upgraded; and a script of that name is none.
    ([["init", "usr/bin/kjump"]], r"has a kjump in its initramfs, .*/(initrd\.img-6\.12\.117|last\.img), that does not know"),
    ([["init", "scripts/local-premount/kjump"]], "has no kjump"),
    ([["init", "usr/sbin/mdadm"]], r"has no kjump in its initramfs, .*/(initrd\.img-6\.12\.117|last\.img), "),
    # A processor's microcode comes in front, in the same file or in one of its own.
    ([["kernel/x86/microcode/GenuineIntel.bin"], ["init", "usr/sbin/kjump"]], None),
    ([["kernel/x86/microcode/GenuineIntel.bin"], ["init"]], "has no kjump"),
    # What cannot be looked into, as packed by a program that is not there.
    (None, None), ([], None),
])
def test_next_initramfs(next_boot, next_boot_program, tmp_path, files, says):
    """Nor for a boot with an initramfs that resumes nothing."""
    (tmp_path / "grub").mkdir()
    archives = [cpio({f"/{name}": next_boot_program if name.endswith("sbin/kjump") else __file__ for name in names})
                for names in files or []]
    if files is not None:
        first, last = b"".join(archives[:-1]), gzip.compress(archives[-1]) if archives else b"#!/bin/sh\n"
        (tmp_path / "first.img").write_bytes(first or b"\0" * 512)
        (tmp_path / "last.img").write_bytes(last)
        (tmp_path / "initrd.img-6.12.117").write_bytes(first + last)
    for initrds in ("/initrd.img-6.12.117", "/first.img /last.img"):
        (tmp_path / "grub/grub.cfg").write_text(grub_cfg(initrd=f"initrd {initrds}"))
        next_boot("/dev/sda3", says=says)


@pytest.mark.parametrize("files,opens", [
    ({"conf/initramfs.conf": "", "cryptroot/crypttab": "a /dev/sda none luks\n"}, "a /dev/sda none luks\n"),
    ({"conf/initramfs.conf": "", "cryptroot/crypttab": "#" * 16383}, "#" * 16383), ({"conf/initramfs.conf": ""}, ""),
    # One longer than is looked at, and another distribution's.
    ({"conf/initramfs.conf": "", "cryptroot/crypttab": "#" * 16384}, None), ({"usr/lib/dracut-lib.sh": ""}, None),
], ids=["short", "long", "none", "too-long", "dracut"])
def test_next_crypttab(next_boot, next_boot_program, tmp_path, files, opens):
    """What it opens of encrypted devices, as far as that can be told."""
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub/grub.cfg").write_text(grub_cfg())
    entries = {"/usr/sbin/kjump": next_boot_program}
    for number, (name, text) in enumerate(files.items()):
        (tmp_path / str(number)).write_text(text)
        entries[f"/{name}"] = tmp_path / str(number)
    (tmp_path / "initrd.img-6.12.117").write_bytes(gzip.compress(cpio(entries)))
    assert re.findall(r"it opens: (.*)\n\Z", next_boot("/dev/sda3"), re.S) == ([] if opens is None else [opens])


MUST_HAVE = "must have kjump.restore=/dev/sda3"


def test_left_over_grub(next_boot, tmp_path):
    """If it is not what this boot came from, what it would start says nothing."""
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub/grub.cfg").write_text(grub_cfg())
    for own, told in (BY_GRUB, False), ("root=/dev/sda1", True), ("kjump.restore=PARTUUID=1234", False):
        assert (MUST_HAVE in next_boot("/dev/sda3", own)) == told, own
    next_boot("/dev/null", "kjump.restore=/dev/zero", "if it is like this one by /proc/cmdline, has kjump.restore=/dev/zero")


def test_grub_of_another_system(next_boot, tmp_path):
    """It was written before this kernel booted, and that kernel was not told so."""
    (tmp_path / "grub").mkdir()
    (tmp_path / "grub/grub.cfg").write_text(grub_cfg())
    os.utime(tmp_path / "grub/grub.cfg", (1, 1))
    next_boot("/dev/sda3", says=r"this boot had no kjump.restore=/dev/sda3, which \S+/grub/grub.cfg had by then")
    next_boot("/dev/sda3", f"{BY_GRUB} kjump.restore=/dev/sda3")


def test_no_grub(next_boot, next_boot_program, tmp_path):
    """Then there is only this boot to judge by."""
    plain, resumes = "root=/dev/sda1", "root=/dev/sda1 kjump.restore=/dev/sda3"
    assert MUST_HAVE in next_boot("/dev/sda3", plain)
    assert MUST_HAVE not in next_boot("/dev/sda3", resumes)
    assert MUST_HAVE in next_boot("/dev/sda3", f"{resumes} kjump.restore=no")
    next_boot("/dev/sda3", f"{resumes} boot=nfs", "does not boot from a local disk")
    initrd = tmp_path / f"initrd.img-{os.uname().release}"
    initrd.write_bytes(cpio({"/usr/sbin/kjump": __file__}))
    next_boot("/dev/sda3", plain, "has a kjump in its initramfs, .*, that does not know what this one saves")
    # Of a boot that has looked for an image it may be left over.
    next_boot("/dev/sda3", resumes)
    initrd.write_bytes(cpio({"/init": __file__}))
    next_boot("/dev/sda3", plain, "has no kjump in its initramfs")
    initrd.write_bytes(cpio({"/usr/sbin/kjump": next_boot_program}))
    next_boot("/dev/sda3", resumes)
    # There is a boot loader, and nobody here understands it.
    (tmp_path / "loader/entries").mkdir(parents=True)
    next_boot("/dev/sda3", resumes)
    next_boot("/dev/sda3", plain, r"is not known from \S+/loader/entries; this one had no kjump.restore=/dev/sda3")


def test_firmware_first(next_boot, tmp_path):
    """What it does before a kernel starts may change it."""
    own, guid = "kjump.restore=/dev/sda3", "8be4df61-93ca-11d2-aa0d-00e098032b8c"
    efivars = tmp_path / "efivars"
    efivars.mkdir()
    indications = efivars / f"OsIndications-{guid}"
    for bits, says in (1, None), (4, "the next boot is to update the firmware"):
        indications.write_bytes(struct.pack("<IQ", 7, bits))
        next_boot("/dev/sda3", own, says)
    indications.unlink()
    (efivars / f"BootNext-{guid}").write_bytes(struct.pack("<IH", 7, 3))
    (efivars / f"BootCurrent-{guid}").write_bytes(struct.pack("<IH", 6, 3))
    next_boot("/dev/sda3", own)
    (efivars / f"BootCurrent-{guid}").write_bytes(struct.pack("<IH", 6, 0))
    next_boot("/dev/sda3", own, "the firmware is to start something else first")


# --- what the next boot does --------------------------------------------------

# Says what it was called with; and after the third attempt that system is resumed.
STUB = """#!/bin/sh
echo "$*" >>{folder}/calls
case $1$2 in
status*) echo "$2: an image, $STATE: 1 GB" ;;
restore--list) echo "/dev/a: $STATE 6.12.117"; echo "/dev/b: $OTHERS 6.12.117" ; exit ;;
esac
if [ $1 = restore ]; then
	[ $(grep -c '^restore --wait' {folder}/calls) -lt 3 ] || kill $PPID
	case "$*" in
	*/dev/* | *=*=*) exit $HERE ;;
	esac
	exit $ELSEWHERE
fi
"""


@pytest.mark.parametrize("words,here,state,elsewhere,others,calls", [
    # Without an image anywhere: a fresh boot, at once.
    ("quiet kjump.restore=/dev/a", 3, "", 3, "used", ["10 /dev/a", "0"]),
    ("kjump.restore", 3, "", 3, "used", ["10"]),
    ("kjump.restore=/dev/a kjump.restore=no", 3, "", 3, "complete", []),
    ("quiet", 3, "", 3, "complete", []),
    # Names with blanks, as GRUB and people write them.
    ('quiet "kjump.restore=PARTLABEL=to hibernate" ro', 3, "", 3, "used", ["10 PARTLABEL=to hibernate", "0"]),
    ('kjump.restore="PARTLABEL=to hibernate"', 3, "", 3, "used", ["10 PARTLABEL=to hibernate", "0"]),
    # What is used, or was never finished, does not hide another one.
    ("kjump.restore=/dev/a", 5, "used", 3, "used", ["10 /dev/a", "0"]),
    ("kjump.restore=/dev/a", 5, "used", 5, "complete", ["10 /dev/a", "0", "0 /dev/a"]),
    # The name is that of something else now: what is in use, a reader without a card.
    ("kjump.restore=/dev/a", 4, "used", 5, "complete", ["10 /dev/a", "0", "0 /dev/a"]),
    ("kjump.restore=/dev/a", 1, "used", 5, "complete", ["10 /dev/a", "0", "0 /dev/a"]),
    # Nobody can look at a volume that is not there, whatever its name.
    ("kjump.restore=/dev/mapper/vg-lv", 1, "", 3, "used", ["10 /dev/mapper/vg-lv", "0", "0 /dev/mapper/vg-lv"]),
    ("kjump.restore=/dev/vg/lv", 3, "", 3, "used", ["10 /dev/vg/lv", "0", "0 /dev/vg/lv"]),
    ("kjump.restore=/dev/./null", 5, "used", 3, "used", ["10 /dev/./null", "0"]),
    ("kjump.restore=/dev/disk/by-id/x", 3, "", 3, "used", ["10 /dev/disk/by-id/x", "0"]),
    # One that is refused here, and one that this kernel could not load.
    ("kjump.restore=/dev/a", 5, "complete", 3, "complete", ["10 /dev/a", "0 /dev/a", "0 /dev/a"]),
    ("kjump.restore=/dev/a", 4, "complete", 3, "complete", ["10 /dev/a", "0 /dev/a", "0 /dev/a"]),
    ("kjump.restore=/dev/a kjump.pause=5m", 1, "complete", 3, "complete", ["10 /dev/a", "0 /dev/a", "0 /dev/a"]),
    ("kjump.restore kjump.pause=0", 1, "complete", 1, "complete", ["10"]),
    # What a later system saved elsewhere, if the pause did not help.
    ("kjump.restore=/dev/a kjump.pause=0", 5, "complete", 5, "complete", ["10 /dev/a", "0"]),
    ("kjump.restore=/dev/a kjump.pause=000", 5, "complete", 3, "complete", ["10 /dev/a", "0"]),
    ("kjump.restore=/dev/a kjump.pause=08", 5, "complete", 3, "complete", ["10 /dev/a", "0 /dev/a", "0 /dev/a"]),
    ("kjump.restore=/dev/a kjump.pause=99999999999999999999", 5, "complete", 3, "complete", ["10 /dev/a", "0 /dev/a", "0 /dev/a"]),
    # Ended for lack of memory.
    ("kjump.restore=/dev/a", 137, "complete", 3, "complete", ["10 /dev/a", "0 /dev/a", "0 /dev/a"]),
    ("kjump.restore", 3, "", 139, "complete", ["10", "0", "0"]),
    # What somebody has said at boot.
    ("kjump.restore=/dev/a kjump.ignore=missing,mounts kjump.ignore=all,firmware", 5, "used", 3, "used",
     ["10 --ignore-missing --ignore-mounts --ignore-firmware /dev/a", "0 --ignore-missing --ignore-mounts --ignore-firmware"]),
])
def test_boot_script(tmp_path, words, here, state, elsewhere, others, calls):
    """What kjump-boot makes of the command line, and of what kjump restore answers."""
    script = (SOURCE / "initramfs/kjump-boot").read_text().replace("/proc/cmdline", str(tmp_path / "cmdline"))
    (tmp_path / "cmdline").write_text(words + "\n")
    for name, text in ("kjump", STUB.format(folder=tmp_path)), ("sleep", "#!/bin/sh\n"), ("plymouth", f'#!/bin/sh\necho "$*" >>{tmp_path}/splash\n'):
        (tmp_path / name).write_text(text)
        (tmp_path / name).chmod(0o755)
    p = subprocess.run(["sh", "-c", script], capture_output=True, text=True,
                       env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "HERE": str(here), "STATE": state,
                            "ELSEWHERE": str(elsewhere), "OTHERS": others})
    called = (tmp_path / "calls").read_text() if calls else ""
    assert re.findall("^restore --wait=(.*)$", called, re.M) == calls and p.stderr == "", p
    assert p.returncode == (-signal.SIGTERM if len(calls) == 3 else 0), p
    assert ("is no number of seconds, taking 30" in p.stdout) == ("5m" in words), p
    assert ("kjump.ignore=all is none of" in p.stdout) == ("=all" in words), p
    # A splash screen would hide it.
    told = re.findall("^kjump-boot: (switch off .*|nothing was .*)", p.stdout, re.M)
    shown = (tmp_path / "splash").read_text() if told else ""
    assert told == re.findall("^display-message --text=kjump: (.*)", shown, re.M), p


@pytest.mark.parametrize("words,volumes", [
    ("quiet kjump.restore=/dev/mapper/vg-lv", ["vg/lv"]),
    ("kjump.restore=/dev/mapper/my--vg-to--hibernate", ["my-vg/to-hibernate"]),
    ('"kjump.restore=/dev/vg/lv" root=/dev/mapper/vg-root', ["vg/lv"]),
    ("kjump.restore=/dev/mapper/crypt", []), ("kjump.restore", []), ("kjump.restore=/dev/disk/by-id/x", []),
    ("kjump.restore=/dev/sda3", []), ("kjump.restore=PARTUUID=12-34", []),
])
def test_volumes_of_the_initramfs(tmp_path, words, volumes):
    """The one that is named is set up before kjump looks for an image, whichever of its names that is."""
    script = (SOURCE / "initramfs/premount").read_text()
    for path, name in ("/proc/cmdline", "cmdline"), ("/sbin/lvm", "lvm"):
        script = script.replace(path, str(tmp_path / name))
    (tmp_path / "cmdline").write_text(words + "\n")
    for name in "lvm", "kjump-boot":
        (tmp_path / name).write_text(f'#!/bin/sh\necho "{name} $*" >>{tmp_path}/calls\n')
        (tmp_path / name).chmod(0o755)
    subprocess.run(["sh", "-c", script], check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "ROOT": ""})
    called = (tmp_path / "calls").read_text().splitlines()
    assert called == [f"lvm lvchange -q -ay -y --sysinit {v}" for v in volumes] + ["kjump-boot "]


# --- arguments, help, manual --------------------------------------------------

@pytest.mark.parametrize("verb", VERBS)
def test_bad_arguments(kjump, verb):
    # To call a program takes any number of arguments, which are the program's.
    for words in (["--nonsense"], ["-x"]) + (() if verb == "call" else (["a", "b", "c"],)):
        kjump(verb, *words, rc=USAGE, says=f"kjump {verb} --help")
    assert f"kjump {verb}" in kjump(verb, "--help").out


@pytest.mark.parametrize("words,rc,says", [
    (["nonsense"], USAGE, "nonsense"),
    (["save"], USAGE, "TARGET is missing"), (["extract", "a"], USAGE, "FILE is missing"),
    (["extract"], USAGE, "IMAGE is missing"), (["call"], USAGE, "PROGRAM is missing"),
    (["snapshot"], USAGE, "FILE is missing"), (["hibernate"], USAGE, "device"),
    (["help", "nonsense"], USAGE, "nonsense"), (["-q", "nonsense"], USAGE, "nonsense"), (["-x"], USAGE, "-x"),
    (["load", "--window=64MiX"], USAGE, "64MiX"), (["load", "--window=64MiB"], FAILED, "CONFIG_KEXEC_JUMP"),
    (["load", "--window=64mb"], USAGE, "64mb"), (["load", "--window=64M"], FAILED, "CONFIG_KEXEC_JUMP"),
    (["restore", "--wait=5m"], USAGE, "5m"), (["restore", "--wait=0s"], NONE, "no image"),
    (["save", "--compress=rar", "x"], USAGE, "rar"), (["save", "--compress"], USAGE, "--compress"),
    (["snapshot", "--compress=rar", "x"], USAGE, "rar"),
    (["hibernate", "--compress=rar", "x"], USAGE, "rar"), (["save", "--list", "x"], USAGE, "--list"),
    (["load", "--window=big"], USAGE, "big"), (["load", "--window=1000"], USAGE, "1000"),
    (["load", "--window=5X"], USAGE, "5X"), (["load", "--window=99999999999999T"], USAGE, "9999"),
    (["call", "--times=0", "x"], USAGE, "from 1 to 10000: \"0\""), (["call", "--times=-1", "x"], USAGE, "-1"),
    (["call", "--times=10001", "x"], USAGE, "10001"), (["call", "--times=2x", "x"], USAGE, "2x"),
    (["call", "--times=10000", "missing"], FAILED, "missing"),
    (["call", "--room=1X", "x"], USAGE, "1X"), (["call", "--input"], USAGE, "--input needs"),
    (["call", "missing", "--mem=33"], FAILED, "missing"),
    (["call", "--mem=33", "x"], USAGE, "33"), (["restore", "--wait=long"], USAGE, "long"),
    (["restore", "--list", "x"], USAGE, "x"),
    (["restore", "--wait=0", "missing"], NONE, "missing"), (["restore", "--wait=0"], NONE, "no image"),
    (["restore", "--list"], NONE, "no image"), (["extract", "missing", "x"], NONE, "missing"),
    (["status", "missing"], NONE, "missing"), (["call", "missing"], FAILED, "missing"),
    (["save", "x"], NONE, "not jumped to"), (["hibernate", "/dev/missing"], FAILED, "/dev/missing"),
    (["hibernate", "/dev/null"], USAGE, "/dev/null"), (["extract", ".", "x"], USAGE, "block device"),
    (["switch"], FAILED, "CONFIG_KEXEC_JUMP"), (["back"], FAILED, "CONFIG_KEXEC_JUMP"),
    (["serve"], FAILED, "CONFIG_KEXEC_JUMP"), (["load"], FAILED, "CONFIG_KEXEC_JUMP"),
    (["snapshot", "x"], FAILED, "CONFIG_KEXEC_JUMP"),
])
def test_arguments(kjump, tmp_path, words, rc, says, block_devices):
    kjump(*words, rc=rc, says=says)
    assert list(tmp_path.iterdir()) == []


def test_usage(built, kjump):
    assert all(f"  {v} " in kjump("--help").out for v in VERBS)
    p = subprocess.run([built / "kjump"], capture_output=True, text=True)
    assert p.returncode == USAGE and "VERB" in p.stderr


def test_configuration(kjump, tmp_path):
    conf = tmp_path / "kjump.conf"
    conf.write_text("# comment\n\n compress = lz4 \nwindow=1G\n")
    make_usual(tmp_path / "core")
    kjump("save", "--from", "core", "image")
    assert json.loads(kjump("status", "--json", "image").out)["compress"] == "lz4"
    for bad in "compress=rar", "window=large", "colour=red", "nonsense":
        conf.write_text(f"# comment\n{bad}\n")
        kjump("save", "--from", "core", "image2", rc=FAILED, says=f"line 2: cannot make sense of \"{bad}\"")
    shutil.copy(SOURCE / "kjump.conf", conf)
    kjump("save", "--force", "--from", "core", "image")
    # Each default it mentions is one.
    conf.write_text(re.sub(r"^#(?=[\w-]+=)", "", conf.read_text(), flags=re.M))
    kjump("save", "--force", "--from", "core", "image")


def test_manual(kjump):
    text, said = lint.manual(SOURCE / "kjump.8")
    assert said == ""
    for verb in VERBS:
        assert re.search(rf"^       {verb}\b", text, re.M), verb
        for option in re.findall(r"--[\w-]+", kjump(verb, "--help").out):
            assert option in text, (verb, option)
    for code in OK, FAILED, USAGE, NONE, REFUSED, BAD, PEER:
        assert re.search(rf"^       {code} ", text, re.M), code
    for key in re.findall(r"^#?([\w-]+)=", (SOURCE / "kjump.conf").read_text(), re.M):
        assert key in text, key


def test_help(kjump):
    every = kjump("help").out
    assert every == kjump("--help").out == kjump("-h").out
    for verb in VERBS:
        assert kjump("help", verb).out == kjump(verb, "--help").out == kjump(verb, "-h").out
        assert re.search(rf"^  {verb} ", every, re.M)
    assert kjump("-V").out == kjump("--version").out == "kjump 1.0\n"


def test_quiet(kjump, image):
    assert "extract" not in kjump("-q", "extract", image, "dump").out and kjump("-q", "extract", "--force", image, "dump").out == ""
    assert kjump("extract", "--quiet", "--force", image, "dump").out == ""
    assert "writing" in kjump("extract", "--force", image, "dump").out
    assert "complete" in kjump("-q", "status", image).out


@pytest.mark.parametrize("term,codes", [("dumb", False), ("", False), ("xterm", True)])
def test_terminals(built, image, tmp_path, term, codes):
    ours, theirs = os.openpty()
    p = subprocess.run([built / "kjump", "extract", image, tmp_path / "dump"], stdout=theirs, env={"TERM": term})
    os.close(theirs)
    said = b""
    with contextlib.suppress(OSError):
        while more := os.read(ours, 65536):
            said += more
    os.close(ours)
    assert p.returncode == OK and (b"\x1b" in said) == codes and (b"writing" in said or codes), said


def test_percent(built, tmp_path):
    """What goes on for long says how far it is: a line now and then in a log."""
    core, data = tmp_path / "core", random.Random(1).randbytes(32 * MB)
    make_core(core, [(0, 256 * MB)], {n * 32 * MB: data for n in range(8)})
    image = tmp_path / "image"
    p = subprocess.Popen([built / "kjump", "save", "--compress=zstd", "--from", core, image],
                         stdout=subprocess.PIPE, text=True)
    while not image.exists() or image.stat().st_size < MB:
        assert p.poll() is None
        time.sleep(0.001)
    # However fast the machine is, this takes long.
    p.send_signal(signal.SIGSTOP)
    time.sleep(2.1)
    p.send_signal(signal.SIGCONT)
    said = p.communicate(timeout=60)[0]
    percents = [int(n) for n in re.findall(r"^saving: (\d+) %$", said, re.M)]
    assert p.returncode == OK and percents == sorted(set(percents)) and percents and 0 < percents[0] < 100, said


def test_interrupted(built, tmp_path):
    """It ends as every program does, and leaves nothing behind."""
    core, image, data = tmp_path / "core", tmp_path / "image", random.Random(1).randbytes(32 * MB)
    make_core(core, [(0, 256 * MB)], {n * 32 * MB: data for n in range(8)})
    for number in signal.SIGINT, signal.SIGTERM:
        # Where this one is not run for a while, that one is done before it is interrupted.
        for _ in range(50):
            image.unlink(missing_ok=True)
            # In the background of a shell, SIGINT is ignored.
            p = subprocess.Popen([built / "kjump", "save", "--compress=zstd", "--from", core, image],
                                 stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                 preexec_fn=lambda: signal.signal(number, signal.SIG_DFL))
            while not image.exists() and p.poll() is None:
                time.sleep(0.001)
            p.send_signal(number)
            said, ended = p.communicate(timeout=60)[1], p.returncode
            if ended != OK:
                break
        assert "interrupted" in said and ended == -number
        assert not image.exists()
    # What nohup has it ignore is ignored; nor must anybody read what it says.
    read, write = os.pipe()
    p = subprocess.Popen([built / "kjump", "save", "--compress=zstd", "--from", core, image], stdout=write, stderr=write,
                         preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))
    os.close(read)
    os.close(write)
    while not image.exists() and p.poll() is None:
        time.sleep(0.001)
    p.send_signal(signal.SIGHUP)
    assert p.wait(timeout=60) == OK
    subprocess.run([built / "kjump", "extract", image, tmp_path / "dump"], check=True)
    assert same(core, tmp_path / "dump")


def test_completion(built):
    def complete(*words):
        script = f"PATH={built}:$PATH; . {SOURCE}/kjump.bash; COMP_WORDS=({' '.join(words)!s}); " \
                 f"COMP_CWORD={len(words) - 1}; _kjump; echo \"${{COMPREPLY[@]}}\""
        return subprocess.run(["bash", "-c", script], check=True, capture_output=True, text=True).stdout.split()
    assert sorted(complete("kjump", "''")) == sorted(["help", *VERBS])
    assert complete("kjump", "hi") == ["hibernate"]
    assert complete("kjump", "help", "sn") == ["snapshot"]
    assert set(complete("kjump", "hibernate", "--")) >= {"--dry-run", "--force", "--help", "--quiet"}
    assert "--version" in complete("kjump", "--v")


def test_programs_know_the_header():
    """What the library for programs says of the jump page is what the kernel says."""
    root = SOURCE.parents[2]
    same = ["sizeof(struct jump_range) == sizeof(struct kexec_jump_range)", "JUMP_MAGIC == KEXEC_JUMP_MAGIC",
            "JUMP_VERSION == KEXEC_JUMP_VERSION", "JUMP_RANGES == KEXEC_JUMP_MAX_RANGES"]
    same += [f"offsetof(struct jump_header, {field}) == offsetof(struct kexec_jump_header, {field})"
             for field in ("magic", "version", "nr_ranges", "window", "shared", "shared_pages")]
    # The same on both architectures.
    same += ["sizeof(struct kj_call) == 88", "offsetof(struct kj_call, state) == 80"]
    code = '#include <linux/kexec_jump_abi.h>\n#include "program.c"\n' + "".join(
        f'_Static_assert({what}, "differs");\n' for what in same)
    for bits in "-m64", "-m32":
        p = subprocess.run(["gcc", bits, "-fsyntax-only", "-ffreestanding", "-fno-builtin", "-x", "c", "-",
                            "-idirafter", "/usr/include/x86_64-linux-gnu", "-I", SOURCE / "programs",
                            "-I", root / "lab/guest/include", "-idirafter", root / "include"],
                           input=code, capture_output=True, text=True)
        assert p.returncode == 0, p.stderr


@pytest.mark.parametrize("conf, some", [
    (None, False), ("device=/dev/sda1", False), ("# device=/dev/mapper/a", False), ("device = \tUUID=2\n", False),
    ("device=/dev/mapper/a\ndevice=/dev/sda1", False),
    (" device\t=  /dev/mapper/a-b \r", True), ("device=/dev/sda1\ndevice=UUID=1 \n", True), ("device=/dev/dm-1", True),
    ('device="/dev/mapper/a b"', True), ("device='UUID=1'", True)])
def test_conf_modules(tmp_path, conf, some):
    """For initramfs files, as kjump itself reads its configuration."""
    if conf is not None:
        (tmp_path / "conf").write_text(conf)
    (tmp_path / "findfs").write_text('#!/bin/sh\n[ "$1" = UUID=1 ] && echo /dev/mapper/a-b\n')
    (tmp_path / "findfs").chmod(0o755)

    def asked(*words):
        p = subprocess.run(["sh", SOURCE / "initramfs/conf-modules", *words], capture_output=True, text=True, check=True,
                           env={"PATH": f"{tmp_path}:{os.environ['PATH']}", "KJUMP_CONF": str(tmp_path / "conf")})
        assert p.stderr == ""
        return p.stdout.splitlines()

    before = asked()
    assert ("dm-mod" in before) == bool(before) == some and not asked("peer")
    with open(tmp_path / "conf", "a") as f:
        f.write("\n modules =  bochs  virtio_gpu \n")
    assert asked() == before and asked("peer") == ["bochs", "virtio_gpu"]
    with open(tmp_path / "conf", "a") as f:
        f.write("modules= \ndevice=\n")
    assert asked() == asked("peer") == []


def test_install_elsewhere(built, tmp_path):
    """What is installed knows where the rest of it is, also if it was built for another place before."""
    shutil.copytree(built, tmp_path / "built", symlinks=True)
    subprocess.run(["make", "-s", "-C", SOURCE, f"O={tmp_path}/built", f"DESTDIR={tmp_path}/root", "prefix=/usr/local", "install",
                    "CFLAGS=-O1 -Werror"], check=True)
    own = re.compile(r"(?<![\w/])/[\w/-]*/kjump(?:[\w/-]*[\w-])?")
    names = set()
    for file in (tmp_path / "root").rglob("*"):
        if file.is_file() and "man" not in file.parts and "examples" not in file.parts:
            names |= {name for name in map(bytes.decode, re.findall(own.pattern.encode(), file.read_bytes()))
                      if name.startswith("/usr")}
    assert names >= {"/usr/local/sbin/kjump", "/usr/local/libexec/kjump/sleep", "/usr/local/share/kjump/systemd"}, names
    assert "/usr/local/libexec/kjump" in (tmp_path / "root/usr/local/sbin/kjump").read_bytes().decode("latin-1")
    for name in names:
        assert name.startswith("/usr/local/") and (tmp_path / f"root{name}").exists(), name
    # Where initramfs-tools looks for what is not a package's.
    assert (tmp_path / "root/etc/initramfs-tools/hooks/kjump").stat().st_mode & 0o111


def test_install(built, tmp_path):
    subprocess.run(["make", "-s", "-C", SOURCE, f"O={built}", f"DESTDIR={tmp_path}", "prefix=/usr", "install",
                    "CFLAGS=-O1 -Werror"], check=True)
    assert (tmp_path / "usr/sbin/kjump").stat().st_mode & 0o111
    assert (tmp_path / "usr/share/man/man8/kjump.8").is_file()
    for name in "doc/kjump/kjump.conf", "bash-completion/completions/kjump", "kjump/initramfs/init", "kjump/initramfs/conf-modules":
        assert (tmp_path / "usr/share" / name).is_file()
    assert (tmp_path / "usr/sbin/kjump-boot").stat().st_mode & 0o111
    # The library for programs is whole: what is installed can be built as it is.
    for arch in "x86_64", "i386":
        subprocess.run(["make", "-s", "-C", tmp_path / "usr/share/doc/kjump/examples/programs", f"ARCH={arch}",
                        f"O={tmp_path / arch}", "PROGRAM_CFLAGS=-Werror"], check=True)
        assert (tmp_path / arch / "memory.bin").is_file()
    out = subprocess.run(["readelf", "-lW", tmp_path / "usr/sbin/kjump"], check=True, capture_output=True, text=True).stdout
    assert "LOAD" in out and "INTERP" not in out        # static
    # At any address, and with what a compiler can do for a program that runs as root.
    assert "DYN" in out and "GNU_RELRO" in out and re.search(r"GNU_STACK .* RW ", out)
    symbols = subprocess.run(["readelf", "-sW", tmp_path / "usr/sbin/kjump"], check=True, capture_output=True, text=True).stdout
    assert "__stack_chk_fail" in symbols and re.search(r"\b__\w+_chk\b", symbols)
    told = subprocess.run(["make", "-n", "-B", "-C", SOURCE, f"O={tmp_path}", "CPPFLAGS=-DNOTHING", "CFLAGS=-O3"], check=True,
                          capture_output=True, text=True).stdout
    assert told.count("-DNOTHING -O3 -c") == told.count(" -c -o") > 20


# --- setting it up ----------------------------------------------------------------

LSBLK = """#!/bin/sh
case "$*" in
-rpno*) printf '/dev/sda disk 9G \\n/dev/sda1 part 4G /dev/sda\\n/dev/sda2 part 4G /dev/sda\\n/dev/sda3 part 1G /dev/sda\\n'
	[ ! "$CRYPT" ] || echo '/dev/mapper/home crypt 4G /dev/sda2' ;;
*UUID,PARTUUID*) echo 1234-abcd part-3 ;;
*PARTUUID*) echo part-3 ;;
-dnpo*) echo "$3" ;;
-nro*) printf 'disk\\npart\\n'; [ ! "$CRYPT" ] || echo crypt ;;
*TYPE*) echo part ;;
esac
"""
SETUP_KJUMP = """#!/bin/sh
[ "$1" = -q ] && shift
echo "$*" >>{box}/calls
case "$*" in
*/dev/sda[12] | */dev/mapper/*) echo "kjump: in use" >&2; exit 4 ;;
hibernate*) ! [ "$CRYPT" ] || case "$*$(cat {box}/etc/kjump.conf 2>/dev/null)" in
	*unencrypted*) ;;
	*) echo "kjump: /dev/sda3 is not encrypted, or --unencrypted" >&2; exit 4 ;;
	esac ;;
esac
"""


class Setup:
    """kjump-setup.sh on a system that is played."""

    def __init__(self, box):
        self.box = box
        for folder in "bin etc var/lib boot sys/kernel/kexec_jump proc".split():
            (box / folder).mkdir(parents=True)
        for file, text in {"boot/vmlinuz-1": "", f"boot/kjump-initrd.img-{os.uname().release}": "", "proc/swaps": "Filename\n",
                           "proc/meminfo": "MemTotal: 4096 kB\n", "proc/cmdline": "kjump.restore=PARTUUID=part-3\n",
                           "sys/kernel/kexec_loaded": "1\n", "sys/kernel/kexec_jump/image_entry": "0x0\n"}.items():
            (box / file).write_text(text)
        stubs = {"lsblk": LSBLK, "kjump": SETUP_KJUMP.format(box=box), "wipefs": f'#!/bin/sh\necho "wipefs $*" >>{box}/calls\n',
                 "dd": f'#!/bin/sh\necho "dd $*" >>{box}/calls\n', "readlink": "#!/bin/sh\necho $2 | sed s,/dev/vg/lv,/dev/sda3,\n",
                 "findfs": "#!/bin/sh\ncase $1 in UUID=1234-abcd | PARTUUID=part-3 | LABEL=old) echo /dev/sda3 ;; *) exit 1 ;; esac\n",
                 "findmnt": "#!/bin/sh\necho /dev/sda1\n"}
        for name in "systemctl kexec kjump-mkinitramfs".split():
            stubs[name] = "#!/bin/sh\n"
        for name in "sh cat sed awk grep head wc rm cp mv ln mkdir rmdir mktemp cmp uname tr".split():
            (box / "bin" / name).symlink_to(shutil.which(name))
        for name, text in stubs.items():
            self.put(name, text)
        text = (SOURCE / "kjump-setup.sh").read_text().replace("PATH=/usr/sbin:/usr/bin:/sbin:/bin", f"PATH={box}/bin")
        self.text = re.sub(r"(?<![\w.}])/(etc|var/lib|boot|sys|proc)/", rf"{box}/\1/", text)

    def put(self, name, text="#!/bin/sh\n"):
        (self.box / "bin" / name).write_text(text)
        (self.box / "bin" / name).chmod(0o755)

    def __call__(self, *flags, device="", rc=OK, says="", crypt=""):
        given = [str(int(flag in flags)) for flag in "dry undo force systemd ready unencrypted".split()]
        p = subprocess.run(["sh", "-c", self.text, "setup", *given, *[device] * bool(device)], capture_output=True, text=True,
                           env={"CRYPT": crypt, "PATH": os.environ["PATH"]})
        assert p.returncode == rc and re.search(says, p.stdout + p.stderr), p
        return p.stdout

    @property
    def conf(self):
        file = self.box / "etc/kjump.conf"
        return file.read_text() if file.exists() else None

    def calls(self):
        file = self.box / "calls"
        return file.read_text() if file.exists() else ""


@pytest.fixture
def setup(tmp_path):
    return Setup(tmp_path)


def test_setup_and_undo(setup):
    """What somebody else has written stays, what was there comes back."""
    device = "device=PARTUUID=part-3\n"
    for before in None, "# mine\ndevice=/dev/sdz1\nwindow=64M\n":
        if before:
            (setup.box / "etc/kjump.conf").write_text(before)
        setup(says="ready: kjump hibernate saves to /dev/sda3")
        assert setup.conf == ("# mine\nwindow=64M\n" if before else "") + device
        setup(says="ready")
        setup("undo", says="as before")
        assert setup.conf == before
        setup()
        with open(setup.box / "etc/kjump.conf", "a") as f:
            f.write("modules=ast\n")
        setup()
        setup("undo")
        assert setup.conf == ("# mine\nwindow=64M\nmodules=ast\ndevice=/dev/sdz1\n" if before else "modules=ast\n")
        (setup.box / "etc/kjump.conf").unlink()
    setup("undo", rc=REFUSED, says="nothing to undo")


def test_setup_of_encrypted_systems(setup):
    """Whatever of it is encrypted: not to what is not, unless told."""
    setup(crypt="y", rc=REFUSED, says="/dev/sda3 1G: /dev/sda3 is not encrypted, or --unencrypted")
    setup(crypt="y", device="/dev/sda3", rc=REFUSED, says="is not encrypted, or --unencrypted")
    assert setup.conf is None
    setup("unencrypted", crypt="y", says="whoever gets hold of it can read")
    assert setup.conf == "device=PARTUUID=part-3\nunencrypted=yes\n"
    # It was said.
    setup(crypt="y", says="ready")
    setup(says="ready")
    assert setup.conf == "device=PARTUUID=part-3\n"


@pytest.mark.parametrize("file,line", [("fstab", "UUID=1234-abcd none swap sw 0 0"), ("fstab", "LABEL=old none swap sw 0 0"),
                                       ("fstab", "/dev/vg/lv /srv ext4 defaults 0 2"), ("fstab", "/dev/sda3 /srv ext4 defaults 0 2"),
                                       ("crypttab", "data PARTUUID=part-3 none luks"), ("initramfs-tools/conf.d/resume", "RESUME=UUID=1234-abcd")])
def test_setup_by_force(setup, file, line):
    """Nobody is to look for what was there; then nothing of it is left, at neither end."""
    path = setup.box / "etc" / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(line + "\n")
    setup("force", device="/dev/sda3", rc=REFUSED, says=f"is named in {path}, .*take it out there")
    assert "wipefs" not in setup.calls() and setup.conf is None
    path.write_text(f"# {line}\nUUID=1234-abcde none swap sw 0 0\n")
    setup("force", device="/dev/sda3", says="ready")
    assert re.search("^wipefs -aq /dev/sda3\ndd .*of=/dev/sda3", setup.calls(), re.M)


def test_setup_says_what_cannot_work(setup):
    setup.put("dracut")
    setup(rc=1, says="dracut makes cannot resume")
    setup.put("update-initramfs")
    (setup.box / "proc/cmdline").write_text("kjump.restore=PARTUUID=part-3 noresume\n")
    setup("systemd", says="systemd does not hibernate while noresume")
