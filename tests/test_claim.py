# SPDX-License-Identifier: GPL-2.0
"""A window is exchanged only where it has to be: what can be moved out of it is, and nothing of it is lost."""
import errno
import random
import re

from kjlab.guest import UNBIND_AHCI

from jumps import (MB, SEED, SYSFS, at_work, check_free, dmesg, end_frames, free_kb, load_command, random_data,
                   reboot, result_of, window_kb)
from test_peers import named, peers

# Of /proc/kpageflags.
KPF_HUGE = 17


def load(g, command):
    """(the window's kB, kB exchanged, kB of memory that this took)"""
    before = free_kb(g)
    g.run(command, timeout=300).check()
    window, exchanged = window_kb(g)
    return window, exchanged, before - free_kb(g)


def test_claimed(boot, variant):
    """Of memory that has been used for all kinds of things a window takes its own size, at a place where it can be had."""
    g = boot(variant, memory="1G", smp=2)
    # Not with the disks at work: what they are reading or writing, and journals hold, cannot be moved at that moment.
    with at_work(g, disks=False) as work:
        # Files, their names, and pages of programs everywhere; then some of all that is gone.
        g.run("mkdir /tmp/many; for i in $(seq 2000); do echo $i >/tmp/many/$i; done; "
              f"{random_data(200)} >/tmp/large; memfill 0x5151 500; "
              "rm -r /tmp/many/*[02468]", timeout=300).check()
        sums = g.run("pagesum /tmp/large").check().out
        window, exchanged, taken = load(g, "kjump load --ready")
        assert exchanged <= window / 20
        # Beside the window: page tables, what is shared, lists, the index of its pages.
        assert taken <= window * 1.01 + 4096
        for _ in range(2):
            g.jump("kjump switch", to="B")
            g.jump("kjump back", to="A")
            work.check()
        assert g.run("pagesum /tmp/large").out == sums
        before = free_kb(g)
        g.run("kexec -u").check()
        assert free_kb(g) - before >= window * 0.99
        # Where stock kexec wants it, part of it is in use by the kernel.
        window, exchanged, _ = load(g, load_command(g))
        assert exchanged < window * 0.9
        work.check()
        # What is loaded already is in the way of another one: it takes its place, exchanged.
        assert load(g, load_command(g))[:2] >= (window, exchanged)
        g.run("kexec -u").check()
        assert load(g, load_command(g))[1] < window * 0.9
        assert g.run("pagesum /tmp/large").out == sums


