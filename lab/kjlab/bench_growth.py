# SPDX-License-Identifier: GPL-2.0
"""How what takes time grows with the memory there is, and with the memory that is in use: for lab/bench.

load      kjump load, the peer's files cached
call      a program that returns at once
off, call how long interrupts are off for that, in the steps of this kernel
off, peer the same if the peer may look: how long describing all memory takes is in it
describe  that alone
snapshot  the time the system stood still, as kjump snapshot says, the peer being ready
save, resume
          as in bench_image.py; swsusp for comparison
"""
import tempfile

from . import timeline
from .bench import FLAT, guest_memory_mb
from .bench_image import READY, SWSUSP, Hibernation, disk_for_dumps, stood_still
from .guest import UNBIND_AHCI, Guest, GuestError, tsctime_ms
from .util import BUILD, LabError, say

RAM_MB = (512, 1024, 2048, 4096, 8192, 16384)
DATA_MB = (150, 500, 1000, 2000)
# The data of the first, and the RAM of the second.
DATA_FIXED, RAM_FIXED = 150, 4096


def interrupts_off(g):
    """Of the last jump: seconds of the steps from interrupts on, and of describing alone."""
    took = {name: (int(going) / 1e6, int(back) / 1e6) for name, going, back in
            (line.split() for line in g.run("cat /sys/kernel/kexec_jump/steps").check().out.splitlines())}
    names = list(took)
    return sum(map(sum, (took[n] for n in names[names.index("interrupts"):]))), took["description"][0]


def one_system(variant, ram, data):
    """{load, call, snapshot: seconds} with so much RAM, and data in use."""
    with tempfile.TemporaryDirectory(prefix="kj-") as home:
        disk_for_dumps(f"{home}/blank.img", data + 512)
        with Guest(variant, smp=2, parallel=True, memory=f"{ram}M", net=False, blank=data + 512, workdir=home,
                   label=f"growth-{variant}-{ram}-{data}") as g:
            g.run("mount -o remount,size=95% /dev/shm; mount -t ext4 /dev/vdc /mnt/virtio").check()
            g.run(f"mixdata {data} >/dev/shm/data && sync", 600).check()
            g.run(UNBIND_AHCI).check()
            g.run(FLAT).check()
            out = g.run("for i in 1 2 3 4; do tsctime kjreboot; done", 120).check().out
            took = {"call": min(tsctime_ms(out)[1:]) / 1000, "off, call": interrupts_off(g)[0]}
            g.run("kexec -u; kjump load; kexec -u", 120).check()
            took["load"] = tsctime_ms(g.run("tsctime kjump load", 120).check().out)[0] / 1000
            # The first one boots the peer.
            took["snapshot"] = [stood_still(g, "/mnt/virtio/dump", 600) for _ in range(2)][-1]
            took["off, peer"], took["describe"] = interrupts_off(g)
            return took


def all_of(variant, ram, data):
    say(f"{variant}: {ram} MB of RAM, {data} MB of data")
    took = one_system(variant, ram, data)
    for way in SWSUSP, READY:
        done = Hibernation(variant, data, way, f"{ram}M").run()
        for column in "save", "resume":
            took[f"{column}, {way}"] = done[column] / 1000
    return took


def measure(variant):
    """{"ram": {MB: {what: seconds}}, "data": {MB: ...}}; what failed is missing, and was said."""
    most = guest_memory_mb(variant)
    found = {"ram": {}, "data": {}}
    for kind, points in (("ram", [(r, DATA_FIXED, r) for r in RAM_MB if r <= most]),
                         ("data", [(RAM_FIXED, d, d) for d in DATA_MB if min(most, RAM_FIXED) == RAM_FIXED])):
        for ram, data, x in points:
            try:
                found[kind][x] = all_of(variant, ram, data)
            except (GuestError, LabError) as e:
                say(f"{variant}: {ram} MB, {data} MB: {str(e).splitlines()[0]}")
    return found


def table(variant, found):
    for kind, title in (("ram", f"MB of RAM, {DATA_FIXED} MB of data"), ("data", f"MB of data, {RAM_FIXED} MB of RAM")):
        rows = found[kind]
        if not rows:
            continue
        names = list(next(iter(rows.values())))
        print(f"\n== {variant}: {title}; seconds ==")
        print(f"{'':8}" + "".join(f" {n:>15}" for n in names) + f" {'kjump : swsusp':>15}")
        for x, row in rows.items():
            ratios = "/".join(f"{row[f'{c}, {READY}'] / row[f'{c}, {SWSUSP}']:.2f}" for c in ("save", "resume"))
            print(f"{x:8}" + "".join(f" {row[n]:15.4g}" for n in names) + f" {ratios:>15}")


def draw(variant, found):
    for kind, label in (("ram", "MB of RAM"), ("data", "MB of data in use")):
        rows = found[kind]
        if not rows:
            continue
        names = list(next(iter(rows.values())))
        path = BUILD / f"growth-{kind}-{variant}.svg"
        timeline.curves(f"{variant}: time against {label}", label, "s",
                        {n: {x: row[n] for x, row in rows.items()} for n in names}, path)
        say(f"{path.relative_to(BUILD.parent)}")
