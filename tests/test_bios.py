# SPDX-License-Identifier: GPL-2.0
"""Programs that call the BIOS come back, and what it told them is what Linux knows."""
import os
import re

from images import OK, PEER
from jumps import at_work, build_programs, put_file, sysfs
from kjlab.guest import Guest

SECTOR = 512
TYPES = {"System RAM": 1, "Reserved": 2, "ACPI Tables": 3, "ACPI Non-volatile Storage": 4, "Unusable memory": 5}


def exit_code(n):
    """kjump's exit status for a program's."""
    return 64 + n if n else 0


class Programs:
    """The examples of the library, in a guest."""

    def __init__(self, g, variant, tmp_path, *own):
        self.g = g
        built = build_programs(variant, tmp_path, *own)
        for file in built.glob("*.bin"):
            put_file(g, file, f"/tmp/{file.name}")

    def call(self, words, rc=OK, options=""):
        name, _, arguments = words.partition(" ")
        before = int(sysfs(self.g, "jumps"))
        r = self.g.run(f"kjump call {options} /tmp/{name}.bin {arguments}")
        assert r.rc == rc and int(sysfs(self.g, "jumps")) == before + 1, r
        return r.out

    def bytes_of(self, words):
        """Its output, if that is no text."""
        self.call(words, options="--output=/tmp/output")
        return bytes.fromhex(self.g.run("od -An -v -tx1 /tmp/output").check().out)


def merged(pieces):
    """[(start, end, type)], sorted, those that touch put together: Linux does that, a BIOS need not."""
    out = []
    for start, end, kind in sorted(pieces):
        if out and out[-1][1] + 1 == start and out[-1][2] == kind:
            start = out.pop()[0]
        out.append((start, end, kind))
    return out


def check_memory(p):
    said = p.call("memory")
    pieces = [(int(a, 16), int(b, 16), int(kind)) for a, b, kind in re.findall(r"^(0x\w+)-(0x\w+) (\d+) ", said, re.M)]
    assert len(pieces) == len(said.splitlines())
    known = p.g.run("cd /sys/firmware/memmap; for n in *; do cat $n/start $n/end $n/type; done").out.splitlines()
    assert len(known) > 6 and not len(known) % 3
    assert merged(pieces) == merged((int(a, 16), int(b, 16), TYPES[kind])
                                    for a, b, kind in zip(known[::3], known[1::3], known[2::3]))
    # By registers and a buffer: the first piece once more, and how many KB there are below 1 MB.
    start, size = pieces[0][0], pieces[0][1] + 1 - pieces[0][0]
    assert p.bytes_of("interrupt 0x15 eax=0xe820 cx=20 edx=0x534d4150 buffer=20") == (
        start.to_bytes(8, "little") + size.to_bytes(8, "little") + b"\1\0\0\0")
    assert int(re.search(r"eax=0x(\w+)", p.call("interrupt 0x12"))[1], 16) & 0xffff == size // 1024


def check_modes(p):
    said = p.call("vbe")
    modes = re.findall(r"^0x(\w{4}) (\d+)x(\d+) (\d+) bits( text)?(?: at (0x\w+))?$", said, re.M)
    assert said.startswith("VBE ") and len(modes) == len(said.splitlines()) - 1
    assert {("640", "480"), ("800", "600")} <= {(width, height) for _, width, height, *_ in modes}
    (card,) = p.g.run("cd /sys/bus/pci/devices; for d in *; do grep -q 0x0300 $d/class && echo $d; done").out.split()
    bars = [int(line.split()[0], 16) for line in
            p.g.run(f"cat /sys/bus/pci/devices/{card}/resource").check().out.splitlines()]
    (framebuffer,) = {int(at, 16) for *_, at in modes if at}
    assert framebuffer and framebuffer in bars


def check_sectors(p, drive, device, sectors, first, count):
    """As Linux reads them, by another controller."""
    known = bytes.fromhex(p.g.run(f"dd if=/dev/{device} bs={SECTOR} skip={first} count={count} 2>/dev/null"
                                  " | od -An -v -tx1").check().out)
    assert len(known) == count * SECTOR and len(set(known)) > 100
    assert p.bytes_of(f"sector {drive:#x} {first} {count}") == known
    assert p.call(f"sector {drive:#x} {sectors}", exit_code(2)).startswith(f"drive {drive:#x}, sector {sectors}: ")


def test_bios(boot, variant, tmp_path):
    disks, qemu_args = {"known": 1 << 20, "diskette": 1440 << 10}, ["-device", "VGA", "-device", "isa-fdc"]
    for name, size in disks.items():
        (tmp_path / name).write_bytes(os.urandom(size))
        # What Linux drives is nothing for the BIOS any more: it has the same bytes elsewhere.
        qemu_args += Guest.drive(f"seen-{name}", tmp_path / name, "virtio-blk-pci", ",read-only=on")
        qemu_args += ["-drive", f"if=none,id={name},format=raw,snapshot=on,file={tmp_path / name}"]
    qemu_args += ["-device", "piix3-ide,id=ide4", "-device", "ide-hd,bus=ide4.0,drive=known,bootindex=1",
                  "-device", "floppy,drive=diskette"]
    g = boot(variant, smp=2, memory="256M", disks=False, net=False, qemu_args=qemu_args)
    p = Programs(g, variant, tmp_path, "returned")
    seen = {int(size): name for name, size in re.findall(r" (vd\w) (\d+)$", g.run(
        "cd /sys/block; for d in vd*; do echo '' $d $(cat $d/size); done").out, re.M)}
    device = {name: seen[size // SECTOR] for name, size in disks.items()}
    with at_work(g, mb=8, tmpfs_mb=8) as work:
        check_memory(p)
        check_modes(p)
        check_sectors(p, 0x80, device["known"], 2048, 5, 7)
        work.check()
        # By cylinder, head and sector; over the end of a track.
        check_sectors(p, 0, device["diskette"], 2880, 15, 6)
        assert "does not know this drive" in p.call("sector 0x8f", exit_code(2))

        # The program is where it was; what waited for the kernel still does.
        said = p.call("returned", PEER)
        assert said.startswith("called\n") and re.search(r"returned.bin died: exception 6 \(invalid opcode\)", said)
        if variant == "i386":
            assert "waiting 1, in service 0\n" in said
        work.check()

        # A key that nobody presses. The BIOS is not called again in the middle of that.
        assert "did not come back in time" in p.call("interrupt 0x16 seconds=1", exit_code(2))
        assert "until the next boot" in p.call("memory", exit_code(1))
        assert '"0"' in p.call("arguments 0")
        work.check()
        assert "no register and value" in p.call("interrupt 0x10 ax=0x10000", exit_code(1))


def test_no_bios(boot, tmp_path):
    """UEFI: each says so; also if nobody has told them."""
    g = boot("x86_64", smp=2, net=False, disks=False, qemu_args=Guest.uefi(tmp_path))
    p = Programs(g, "x86_64", tmp_path)
    for words in "memory", "vbe", "sector 0x80", "interrupt 0x10":
        code = exit_code(2 if " " in words else 1)
        assert "this machine was started by UEFI: there is no BIOS" in p.call(words, code)
    g.run("mount -t tmpfs none /sys/firmware").check()
    for words in "memory", "vbe", "sector 0x80", "interrupt 0x10":
        code = exit_code(2 if " " in words else 1)
        assert "there is no BIOS that handles this interrupt" in p.call(words, code)
    assert sysfs(g, "last") == "ok"