def test_parts_of_blocks(boot, variant):
    """Of a block a page of which somebody holds, as for DMA, a part is claimed; and nothing is lost."""
    g = boot(variant, memory="512M", disks=False, net=False, append="nokaslr")
    block = 4 << int(re.search(r"Page block order: (\d+)", g.run("cat /proc/pagetypeinfo").check().out)[1])
    # One page in the middle of each block at most, if they lie as they were allocated.
    g.run(f"frames 256 7 /tmp/frames {block // 4}").check()
    out = g.run("hexdump -v -e '2/4 \"%08x \" \"\\n\"' /tmp/frames | grep ' 0'").check().out
    held = {int(line.split()[0], 16) * 4 // block for line in out.splitlines()}
    at = 256 * MB
    inside = [b for b in held if at // 1024 <= b * block < (at + 128 * MB) // 1024]
    assert len(inside) >= 8
    before = free_kb(g)
    window, exchanged, taken = load(g, f"printf '\\303' >/tmp/ret; kload -e {at:#x} -s {at:#x}:{128 * MB}:/tmp/ret")
    # All of them but a half or a quarter.
    assert len(inside) * block / 2 <= exchanged <= len(inside) * block * 3 / 4 + block
    assert taken <= window + exchanged + 4096
    assert reboot(g, 2) == [0, 0]
    g.run("kload -u").check()
    check_free(g, before, 4096)
    end_frames(g)


def test_huge_pages(boot):
    """Those that nobody uses make room, and are as many as before."""
    g = boot("x86_64", memory="512M", disks=False, net=False, append="nokaslr")
    count = "/proc/sys/vm/nr_hugepages"
    # All there is, and back to half of them.
    g.run(f"echo 1000 >{count}; echo $(($(cat {count}) / 2)) >{count}").check()
    there, at, blocks = g.run(f"cat {count}").out, 256 * MB, 64
    flags = g.run(f"dd if=/proc/kpageflags bs=4096 skip={at // MB // 2} count={blocks} 2>/dev/null | "
                  "hexdump -v -e '2/4 \"%x \" \"\\n\"' | awk 'NR % 512 == 1 { print $1 }'").check().out.split()
    assert len(flags) == blocks and sum(int(f, 16) >> KPF_HUGE & 1 for f in flags) >= 8
    window, exchanged, _ = load(g, f"printf '\\303' >/tmp/ret; kload -e {at:#x} -s {at:#x}:{blocks * 2 * MB}:/tmp/ret")
    assert exchanged <= window / 20 and g.run(f"cat {count}").out == there
    assert reboot(g, 2) == [0, 0]


def test_memory_for_what_can_be_moved(boot, variant):
    """What an image cannot have, as it is only for what can be moved, does not hide that all the rest would be in use."""
    g = boot(variant, memory="640M", disks=False, net=False, append="nokaslr kernelcore=200M")
    command = f"kload -e {300 * MB:#x} -s {300 * MB:#x}:{{}}:/tmp/ret"
    assert result_of(g.run("printf '\\303' >/tmp/ret; " + command.format(250 * MB)).out) == errno.ENOMEM
    assert dmesg(g, "window of 250 MB does not fit: [0-9]* MB of memory are available to the kernel")
    assert g.run(f"echo {250 * MB} >{SYSFS}/shared_size").rc
    assert dmesg(g, "256000 kB to share do not fit: [0-9]* kB of memory are available to the kernel")
    load(g, command.format(60 * MB))
    assert reboot(g, 2) == [0, 0]


# What a load may be told while memory comes and goes; and a jump that meets a CPU on its way.
REFUSED = {0, errno.ENOMEM, errno.EADDRNOTAVAIL, errno.EBUSY}
CHURN = ("until [ -f /tmp/stop ]; do dd if=/dev/zero of=/tmp/churn bs=1M count={mb}; rm /tmp/churn; done",
         "until [ -f /tmp/stop ]; do for n in 0 1; do echo $n >/sys/devices/system/cpu/cpu1/online; usleep 100000; done; done",
         "until [ -f /tmp/stop ]; do for m in 3 4; do echo offline >$BLOCKS/memory$m/state; usleep 50000; "
         "echo online >$BLOCKS/memory$m/state; done; done")


def test_races(boot, variant):
    """Windows of all sizes and places, while memory is short, moved about and taken away, and CPUs come and go."""
    chance = random.Random(SEED)
    # Two blocks can be taken away, on x86_64: what is left is enough for five windows and all that is done beside them.
    # (What the base says when a CPU comes or goes while somebody loads anything.)
    g = boot(variant, smp=2, memory="640M", disks=False, net=False, append="nokaslr kernelcore=428M",
             allow=["crash hp: kexec_trylock"])
    g.run(f"{UNBIND_AHCI}; {random_data(64)} >/tmp/known; printf '\\303' >/tmp/ret").check()
    sums, before = g.run("pagesum /tmp/known").check().out, free_kb(g)
    for loop in CHURN:
        g.run(f"BLOCKS=/sys/devices/system/memory; ({loop.format(mb=100)}) >/dev/null 2>&1 &").check()
    loads, jumps = [], []
    for n in range(32):
        at, size = chance.randrange(40, 580) * MB, chance.choice((4096, MB, 5 * MB, 24 * MB, 32 * MB))
        command = f"kload -e {at:#x} -s {at:#x}:{size}:/tmp/ret"
        loads.append(result_of(g.run(named(f"n{n % 5}", command)).out))
        if n % 4 == 3:
            jumps += [result_of(g.run(named(name, "kjreboot"), timeout=180).out) for name in peers(g)]
    g.run("touch /tmp/stop; wait", timeout=180).check()
    g.run("echo 1 >/sys/devices/system/cpu/cpu1/online 2>/dev/null; true")
    for result in *loads, *jumps:
        assert result in REFUSED, (SEED, loads, jumps)
    assert loads.count(0) >= 8 and jumps.count(0) >= 8, (SEED, loads, jumps)
    # Now that all is quiet.
    for name in peers(g):
        assert result_of(g.run(named(name, "kjreboot")).out) == 0
        g.run(f"kjump unload {name}").check()
    assert g.run("pagesum /tmp/known").out == sums
    check_free(g, before, 4096)
    assert g.run("nproc").out == "2"
