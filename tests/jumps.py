# SPDX-License-Identifier: GPL-2.0
"""What several tests do with a guest: give it work, load a peer, jump, look."""
import base64
import contextlib
import gzip
import os
import pathlib
import random
import re
import shutil
import subprocess
import time

import pytest

from kjlab.echo import EchoServer
from kjlab.guest import free_kb, loaded_kb
from kjlab.kernel import fragment_of
from kjlab.util import BASE, BUILD

MB = 1 << 20
# Where chance decides, KJ_SEED=N decides the same again, as far as the host's timing allows.
SEED = int(os.environ.get("KJ_SEED", random.SystemRandom().randrange(1 << 32)))
# What is the same on all architectures is tried on all of them, however long that takes.
BOTH = bool(os.environ.get("KJ_BOTH"))
PROGRAMS = pathlib.Path(__file__).parent / "programs"
# What is shipped for programs: a library, and examples.
LIBRARY = pathlib.Path(__file__).parents[1] / "tools/power/kjump/programs"
SYSFS = "/sys/kernel/kexec_jump"
# Where stock kexec puts a second kernel: [1 MB, this]. It would checksum all of it, twice; --no-checks.
MEM_MAX = 0x3ffffff
# Where it is when there is nothing to choose.
RET = 32 * MB
# kexec -e without taking the network interfaces down first.
JUMP = "kexec -e -x"


def needs(variant, option):
    """Skip a test of what this base's kernels have no more (lab/config/<base> says so)."""
    if fragment_of(variant).get(option) != "y":
        pytest.skip(f"{BASE} has no CONFIG_{option} on {variant}")


def load_command(g, append="", mem_max=MEM_MAX, options=""):
    """The command that loads the same kernel as the peer, as the mission's example does."""
    return (f"kexec --load-preserve-context --no-checks /boot/bzImage --mem-min=0x100000 --mem-max={mem_max:#x} "
            f"{options} --initrd=/boot/initramfs.img --append='{g.peer_line('B', append=append)}'")


def load_kernel(g, **kw):
    g.run(load_command(g, **kw), timeout=300).check()


def jump_back_entry(g):
    """In the peer: where its command line says it can jump back to."""
    return int(re.findall(r"kexec_jump_back_entry=(\w+)", g.run("cat /proc/cmdline").out)[-1], 0)


def address_of(g, function):
    """Where the kernel that runs has this function: a peer of i386 runs where it was loaded."""
    return int(g.run(f"grep ' [Tt] {function}$' /proc/kallsyms").check().out.split()[0], 16)


def stop_at(g, address, *commands):
    """Wait until the kernel comes to this address, and have gdb do these."""
    g.monitor(f"gdbserver unix:{g.dir}/gdb,server=on,wait=off")
    said = subprocess.run(["gdb", "-nx", "-batch", *(arg for line in (
        f"target remote {g.dir}/gdb", f"hbreak *{address:#x}", "continue", *commands, "delete", "detach")
        for arg in ("-ex", line))], check=True, capture_output=True, text=True, timeout=300).stdout
    assert "hit Breakpoint 1" in said


def load_crash_kernel(g, append=""):
    """The same kernel as crash kernel, C."""
    g.run(f"kexec -p /boot/bzImage --initrd=/boot/initramfs.img --append='{g.peer_line('C', append=append)}'").check()


def load_way_back(g):
    """In the peer: prepare to jump back, with stock kexec."""
    g.run(f"kexec --load-jump-back-helper --entry={jump_back_entry(g):#x}").check()


def to_peer(g, **kw):
    """Load a peer, boot it, and make it ready to jump back."""
    load_kernel(g, **kw)
    g.jump(JUMP, to="B")
    load_way_back(g)


def sysfs(g, name):
    return g.run(f"cat {SYSFS}/{name}").check().out


def check_free(g, before, slack):
    """As much memory is free as before (free_kb), give or take what takes a while to be."""
    for _ in range(40):
        free = free_kb(g)
        if free > before - slack:
            return
        g.run("usleep 250000")
    raise AssertionError(f"{before} kB were free, {free} kB are now")


