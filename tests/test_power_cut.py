# SPDX-License-Identifier: GPL-2.0
"""The power goes while a system is being saved or resumed: all of it comes back, or it boots afresh.

What follows a cut is tried with machines whose state QEMU saved once: A ready to
hibernate, and C, freshly booted, which has found nothing to resume.
"""
import json
import random
import struct
import subprocess
import time

from kjlab.guest import PROMPT

from jumps import SEED, Work, sysfs
from images import hibernate, host_kjump, resume

CUTS = 14       # while saving, and as many while resuming
PREPARED, WRITING, COMPLETE, USED = 1, 2, 3, 4
REFUSED = {PREPARED: "only prepared", WRITING: "half-written", USED: "already used"}
DISK = "/dev/vdb"
RESTORE = f"kjump.restore={DISK}"
BOOT = "kjump-boot"             # what init runs, for such a word on its command line


class Lab:
    """The two machines, the disk an older image is on, and how long saving and resuming take."""

    def __init__(self, boot, variant, tmp):
        self.boot, self.variant, self.tmp = boot, variant, tmp
        self.disk = tmp / "now" / "blank.img"
        a = self.machine("A")
        self.work = Work(a, disks=False, mb=4, tmpfs_mb=24)
        a.run("kjump load --ready", timeout=300).check()
        self.last = self.work.last
        a.save_state(tmp / "A.state")
        c = self.machine("C", append=RESTORE)
        assert "kjump-boot: nothing was resumed" in c.user_log()
        c.save_state(tmp / "C.state")

        # An image that was never resumed is on the disk from the beginning.
        a = self.go_on("A")
        self.save_time = self.save(a, "old")
        a.wait()
        self.save_time = time.monotonic() - self.save_time
        a.close()
        self.disk.rename(tmp / "old.img")
        self.use_old_image()
        assert self.next_boot() == "old"
        self.resume_time = self.boot_time

    def machine(self, name, **kw):
        return self.boot(self.variant, name=name, smp=2 if self.variant == "x86_64" else 1,
                         memory="192M", disks=False, net=False, blank=192,
                         workdir=self.tmp / "now", **kw)

    def go_on(self, name):
        append = RESTORE if name == "C" else ""
        return self.machine(name, append=append, state=self.tmp / f"{name}.state")

    def use_old_image(self):
        subprocess.run(["cp", "--sparse=always", "--reflink=auto", self.tmp / "old.img", self.disk],
                       check=True)

    def super(self):
        with open(self.disk, "rb") as f:
            return f.read(512)

    def state(self):
        magic, _, state = struct.unpack_from("<8sII", self.super())
        assert magic == b"KJUMPIMG"
        return state

    def save(self, a, generation):
        """Let A begin to save itself; the time when the disk told of that."""
        a.run(f"echo {generation} >/tmp/generation").check()
        before = self.super()
        a.send(f"kjump hibernate --force {DISK}")
        until = time.monotonic() + 60
        while self.super() == before:
            assert time.monotonic() < until, "nothing is written"
            time.sleep(0.002)
        return time.monotonic()

    def next_boot(self):
        """Whose work goes on at the next boot: a generation of A's, or None if it is a fresh boot."""
        found = self.state()
        c = self.go_on("C")
        self.boot_time = time.monotonic()
        c.send(BOOT)
        c._expect(PROMPT, 120, "booting after the power cut")
        self.boot_time = time.monotonic() - self.boot_time
        name, said = c.shell.match[1].decode(), c.shell.before.decode(errors="replace")
        if name == "C":
            assert REFUSED[found] in said and "this is a fresh boot" in said, (found, said)
            assert c.run("cat /sys/kernel/kexec_jump/jumps").out == "0"
            c.check_log()
            c.close()
            return None
        assert found == COMPLETE and self.state() == USED, (found, self.state())
        assert sysfs(c, "last") == "ok, resumed from an image"
        generation = c.run("cat /tmp/generation").out
        self.work.g, self.work.last = c, self.last
        self.work.check()
        self.work.check()
        self.work.check_files()
        c.check_log()
        c.close()
        return generation


def cut(g, seconds):
    time.sleep(max(0, seconds))
    g.qemu.kill()
    g.qemu.wait()
    # Up to here all was well.
    g.check_log()
    g.close()


def moments(kind, duration):
    """One in each of as many parts of it and a bit more, in any order."""
    rng, n = random.Random(f"{SEED} {kind}"), CUTS
    return [(i + rng.random()) * duration * 1.05 / n for i in rng.sample(range(n), n)]


def test_cuts(boot, either, tmp_path, record_property):
    print(f"KJ_SEED={SEED}")
    lab = Lab(boot, either, tmp_path)
    print(f"saving takes {lab.save_time:.2f} s, resuming {lab.resume_time:.2f} s")

    for moment in moments("resume", lab.resume_time):
        lab.use_old_image()
        c = lab.go_on("C")
        c.send(BOOT)
        cut(c, moment)
        found = lab.state()
        assert found in (COMPLETE, USED)
        came = lab.next_boot()
        print(f"resuming, cut after {moment:.3f} s: the image is {found}, then {came}")
        assert came == ("old" if found == COMPLETE else None)

    states = set()
    # And one in the middle of it, however long all this takes today.
    for moment in [*moments("save", lab.save_time), None]:
        lab.use_old_image()
        a = lab.go_on("A")
        begun = lab.save(a, "new")
        if moment is None:
            while lab.state() == PREPARED:
                time.sleep(0.002)
            moment = time.monotonic() - begun
        cut(a, begun + moment - time.monotonic())
        found = lab.state()
        states.add(found)
        assert found in (PREPARED, WRITING, COMPLETE)
        came = lab.next_boot()
        print(f"saving, cut after {moment:.3f} s: the image is {found}, then {came}")
        assert came == ("new" if found == COMPLETE else None)
    assert WRITING in states
    record_property("power_cuts", 2 * CUTS + 1)


