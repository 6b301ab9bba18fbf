# SPDX-License-Identifier: GPL-2.0
"""A peer that cannot know its window, or dies before it can do anything, gives the machine back."""
import errno
import struct

import pytest
from kjlab.util import BUILD

from jumps import MB, at_work, dmesg, load_kernel, load_way_back, put_file, sysfs

RESULT = "/tmp/result"
PAGE, MAGIC = 4096, b"KEXECJMP"
# struct kexec_jump_header, see include/linux/kexec_jump_abi.h
VERSION, ENTRY, NR_RANGES, STATE = 8, 32, 48, 608


def memory(g):
    dump = g.dir / "memory"
    g.monitor(f"pmemsave 0 {512 * MB} \"{dump}\"")
    return dump.read_bytes()


def pages_with(data, beginning):
    at = -1
    while (at := data.find(beginning, at + 1)) >= 0:
        if at % PAGE == 0:
            yield at


def jump_page(g, data):
    """Physical address of the jump page of the kernel that runs, with an image loaded."""
    found = []
    window = int(sysfs(g, "image_window").splitlines()[-1].split("-")[1], 0) + 1
    for at in pages_with(data, MAGIC):
        (entry,) = struct.unpack_from("<Q", data, at + ENTRY)
        (nr,) = struct.unpack_from("<I", data, at + NR_RANGES)
        ends = [struct.unpack_from("<Q", data, at + 56 + 16 * i + 8)[0] for i in range(min(nr, 32))]
        if entry // PAGE == at // PAGE and ends and ends[-1] == window and at >= window:
            found.append(at)
    assert len(found) == 1, "no jump page, or several"
    return found[0]


def write_first(variant, kernel, values):
    """The first page of a kernel that begins by writing bytes to physical memory, {address: value}.

    Documentation/arch/x86/boot.rst: it is entered at 0 in 32 bits, at 0x200 in 64 bits.
    """
    first = bytearray(kernel)
    if variant == "x86_64":
        # What is there (cld, cli, xor %eax,%eax, mov %eax,%ds) is done where 32 bits would begin.
        assert first[0x200:0x206] == bytes.fromhex("fcfa31c08ed8")
        stub = b"".join(b"\xc6\x04\x25" + struct.pack("<IB", *item) for item in values.items())
        stub += first[0x200:0x206]
        stub += b"\xe9" + struct.pack("<i", 0x206 - (0x100 + len(stub) + 5))
        first[0x100:0x100 + len(stub)] = stub
        first[0x200:0x206] = b"\xe9" + struct.pack("<i", 0x100 - 0x205) + b"\x90"
    else:
        # cld, cli, lea ...,%esp: kexec left it so, with a stack.
        assert first[:4] == bytes.fromhex("fcfa8da6")
        assert len(values) == 1
        first[:8] = b"\xc6\x05" + struct.pack("<IB", *next(iter(values.items()))) + b"\x90"
    return bytes(first)


def damage_as_it_starts(g, variant, values):
    """Have the peer damage the jump page, before it reads it: what was written earlier is mended at the jump."""
    image = (BUILD / variant / "bzImage").read_bytes()
    begins = (image[0x1f1] + 1) * 512
    first = image[begins:begins + PAGE]
    # Of pages of the file none is left.
    g.run("sync; echo 3 >/proc/sys/vm/drop_caches").check()
    data = memory(g)
    changed = g.dir / "first"
    changed.write_bytes(write_first(variant, first, {jump_page(g, data) + offset: value for offset, value in values.items()}))
    put_file(g, changed, "/tmp/first")
    loaded = list(pages_with(data, first))
    assert loaded
    for at in loaded:
        g.run(f"dd if=/tmp/first of=/dev/mem bs={PAGE} seek={at // PAGE} conv=notrunc 2>/dev/null").check()


def told(g, why):
    assert f"errno={errno.EOWNERDEAD} " in g.run(f"cat {RESULT}").out
    assert sysfs(g, "last") == f"peer died: {why}"
    assert dmesg(g, "kexec_jump: the peer died: ")
    # What it never used does not do what it should not.
    assert not dmesg(g, "went on with DMA")


def another_peer(g):
    load_kernel(g)
    g.jump(f"kjreboot >{RESULT}", to="B")
    load_way_back(g)
    g.jump("kjreboot", to="A")
    assert sysfs(g, "last") == "ok"


@pytest.mark.parametrize("values,why", [
    ({VERSION: 2}, "cannot be confined: the jump page is of another version"),
    ({NR_RANGES: 40}, "cannot be confined: the jump page is damaged")])
def test_window_unknown(boot, variant, values, why):
    # What is free looks like nothing: a page of it may be somebody's by the time it is written to.
    g = boot(variant, smp=2, append="init_on_free=1")
    with at_work(g) as work:
        load_kernel(g)
        damage_as_it_starts(g, variant, values)
        g.jump(f"kjreboot >{RESULT}", to="A")
        told(g, why)
        work.check()
        work.check_files()
        another_peer(g)


def test_nobody_knows_who_waits(boot):
    """Not even that can be told. (On i386 there is no room for more than one instruction.)"""
    test_window_unknown(boot, "x86_64", {NR_RANGES: 40, STATE: 7}, "cannot be confined: the jump page is damaged")


def test_no_memory_at_all(boot, variant):
    """It panics before its memory allocator is there."""
    g = boot(variant, smp=2, allow=["Kernel panic", "Call Trace:"])
    with at_work(g) as work:
        load_kernel(g, append="memmap=exactmap")
        g.jump(f"kjreboot >{RESULT}", to="A")
        assert f"errno={errno.EOWNERDEAD} " in g.run(f"cat {RESULT}").out
        assert sysfs(g, "last").startswith("peer died: ") and not dmesg(g, "went on with DMA")
        work.check()
        work.check_files()
        another_peer(g)
