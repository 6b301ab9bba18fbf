# SPDX-License-Identifier: GPL-2.0
"""Between two jumps of one reboot(2), to the same peer or from one to the next, devices and other CPUs rest on."""
import errno

import pytest

from jumps import (JUMP, MB, SYSFS, Console, at_work, dmesg, iomem, jump_back_entry, load_way_back, reboot, result_of,
                   sysfs)
from test_calls import PRESERVE, load as load_for_calls, load_at
from test_failures import FAIL
from test_memory_changes import poison
from test_peers import load, named, peers, stock_load
from test_round_trips import Clocks
from test_view import LISTS, Frames, check_frames, rounded, save_core
from test_visible import trace, traced


def load_program(g, tmp_path, name, *defines):
    assert result_of(load_at(g, tmp_path, 32 * MB, name, *defines, flags=PRESERVE)) == 0


def series(g, times, name=""):
    """The result of a reboot(2) that jumps so many times."""
    return result_of(g.run(named(f'"{name}*{times}"', "kjreboot"), timeout=300).out)


def check_walked(g, jumps):
    """What runs on other CPUs, and devices, is put to rest once."""
    lines = traced(g)
    # {step: [how often entered, how often left]}
    found = {step: [lines.count((step, way, "end")) for way in ("enter", "leave")] for step, _, _ in lines}
    again = {step for step, times in found.items() if times == [jumps, jumps]}
    assert again == {"interrupts", "syscore", "processor", "description"}, found
    assert all(times == [1, 1] for step, times in found.items() if step not in again) and "devices" in found, found


def test_a_series(boot, variant, tmp_path):
    """Of a program; what it counts is in its memory. It ends where something is wrong, and the system goes on."""
    console = Console(tmp_path)
    g = boot(variant, smp=2, qemu_args=console.qemu_args, memory="512M")

    def count():
        return int(console.said().split()[-1], 16)

    with at_work(g) as work:
        console.said()
        load_program(g, tmp_path, "state")
        trace(g)
        clocks = Clocks(g)
        assert series(g, 7) == 0 and count() == 7 and sysfs(g, "jumps") == "7"
        check_walked(g, 7)
        clocks.check()
        work.check()
        # Without a number it is once; the number is the process's own.
        assert reboot(g) == [0] and count() == 8
        # The way back from a step that fails before the third jump.
        for n, step in enumerate(("interrupts", "syscore", "processor", "description"), 1):
            g.run(f"echo {step} 3 >{FAIL}").check()
            assert series(g, 5) == errno.EIO and sysfs(g, "last") == f"error -5 at {step}"
            assert count() == 8 + 2 * n and sysfs(g, "jumps") == str(8 + 2 * n)
            assert int(g.run("nproc").out) == 2
            work.check()
        assert series(g, 2) == 0 and sysfs(g, "last") == "ok"
        # It dies at once: it is not called again.
        load_program(g, tmp_path, "fault", "-DOPCODE")
        assert series(g, 5) == errno.EOWNERDEAD and sysfs(g, "jumps") == "19"
        assert sysfs(g, "image_entry") == "0x0"
        work.check()
        # Before each jump it is looked at where that leads: what this one leaves is no entry.
        load_program(g, tmp_path, "stray")
        assert series(g, 5) == errno.ENOEXEC and sysfs(g, "last") == f"error -{errno.ENOEXEC} at check"
        assert sysfs(g, "jumps") == "20" and dmesg(g, "left by the peer, but outside its window")
        assert dmesg(g, f"no jump after 1: step check: error -{errno.ENOEXEC}")
        work.check()
        # While devices work.
        load_for_calls(g, tmp_path, "state")
        assert series(g, 500) == 0 and count() == 500 and sysfs(g, "jumps") == "520"
        load_for_calls(g, tmp_path, "stray")
        assert series(g, 5) == errno.ENOEXEC and sysfs(g, "jumps") == "521"
        work.check()


def test_number(boot, variant):
    g = boot(variant, smp=1, disks=False, net=False)
    for bad in "*0", "*10001", "*-1", "*", "*x", "blue*", "blue*0", "*1*1", "*1" + 40 * " " + "x", "a" * 40:
        r = g.run(f"echo '{bad}' >{SYSFS}/peer")
        assert r.rc and "Invalid argument" in r.out, (bad, r)
    for good, shown in ("blue*2", "blue*2"), ("*10000", "*10000"), ("*1", ""), ("blue*1", "blue"):
        assert g.run(f"sh -c 'echo \"{good}\" >{SYSFS}/peer; exec cat {SYSFS}/peer'").out == shown
    for bad in "devices 0", "devices x", "devices 1 2":
        assert g.run(f"echo {bad} >{FAIL}").rc != 0


