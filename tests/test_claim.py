# SPDX-License-Identifier: GPL-2.0
"""A window is exchanged only where it has to be: what can be moved out of it is, and nothing of it is lost."""
import re

from jumps import at_work, dmesg, free_kb, load_command, ranges, sysfs


def window_kb(g):
    """(kB of the window that is loaded, kB of it that are exchanged at a jump)"""
    said = dmesg(g, "kexec_jump: loaded: entry")[-1]
    window, exchanged = map(int, re.search(r"window of (\d+) kB, (\d+) kB to exchange", said).groups())
    assert window == sum(end + 1 - start for start, end in ranges(sysfs(g, "image_window"))) // 1024
    return window, exchanged


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
              "dd if=/dev/urandom of=/tmp/large bs=1M count=200 2>/dev/null; memfill 0x5151 500; "
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
