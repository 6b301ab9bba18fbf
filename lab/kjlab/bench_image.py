# SPDX-License-Identifier: GPL-2.0
"""Hibernation with kjump and with swsusp, in the same guest with the same data: for lab/bench.

save     from the command to the end of QEMU (the machine is off)
resume   from the command in the shell of a kernel that was just booted (kjump restore DEVICE;
         echo MAJ:MIN >/sys/power/resume, as Debian's initramfs does it) to the line that the
         resumed system's own shell prints: what comes before is the same for both
image    MB on the disk; swsusp may also have pushed memory out to swap before, which is shown

snapshot the seconds the system stood still, as kjump snapshot says: with the peer loaded and
         booted for it, and the next one

Seen from the host: by wall time, and as the processor time QEMU takes, which depends less on
what else the host does. After each resume the data is checked.
"""
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import statistics
import subprocess
import tempfile
import time

from .guest import Guest, tsctime_ms
from .util import LabError, say

MEMORY, DISK, DISK_MB = "512M", "/dev/vdc", 640
SWSUSP, READY, PLAIN, ZSTD = "swsusp", "kjump", "kjump, peer not loaded", "kjump, zstd"
ROWS = ((150, SWSUSP), (150, READY), (150, PLAIN), (330, SWSUSP), (330, READY), (330, ZSTD))
COLUMNS = ("save", "save, CPU", "resume", "resume, CPU", "image")


class Clock:
    """Wall time, and the processor time of QEMU."""

    def __init__(self, g):
        self.g, self.ended = g, self._children()
        self.cpu, self.wall = self._cpu(), time.monotonic()

    @staticmethod
    def _children():
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        return (usage.ru_utime + usage.ru_stime) * 1000

    def _cpu(self):
        """ms so far; when the process has ended, that is what our children's time has grown by."""
        with contextlib.suppress(OSError):
            fields = pathlib.Path(f"/proc/{self.g.qemu.pid}/stat").read_text().rpartition(")")[2].split()
            return (int(fields[11]) + int(fields[12])) * 1000 / os.sysconf("SC_CLK_TCK")
        return self._children() - self.ended

    def read(self, into, name):
        into[name] = (time.monotonic() - self.wall) * 1000
        into[name + ", CPU"] = self._cpu() - self.cpu


class Hibernation:
    """One system that is saved and resumed once; took has the columns."""

    def __init__(self, variant, mb, way, memory=MEMORY):
        self.variant, self.mb, self.way, self.memory = variant, mb, way, memory
        # What is not data: the kernel, what it has cached, the peer.
        self.disk_mb = max(DISK_MB, mb + 512)
        self.took = {}

    def guest(self, name):
        return Guest(self.variant, smp=2, parallel=True, memory=self.memory, name=name,
                     workdir=self.home, blank=self.disk_mb,
                     label=f"bench-{self.variant}-{self.way}")

    def prepare(self, g):
        """The system that is going to be saved; what its data is."""
        g.run("mount -o remount,size=95% /dev/shm").check()
        if self.way == SWSUSP:
            g.run(f"mkswap {DISK} >/dev/null && swapon {DISK} && echo shutdown >/sys/power/disk").check()
        elif self.way in (READY, ZSTD):
            g.run("kjump load --ready", 180).check()
        # The disks rest again after this.
        g.run(f"mixdata {self.mb} >/dev/shm/data && sync && sleep 2", 600).check()
        return g.run("pagesum /dev/shm/data").check().out

    def save(self):
        more = "--compress=zstd " if self.way == ZSTD else ""
        command = "echo disk >/sys/power/state" if self.way == SWSUSP else f"kjump hibernate {more}{DISK}"
        with self.guest("A") as g:
            data = self.prepare(g)
            clock = Clock(g)
            # The mark is put together by the guest's shell: an echo of this is no match.
            g.send(f"{command}; echo '@''resumed'")
            g.wait(600)
            clock.read(self.took, "save")
            log = g.log()
        if self.way == SWSUSP:
            self.took["image"] = int(re.search(r"size after compression: (\d+) kbytes", log)[1]) / 1024
        return data

    def resume(self, data):
        with self.guest("C") as g:
            # Disks are found in the background, the AHCI ports being the last.
            g.run("sleep 1")
            if self.way != SWSUSP:
                self.took["image"] = image_mb(g)
            command = (f"cat /sys/class/block/{DISK[5:]}/dev >/sys/power/resume" if self.way == SWSUSP
                       else f"kjump restore {DISK}")
            clock = Clock(g)
            g.send(command)
            g._expect(["@resumed\r?\n", "kernel-C# "], 600, f"{self.way}: resuming")
            clock.read(self.took, "resume")
            g.expect_kernel("A")
            if self.way == SWSUSP:
                # What was swapped out before the image was made; the image is not counted.
                self.took["swap"] = int(g.run("awk 'NR == 2 { print $4 }' /proc/swaps").check().out) / 1024
            if g.run("pagesum /dev/shm/data", 600).check().out != data:
                raise LabError(f"{self.way}: the data is not what it was")

    def run(self):
        self.home = tempfile.mkdtemp(prefix="kj-")
        try:
            self.resume(self.save())
        finally:
            shutil.rmtree(self.home, ignore_errors=True)
        return self.took


def image_mb(g):
    """Of the image on DISK, as its superblock says."""
    return json.loads(g.run(f"kjump status --json {DISK}").check().out)["image_bytes"] / 2**20


def median_of(variant, mb, way, runs):
    """{column: median of the runs}; with "failed" instead, what went wrong."""
    took = []
    for n in range(runs):
        say(f"{variant}: {way}, {mb} MB, run {n + 1} of {runs}")
        try:
            took.append(Hibernation(variant, mb, way).run())
        except LabError as e:
            return {"failed": str(e).splitlines()[0]}
    return {c: statistics.median(t[c] for t in took) for c in took[0]}