def random_data(mb):
    """The guest's command that prints so many MB; the kernel's own are slow under emulation."""
    return f"mixdata {mb} {random.randrange(1, 1 << 64)}"


def reboot(g, times=1):
    """Jump in a program, not a kernel: the results of reboot(2), 0 or an errno."""
    out = g.run(f"kjreboot -n {times}", timeout=180 + 10 * times).out
    return [int(n) for n in re.findall(r"(?:ret|errno)=(\d+)", out)]


def result_of(out):
    """0 or the errno in the output of kload and kjreboot; stock kexec prints only text."""
    if m := re.search(r"errno=(\d+)", out):
        return int(m[1])
    return 0 if re.search(r": ok|ret=0", out) else None


def load_ret(g, at=RET, size=0x1000, options=""):
    """Load a program that just returns, with a window of this size."""
    g.run(r"printf '\303' >/tmp/ret").check()
    return g.run(f"kload {options} -e {at:#x} -s {at:#x}:{size}:/tmp/ret")


def ranges(text):
    """[(start, end inclusive)] of lines like 0x1000-0x1fff or 00001000-00001fff : Name."""
    return [(int(a, 16), int(b, 16)) for a, b in
            re.findall(r"^\s*(?:0x)?([0-9a-f]+)-(?:0x)?([0-9a-f]+)", text, re.M)]


def iomem(g, name):
    """Ranges of /proc/iomem with this name."""
    return ranges("\n".join(l for l in g.run("cat /proc/iomem").out.splitlines()
                            if re.search(rf" : {name}$", l)))


def dmesg(g, pattern):
    """Lines of the running kernel's log that match."""
    return [l for l in g.run("dmesg").out.splitlines() if re.search(pattern, l)]


def window_kb(g):
    """(kB of the window that is loaded, kB of it that are exchanged at a jump)"""
    window, exchanged = loaded_kb(g)
    assert window == sum(end + 1 - start for start, end in ranges(sysfs(g, "image_window"))) // 1024
    return window, exchanged


def end_frames(g):
    """End the frames that has been started; it found its pages as they were."""
    g.run("kill $(pidof frames); while pidof frames >/dev/null; do usleep 50000; done").check()
    assert g.run("cat /tmp/frames.end").out == "bad=0"


def fields(line):
    return dict(re.findall(r"(\w+)=(\w+)", line))


def at_host_time(g, command):
    """Half the time a command took, the host's time in its middle, and what it said: the best of some looks."""
    looks = []
    for _ in range(3):
        before = time.time()
        out = g.run(command).out
        after = time.time()
        looks.append(((after - before) / 2, (before + after) / 2, out))
    return min(looks)


class Console:
    """What programs say on QEMU's debug console; qemu_args are for the guest."""

    def __init__(self, tmp):
        self.path, self.heard = tmp / "debugcon", 0
        self.qemu_args = ["-debugcon", f"file:{self.path}"]

    def said(self):
        """What was said since the last time."""
        text = self.path.read_text(errors="replace")
        new, self.heard = text[self.heard:], len(text)
        return new


def assemble(variant, name, at, tmp, *defines):
    """One of tests/programs, linked for an address: (ELF file, flat file)."""
    m32, emulation = ("-m64", "elf_x86_64") if variant == "x86_64" else ("-m32", "elf_i386")
    obj, elf, flat = (tmp / f"{name}.{x}" for x in ("o", "elf", "bin"))
    for cmd in (["gcc", m32, "-c", "-Wa,--fatal-warnings", *defines, PROGRAMS / f"{name}.S", "-o", obj],
                ["ld", "-m", emulation, f"-Ttext={at:#x}", obj, "-o", elf],
                ["objcopy", "-O", "binary", "-j", ".text", elf, flat], ["strip", elf]):
        subprocess.run(cmd, check=True)
    return elf, flat


