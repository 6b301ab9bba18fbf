# SPDX-License-Identifier: GPL-2.0
"""A peer that cannot know its window, or dies before it can do anything, gives the machine back."""
import errno
import struct

import pytest

from jumps import MB, at_work, dmesg, load_kernel, load_way_back, sysfs

RESULT = "/tmp/result"
PAGE, MAGIC = 4096, b"KEXECJMP"
# struct kexec_jump_header, see include/linux/kexec_jump_abi.h
VERSION, ENTRY, NR_RANGES = 8, 32, 48


def jump_page(g):
    """Physical address of the jump page of the kernel that runs, with an image loaded."""
    dump = g.dir / "memory"
    g.monitor(f"pmemsave 0 {512 * MB} \"{dump}\"")
    data, at, found = dump.read_bytes(), -1, []
    window = int(sysfs(g, "image_window").splitlines()[-1].split("-")[1], 0) + 1
    while (at := data.find(MAGIC, at + 1)) >= 0:
        if at % PAGE:
            continue
        (entry,) = struct.unpack_from("<Q", data, at + ENTRY)
        (nr,) = struct.unpack_from("<I", data, at + NR_RANGES)
        ends = [struct.unpack_from("<Q", data, at + 56 + 16 * i + 8)[0] for i in range(min(nr, 32))]
        if entry // PAGE == at // PAGE and ends and ends[-1] == window and at >= window:
            found.append(at)
    assert found, "no jump page"
    return found


def told(g, why):
    assert f"errno={errno.EOWNERDEAD} " in g.run(f"cat {RESULT}").out
    assert sysfs(g, "last") == f"peer died: {why}"
    assert dmesg(g, "kexec_jump: the peer died: ")


def another_peer(g):
    load_kernel(g)
    g.jump(f"kjreboot >{RESULT}", to="B")
    load_way_back(g)
    g.jump("kjreboot", to="A")
    assert sysfs(g, "last") == "ok"


@pytest.mark.parametrize("offset,value,why", [
    (VERSION, 2, "cannot be confined: the jump page is of another version"),
    (NR_RANGES, 40, "cannot be confined: the jump page is damaged")])
def test_window_unknown(boot, variant, offset, value, why):
    g = boot(variant, smp=2)
    with at_work(g) as work:
        load_kernel(g)
        for at in jump_page(g):
            g.run(f"printf '\\{value:03o}' | dd of=/dev/mem bs=1 seek={at + offset} conv=notrunc 2>/dev/null"
                  ).check()
        g.jump(f"kjreboot >{RESULT}", to="A")
        told(g, why)
        work.check()
        work.check_files()
        another_peer(g)


def test_no_memory_at_all(boot, variant):
    """It panics before its memory allocator is there."""
    g = boot(variant, smp=2, allow=["Kernel panic", "Call Trace:"])
    with at_work(g) as work:
        load_kernel(g, append="memmap=exactmap")
        g.jump(f"kjreboot >{RESULT}", to="A")
        assert f"errno={errno.EOWNERDEAD} " in g.run(f"cat {RESULT}").out
        assert sysfs(g, "last").startswith("peer died: ")
        work.check()
        work.check_files()
        another_peer(g)
