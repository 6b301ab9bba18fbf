# SPDX-License-Identifier: GPL-2.0
"""Who controls command line and initramfs forges a preserved kernel: nothing is written, read or run for it.

The guest is booted with an entry on its command line and what is to be found there
in its memory, as if somebody had jumped to it.
"""
import errno
import struct

import pytest

from jumps import MB, dmesg, iomem, sysfs

PAGE = 4096
MACHINE = {"x86_64": 62, "i386": 3}
AWAY = 1
# The guest's window, with what any kernel needs below 1 MB, and where the forged kernel is.
WINDOW, THEIRS = ((0x1000, 0x9f000), (MB, 256 * MB)), 384 * MB
VIEW = "/proc/kexec_jump_vmcore"
IND_DESTINATION, IND_INDIRECTION, IND_DONE, IND_SOURCE = 1, 2, 4, 8


def header(variant, entry, *, version=1, windows=WINDOW, size=608, machine=None, **lists):
    """A jump page as in include/linux/kexec_jump_abi.h, with the right checksum."""
    values = {"backup_map": 0, "description": 0, "elf_pages": 0, "nr_pfns": 0, "shared": 0, "shared_pages": 0} | lists
    ranges = b"".join(struct.pack("<2Q", *w) for w in windows).ljust(512, b"\0")

    def fields(checksum):
        return (struct.pack("<8s4I", b"KEXECJMP", version, size, checksum, machine or MACHINE[variant])
                + struct.pack("<3Q2I", 0, entry, values["backup_map"], len(windows), 0) + ranges
                + struct.pack("<5Q", *(values[n] for n in ("description", "elf_pages", "nr_pfns", "shared",
                                                           "shared_pages"))))

    checksum = 0x811c9dc5
    for byte in fields(0):
        checksum = (checksum ^ byte) * 0x01000193 & 0xffffffff
    return (fields(checksum) + struct.pack("<II", AWAY, 0)).ljust(PAGE, b"\0")


def word_list(variant, *words):
    return struct.pack(f"<{len(words)}{'Q' if variant == 'x86_64' else 'I'}", *words).ljust(PAGE, b"\0")


@pytest.fixture
def forged(boot, variant, tmp_path):
    """forged({address: content}, entry, append): a guest that finds this in its memory."""

    def start(pages, entry, append="", **kw):
        args = []
        for address, content in pages.items():
            file = tmp_path / f"{address:x}"
            file.write_bytes(content)
            args += ["-device", f"loader,file={file},addr={address:#x},force-raw=on"]
        return boot(variant, disks=False, net=False, qemu_args=args,
                    append=f"kexec_jump_back_entry={entry:#x} {append}", **kw)

    return start


def left_alone(g, why):
    """It is confined, and that is all."""
    assert dmesg(g, rf"kexec_jump: the preserved kernel is left alone: {why}"), dmesg(g, "kexec_jump")
    assert sysfs(g, "confined_to") == "\n".join(f"{a:#x}-{b - 1:#x}" for a, b in WINDOW)
    assert all(end < 256 * MB for _, end in iomem(g, "System RAM"))
    assert sysfs(g, "preserved") == "0"
    assert g.run(f"ls /proc/vmcore {VIEW} 2>/dev/null").out == ""
    assert g.run("head -c 1 /sys/kernel/kexec_jump/shared | wc -c").out == "0"
    r = g.run(f"kload -e {int(sysfs(g, 'jump_back_entry'), 0):#x} -s 0:0")
    assert r.rc, r


# What panics_here() makes the log say.
PANIC = ["Kernel panic - not syncing: sysrq", "Call Trace:"]


def panics_here(g):
    """A panic does not lead to the other kernel either."""
    g.send("echo c >/proc/sysrq-trigger")
    g.wait()
    assert "jumping back" not in g.log()


def test_own_memory(forged, variant):
    """The initramfs brings the page, the boot loader puts it into memory of this kernel."""
    at = 128 * MB
    g = forged({at: header(variant, at + 0xf00)}, at + 0xf00, append="nokaslr",
               allow=PANIC)
    left_alone(g, "its jump page is in this kernel's own memory")
    panics_here(g)


def test_locked_down(forged, variant):
    g = forged({THEIRS: header(variant, THEIRS + 0xf00)}, THEIRS + 0xf00, append="lockdown=integrity")
    left_alone(g, "this kernel is locked down")


