# SPDX-License-Identifier: GPL-2.0
"""Look into a memory image of a guest, with crash."""
import os
import pathlib
import re
import struct
import subprocess
import tempfile

from . import packages
from .util import BUILD, LabError, Stamp, lock, run

PT_LOAD, PT_NOTE = 1, 4
NT_PRSTATUS = 1
# On i386 crash wants the names system calls had before 4.17, to see how the kernel was compiled.
OLD_NAMES = ("sys_open", "sys_fork", "sys_read")
# There it neither notices KASLR by itself nor knows where the direct mapping begins.
OPTIONS = {"x86_64": [], "i386": ["--kaslr=auto", "--machdep", "page_offset=0xc0000000"]}


def with_old_names(vmlinux, into):
    """A copy of an i386 vmlinux that has the old names too."""
    stamp = Stamp(into.with_name(f".lab-{into.name}"))
    stat = vmlinux.stat()
    key = f"{vmlinux} {stat.st_mtime_ns} {stat.st_size}"
    with lock(into.name):
        if into.is_file() and stamp.fresh(key):
            return into
        symbols = {name: int(at, 16) for at, name in
                   re.findall(r"^(\w+) T __ia32_(\w+)$", run("nm", vmlinux), re.M)}
        text = int(re.search(r" \.text +PROGBITS +(\w+)", run("readelf", "-SW", vmlinux))[1], 16)
        aliases = [x for name in OLD_NAMES for x in
                   ("--add-symbol", f"{name}=.text:{symbols[name] - text:#x},function,global")]
        run("objcopy", *aliases, vmlinux, into)
        stamp.set(key)
    return into


def crash(variant, image, commands, vmlinux=None, timeout=300):
    """What crash prints for each of the commands, of a memory image of this variant's kernel.

    On i386 do without "ps" (but not "ps -k", "ps -c PID" ...) and "vm": they abort, for the
    32-bit crash reads 64-bit counters into less. "foreach set" names all tasks.
    """
    home = BUILD / variant
    vmlinux = pathlib.Path(vmlinux or home / "vmlinux")
    if variant != "x86_64":
        vmlinux = with_old_names(vmlinux, home / "vmlinux-crash")
    with tempfile.TemporaryDirectory(prefix="kj-crash-") as scratch:
        # Without a terminal crash would still read ~/.crashrc.
        env = {**os.environ, "HOME": scratch, "TERM": "dumb"}
        script = "".join(f"{c} > {scratch}/{n}\n" for n, c in enumerate(commands)) + "quit\n"
        p = subprocess.run([*packages.crash_command(variant), "-s", *OPTIONS[variant], vmlinux, image],
                           input=script, env=env, timeout=timeout, text=True, errors="replace",
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        answers = [pathlib.Path(scratch, str(n)) for n in range(len(commands))]
        if p.returncode or not all(a.is_file() for a in answers):
            raise LabError(f"crash {vmlinux} {image} (exit {p.returncode}):\n{p.stdout[-3000:]}")
        return [a.read_text(errors="replace") for a in answers]


def segments(image):
    """(type, offset, physical address, size) of an ELF core file's, as in its program headers."""
    with open(image, "rb") as f:
        phoff, phnum = struct.unpack_from("<32xQ16xH", f.read(64))
        f.seek(phoff)
        return list(struct.iter_unpack("<I4xQ8xQQ16x", f.read(56 * phnum)))


def notes(image, kind):
    """The descriptions of an ELF core file's notes of that kind."""
    with open(image, "rb") as f:
        for _, offset, _, size in [s for s in segments(image) if s[0] == PT_NOTE]:
            f.seek(offset)
            data, at = f.read(size), 0
            while at < size:
                name, desc, n_type = struct.unpack_from("<3I", data, at)
                start = at + 12 + (name + 3 & ~3)
                if n_type == kind:
                    yield data[start:start + desc]
                at = start + (desc + 3 & ~3)


def bt_of_jump(variant, image):
    """The command that makes crash show the stack of the task that jumped.

    On i386 crash looks for that task's stack only where a kernel panics, and not in
    the registers the image has: it is told them.
    """
    if variant == "x86_64":
        return "bt"
    # struct elf_prstatus of i386 has 72 bytes, then ebx ecx edx esi edi ebp eax ds es fs gs orig_eax eip cs eflags esp
    eip, esp = struct.unpack_from("<I8xI", next(notes(image, NT_PRSTATUS)), 72 + 12 * 4)
    return f"bt -I {eip:x} -S {esp:x}"