def build_programs(variant, tmp, *own, at=32 * MB):
    """Folder with NAME.bin and NAME.elf, for an address: the library's examples, and programs of tests/programs."""
    out = tmp / "programs"
    names = [p.stem for p in (LIBRARY / "examples").glob("*.c")] + list(own)
    out.mkdir()
    # As a user's own would be: beside the library.
    shutil.copytree(LIBRARY, tmp / "library")
    for name in own:
        shutil.copy(PROGRAMS / f"{name}.c", tmp / "library")
    subprocess.run(["make", "-s", "-C", tmp / "library", f"ARCH={variant}", f"O={out}", f"AT={at:#x}",
                    f"PROGRAMS={' '.join(names)}", "PROGRAM_CFLAGS=-Werror"], check=True)
    return out


def put_file(g, file, path):
    """Copy a small file into the guest."""
    text = base64.b64encode(gzip.compress(file.read_bytes())).decode()
    g.run(f"rm -f {path}.gz64").check()
    for at in range(0, len(text), 3000):
        g.run(f"echo {text[at:at + 3000]} >>{path}.gz64").check()
    g.run(f"base64 -d {path}.gz64 | gunzip >{path}; rm {path}.gz64").check()


class Work:
    """A guest at work: disk I/O on all three controllers, TCP on both cards, memory.

    Files with known content are there too: in the page cache of a disk, and in
    a tmpfs, that is, in memory only. tcp: other connections, workload's -t.
    """

    def __init__(self, g, echo=None, disks=True, mb=24, tmpfs_mb=32, tcp=""):
        self.g, self.disks = g, disks
        dirs = ""
        self.files = ["/tmp/known"]
        if echo:
            g.run("lab-net").check()
            tcp = f"-t 10.0.2.2:{echo.port} -t 10.0.3.2:{echo.port}"
        if disks:
            g.run("lab-disks").check()
            dirs = "/mnt/virtio /mnt/ahci /mnt/nvme"
            self.files.append("/mnt/ahci/known")
        g.run(f"{random_data(tmpfs_mb)} >/tmp/known").check()
        if disks:
            g.run("dd if=/tmp/known of=/mnt/ahci/known bs=1M count=16 2>/dev/null; sync").check()
        self.sums = self._sums()
        self.kinds = ["mem_rounds"] + ["disk_rounds"] * bool(disks) + ["tcp_rounds"] * bool(tcp)
        g.run(f"workload start -m {mb} {tcp} {dirs}").check()
        self.last = self.check(goes_on=False)

    def _sums(self):
        return self.g.run("pagesum " + " ".join(self.files)).check().out

    def check(self, goes_on=True):
        """Nothing went wrong so far; with goes_on: and every kind of work proceeds."""
        for _ in range(300):
            status = self.g.run("workload status").out
            now = fields(status)
            assert now["errors"] == "0" and now["mem"] == "ok", status
            if not goes_on or all(int(now[k]) > int(self.last[k]) for k in self.kinds):
                break
            self.g.run("usleep 200000")
        else:
            raise AssertionError(f"work stands still: before {self.last}, now {status}")
        self.last = now
        return now

    def check_files(self):
        assert self._sums() == self.sums

    def end(self):
        """Stop, and look at everything once more, disks included."""
        self.check()
        self.check_files()
        r = self.g.run("workload stop")
        assert r.rc == 0, r.out
        if self.disks:
            self.g.run("sync; echo 3 >/proc/sys/vm/drop_caches").check()
            self.check_files()
            self.g.run("lab-disks -u").check()
            self.g.power_off()
            check_disks(self.g)


def check_disks(g):
    """The file systems of a guest that was powered off are in order."""
    for name in ("virtio", "ahci", "nvme"):
        r = subprocess.run(["e2fsck", "-fn", g.dir / f"{name}.img"], capture_output=True, text=True)
        assert r.returncode == 0, f"{name}: {r.stdout}{r.stderr}"


@contextlib.contextmanager
def at_work(g, **kw):
    """with at_work(guest) as work: the guest has everything to do that it can, and ends in good order."""
    with EchoServer() as echo:
        work = Work(g, echo=echo if g.net else None, **{"disks": g.disks} | kw)
        yield work
        work.end()