def test_another_architecture(forged, variant):
    """Its instructions would be run in the wrong mode, also by a panic."""
    other, = set(MACHINE.values()) - {MACHINE[variant]}
    g = forged({THEIRS: header(variant, THEIRS + 0xf00, machine=other)}, THEIRS + 0xf00,
               allow=PANIC)
    left_alone(g, "its kernel is for another architecture, or another depth of paging")
    panics_here(g)


def test_description(forged, variant):
    """It says that memory of this kernel is the other one's."""
    own, theirs, lists, nr_pfns = 200 * MB, 400 * MB, THEIRS + MB, 448 * MB // PAGE
    loads = b"".join(struct.pack("<2I6Q", 1, 7, PAGE * (1 + n), 0, at, PAGE, PAGE, PAGE)
                     for n, at in enumerate((own, theirs)))
    elf = struct.pack("<16s2HI3QI6H", b"\x7fELF\2\1\1", 4, MACHINE[variant], 1, 0, 64, 0, 0, 64, 56, 2, 0, 0, 0) + loads
    bitmap = b"\xff" * (nr_pfns // 8)
    pages = [elf.ljust(PAGE, b"\0"), *(bitmap[at:at + PAGE] for at in range(0, len(bitmap), PAGE))]
    g = forged({THEIRS: header(variant, THEIRS + 0xf00, description=lists, elf_pages=1, nr_pfns=nr_pfns),
                lists: word_list(variant, *(lists + (n + 1) * PAGE | IND_SOURCE for n in range(len(pages))), IND_DONE),
                lists + PAGE: b"".join(pages), own: b"mine" * (PAGE // 4), theirs: b"seen" * (PAGE // 4)},
               THEIRS + 0xf00, append="nokaslr")
    assert sysfs(g, "preserved") == "1"
    assert g.run(f"dd if={VIEW} bs={PAGE} skip=2 count=1 2>/dev/null | tr -d '\\0' | head -c 8").out == "seenseen"
    assert g.run(f"dd if={VIEW} bs={PAGE} skip=1 count=1 2>/dev/null | tr -d '\\0' | wc -c").out == "0"


def test_lists(forged, variant):
    """It is well formed, but its lists lead to memory of this kernel, or never end."""
    own, lists = 64 * MB, THEIRS + MB
    g = forged({THEIRS: header(variant, THEIRS + 0xf00, shared=lists, shared_pages=2,
                               description=lists + PAGE, elf_pages=1, nr_pfns=1024, backup_map=lists + 2 * PAGE),
                lists: word_list(variant, own | IND_SOURCE, own + PAGE | IND_SOURCE, IND_DONE),
                lists + PAGE: word_list(variant, lists + PAGE | IND_INDIRECTION),
                lists + 2 * PAGE: word_list(variant, lists + 2 * PAGE | IND_INDIRECTION)},
               THEIRS + 0xf00, append="nokaslr")
    assert sysfs(g, "preserved") == "1"
    shared = "/sys/kernel/kexec_jump/shared"
    assert g.run(f"head -c 4096 {shared} 2>/dev/null | wc -c").out == "0"
    assert g.run(f"echo overwritten | dd of={shared} conv=notrunc 2>/dev/null").rc
    for _ in range(2):
        assert g.run(f"head -c 4096 {VIEW} 2>/dev/null | wc -c").out == "0"
    assert g.run("true").rc == 0


def test_changed_later(forged, variant):
    """What was right at boot is looked at again: a page that tells of another window is not believed."""
    entry = THEIRS + 0xf00
    before = header(variant, entry)
    after = header(variant, entry, windows=[WINDOW[0], (MB, 300 * MB)])
    g = forged({THEIRS: before}, entry)
    assert sysfs(g, "preserved") == "1"
    for at in range(0, PAGE, 4):
        if before[at:at + 4] != after[at:at + 4]:
            (word,) = struct.unpack_from("<I", after, at)
            g.run(f"physmem {THEIRS + at:#x} {word:#x}").check()
    assert sysfs(g, "preserved") == "0"
    r = g.run(f"kload -e {entry:#x} -s 0:0")
    assert f"errno={errno.EBADMSG} " in r.out and dmesg(g, "another window than at boot"), r
