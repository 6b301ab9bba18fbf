# SPDX-License-Identifier: GPL-2.0
"""Kexec jump live: lab/demo.

A kernel with running programs, A, is hibernated to a partition: a second
kernel, B, saves it and powers the machine off. No ACPI sleep state is
involved. QEMU is started again, a third kernel, C, resumes A, and its programs
go on. Then A takes two snapshots of itself through B, and crash opens the last.

Every number shown is read from the guest, from the host's clock, from crash,
or made from what that guest just answered; nothing is prepared.
"""
import contextlib
import re
import shutil
import subprocess
import tempfile
import time

import pexpect

from . import dump, initramfs, kernel
from .echo import EchoServer
from .guest import DISKS, PROMPT, Guest, partitioned
from .util import LabError, say

ADDRESSES = ("10.0.2.2", "10.0.3.2")    # the host, through the virtio and the e1000 card
IMAGE_DISK, IMAGE_MB = "/dev/vdc1", 513
DUMP_DISK, DUMP_MB = "/dev/vdd", 512
MEMORY = "512M"
# What the clock may lose: the CMOS clock counts seconds, and is read before and after.
CLOCK_TOLERANCE_MS = 3500


class Machine(Guest):
    def last_words(self, cmd, timeout=120):
        """Type a command that ends with the machine off; what it printed before."""
        self.send(cmd)
        with contextlib.suppress(pexpect.EOF, OSError):
            self.shell.expect(PROMPT, timeout)
            raise LabError(f"{cmd!r} came back:\n{self.shell.before.decode(errors='replace')}")
        self.wait(timeout)
        return self.shell.before.decode(errors="replace")


class Resumed(Guest):
    """A QEMU in which kernel C boots, and A is what answers."""

    def expect_kernel(self, name, timeout=180):
        return super().expect_kernel("A", timeout)


class Story:
    """The guest, the lines about it, and what turned out wrong."""

    def __init__(self, guest):
        self.g = guest
        self.start = time.monotonic()
        self.wrong = []

    def tell(self, text):
        print(f"[{time.monotonic() - self.start:5.1f} s] {text}", flush=True)

    def note(self, text):
        print(f"          {text}", flush=True)

    def show(self, out):
        """What a command printed, without the lines that it has overwritten itself."""
        for line in out.splitlines():
            if last := re.split("\r|\x1b\\[K", line.rstrip())[-1]:
                self.note(last)

    def ask(self, cmd, timeout=60):
        """Run a command off stage; its output."""
        return self.g.run(cmd, timeout).check().out

    def type(self, cmd, timeout=120):
        """Run a command on stage; the seconds it took."""
        print(f"          kernel-{self.g.name}# {cmd}", flush=True)
        began = time.monotonic()
        out = self.g.run(cmd, timeout).check().out
        self.show(out)
        return time.monotonic() - began

    def check(self, what, right, seen):
        self.note(f"{'right' if right else 'WRONG'}  {what}: {seen}")
        if not right:
            self.wrong.append(f"{what}: {seen}")


def workload(story):
    """The running processes' own account: counter, mem, disk_rounds, ..."""
    result = story.g.run("workload status")
    found = {k: int(v) if v.isdigit() else v for k, v in re.findall(r"(\w+)=(\w+)", result.out)}
    if "counter" not in found:
        raise LabError(f"workload status: {result.out}")
    found["text"] = result.out
    return found


def clock_error_ms(story):
    """The guest's wall clock (as its workload noted it 10 ms ago or less) minus the host's."""
    before = time.time()
    theirs = workload(story)["wall_ms"]
    return theirs - round((before + time.time()) / 2 * 1000)


def connections(story):
    """Established TCP connections, as (local, remote) from /proc/net/tcp."""
    rows = [l.split() for l in story.ask("cat /proc/net/tcp").splitlines()[1:]]
    return sorted((r[1], r[2]) for r in rows if r[3] == "01")


def readable(pair):
    def one(text):
        ip, port = text.split(":")
        return ".".join(str(b) for b in reversed(bytes.fromhex(ip))) + f":{int(port, 16)}"
    return f"{one(pair[0])} to {one(pair[1])}"


def memory_mb(story):
    return int(story.ask("awk '/MemTotal/ { print $2 }' /proc/meminfo")) // 1024


def uptime(story):
    return float(story.ask("cat /proc/uptime").split()[0])


