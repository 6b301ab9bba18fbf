# SPDX-License-Identifier: GPL-2.0
"""A program that raises an exception comes home: nothing is lost, and what happened is told."""
import errno
import re

import pytest

from jumps import MB, Console, assemble, at_work, dmesg, put_file, reboot, sysfs

AT = 32 * MB
pytestmark = pytest.mark.essential


WORDS = f"peer died: xxxx???{120 * 'x'}"


class Faulty:
    def __init__(self, boot, machine, tmp_path):
        self.variant, self.tmp = machine.variant, tmp_path
        console = Console(tmp_path)
        self.said = console.said
        self.g = boot(machine.variant, qemu_args=console.qemu_args, allow=["kexec_jump: the peer died: exception"],
                      **machine.kw)
        self.said()

    def load(self, what):
        put_file(self.g, assemble(self.variant, "fault", AT, self.tmp, f"-D{what}")[1],
                 "/tmp/fault")
        self.g.run(f"kload -e {AT:#x} -s {AT:#x}:{MB}:/tmp/fault").check()

    def dies_of(self, what):
        """Call it; (vector, error code, instruction, fault address) as /sys tells them."""
        self.load(what)
        assert reboot(self.g) == [errno.EOWNERDEAD]
        assert self.said() == "f"
        last = sysfs(self.g, "last")
        assert dmesg(self.g, "kexec_jump: the peer died: " + re.escape(last.partition(": ")[2]))
        found = re.match(r"peer died: exception (\d+) \(.*\), error code (\w+), instruction at (\w+), "
                         r"fault address (\w+), stack pointer (\w+)$", last)
        assert found, last
        return tuple(int(n, 0) for n in found.groups()[:4])

    def returns(self):
        """The next program is called as ever."""
        self.load("BREAKPOINT")
        for _ in range(3):
            assert reboot(self.g) == [0]
            assert self.said() == "fg"
            assert sysfs(self.g, "last") == "ok"


@pytest.mark.everywhere
def test_exceptions(boot, machine, tmp_path):
    f, variant = Faulty(boot, machine, tmp_path), machine.variant
    with at_work(f.g) as work:
        f.returns()
        vector, error, ip, _ = f.dies_of("OPCODE")
        assert (vector, error) == (6, 0) and AT < ip < AT + 64
        f.returns()
        vector, error, ip, _ = f.dies_of("DIVIDE")
        assert (vector, error) == (0, 0) and AT < ip < AT + 64
        work.check()
        vector, error, ip, _ = f.dies_of("SELECTOR")
        assert (vector, error) == (13, 0xfff8) and AT < ip < AT + 64
        f.returns()
        if variant == "x86_64":
            vector, error, ip, address = f.dies_of("ADDRESS")
            assert (vector, error, address) == (14, 2, 0x123456789000) and AT < ip < AT + 64
            f.returns()
        vector, _, ip, _ = f.dies_of("STACK")
        assert vector in ((12, 13) if variant == "x86_64" else (6,)) and AT < ip < AT + 64
        f.returns()
        work.check()


def test_last_words_without_an_end(boot, variant, tmp_path):
    """They are cut, and what is behind them is not read. They are one line of text, whoever wrote them."""
    g = boot(variant, net=False)
    put_file(g, assemble(variant, "words", AT, tmp_path)[1], "/tmp/words")
    for _ in range(2):
        g.run(f"kload -e {AT:#x} -s {AT:#x}:{MB}:/tmp/words").check()
        assert reboot(g) == [errno.EOWNERDEAD]
        assert sysfs(g, "last") == WORDS
        assert dmesg(g, re.escape(WORDS.replace("peer", "kexec_jump: the peer")) + "$")
    # Nobody but its kernel has used the devices.
    assert not dmesg(g, "went on with DMA")


def test_damages_the_jump_page(boot, variant, tmp_path):
    """What it was told is written anew at the next jump, not sealed as it is."""
    console = Console(tmp_path)
    g = boot(variant, disks=False, net=False, qemu_args=console.qemu_args)
    put_file(g, assemble(variant, "header", AT, tmp_path)[1], "/tmp/header")
    g.run(f"kload -e {AT:#x} -s {AT:#x}:{MB}:/tmp/header").check()
    console.said()
    assert reboot(g, 3) == [0] * 3
    said = console.said().split()
    assert len(said) == 6 and said[:2] * 3 == said and "00000000" not in said
