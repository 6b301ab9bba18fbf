# SPDX-License-Identifier: GPL-2.0
"""Input that cannot work is refused with an errno, a line in the log, and no harm done."""
import errno
import re

from images import REFUSED
from jumps import (JUMP, MB, RET, dmesg, free_kb, jump_back_entry, load_kernel, load_ret, reboot, result_of, sysfs,
                   to_peer)

PRESERVE, ON_CRASH = 2, 1

# struct kexec_jump_header, see include/linux/kexec_jump_abi.h
VERSION, CHECKSUM, NR_RANGES, STATE = 8, 16, 48, 56 + 32 * 16 + 5 * 8


class Refusal:
    """What a command has to be answered with."""

    def __init__(self, g):
        self.g = g

    def __call__(self, command, number, says):
        """It fails with this errno and a log line, and what was loaded before still works."""
        g = self.g
        before = len(dmesg(g, ""))
        window = sysfs(g, "image_window")
        out = g.run(command).out
        assert result_of(out) == number, f"{command}: {out} instead of {errno.errorcode[number]}"
        told = dmesg(g, "")[before:]
        assert any(re.search(says, line) for line in told), f"{command}: log says only {told}"
        assert sysfs(g, "image_window") == window
        assert reboot(g) == [0]


def test_segments(boot, variant):
    """kexec_load(2) with windows that make no sense."""
    g = boot(variant, smp=2, disks=False, net=False)
    load_ret(g).check()
    refused = Refusal(g)
    at = f"{RET:#x}"

    def load(segments, number, says, entry=at, flags=PRESERVE):
        refused(f"kload -f {flags} -e {entry} " + " ".join(f"-s {s}" for s in segments),
                number, "kexec_jump: .*" + says)

    g.run("dd if=/dev/zero of=/tmp/used bs=1M count=128 2>/dev/null").check()
    load([f"{at}:{400 * MB}"], errno.ENOMEM, "does not fit")
    g.run("rm /tmp/used").check()
    load([f"{at}:{2048 * MB - RET}"], errno.EADDRNOTAVAIL, "no system RAM at")
    load([f"{1024 * MB}:0x1000"], errno.EADDRNOTAVAIL, "no system RAM at 0x40000000")
    load(["0xa0000:0x10000"], errno.EADDRNOTAVAIL, "no system RAM at 0xa0000")
    load([f"{RET + 16}:0x1000"], errno.EADDRNOTAVAIL, "not page aligned")
    load([f"{at}:0x1001"], errno.EADDRNOTAVAIL, "not page aligned")
    load([f"{at}:0x3000", f"{RET + 0x2000:#x}:0x1000"], errno.EINVAL, "overlaps")
    load([f"{at}:0x1000", f"{at}:0x1000"], errno.EINVAL, "overlaps")
    load([f"{at}:0x1000:/bin/busybox"], errno.EINVAL, "buffer of .* is larger")
    top = "0xfffff000" if variant == "i386" else "0xfffffffffffff000"
    load([f"{top}:0x2000"], errno.EADDRNOTAVAIL, "beyond|no system RAM")
    # No memory at all: then the entry is to be that of a preserved kernel.
    load(["0:0"], errno.ENOEXEC, "no preserved kernel there")
    load([f"{at}:0x1000"], errno.ENOEXEC, "no preserved kernel there", entry=f"{RET + 0x1000:#x}")
    load([f"{at}:0x1000"], errno.ENOEXEC, "no ", entry=f"{RET - 1:#x}")
    load([f"{at}:0x1000"], errno.ENOEXEC, "no ", entry="0xfee00000")
    load([f"{at}:0x1000"], errno.EINVAL, "crash kernel", flags=PRESERVE | ON_CRASH)


def test_too_many_pieces(boot, variant):
    """The limits of what can be described: the system call's and the jump page's."""
    g = boot(variant, disks=False, net=False)
    load_ret(g).check()
    pieces = " ".join(f"-s {RET + 0x2000 * i:#x}:0x1000" for i in range(17))
    assert result_of(g.run(f"kload -e {RET:#x} {pieces}").out) == errno.EINVAL
    assert reboot(g) == [0]


def test_nothing_leaks(boot, variant):
    """Loads that fail late, that are replaced, and that are undone give all memory back."""
    g = boot(variant, smp=2, disks=False, net=False)

    def loads():
        for _ in range(3):
            # Everything is allocated and filled when the entry is looked at.
            bad = g.run(f"kload -e 0x1000000 -s {RET:#x}:{64 * MB}").out
            assert result_of(bad) == errno.ENOEXEC
        assert reboot(g) == [0]
        for _ in range(3):
            g.run(f"kload -e {RET:#x} -s {RET:#x}:{64 * MB}:/tmp/ret").check()
        for _ in range(3):
            g.run(f"kload -u; kload -e {RET:#x} -s {RET:#x}:{64 * MB}:/tmp/ret").check()
            assert reboot(g) == [0]
        load_ret(g).check()
        return free_kb(g)

    load_ret(g).check()
    before = loads()
    loads()
    # A load that is lost is 64 MB.
    assert loads() > before - (16 << 10)