def step_times(story):
    """What the kernel says of its own last jump: in, out, and the slowest step."""
    rows = [(l.split()[0], *map(int, l.split()[1:3]))
            for l in story.ask("cat /sys/kernel/kexec_jump/steps").splitlines()]
    slowest = max(rows, key=lambda r: r[1] + r[2])
    return (f"putting A to rest took {sum(r[1] for r in rows) / 1000:.0f} ms, waking it "
            f"{sum(r[2] for r in rows) / 1000:.0f} ms; most of it the step \"{slowest[0]}\" "
            f"({(slowest[1] + slowest[2]) / 1000:.0f} ms)")


def start_work(story, kinds, more="", links=0):
    """Programs that notice when something is wrong; returns their account once all are at it."""
    story.type("workload start -m 4 " + more + " ".join(f"/mnt/{d}" for d in DISKS))
    for _ in range(100):
        now = workload(story)
        if all(now[k] > 0 for k in kinds) and now["disk_rounds"] > len(DISKS) \
                and len(connections(story)) == links:
            return now
        time.sleep(0.1)
    raise LabError(f"the work in kernel A does not start: {now['text']}")


def goes_on(story, than, kinds):
    """Every kind of work must go on, not just have survived. Gives it up to 15 s."""
    for _ in range(100):
        now = workload(story)
        if all(now[k] > than[k] for k in kinds):
            break
        time.sleep(0.15)
    return now


def kernel_a(story):
    """Give the first kernel something to lose. Returns what has to be the same afterwards."""
    story.tell(f"kernel A is up: {story.ask('uname -srm')}, {story.ask('nproc')} CPUs, "
               f"{memory_mb(story)} MB")
    if states := story.ask("dmesg | sed -n 's/.*ACPI: PM: //p'"):
        story.note(f"the firmware's sleep states (S3 and S4 would sleep): {states}")
    story.tell("A gets work: files on three disks, memory to check")
    story.ask("lab-disks")
    story.ask(" && ".join(f"head -c 1000000 /dev/urandom > /mnt/{d}/data" for d in DISKS)
              + " && head -c 30000000 /dev/urandom > /tmp/data && sync", 120)
    kept = {"work": start_work(story, ("counter", "mem_rounds"))}
    kept |= {
        "boot": story.ask("cat /proc/sys/kernel/random/boot_id"),
        "cpus": story.ask("nproc"),
        "files": story.ask("sha256sum " + " ".join(f"/mnt/{d}/data" for d in DISKS)),
        "memory": story.ask("pagesum /tmp/data"),
        "pids": processes(story),
        "clock": clock_error_ms(story),
    }
    story.type("workload status")
    return kept


def processes(story):
    """{pid: name} of what runs in user space, but for the command that asks."""
    rows = [l.split() for l in story.ask("ps -o pid,ppid,comm").splitlines()[1:]]
    return {int(r[0]): r[2] for r in rows
            if r[1] != "2" and r[0] != "2" and r[2] not in ("ps", "kjump")}


def hibernate(story, kept):
    """Save A and power the machine off."""
    kept["work"] = workload(story)
    story.tell(f"A hibernates to {IMAGE_DISK}, a partition of its own: the second kernel, B, "
               "is loaded, saves A, and powers off")
    command = f"kjump hibernate {IMAGE_DISK}"
    print(f"          kernel-A# {command}", flush=True)
    began = time.monotonic()
    story.show(story.g.last_words(command))
    took = time.monotonic() - began
    for line in re.findall(r"saved \d.*|.*reboot: Power down", story.g.log()):
        story.note(f"B says: {line}")
    story.check("kernel logs of A and B", not story.g.trouble(),
                "; ".join(story.g.trouble()[:1]) or f"{len(story.g.log().splitlines())} lines, no "
                "BUG, WARNING or I/O error")
    story.tell(f"the machine is off, {took:.1f} s after the command; QEMU has ended")


