# SPDX-License-Identifier: GPL-2.0
"""Machines as they are sold: IOMMU, x2APIC, several nodes, all that a CPU can do, holes in memory."""
import re

import pytest

from images import hibernate, resume
from jumps import Work, at_work, load_kernel, load_way_back
from kjlab.guest import Guest

TARGET = "/dev/nvme0n1"
# What to boot, and what is in the log of a kernel that found it.
MACHINES = {
    "iommu": ({"smp": 2, "cpu": "qemu64,+x2apic", "append": "intel_iommu=on"},
              ["-device", "intel-iommu,intremap=on,eim=on"],
              ["DMAR: Intel.R. Virtualization Technology for Directed I/O",
               "DMAR-IR: Enabled IRQ remapping in x2apic mode"]),
    "numa": ({"smp": "4,sockets=2", "cpu": "max"},
             [x for n in (0, 1) for x in ("-object", f"memory-backend-ram,id=mem{n},size=256M",
                                          "-numa", f"node,nodeid={n},memdev=mem{n},cpus={2 * n}-{2 * n + 1}")],
             ["smp: Brought up 2 nodes, 4 CPUs"]),
    # No piece of RAM from 1 MB on, where a window is otherwise, is large enough for one.
    "holes": ({"smp": 2, "append": "memmap=64K$24M memmap=1M$60M memmap=16K$250M"}, [],
              [rf"user: .mem 0x0*{piece}. +(device )?reserved" for piece in ("1800000-0x0*180ffff", "fa00000-0x0*fa03fff")]),
}
# Where stock kexec is to load a kernel, if not right above 1 MB.
PLACES = {"holes": {"options": "--mem-min=0x3d00000", "mem_max": 0x7cfffff}}


def nvme(tmp_path):
    """Its DMA goes through an IOMMU that there is; that of virtio's disks, and in QEMU large ones of AHCI, does not."""
    image = tmp_path / "target.img"
    with open(image, "wb") as f:
        f.truncate(320 << 20)
    return Guest.drive("target", image, "nvme,serial=target")


def check_found(g, found):
    log = g.run("dmesg").out
    for line in found:
        assert re.search(line, log), line


def round_trips(g, times, work, found):
    """To the peer that was loaded, which finds that, and back."""
    for n in range(times):
        g.jump("kjreboot", to="B")
        if not n:
            check_found(g, found)
            load_way_back(g)
        g.jump("kjreboot", to="A")
        work.check()


def test_peer_that_uses_x2apic(boot, tmp_path):
    """This kernel was told not to, and finds its interrupt controller as it knows it."""
    kw, args, found = MACHINES["iommu"]
    g = boot("x86_64", memory="512M", workdir=tmp_path, qemu_args=args, **kw | {"append": f"{kw['append']} nox2apic"})
    with at_work(g) as work:
        load_kernel(g, append=kw["append"])
        round_trips(g, 2, work, found)
        for cpu in 0, 1:
            g.run(f"taskset {1 << cpu} usleep 20000").check()


@pytest.mark.parametrize("machine", MACHINES)
def test_machine(boot, tmp_path, machine):
    """Round trips with a disk busy, and hibernation; the peer sees the same machine."""
    kw, args, found = MACHINES[machine]
    append = kw.get("append", "")
    g = boot("x86_64", memory="512M", net=False, disks=False, workdir=tmp_path, qemu_args=args + nvme(tmp_path), **kw)
    check_found(g, found)
    work = Work(g, disks=False, mb=8, tmpfs_mb=8)
    g.run(f"(while :; do dd if={TARGET} of=/tmp/read bs=64k count=64 iflag=direct && cmp -n 4194304 /tmp/read /dev/zero "
          "|| echo wrong >>/tmp/wrong; done) >/dev/null 2>&1 &").check()
    # kjump finds its window itself.
    load_kernel(g, append=append, **PLACES.get(machine, {}))
    round_trips(g, 3, work, found)
    g.run("kill %1; ! test -e /tmp/wrong && kexec -u").check()
    hibernate(g, f"kjump hibernate {TARGET}")
    work.g = g = resume(boot, g, append=f"kjump.restore={TARGET} {append}")
    work.check()
    work.end()