def test_from_peer_to_peer(boot, variant):
    """The next one sees A as it is, and what the last one left in the memory that they share."""
    g = boot(variant, smp=2, memory="640M", disks=False, net=False, blank=LISTS + 32, append="init_on_alloc=1")

    def write(mb, text):
        g.run(f"printf '{text}' | dd of={SYSFS}/shared bs=1M seek={mb} 2>/dev/null").check()

    def read(mb, size):
        return g.run(f"dd if={SYSFS}/shared bs=1M skip={mb} count=1 2>/dev/null | head -c {size}").out

    told = iomem(g, "System RAM")
    # Before anything is loaded: some of it is in the way of what is.
    g.run(f"echo {8 * MB} >{SYSFS}/shared_size").check()
    write(6, "from A")
    frames = Frames(g, 0x3333, 128)
    load(g, "red")
    stock_load(g, "green")
    g.run("echo A >/tmp/me").check()
    trace(g)
    g.jump("kjump switch red", to="red")
    load_way_back(g)
    assert read(6, 6) == "from A"
    write(7, "from red")
    g.jump("kjump switch green", to="green")
    load_way_back(g)
    assert (read(6, 6), read(7, 8)) == ("from A", "from red")
    core = save_core(g)
    assert core.entry == jump_back_entry(g) and core.ram() == rounded(told)
    check_frames(core, frames)
    assert peers(g) == {"red": "other", "green": "self"}
    # A kernel that runs there jumps once.
    assert series(g, 2, "red") == series(g, 2) == errno.EINVAL and dmesg(g, "is jumped to several times")
    # Two more jumps, and A is back.
    g.jump(named("red", "kexec -e -x"), to="red")
    g.jump(JUMP, to="A")
    check_walked(g, 3)
    assert g.run("cat /tmp/me").out == "A" and sysfs(g, "jumps") == "3"
    frames.end()
    g.run(f"echo syscore 2 >{FAIL}").check()
    g.jump("kjump switch red", to="red")
    g.jump(named("green", "kexec -e -x"), to="A")
    assert sysfs(g, "last") == "error -5 at syscore" and sysfs(g, "jumps") == "4"
    for name in "green", "red":
        g.jump(f"kjump switch {name}", to=name)
        g.jump(JUMP, to="A")
    assert peers(g) == dict.fromkeys(["red", "green"], "preserved") and sysfs(g, "last") == "ok"


@pytest.mark.parametrize("variant", ["x86_64"])
def test_next_one_is_refused(boot, variant):
    """A looks at the next peer before it jumps: memory of that one has failed, or it is held."""
    at = 384 * MB
    g = boot(variant, smp=2, memory="640M", append="kernelcore=256M nokaslr", allow=["Memory failure"])
    with at_work(g) as work:
        load(g, "red")
        g.run(r"printf '\303' >/tmp/ret").check()
        g.run(named("bad", f"kload -e {at:#x} -s {at:#x}:0x10000:/tmp/ret")).check()
        poison(g, at + 0x2000)
        g.jump("kjump switch red", to="red")
        load_way_back(g)
        g.jump(named("bad", "kexec -e -x"), to="A")
        assert sysfs(g, "last") == f"error -{errno.EADDRNOTAVAIL} at check" and sysfs(g, "jumps") == "1"
        assert dmesg(g, f"window: the page at {at + 0x2000:#x} is poisoned")
        work.check()
        g.run(named("bad", f"kload -e {at - MB:#x} -s {at - MB:#x}:0x1000:/tmp/ret")).check()
        g.run(f"sh -c 'echo bad >{SYSFS}/peer; echo 1 >{SYSFS}/held'").check()
        g.jump("kjump switch red", to="red")
        g.jump(named("bad", "kexec -e -x"), to="A")
        assert sysfs(g, "last") == f"error -{errno.EINVAL} at check" and sysfs(g, "jumps") == "2"
        assert dmesg(g, "the next peer is held")
        g.jump("kjump switch red", to="red")
        g.jump(JUMP, to="A")
        work.check()