def resume(story, kept, took):
    """What A had, and what it has after it was resumed."""
    boots = re.findall(r"Linux version", story.g.log())
    story.tell(f"A is back, {took:.1f} s after QEMU's start: its command, kjump hibernate, has returned")
    story.note(step_times(story))
    last = story.ask("cat /sys/kernel/kexec_jump/last")
    boot = story.ask("cat /proc/sys/kernel/random/boot_id")
    story.check("it is A, not the kernel that booted", boot == kept["boot"] and "image" in last
                and len(boots) == 1,
                f"boot id {boot[:8]}, was {kept['boot'][:8]}; the kernel says \"{last}\"")
    kinds = ("counter", "mem_rounds", "disk_rounds")
    now = goes_on(story, workload(story), kinds)
    was = kept["work"]
    pids = processes(story)
    story.check("its programs go on", kept["pids"].items() <= pids.items() and not now["errors"]
                and all(now[k] > was[k] for k in kinds),
                f"{len(kept['pids'])} processes, counted to {was['counter']} then and "
                f"{now['counter']} now, {was['disk_rounds']} and {now['disk_rounds']} rounds of "
                f"write, sync, read on three disks, {now['errors']} errors")
    memory = story.ask("pagesum /tmp/data")
    story.check("memory", memory == kept["memory"] and now["mem"] == "ok",
                f"checksum {memory.split()[0]}, was {kept['memory'].split()[0]}")
    story.ask("sync; echo 3 > /proc/sys/vm/drop_caches")
    for line, old in zip(story.ask("sha256sum " + " ".join(f"/mnt/{d}/data" for d in DISKS)
                                   ).splitlines(), kept["files"].splitlines()):
        story.check(f"{line.split()[1]}, read from the disk", line == old,
                    f"sha256 {line[:16]}, was {old[:16]}")
    cpus = story.ask("nproc")
    story.check("CPUs", cpus == kept["cpus"], f"{cpus}, was {kept['cpus']}")
    drift = clock_error_ms(story) - kept["clock"]
    story.check("clock", abs(drift) <= CLOCK_TOLERANCE_MS,
                f"it moved {drift:+d} ms against the host's ({CLOCK_TOLERANCE_MS} ms allowed)")
    used = story.g.run(f"kjump restore --check {IMAGE_DISK} 2>&1").out.splitlines()[-1]
    story.check("the image is not resumed twice", "already used" in used, used)


def snapshots(story, port):
    """Two snapshots, with TCP through both network cards; what the dump must show."""
    story.tell("A takes snapshots of itself, to a file system that it has mounted")
    stopped = story.g.run("workload stop", 90)
    story.check("the programs end by themselves", stopped.rc == 0,
                re.sub(r" mono_ms.*?(?= errors=|$)", "", stopped.out))
    story.ask(f"lab-net; mkdir -p /mnt/dump; mount -t ext4 {DUMP_DISK} /mnt/dump")
    work = start_work(story, ("counter", "mem_rounds", "tcp_rounds"),
                      "".join(f"-t {ip}:{port} " for ip in ADDRESSES), len(ADDRESSES))
    tcp, jumps = connections(story), int(story.ask("cat /sys/kernel/kexec_jump/jumps"))
    for pair in tcp:
        story.note(f"TCP connection {readable(pair)}")
    seen = {}
    for number, why in enumerate(("B is loaded and boots", "B is still there"), 1):
        seen = {"pids": processes(story), "line": story.ask("echo demo $$ > /dev/kmsg; dmesg | tail -1")}
        story.ask("rm -f /mnt/dump/dump")
        took = story.type("kjump snapshot /mnt/dump/dump")
        story.tell(f"snapshot {number} took {took:.1f} s ({why})")
    now = goes_on(story, work, ("counter", "mem_rounds", "disk_rounds", "tcp_rounds"))
    kept = connections(story) == tcp and len(tcp) == len(ADDRESSES)
    story.check("A's work goes on", kept and not now["errors"] and not now["tcp_errors"]
                and all(now[k] > work[k] for k in ("counter", "disk_rounds", "tcp_rounds")),
                f"the same {len(tcp)} TCP connections, {now['tcp_rounds']} numbers echoed, "
                f"{now['errors']} errors")
    made = int(story.ask("cat /sys/kernel/kexec_jump/jumps")) - jumps
    story.check("jumps the kernel counted", made == 2, made)
    story.ask("workload stop", 90)
    story.ask("umount /mnt/dump; lab-disks -u", 60)
    return seen


