# SPDX-License-Identifier: GPL-2.0
"""Two real kernels in one machine, jumping back and forth: lab/demo tells it live.

Every line that states something about a guest is made from what that guest
just answered; nothing is prepared. The commands are the stock kexec's.
"""
import argparse
import re
import subprocess
import sys
import time

from . import initramfs, kernel, packages
from .echo import EchoServer
from .guest import Guest
from .util import VARIANTS, LabError, say

ROUND_TRIPS = 3
DISKS = ("virtio", "ahci", "nvme")
ADDRESSES = ("10.0.2.2", "10.0.3.2")    # the host, through the virtio and the e1000 card
# A jump loses at most what the CMOS clock, which counts seconds, does not show.
CLOCK_TOLERANCE_MS = 2000


class Story:
    """The guest, the lines about it, and what turned out wrong."""

    def __init__(self, guest):
        self.g = guest
        self.start = time.monotonic()
        self.wrong = []
        self.explained = False

    def tell(self, text):
        print(f"[{time.monotonic() - self.start:5.1f} s] {text}", flush=True)

    def note(self, text):
        print(f"          {text}", flush=True)

    def ask(self, cmd, timeout=60):
        """Run a command off stage; its output."""
        return self.g.run(cmd, timeout).check().out

    def type(self, cmd, timeout=120):
        """Run a command on stage; the seconds it took."""
        print(f"          kernel-{self.g.name}# {cmd}", flush=True)
        began = time.monotonic()
        out = self.g.run(cmd, timeout).check().out
        for line in out.splitlines():
            self.note(line)
        return time.monotonic() - began

    def jump(self, to, cmd="kexec -e -x"):
        """Type the command that jumps; the seconds until the other kernel's prompt."""
        print(f"          kernel-{self.g.name}# {cmd}", flush=True)
        began = time.monotonic()
        # What arrives is printed by the kernel that was left earlier and now goes on.
        said = self.g.jump(cmd, to=to).replace("\r", "")
        self.g.name = to
        for line in filter(None, said.splitlines()):
            self.note(line)
            if line.startswith("kexec failed") and not self.explained:
                self.note("(stock kexec says so when reboot() returns; it does because we are back)")
                self.explained = True
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


def kernel_a(story, port):
    """Give the first kernel something to lose. Returns what has to be the same at the end."""
    story.tell(f"kernel A is up: {story.ask('uname -srm')}, {story.ask('nproc')} CPUs, "
               f"{memory_mb(story)} MB")
    story.tell("A gets work: files on three disks, TCP through two network cards, memory to check")
    story.ask("lab-disks; lab-net")
    story.ask(" && ".join(f"head -c 1000000 /dev/urandom > /mnt/{d}/data" for d in DISKS)
              + " && head -c 8000000 /dev/urandom > /tmp/data && sync", 120)
    files = " ".join(f"/mnt/{d}/data" for d in DISKS)
    # 4 MB to check over and over: with more, that is what both CPUs are busy with.
    story.type("workload start -m 4 " + " ".join(f"-t {ip}:{port}" for ip in ADDRESSES)
               + "".join(f" /mnt/{d}" for d in DISKS))
    kept = {
        "boot": story.ask("cat /proc/sys/kernel/random/boot_id"),
        "cpus": story.ask("nproc"),
        "files": story.ask(f"sha256sum {files}"),
        "memory": story.ask("pagesum /tmp/data"),
    }
    for _ in range(50):
        kept["work"] = workload(story)
        kept["tcp"] = connections(story)
        if len(kept["tcp"]) == len(ADDRESSES) and kept["work"]["mem_rounds"] > 0 \
                and kept["work"]["disk_rounds"] > len(DISKS):
            break
        time.sleep(0.1)
    else:
        raise LabError(f"the work in kernel A does not start: {kept['work']['text']}")
    kept["clock"] = clock_error_ms(story)
    story.type("workload status")
    for pair in kept["tcp"]:
        story.note(f"TCP connection {readable(pair)}")
    return kept


