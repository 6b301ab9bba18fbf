# SPDX-License-Identifier: GPL-2.0
"""How much of a peer's window this kernel can give away for good, after work of all kinds: for lab/bench.

A window that is claimed entirely costs a jump nothing; what cannot be moved out of it is
exchanged at each jump, and takes as much memory again.
"""
import contextlib
import re
import subprocess
import tempfile

from .bench import guest_memory_mb
from .bench_image import disk_for_dumps
from .guest import Guest, GuestError, free_kb, loaded_kb
from .util import LabError, say

RAM_MB = (1024, 4096, 8192, 16384)
# How many times all memory has been given to somebody, and at least how many rounds of work.
TURNS, ROUNDS = 6, 6
# One round: files and names that stay and go, in memory and on a disk, much data that is
# read once, programs that want half of the memory, and many small ones.
ROUND = """
mkdir -p /tmp/many/$n /mnt/virtio/many/$n
for i in $(seq 400); do echo $i >/tmp/many/$n/$i; echo $i >/mnt/virtio/many/$n/$i; done
mixdata {large} $n >/mnt/virtio/large$((n % 2)); sync; cat /mnt/virtio/large* >/dev/null
memfill $n {half} >/dev/null
(for i in $(seq 60); do sh -c 'sleep 0.2; :' & done; wait)
rm -r /tmp/many/$n/*[02468] /mnt/virtio/many/$n/*[13579]
"""


def turns(g, ram):
    """How many times as many pages as there are have been allocated."""
    pages = sum(map(int, re.findall(r"^pgalloc_\w+ (\d+)", g.run("cat /proc/vmstat").out, re.M)))
    return pages / (ram << 8)


def one_system(variant, ram):
    """{what: number} of a guest with so much RAM."""
    work = "; ".join(ROUND.format(large=ram // 8, half=ram // 2).strip().splitlines())
    with contextlib.ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="kj-"))
        disk_for_dumps(f"{home}/blank.img", ram)
        g = stack.enter_context(Guest(variant, smp=2, parallel=True, memory=f"{ram}M", disks=False, net=False,
                                      blank=ram, workdir=home, label=f"claim-{variant}-{ram}"))
        g.run("mount -t ext4 /dev/vdb /mnt/virtio").check()
        g.run("workload start -m 24 /mnt/virtio").check()
        rounds = 0
        while rounds < ROUNDS or turns(g, ram) < TURNS:
            rounds += 1
            g.run(f"(set -e; n={rounds}; {work})", 1200).check()
        status = g.run("workload status").out
        if "disk_errors=0" not in status or "mem=ok" not in status:
            raise GuestError(f"its work: {status}")
        g.run("kjump load --ready", 300).check()
        window, exchanged = loaded_kb(g)
        g.run("workload stop")
        loaded, turned = free_kb(g), turns(g, ram)
        g.run("kexec -u").check()
        return {"rounds": rounds, "turns": turned, "window kB": window, "exchanged kB": exchanged,
                "claimed %": 100 * (1 - exchanged / window), "taken / window": (free_kb(g) - loaded) / window}


def measure(variant):
    """{MB of RAM: {what: number}}; what failed is missing, and was said."""
    found = {}
    for ram in (r for r in RAM_MB if r <= guest_memory_mb(variant)):
        say(f"{variant}: {ram} MB of RAM at work")
        try:
            found[ram] = one_system(variant, ram)
        except (LabError, subprocess.CalledProcessError) as e:
            say(f"{variant}: {ram} MB: {str(e).splitlines()[0]}")
    return found


def table(variant, found):
    if not found:
        return
    print(f"\n== {variant}: the window of kjump load --ready after work of all kinds; MB of RAM ==")
    names = list(next(iter(found.values())))
    print(f"{'':8}" + "".join(f" {n:>15}" for n in names))
    for ram, row in found.items():
        print(f"{ram:8}" + "".join(f" {row[n]:15.4g}" for n in names))
