# SPDX-License-Identifier: GPL-2.0
"""The view of a kernel that was jumped to is the memory of the one that jumped."""
import errno
import mmap
import re
import shutil
import struct

import pytest

from kjlab import packages

from images import REFUSED, files_disk
from jumps import (JUMP, MB, dmesg, end_frames, iomem, jump_back_entry, load_kernel, load_way_back, ranges, result_of,
                   sysfs)

VIEW = "/proc/kexec_jump_vmcore"
CAP_SYS_RAWIO = 17
CAP_SYS_BOOT = 22
PAGE = 4096
SIZE = 256                      # MB of memory
LISTS = 1024                    # where on the disk other things begin, behind all memory that a guest here has
KEPT, GONE = 0x4b4550544b455054, 0x474f4e45474f4e45     # see lab/guest/frames.c
FREED, PFN = 1 << 63, (1 << 55) - 1
PT_LOAD, PT_NOTE = 1, 4
MACHINE = {"x86_64": 62, "i386": 3}
PID_AT = {"x86_64": 32, "i386": 24}                     # in struct elf_prstatus


def pattern(kind, seed, pfn):
    return struct.pack("<4Q", kind, seed, pfn, ~pfn & (2 ** 64 - 1)) * (PAGE // 32)


class Core:
    """An ELF core file that begins at the start of a file or disk."""

    def __init__(self, path):
        self.file = open(path, "rb")
        self.data = mmap.mmap(self.file.fileno(), 0, prot=mmap.PROT_READ)
        (ident, self.type, self.machine, _, self.entry, phoff, _, _, _, size, n, _, _, _) = \
            struct.unpack_from("<16sHHIQQQIHHHHHH", self.data)
        assert ident[:6] == b"\x7fELF\x02\x01" and size == 56
        self.loads, self.notes = [], []
        for i in range(n):
            kind, _, offset, _, paddr, filesz, memsz, _ = struct.unpack_from(
                "<IIQQQQQQ", self.data, phoff + i * size)
            if kind == PT_LOAD:
                assert filesz == memsz and not (offset | paddr | filesz) % PAGE
                self.loads.append((paddr, filesz, offset))
            else:
                assert kind == PT_NOTE
                self.notes += self._notes(offset, offset + filesz)
        self.size = max(offset + filesz for _, filesz, offset in self.loads)

    def _notes(self, at, end):
        while at + 12 <= end:
            name, desc, kind = struct.unpack_from("<3I", self.data, at)
            at += 12
            yield (self.data[at:at + name].rstrip(b"\0").decode(), kind,
                   self.data[at + (name + 3) // 4 * 4:][:desc])
            at += (name + 3) // 4 * 4 + (desc + 3) // 4 * 4

    def offset(self, paddr):
        return next(o + paddr - p for p, n, o in self.loads if p <= paddr < p + n)

    def page(self, pfn):
        at = self.offset(pfn * PAGE)
        return self.data[at:at + PAGE]

    def ram(self):
        """[(first, last)] of all the memory in it; adjacent pieces are one."""
        found = []
        for paddr, n, _ in sorted(self.loads):
            if found and found[-1][1] + 1 == paddr:
                found[-1] = (found[-1][0], paddr + n - 1)
            else:
                found.append((paddr, paddr + n - 1))
        return found

    def marked(self, kind, seed):
        """Offsets of the pages that are all one of the patterns of frames.c."""
        mark = struct.pack("<2Q", kind, seed)
        pages = (at for at in range(0, self.size, PAGE) if self.data[at:at + 16] == mark)
        return [at for at in pages if self.data[at:at + PAGE] == self.data[at:at + 32] * (PAGE // 32)]


class Frames:
    """In A: memory of known content at known places, and free memory of known content."""

    def __init__(self, g, seed, mb):
        self.g, self.seed = g, seed
        g.run(f"frames {mb} {seed} /tmp/frames").check()
        g.run(f"dd if=/tmp/frames of=/dev/vdb bs=1M seek={LISTS} conv=notrunc,fsync 2>/dev/null").check()
        with open(g.dir / "blank.img", "rb") as f:
            f.seek(LISTS * MB)
            words = struct.unpack(f"<{mb * MB // PAGE}Q", f.read(mb * MB // PAGE * 8))
        self.kept = [w & PFN for w in words if not w & FREED]
        self.freed = [w & PFN for w in words if w & FREED]

    def end(self):
        """What was kept is still there, and never was anywhere else."""
        end_frames(self.g)


def rounded(found):
    """Whole pages of ranges, those that are none left out."""
    pages = [((a + PAGE - 1) // PAGE * PAGE, (b + 1) // PAGE * PAGE - 1) for a, b in found]
    return [(a, b) for a, b in pages if a < b]


def save_core(g):
    """In B: the whole file to the disk, as cp does it. Its size and the disk, a Core."""
    g.run("cp /proc/vmcore /dev/vdb; sync").check()
    size = int(g.run("stat -c %s /proc/vmcore").out)
    core = Core(g.dir / "blank.img")
    assert core.size == size
    return core


def extents(g):
    """In B: (first byte, byte after the last) of what are no holes."""
    g.run("coreview extents /tmp/extents").check()
    g.run(f"dd if=/tmp/extents of=/dev/vdb bs=1M seek={LISTS} conv=notrunc,fsync 2>/dev/null").check()
    n = int(g.run("stat -c %s /tmp/extents").out) // 16
    with open(g.dir / "blank.img", "rb") as f:
        f.seek(LISTS * MB)
        return list(struct.iter_unpack("<2Q", f.read(n * 16)))


def check_frames(core, frames):
    """Each page that was kept is where it must be; those that were freed are nowhere."""
    wrong = [pfn for pfn in frames.kept if core.page(pfn) != pattern(KEPT, frames.seed, pfn)]
    assert not wrong, f"{len(wrong)} pages of {len(frames.kept)} differ, e.g. {wrong[:5]}"
    assert sorted(core.marked(KEPT, frames.seed)) == sorted(core.offset(p * PAGE) for p in frames.kept)
    assert core.marked(GONE, frames.seed) == []


def check_content(core, frames, window, data):
    inside = [any(a <= pfn * PAGE <= b for a, b in window) for pfn in frames.kept]
    assert 100 < sum(inside) < len(inside) - 100, "the test needs memory on both sides"
    check_frames(core, frames)
    ends, starts = [end for _, end in data], [start for start, _ in data]
    assert starts == sorted(starts) and all(a < b for a, b in zip(starts, ends))
    pages = {page for start, end in data for page in range(start // PAGE, end // PAGE)}
    assert all(core.offset(pfn * PAGE) // PAGE in pages for pfn in frames.kept)
    # Much of this memory is free, of course.
    assert len(pages) * PAGE < core.size - 32 * MB


def in_memory(g, core, frames):
    """How many of the freed pages are still in the machine's memory as they were."""
    dump = g.dir / "ram"
    g.qmp("pmemsave", val=0, size=SIZE * MB, filename=str(dump))
    with open(dump, "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as ram:
        n = sum(ram[pfn * PAGE:(pfn + 1) * PAGE] == pattern(GONE, frames.seed, pfn)
                for pfn in frames.freed)
    dump.unlink()
    return n


@pytest.fixture
def machine(boot, variant):
    """A guest whose second disk is for looking at; on i386 part of its memory is high.

    Chance could put the kernel there, and it would not start; or where the window is.
    Memory is cleared when it is allocated: else what was in it while it was free may
    rightly be seen, if its new owner has not written to it yet.
    """
    return boot(variant, smp=4, memory=f"{SIZE}M", disks=False, net=False, blank=LISTS + 32,
                append="nokaslr init_on_alloc=1" + " highmem=96M" * (variant == "i386"))


def test_content(machine, variant):
    """The view is A's memory, all of it and nothing else, again at the next jump."""
    g = machine
    assert g.run(f"ls /proc/vmcore {VIEW} 2>/dev/null").out == ""
    told = iomem(g, "System RAM")
    release = g.run("uname -r").out
    first = Frames(g, 0x1111, 128)
    load_kernel(g)
    window = ranges(sysfs(g, "image_window"))

    g.jump("sh -c 'echo $$ >/tmp/pid; exec kjreboot'", to="B")
    assert g.run("stat -c %a /proc/vmcore").out == "400"
    core, data = save_core(g), extents(g)
    assert (core.type, core.machine, core.entry) == (4, MACHINE[variant], jump_back_entry(g))
    assert core.ram() == rounded(told)
    info = [desc for name, _, desc in core.notes if name == "VMCOREINFO"]
    assert len(info) == 1 and f"OSRELEASE={release}\n".encode() in info[0]
    registers = [desc for name, kind, desc in core.notes if (name, kind) == ("CORE", 1)]
    assert len(registers) == 4 and len(core.notes) == 5
    check_content(core, first, window, data)
    assert in_memory(g, core, first) > 500, "nothing free that could be seen"
    pids = [struct.unpack_from("<I", r, PID_AT[variant])[0] for r in registers]
    assert dmesg(g, "confined|kexec_jump")

    load_way_back(g)
    g.jump(JUMP, to="A")
    assert int(g.run("cat /tmp/pid").out) in pids
    assert g.run("ls /proc/vmcore").rc != 0
    first.end()
    second = Frames(g, 0x2222, 80)
    g.jump("kjreboot", to="B")
    core, data = save_core(g), extents(g)
    check_content(core, second, window, data)
    assert core.marked(KEPT, first.seed) == core.marked(GONE, first.seed) == []
    g.jump("kjreboot", to="A")
    second.end()


def test_reading(boot, variant):
    """However it is read it says the same, it does not change, and only reading is possible."""
    g = boot(variant, smp=2, memory="160M", disks=False, net=False, blank=160)
    g.run("echo jump-test marker >/dev/kmsg").check()
    load_kernel(g)
    g.jump("kjreboot", to="B")
    before = g.run("md5sum </proc/vmcore").check().out
    r = g.run("coreview compare 4711 400").check().out
    assert re.search(r"compared=400 with_data=\d{2,} bad=0$", r), r
    r = g.run("coreview extents /tmp/extents").check().out
    assert re.search(r"extents=\d+ bad=0$", r), r
    refused = dict(w.split("=") for w in g.run("coreview refused").check().out.split())
    expected = dict.fromkeys(("map_write", "map_write_private", "map_exec"), errno.EPERM)
    expected |= {"map_beyond": errno.EINVAL, "map": 0, "write": errno.EIO}
    expected |= dict.fromkeys(("protect_write", "protect_exec"), errno.EACCES)
    assert {k: int(v) for k, v in refused.items()} == expected
    for view in "/proc/vmcore", VIEW:
        assert g.run(f"asuser cat {view}").rc != 0
        # Root of a container has not this capability.
        r = g.run(f"without {CAP_SYS_RAWIO} cat {view}")
        assert r.rc and "Operation not permitted" in r.out, r
    assert g.run(f"md5sum <{VIEW}").check().out == before

    # What another program makes of it: A's log, a dump without what is not wanted.
    def log(core):
        return g.run(f"makedumpfile -f --dump-dmesg {core} /tmp/log >/dev/null && cat /tmp/log").check().out

    assert "jump-test marker" in log("/proc/vmcore")
    for options in "-l -d 31", "-c -d 1":
        r = g.run(f"makedumpfile -f {options} /proc/vmcore /dev/vdb", timeout=300).check()
        assert "makedumpfile Completed" in r.out, r.out
        # It does not find its way in i386 dumps without PT_LOADs of kernels since 6.9.
        if variant == "x86_64":
            assert "jump-test marker" in log("/dev/vdb")
    assert g.run("md5sum </proc/vmcore").check().out == before
    load_way_back(g)
    g.run("exec 5</proc/vmcore; head -c 4096 <&5 >/dev/null").check()
    g.run("coreview hold /tmp/go >/tmp/held & until grep -q ELF /tmp/held; do usleep 50000; done").check()
    g.jump("kjreboot", to="A")
    g.jump("kjreboot", to="B")
    # What was mapped is not there any more, rather than something else.
    assert g.run("touch /tmp/go; wait; cat /tmp/held").out == "ELF\nSIGBUS"
    # What was opened then was the memory as it was then.
    r = g.run("cat <&5 >/dev/null")
    assert r.rc and "Stale file handle" in r.out, r
    g.run("exec 5<&-").check()
    assert g.run("md5sum </proc/vmcore").check().out != before
    g.jump("kjreboot", to="A")


def test_whole_system(boot, variant):
    """A peer that would take /proc/vmcore for the sign of a crash does not see one."""
    g = boot(variant, memory="160M", disks=False, net=False)
    load_kernel(g, append="kexec_jump_vmcore=own")
    g.jump("kjreboot", to="B")
    assert g.run(f"ls /proc/vmcore {VIEW} 2>/dev/null").out == VIEW
    assert g.run(f"head -c 4 {VIEW}").check().out[1:] == "ELF"
    # A program's memory would be freed; shared memory is as good as the view.
    r = g.run(f"without {CAP_SYS_RAWIO} sh -c 'cat /sys/kernel/kexec_jump/shared'")
    assert r.rc, r
    for name in "jump_back_entry", "confined_to", "image_entry", "image_window", "held", "peer":
        r = g.run(f"without {CAP_SYS_BOOT} cat /sys/kernel/kexec_jump/{name}")
        assert r.rc and "Operation not permitted" in r.out, r
    # Nor is memory kept, or a jump turned elsewhere.
    for capability, name, value in ((CAP_SYS_BOOT, "shared_size", "1000000"), (CAP_SYS_BOOT, "held", "1"),
                                    (CAP_SYS_BOOT, "peer", "red"), (CAP_SYS_RAWIO, "shared", "x")):
        r = g.run(f"without {capability} sh -c 'echo {value} >/sys/kernel/kexec_jump/{name}'")
        assert r.rc and "Operation not permitted" in r.out, (name, r)
    assert sysfs(g, "shared_size") == "0"
    g.run(f"without {CAP_SYS_BOOT} cat /sys/kernel/kexec_jump/last /sys/kernel/kexec_jump/peers").check()
    load_way_back(g)
    g.jump("kjreboot", to="A")


KDUMP_TOOLS = {"etc/init.d/kdump-tools": "", "usr/sbin/kdump-config": "", "lib/lsb/init-functions": "",
               "lib/init/vars.sh": "", "usr/share/kdump-tools/kdump-tools.conf": "etc/default/kdump-tools"}


@pytest.mark.parametrize("variant", ["x86_64"])
@pytest.mark.parametrize("view, saved", [("", True), ("kexec_jump_vmcore=own", False)], ids=["also", "own"])
def test_kdump_tools(boot, variant, view, saved, tmp_path):
    """Debian's: where it finds /proc/vmcore it saves that and reboots, and the preserved kernel would be lost."""
    root, files = packages.unpacked("kdump-tools", packages.host_arch(), ("kdump-tools", "sysvinit-utils")), tmp_path / "f"
    for name, installed in KDUMP_TOOLS.items():
        into = files / (installed or name)
        into.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(root / name, into)
    g = boot(variant, memory="192M", disks=False, net=False, qemu_args=files_disk(tmp_path, files, 1))
    load_kernel(g, append=view)
    g.jump("kjreboot", to="B")
    load_way_back(g)
    g.run("mkdir -p /var/crash /mnt/x; mount -o ro $(findfs LABEL=files) /mnt/x; cp -r /mnt/x/* /").check()
    # Its configuration is read by the shell.
    g.run("echo 'reboot() { echo $* >/tmp/rebooted; }' >>/etc/default/kdump-tools").check()
    r = g.run("sh /etc/init.d/kdump-tools start")
    assert (g.run("cat /tmp/rebooted").out == "-f", bool(g.run("find /var/crash -type f").out)) == (saved, saved), r
    g.jump("kjreboot", to="A")
    assert sysfs(g, "last") == "ok"


@pytest.mark.parametrize("variant", ["x86_64"])
@pytest.mark.parametrize("forbids", ["nohibernate", "secret"])
def test_nothing_to_see(boot, variant, forbids):
    """What forbids an image forbids the view, too; the jump works."""
    append = forbids if forbids == "nohibernate" else ""
    g = boot(variant, memory="160M", disks=False, net=False, append=append)
    if not append:
        g.run("secret >/tmp/secret & until [ -s /tmp/secret ]; do usleep 20000; done").check()
        # There is no looking at that page, for whoever says that it is a preserved kernel.
        at = int(g.run("cat /tmp/secret").out, 0)
        assert result_of(g.run(f"kload -e {at:#x} -s 0:0").out) == errno.ENOEXEC
        assert dmesg(g, f"kexec_jump: entry {at:#x}: no memory that can be read")
    r = g.run("kjump snapshot /tmp/x")
    assert r.rc == REFUSED and forbids in r.out and sysfs(g, "jumps") == "0", r
    load_kernel(g)
    g.jump("kjreboot", to="B")
    for view in "/proc/vmcore", VIEW:
        r = g.run(f"cat {view}")
        assert r.rc and "No data available" in r.out, r
    assert sysfs(g, "preserved") == "1"
    load_way_back(g)
    g.jump("kjreboot", to="A")
    assert sysfs(g, "last") == "ok"