def test_no_image(boot, variant):
    g = boot(variant, smp=2, disks=False, net=False)
    assert reboot(g) == [errno.EINVAL]
    assert dmesg(g, "kexec_core: No image is loaded")
    assert sysfs(g, "jumps") == "0"
    load_ret(g).check()
    assert reboot(g) == [0]
    g.run("kload -u").check()
    assert reboot(g) == [errno.EINVAL]


def test_not_permitted(boot, variant):
    """Not root, loading disabled, lockdown: EPERM, and what is loaded stays."""
    g = boot(variant, smp=2, disks=False, net=False)
    load_ret(g).check()
    refused = Refusal(g)
    good = f"kload -e {RET:#x} -s {RET:#x}:0x1000:/tmp/ret"

    refused(f"asuser {good}", errno.EPERM, "kexec_jump: load refused: CAP_SYS_BOOT is needed")
    assert result_of(g.run("asuser kjreboot").out) == errno.EPERM

    g.run("echo integrity >/sys/kernel/security/lockdown").check()
    refused(good, errno.EPERM, "Lockdown: kload: kexec of unsigned images is restricted")
    r = g.run(f"kjump call --mem={RET:#x} /tmp/ret")
    assert r.rc == REFUSED and "this kernel is locked down" in r.out, r
    g.run("echo 1 >/proc/sys/kernel/kexec_load_disabled").check()
    refused(good, errno.EPERM, "kexec_jump: load refused: disabled by .*kexec_load_disabled")


class JumpPage:
    """In B: A's jump page, which /dev/mem can change."""

    def __init__(self, g):
        self.g = g
        self.page = jump_back_entry(g) & ~0xfff

    def read(self, offset):
        return int(self.g.run(f"physmem {self.page + offset:#x}").check().out, 0)

    def write(self, offset, value):
        self.g.run(f"physmem {self.page + offset:#x} {value:#x}").check()
        assert self.read(offset) == value


DAMAGE = [
    ("magic", 0, 0x12345678, errno.ENOEXEC, "no preserved kernel there"),
    ("version", VERSION, 77, errno.EPROTONOSUPPORT, "version 77"),
    ("checksum", CHECKSUM, 0x1badcafe, errno.EBADMSG, "damaged"),
    ("window", NR_RANGES + 8, 0x7777000, errno.EBADMSG, "damaged"),
    ("ranges", NR_RANGES, 33, errno.EBADMSG, "damaged"),
    ("state", STATE, 0, errno.ESTALE, "has not jumped away"),
]


def test_damaged_jump_page(boot, variant):
    """B finds A's jump page damaged when it loads the way back, or when it wants to go.

    Nothing is suspended then, B goes on, and A comes back when all is well again.
    """
    g = boot(variant, smp=2, disks=False, net=False)
    load_kernel(g)
    g.jump(JUMP, to="B")
    entry = jump_back_entry(g)
    page = JumpPage(g)
    helper = f"kexec --load-jump-back-helper --entry={entry:#x}"
    load = f"kload -e {entry:#x} -s 0:0"

    for name, offset, value, number, says in DAMAGE:
        good = page.read(offset)
        page.write(offset, value)
        before = len(dmesg(g, ""))
        out = g.run(load).out
        assert result_of(out) == number, f"{name}: {out}"
        assert g.run(helper).rc != 0, name
        told = [l for l in dmesg(g, "")[before:] if re.search(f"kexec_jump: .*{says}", l)]
        assert len(told) == 2, (name, dmesg(g, "")[before:])
        assert int(sysfs(g, "image_entry"), 0) == 0
        page.write(offset, good)

    # An address that is not quite right.
    assert result_of(g.run(f"kload -e {entry + 4:#x} -s 0:0").out) == errno.ENOEXEC
    assert dmesg(g, "is entered at")

    g.run(helper).check()
    for name, offset, value, number, says in DAMAGE:
        good = page.read(offset)
        page.write(offset, value)
        before = len(dmesg(g, ""))
        assert reboot(g) == [number], name
        told = dmesg(g, "")[before:]
        assert any(re.search(f"kexec_jump: .*{says}", l) for l in told), (name, told)
        assert sysfs(g, "last") == f"error -{number} at check"
        # Nobody was frozen, nothing suspended.
        assert not any("Freezing" in l for l in told)
        assert all(l.endswith(" 0 0") for l in sysfs(g, "steps").splitlines())
        assert int(sysfs(g, "image_entry"), 0) == entry
        page.write(offset, good)

    g.jump("kjreboot", to="A")
    assert sysfs(g, "last") == "ok"
    g.jump("kjreboot", to="B")
    g.jump("kjreboot", to="A")


def test_own_jump_page(boot, variant):
    """A kernel cannot jump to itself: it is not away."""
    g = boot(variant, smp=2, disks=False, net=False)
    to_peer(g)
    entry = jump_back_entry(g)
    g.jump(JUMP, to="A")
    # Its page goes with its image; both are still there.
    refused = f"kload -e {entry:#x} -s 0:0"
    assert result_of(g.run(refused).out) == errno.ESTALE
    assert dmesg(g, "kexec_jump: .*its kernel has not jumped away")
    g.jump("kjreboot", to="B")
    g.jump("kjreboot", to="A")
