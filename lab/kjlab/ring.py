# SPDX-License-Identifier: GPL-2.0
"""Four kernels on one machine, live: lab/lab ring.

A loads three others: red, its own kind; green, for one CPU; blue, of another
version of Linux. Each has work of its own, and each hands the machine to the
next: A, red, green, blue, A. Nobody boots twice, and nobody loses anything.
"""
import os
import pathlib
import re
import subprocess
import sys
import tempfile

from . import initramfs, kernel
from .demo import Story
from .guest import Guest
from .util import BASE, DEFAULT_BASE, LAB, LabError, build_folder, say

VARIANT, ROUNDS = "x86_64", 5
OTHER_BASE = "7.3" if BASE == DEFAULT_BASE else DEFAULT_BASE
COLORS = ("red", "green", "blue")
GUEST_DIR = "/mnt/ahci"


def other_kernel():
    """Build the other version; where its files are."""
    say(f"ring: the kernel of blue is a {OTHER_BASE} (the first time it takes as long to build as the others)")
    subprocess.run([sys.executable, "-B", LAB / "lab", "build", VARIANT], check=True,
                   env={**os.environ, "BASE": OTHER_BASE})
    return build_folder(OTHER_BASE) / VARIANT


class Turns(Story):
    """What each kernel said of itself when it ran last."""

    def __init__(self, guest):
        super().__init__(guest)
        self.last = {}

    def begin_work(self, mb):
        self.ask(f"dd if=/dev/urandom of=/tmp/own bs=1M count={mb} 2>/dev/null; md5sum /tmp/own >/tmp/sum; "
                 f"workload start -m {mb}")

    def look(self, name):
        """The kernel that runs now is the one of that name, as it was, and has gone on."""
        out = self.ask("workload status; echo boot=$(cat /proc/sys/kernel/random/boot_id); "
                       "md5sum -c /tmp/sum >/dev/null 2>&1 && echo file=ok; echo cpus=$(nproc) kernel=$(uname -r)")
        now = dict(re.findall(r"(\w+)=(\S+)", out))
        before = self.last.get(name, now)
        if (now.get("file"), now["errors"], now["mem"]) != ("ok", "0", "ok") or now["boot"] != before["boot"] or \
                int(now["mono_ms"]) < int(before["mono_ms"]):
            self.wrong.append(f"{name}: {' '.join(out.split())}")
        self.last[name] = now
        self.tell(f"{name:5}  Linux {now['kernel']}, CPUs: {now['cpus']}, work done so far: {now['counter']}")


def tell(g):
    s = Turns(g)
    s.begin_work(16)
    s.look("A")
    s.ask(f"mount -o ro $(findfs LABEL=others) {GUEST_DIR}")
    options = {"red": "", "green": "--command-line='console=ttyS1,115200 nosmp'",
               "blue": f"--kernel={GUEST_DIR}/bzImage --initrd={GUEST_DIR}/initramfs.img"}
    for name in COLORS:
        s.type(f"kjump load --name={name} --append='lab.name={name} lab.mount=0' {options[name]}")
    s.ask(f"umount {GUEST_DIR}")
    for turn in range(ROUNDS):
        print(f"          kernel-A# kjump switch {COLORS[0]}", flush=True)
        g.jump(f"kjump switch {COLORS[0]}", to=COLORS[0])
        for name, after in zip(COLORS, (*COLORS[1:], "A")):
            if turn == 0:
                s.begin_work(4)
            s.look(name)
            g.jump("kjump back" if after == "A" else f"kjump switch {after}", to=after)
        s.look("A")
    s.show(s.ask("kjump status | grep -v images"))
    for name in COLORS:
        s.type(f"kjump unload {name}")
    if left := s.ask("cat /sys/kernel/kexec_jump/peers"):
        s.wrong.append(f"not unloaded: {left}")
    return s.wrong


def main():
    kernel.build(VARIANT)
    initramfs.build(VARIANT)
    home = other_kernel()
    with tempfile.TemporaryDirectory(prefix="kj-") as folder:
        image = pathlib.Path(folder) / "others.img"
        initramfs.disk_with({name: home / name for name in ("bzImage", "initramfs.img")}, image, "others")
        with Guest(VARIANT, smp=2, memory="1G", label="ring",
                   qemu_args=["-drive", f"file={image},if=virtio,format=raw"]) as g:
            wrong = tell(g)
            g.check_log()
    for line in wrong:
        print(f"WRONG: {line}")
    if wrong:
        raise LabError("the kernels' logs are in build/test-logs/ring")
    print(f"ring: {4 * ROUNDS} switches of four kernels, all checks right", flush=True)
    return 0
