# SPDX-License-Identifier: GPL-2.0
"""Programs that run where the operating system is not: called, and called again."""
import re

import pytest

from jumps import MB, Console, Work, assemble, at_work, put_file, reboot, sysfs

AT = 32 * MB
PG, PE = 1 << 31, 1
PAE, IF = 1 << 5, 1 << 9
pytestmark = pytest.mark.essential


class Caller:
    """A guest that calls programs, and what they say on the debug console."""

    def __init__(self, boot, machine, tmp_path, **kw):
        self.tmp, self.variant = tmp_path, machine.variant
        console = Console(tmp_path)
        self.said = console.said
        self.g = boot(machine.variant, qemu_args=console.qemu_args, **machine.kw | kw)

    def load(self, name, window_mb=1):
        put_file(self.g, assemble(self.variant, name, AT, self.tmp)[1], f"/tmp/{name}")
        self.g.run(f"kload -e {AT:#x} -s {AT:#x}:{window_mb * MB}:/tmp/{name}").check()

    def call(self, times=1):
        assert reboot(self.g, times) == [0] * times
        assert sysfs(self.g, "last") == "ok"
        return self.said()


@pytest.fixture
def caller(boot, machine, tmp_path):
    """caller(disks=...): a Caller."""
    def make(**kw):
        c = Caller(boot, machine, tmp_path, **kw)
        c.said()                # the firmware talks, too
        return c
    return make


def test_processor_mode(caller):
    """i386: 32-bit protected mode without paging. x86_64: 64-bit mode."""
    c = caller(disks=False, net=False)
    c.load("state")
    for n in 1, 2, 3:
        flags, cr0, cr4, is_64bit, calls = (int(x, 16) for x in c.call().split())
        assert cr0 & PE and not flags & IF
        # Its memory is its own: the counter in it goes on.
        assert calls == n
        if c.variant == "x86_64":
            assert cr0 & PG and is_64bit and cr4 == PAE
        else:
            assert not cr0 & PG and not is_64bit and cr4 == 0
    # A new image is a new program.
    c.load("state")
    assert int(c.call().split()[-1], 16) == 1


def test_next_entry(caller):
    """A program says where it wants to be entered next time; without a word: there again."""
    c = caller(disks=False, net=False)
    c.load("turns")
    assert int(sysfs(c.g, "image_entry"), 0) == AT
    for says, entry in ("1", AT + 256), ("2", AT + 512), ("3", AT + 512), ("3", AT + 512):
        assert c.call() == says
        assert int(sysfs(c.g, "image_entry"), 0) == entry


def test_program_that_leaves_a_mess(caller):
    c = caller()
    # It leaves a breakpoint on that.
    offsets = (c.g.kernel.parent / "obj/include/generated/asm-offsets.h").read_text()
    assert re.search(r"\bKJ_MAP 64\b", offsets)
    with at_work(c.g) as work:
        c.load("rude")
        for _ in range(3):
            assert c.call() == "r"
            work.check()


@pytest.mark.everywhere
def test_many_calls(caller):
    c = caller(disks=False, net=False)
    cpus, work = c.g.run("nproc").out, Work(c.g, disks=False)
    c.load("state")
    said = c.call(50).splitlines()
    assert [int(line.split()[-1], 16) for line in said] == list(range(1, 51))
    assert sysfs(c.g, "jumps") == "50"
    assert c.g.run("nproc").out == cpus
    work.end()


def test_large_windows(caller):
    """Windows of any size that fits: what was in them is there again after a call."""
    c = caller()
    with at_work(c.g) as work:
        for mb in 64, 128, 200:
            c.load("state", window_mb=mb)
            assert [l.split()[-1] for l in c.call(2).splitlines()] == ["00000001", "00000002"]
            work.check()
            work.check_files()
            c.g.run("kload -u").check()