def first_jump(story):
    """A loads B and jumps, B boots. Returns what B must still have later."""
    story.tell("A loads the second kernel, B, into the window 1 MB to 64 MB")
    took = story.type(
        "kexec --load-preserve-context /boot/bzImage --mem-min=0x100000 --mem-max=0x3ffffff "
        f"--initrd=/boot/rootfs.gz --append='{story.g.peer_line('B')}'")
    story.note(f"loaded in {took:.2f} s; the kernel reports the window "
               + story.ask("cat /sys/kernel/kexec_jump/image_window").replace("\n", " "))
    story.tell("A jumps (-x: plain kexec -e would take A's network interfaces down first)")
    took = story.jump("B")
    story.tell(f"kernel B has booted, {took:.1f} s after the command in A")
    story.note(f"B is {story.ask('uname -srm')}, up {uptime(story):.1f} s, {memory_mb(story)} MB, "
               f"{story.ask('nproc')} CPU(s)")
    story.note("B confined itself to "
               + story.ask("cat /sys/kernel/kexec_jump/confined_to").replace("\n", " "))
    story.note("its memory map:")
    story.type("grep 'System RAM' /proc/iomem")
    story.ask("workload start -m 4")
    seen = {"boot": story.ask("cat /proc/sys/kernel/random/boot_id"), "up": uptime(story),
            "counter": workload(story)["counter"]}
    story.tell("B is told the way back, from its own command line")
    story.type("kexec --load-jump-back-helper "
               "--entry=$(sed 's/.*kexec_jump_back_entry=//' /proc/cmdline)")
    return seen


def back_to_a(story, trip, kept, before):
    took = story.jump("A")
    now = workload(story)
    story.tell(f"back in A after {took:.2f} s (round trip {trip})")
    story.note(step_times(story))
    story.note(f"A's counter: {before['counter']} before, {now['counter']} now; "
               f"numbers echoed over TCP: {before['tcp_rounds']}, {now['tcp_rounds']}; "
               f"disk rounds: {before['disk_rounds']}, {now['disk_rounds']}")
    if story.ask("cat /proc/sys/kernel/random/boot_id") != kept["boot"]:
        raise LabError("the kernel that answers as A is another one: its boot id differs")


def forth_to_b(story, trip, peer):
    took = story.jump("B")
    story.tell(f"in B again after {took:.2f} s (round trip {trip})")
    up, boot = uptime(story), story.ask("cat /proc/sys/kernel/random/boot_id")
    work = workload(story)
    story.check("B was resumed, not booted again",
                boot == peer["boot"] and up > peer["up"] and work["counter"] > peer["counter"]
                and not work["errors"],
                f"boot id {boot[:8]}, was {peer['boot'][:8]}; up {up:.1f} s, was {peer['up']:.1f} s; "
                f"its counter {work['counter']}, was {peer['counter']}; memory {work['mem']}")
    peer.update(up=up, counter=work["counter"])


def wait_for_work(story, than):
    """Every kind of work must go on, not just have survived. Gives it up to 15 s."""
    kinds = ("counter", "mem_rounds", "disk_rounds", "tcp_rounds")
    for _ in range(100):
        now = workload(story)
        if all(now[k] > than[k] for k in kinds):
            break
        time.sleep(0.15)
    return now


def final_checks(story, kept):
    story.tell("what A had before the jumps, and what it has now")
    at_return = workload(story)
    now = wait_for_work(story, at_return)
    was = kept["work"]
    story.check("processes", now["counter"] > at_return["counter"],
                f"counted to {was['counter']}, {at_return['counter']} after the last jump, "
                f"{now['counter']} now")
    story.check("memory in use by a process",
                now["mem"] == "ok" and now["mem_rounds"] > at_return["mem_rounds"],
                f"{now['mem']}, checked {now['mem_rounds']} times")
    memory = story.ask("pagesum /tmp/data")
    story.check("memory checksum", memory == kept["memory"],
                f"{memory.split()[0]}, was {kept['memory'].split()[0]}")
    tcp = connections(story)
    story.check("TCP connections", tcp == kept["tcp"] and not now["tcp_errors"]
                and now["tcp_rounds"] > at_return["tcp_rounds"],
                f"the same {len(set(tcp) & set(kept['tcp']))} of {len(kept['tcp'])} established, "
                f"{now['tcp_rounds']} numbers echoed, {now['tcp_errors']} errors")
    story.check("files being written", not now["disk_errors"]
                and now["disk_rounds"] > at_return["disk_rounds"],
                f"{now['disk_rounds']} rounds of write, sync, read; {now['disk_errors']} errors")
    story.ask("sync; echo 3 > /proc/sys/vm/drop_caches")
    for line, old in zip(story.ask("sha256sum " + " ".join(f"/mnt/{d}/data" for d in DISKS)
                                   ).splitlines(), kept["files"].splitlines()):
        story.check(f"{line.split()[1]}, read from the disk", line == old,
                    f"sha256 {line[:16]}, was {old[:16]}")
    cpus = story.ask("nproc")
    story.check("CPUs", cpus == kept["cpus"], f"{cpus}, was {kept['cpus']}")
    clock = clock_error_ms(story)
    drift = clock - kept["clock"]
    story.check("clock", abs(drift) <= CLOCK_TOLERANCE_MS,
                f"it moved {drift:+d} ms against the host's in {time.monotonic() - story.start:.0f} s"
                f" ({CLOCK_TOLERANCE_MS} ms allowed)")
    jumps = story.ask("cat /sys/kernel/kexec_jump/jumps")
    story.check("jumps the kernel counted", jumps == str(ROUND_TRIPS), jumps)