# --- disks that lose what they were not told to keep ---------------------------

WRITE_LOG_MAGIC, LOG_SECTOR = 0x6a736677736872, 512
LOG_FLUSH, LOG_DISCARD = 1, 4


def logged_disk(tmp, log):
    """QEMU's arguments for a disk /dev/vdb whose writes and flushes are noted, in order."""
    log.touch()
    return ["-blockdev", "driver=blklogwrites,node-name=logged,file.driver=file,"
            f"file.filename={tmp / 'logged.img'},log.driver=file,log.filename={log}",
            "-device", "virtio-blk-pci,drive=logged"]


def read_log(path):
    """[(offset, data) of a write, or None for a flush]"""
    raw, found = path.read_bytes(), []
    magic, _, number, sector = struct.unpack_from("<QQQI", raw)
    assert (magic, sector) == (WRITE_LOG_MAGIC, LOG_SECTOR)
    at = LOG_SECTOR
    for _ in range(number):
        where, sectors, flags, _ = struct.unpack_from("<4Q", raw, at)
        at += LOG_SECTOR
        assert not flags & LOG_DISCARD
        if sectors:
            found.append((where * LOG_SECTOR, raw[at:at + sectors * LOG_SECTOR]))
            at += sectors * LOG_SECTOR
        if flags & LOG_FLUSH:
            found.append(None)
    return found


def after_cut(entries, rng):
    """What of these writes is on the disk: all up to the last flush, and any sectors of the rest."""
    flushed = max((i for i, e in enumerate(entries) if e is None), default=0)
    for i, entry in enumerate(entries):
        if entry is None:
            continue
        at, data = entry
        if i < flushed:
            yield at, data
        else:
            for n in range(0, len(data), LOG_SECTOR):
                if rng.random() < 0.5:
                    yield at + n, data[n:n + LOG_SECTOR]


def test_lost_writes(boot, either, tmp_path, record_property):
    """The same for a disk with a cache: an image is resumed and the next one saved over it."""
    disk, old, lost = (tmp_path / f"{n}.img" for n in ("logged", "old", "lost"))
    with open(disk, "wb") as f:
        f.truncate(192 << 20)
    machine = dict(memory="160M", disks=False, net=False, workdir=tmp_path)
    g = boot(either, qemu_args=logged_disk(tmp_path, tmp_path / "log1"), **machine)
    work = Work(g, disks=False, mb=4, tmpfs_mb=16)
    hibernate(g, f"kjump hibernate {DISK}")
    subprocess.run(["cp", "--sparse=always", disk, old], check=True)
    g.qemu_args = logged_disk(tmp_path, tmp_path / "log2")
    work.g = g = resume(boot, g, append=RESTORE)
    work.check()
    hibernate(g, f"kjump hibernate {DISK}")
    entries, rng = read_log(tmp_path / "log2"), random.Random(SEED)
    print(f"KJ_SEED={SEED}: {len(entries)} writes and flushes")

    def image():
        """Its state and id; what says it is complete or used has every chunk as it was."""
        told = host_kjump(either, "status", "--json", lost)
        assert told.returncode == 0, told
        found = json.loads(told.stdout)
        if found["state"] in ("complete", "used"):
            r = host_kjump(either, "extract", "--force", lost, tmp_path / "dump")
            assert r.returncode == 0, (found, r)
        return found["state"], found["id"]

    lost.write_bytes(disk.read_bytes())
    state, new = image()
    subprocess.run(["cp", "--sparse=always", old, lost], check=True)
    assert (state, image()[0]) == ("complete", "complete")
    first = image()[1]
    supers = [i for i, e in enumerate(entries) if e and e[0] == 0]
    assert len(supers) == 4, "used, prepared, half-written, complete"
    # Each is on the disk before anything else is written.
    assert all(None in entries[a:b] for a, b in zip(supers, supers[1:]))
    used_for_good = entries.index(None, supers[0])
    moments = {0, len(entries), *(i + d for i in supers for d in (1, 2))}
    moments |= set(rng.sample(range(len(entries)), min(30, len(entries))))
    seen = set()
    for moment in sorted(moments):
        subprocess.run(["cp", "--sparse=always", old, lost], check=True)
        with open(lost, "r+b") as f:
            for at, data in after_cut(entries[:moment], rng):
                f.seek(at)
                f.write(data)
        state, ident = image()
        seen.add(state)
        if state == "complete" and ident == first:
            assert moment <= used_for_good
        elif state == "complete":
            assert ident == new and moment > supers[-1]
    assert (state, ident) == ("complete", new)
    assert seen == {"complete", "used", "prepared", "half-written"}
    record_property("cuts_with_a_disk_cache", len(moments))