def look_inside(story, seen):
    """Open the dump on the host, with crash."""
    image = story.g.dir / "dump"
    run = subprocess.run(["debugfs", "-R", f"dump /dump {image}", story.g.dir / "dump.img"],
                         text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if not image.is_file():
        raise LabError(f"debugfs: {run.stdout}")
    sleeper = next(p for p, name in seen["pids"].items() if name == "workload")
    story.tell("crash opens the last snapshot, on the host")
    began = time.monotonic()
    tasks, trace, log, mounts = dump.crash(story.g.variant, image,
                                           ["foreach set", f"bt {sleeper}", "log", "mount"])
    found = {int(p): n for p, n in re.findall(r"PID: (\d+).*?COMMAND: \"?([^\"\n]+)", tasks, re.S)}
    story.note(f"it took {time.monotonic() - began:.1f} s; a process that slept (bt {sleeper}):")
    for line in trace.splitlines()[:4]:
        story.note(line)
    missing = [f"{n} ({p})" for p, n in seen["pids"].items() if found.get(p) != n]
    story.check("A's processes are in it", not missing and bool(seen["pids"]),
                f"{len(seen['pids'])} that A saw" + (f", missing: {', '.join(missing)}" if missing
                                                    else ""))
    jumper = [p for p, n in found.items() if n == "kjump"]
    story.check("the task that jumped, kjump", bool(jumper), f"pid {jumper}")
    story.check("the sleeping process's stack", "schedule" in trace, "ends in the scheduler"
                if "schedule" in trace else trace[:200])
    story.check("A's log", seen["line"].split("] ", 1)[-1] in log, seen["line"].split("] ", 1)[-1])
    story.check("A's mounts", all(f"/mnt/{d}" in mounts for d in (*DISKS, "dump")),
                f"{len(mounts.splitlines()) - 1} of them")


def put_away(story):
    """Power off, and look at the file systems from outside."""
    trouble = story.g.trouble()
    story.check("kernel logs of A, B and C", not trouble,
                f"{len(story.g.log().splitlines())} lines, "
                + (f"trouble: {trouble[0]}" if trouble else "no BUG, WARNING or I/O error"))
    story.g.power_off()
    for disk in (*DISKS, "dump"):
        done = subprocess.run(["e2fsck", "-fn", story.g.dir / f"{disk}.img"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        story.check(f"{disk} disk's file system (e2fsck)", done.returncode == 0,
                    done.stdout.strip().splitlines()[-1])


def machine(kind, variant, home, **more):
    """The demo's machine, with its disks: the same when it is started again."""
    g = kind(variant, smp=2, memory=MEMORY, label=f"demo-{variant}", start=False, workdir=home,
             blank=IMAGE_MB, **more)
    g.qemu_args += g.drive("dump", g._disk("dump", DUMP_MB), "virtio-blk-pci")
    # Nothing for the firmware to do.
    g.qemu_args += ["-global", "ICH9-LPC.disable_s3=1", "-global", "ICH9-LPC.disable_s4=1"]
    return g


def tell(variant):
    """The whole story on one architecture. Returns what was wrong."""
    print(f"\n== {variant} ==", flush=True)
    # Short: sockets are in it.
    home = tempfile.mkdtemp(prefix="kj-")
    partitioned(f"{home}/blank.img", IMAGE_MB)
    try:
        with machine(Machine, variant, home) as guest:
            story = Story(guest)
            guest.start()
            kept = kernel_a(story)
            hibernate(story, kept)
            if story.wrong:
                guest.save_artefacts()
        with EchoServer() as echo, \
                machine(Resumed, variant, home, name="C", append=f"kjump.restore={IMAGE_DISK}") as guest:
            story.g = guest
            story.tell("QEMU is started again; kernel C boots with the same initramfs, and kjump "
                       "restore finds the image")
            began = time.monotonic()
            guest.start()
            guest.name = "A"
            resume(story, kept, time.monotonic() - began)
            seen = snapshots(story, echo.port)
            put_away(story)
            look_inside(story, seen)
            if story.wrong:
                guest.save_artefacts()
    finally:
        shutil.rmtree(home, ignore_errors=True)
    story.tell(f"{variant}: " + ("everything is right" if not story.wrong else
                                 f"{len(story.wrong)} WRONG"))
    return [f"{variant}: {w}" for w in story.wrong]


def main(variants):
    began = time.monotonic()
    wrong, done = [], []
    for variant in variants:
        # Build late: the first story can be read while the second kernel compiles.
        kernel.build(variant)
        initramfs.build(variant)
        wrong += tell(variant)
        done.append(variant)
    print(flush=True)
    say(f"demo: {time.monotonic() - began:.0f} s in all")
    if wrong:
        for line in wrong:
            print(f"WRONG: {line}")
        print("the kernels' logs are in build/test-logs/demo-*", flush=True)
        return 1
    print(f"demo: all checks right on {' and '.join(done)}", flush=True)
    return 0