def put_away(story):
    """Stop the work, unmount, power off, and look at the file systems from outside."""
    stopped = story.g.run("workload stop", 90)
    story.check("A's processes end by themselves", stopped.rc == 0,
                re.sub(r" mono_ms.*?(?= errors=|$)", "", stopped.out))
    story.ask("lab-disks -u", 60)
    trouble = story.g.trouble()
    story.check("kernel logs of A and B", not trouble,
                f"{len(story.g.log().splitlines())} lines, "
                + (f"trouble: {trouble[0]}" if trouble else "no BUG, WARNING or I/O error"))
    story.g.power_off()
    for disk in DISKS:
        done = subprocess.run(["e2fsck", "-fn", story.g.dir / f"{disk}.img"], text=True,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        story.check(f"{disk} disk's file system (e2fsck)", done.returncode == 0,
                    done.stdout.strip().splitlines()[-1])


def tell(variant):
    """The whole story on one architecture. Returns what was wrong."""
    print(f"\n== {variant} ==", flush=True)
    with EchoServer() as echo:
        guest = Guest(variant, smp=2, label=f"demo-{variant}", start=False)
        story = Story(guest)
        with guest:
            guest.start()
            kept = kernel_a(story, echo.port)
            before = workload(story)
            peer = first_jump(story)
            back_to_a(story, 1, kept, before)
            for trip in range(2, ROUND_TRIPS + 1):
                before = workload(story)
                forth_to_b(story, trip, peer)
                back_to_a(story, trip, kept, before)
            final_checks(story, kept)
            put_away(story)
            if story.wrong:
                guest.save_artefacts()
    story.tell(f"{variant}: " + ("everything is right" if not story.wrong else
                                 f"{len(story.wrong)} WRONG"))
    return [f"{variant}: {w}" for w in story.wrong]


def main(variants):
    wrong, done = [], []
    for variant in variants:
        # Build late: the first story can be read while the second kernel compiles.
        kernel.build(variant)
        initramfs.build(variant)
        wrong += tell(variant)
        done.append(variant)
    print()
    if wrong:
        for line in wrong:
            print(f"WRONG: {line}")
        print("the kernels' logs are in build/test-logs/demo-*", flush=True)
        return 1
    print(f"demo: all checks right on {' and '.join(done)}", flush=True)
    return 0


def command():
    p = argparse.ArgumentParser(
        prog="lab/demo", formatter_class=argparse.RawDescriptionHelpFormatter,
        description="Show kexec jump live: a busy kernel A jumps to a second kernel B, back,\n"
        "and forth again, three times; then everything A had is checked.",
        epilog="The first run on a machine installs packages and compiles a kernel for each\n"
        "architecture (about 4 minutes each on 2 cores), later ones take well under a minute.\n"
        "Exit status: 0 all checks right, 1 a check was wrong or something failed, 2 usage.")
    p.add_argument("variant", nargs="*", metavar="ARCH",
                   help=f"one or more of {', '.join(VARIANTS)} (default: x86_64 i386)")
    variants = p.parse_args().variant or ["x86_64", "i386"]
    for v in variants:
        if v not in VARIANTS:
            p.error(f"there is no architecture '{v}': choose from {', '.join(VARIANTS)}")
    began = time.monotonic()
    packages.host()
    status = main(variants)
    say(f"demo: {time.monotonic() - began:.0f} s in all")
    return status


if __name__ == "__main__":
    try:
        sys.exit(command())
    except LabError as e:
        print(f"lab: {e}", file=sys.stderr)
        sys.exit(1)
    except KeyboardInterrupt:
        sys.exit(130)