def reading(variant, runs):
    """MB/s of reading /proc/kexec_jump_vmcore to its end, and of reading tmpfs, in the same peer."""
    with Guest(variant, smp=2, parallel=True, memory=MEMORY, label=f"bench-{variant}-reading") as g:
        # Some of what is read is left out, and so read as zeros.
        g.run("mount -o remount,size=95% /dev/shm && mixdata 330 >/dev/shm/data", 180).check()
        g.run("kjump load", 120).check()
        g.jump("kjump switch", to="B")
        g.run("head -c 16777216 /dev/urandom >/tmp/file").check()
        # dd says how many MB it was.
        ways = {"/proc/kexec_jump_vmcore": "dd if=/proc/kexec_jump_vmcore of=/dev/null bs=1M",
                "tmpfs": "sh -c 'for i in 1 2 3 4 5 6 7 8; do dd if=/tmp/file of=/dev/null bs=1M; done'"}
        speed = {}
        for name, command in ways.items():
            found = []
            for _ in range(runs):
                out = g.run(f"tsctime {command}", 180).check().out
                mb = sum(int(n) for n in re.findall(r"(\d+)\+\d+ records in", out))
                found.append(mb * 1000 / tsctime_ms(out)[0])
            speed[name] = statistics.median(found)
    return speed


def disk_for_dumps(image, mb, label=""):
    """A disk with a file system, before the guest has it."""
    subprocess.run(["mke2fs", "-q", "-t", "ext4", "-L", label, "-m", "0", image, f"{mb}M"], check=True)


def stood_still(g, file, timeout):
    """Seconds for which the system stood still that took a snapshot of itself."""
    # Not over the one before: until it is written there has to be room for both.
    out = g.run(f"rm -f {file}; kjump snapshot {file}", timeout).check().out
    return float(re.search(r"stood still for ([\d.]+) s", out)[1])


def snapshots(variant):
    """[seconds the system stood still] for two in a row, 150 MB of data in use."""
    home = pathlib.Path(tempfile.mkdtemp(prefix="kj-"))
    try:
        disk_for_dumps(home / "ahci.img", DISK_MB, "ahci")
        with Guest(variant, smp=2, parallel=True, memory=MEMORY, workdir=home, label=f"bench-{variant}-snapshot") as g:
            g.run("lab-disks").check()
            g.run("mount -o remount,size=95% /dev/shm && mixdata 150 >/dev/shm/data && sync", 180).check()
            return [stood_still(g, "/mnt/ahci/dump", 180) for _ in range(2)]
    finally:
        shutil.rmtree(home, ignore_errors=True)


def or_failed(measured, *args):
    try:
        return measured(*args)
    except LabError as e:
        return {"failed": str(e).splitlines()[0]}


def measure(variant, runs):
    found = {f"{mb} MB, {way}": median_of(variant, mb, way, runs) for mb, way in ROWS}
    found["reading"] = or_failed(reading, variant, runs)
    found["snapshots"] = or_failed(snapshots, variant)
    return found


def table(variant, found):
    print(f"\n== {variant}: hibernation, {MEMORY}, 2 CPUs, median; ms, and MB of the image; "
          "in brackets: as part of swsusp's ==")
    width = max(len(f"{mb} MB, {way}") for mb, way in ROWS)
    print(f"{'':{width}}" + "".join(f" {c:>15}" for c in COLUMNS))
    for mb, way in ROWS:
        name = f"{mb} MB, {way}"
        row, other = found[name], found[f"{mb} MB, {SWSUSP}"]
        if "failed" in row:
            print(f"{name:{width}} x: {row['failed']}")
            continue
        line = f"{name:{width}}"
        for c in COLUMNS:
            part = f" ({row[c] / other[c]:.2f})" if way != SWSUSP and c in other else ""
            line += f" {f'{row[c]:.0f}{part}':>15}"
        # What swsusp pushes out to swap before is not in its image, but written, and read later.
        if swap := other.get("swap", 0) >= 1 and other["swap"]:
            line += f"  and {swap:.0f} MB in swap" if way == SWSUSP else \
                    f"  ({row['image'] / (other['image'] + swap):.2f} of image and swap)"
        print(line)
    speed = found["reading"]
    if "failed" in speed:
        print(f"reading /proc/kexec_jump_vmcore: x: {speed['failed']}")
    else:
        print(f"reading /proc/kexec_jump_vmcore: {speed['/proc/kexec_jump_vmcore']:.0f} MB/s; tmpfs in the same peer: "
              f"{speed['tmpfs']:.0f} MB/s; ratio {speed['/proc/kexec_jump_vmcore'] / speed['tmpfs']:.2f}")
    still = found["snapshots"]
    if "failed" in still:
        print(f"snapshots: x: {still['failed']}")
    else:
        print(f"snapshots: the system stood still for {still[0]:.1f} s (the peer boots), {still[1]:.1f} s (it is there)")
    goals(found)


def goals(found):
    """What the project wants, and whether it is so in this run."""
    for mb in sorted({mb for mb, _ in ROWS}):
        row, other = found[f"{mb} MB, {READY}"], found[f"{mb} MB, {SWSUSP}"]
        if "failed" in row or "failed" in other:
            continue
        for column in "save", "resume", "image":
            part = row[column] / other[column]
            print(f"{mb} MB: {column}: " + (f"no {'larger' if column == 'image' else 'slower'} than swsusp's"
                                            if part <= 1 else "WORSE than swsusp's")
                  + (", half of it or less" if part <= 0.5 else "") + f" ({part:.2f})")
