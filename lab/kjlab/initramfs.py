# SPDX-License-Identifier: GPL-2.0
"""The guests' root (an initramfs, for both kernels) and the first one's /boot disk."""
import gzip
import os
import pathlib
import shutil

from . import packages
from .util import BUILD, LAB, LabError, Stamp, digest, lock, run, say

PROGRAMS = {"kexec": "kexec-tools", "makedumpfile": "makedumpfile"}
SCRIPTS = ("lab-shell", "lab-disks", "lab-net")
# A second kernel has to boot with it in a window of 64 MB.
MAX_SIZE = 6 << 20


def compile_guest(variant):
    """Compile lab/guest/*.c; returns {name: file}. All of it is static C."""
    bits = ["-m64"] if variant == "x86_64" else \
        ["-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"]     # <asm/*.h>
    out = BUILD / variant / "guest"
    out.mkdir(parents=True, exist_ok=True)
    made = {}
    for src in sorted((LAB / "guest").glob("*.c")):
        exe = made[src.stem] = out / src.stem
        stamp, key = Stamp(out / f".{src.stem}"), digest(src)
        if not (exe.is_file() and stamp.fresh(key)):
            run("gcc", *bits, "-static", "-O2", "-Wall", "-Wextra", "-Werror", "-s",
                "-o", exe, src, what=f"compiling {src.name}")
            stamp.set(key)
    return made


def contents(variant, extra=None):
    """{path in the guest: file on the host}."""
    root = packages.guest_root(variant)
    files = {"/init": LAB / "guest/init", "/bin/busybox": root / "bin/busybox"}
    for name in PROGRAMS:
        found = [p for d in ("sbin", "bin", "usr/sbin", "usr/bin")
                 if (p := root / d / name).is_file()]
        if not found:
            raise LabError(f"the guest packages have no {name}")
        files[f"/sbin/{name}"] = found[0]
    files |= packages.library_closure(root, [files[f"/sbin/{n}"] for n in PROGRAMS])
    files |= {f"/bin/{n}": LAB / "guest" / n for n in SCRIPTS}
    files |= {f"/bin/{n}": p for n, p in compile_guest(variant).items()}
    files |= extra or {}
    return files


def cpio(files, links=()):
    """A newc archive, the same bytes for the same input; needs no root for /dev."""
    out = bytearray()
    number = 0

    def entry(name, mode, data=b"", rdev=(0, 0)):
        nonlocal number
        number += 1
        raw = name.lstrip("/").encode() + b"\0"
        fields = (number, mode, 0, 0, 1, 0, len(data), 0, 0, *rdev, len(raw), 0)
        out.extend(b"070701" + b"".join(b"%08x" % f for f in fields) + raw)
        out.extend(b"\0" * (-len(out) % 4))
        out.extend(data + b"\0" * (-len(data) % 4))

    dirs = {"/dev", "/proc", "/sys", "/tmp", "/sbin", "/root"}
    for path in [*files, *(l for l, _ in links)]:
        dirs |= {str(d) for d in pathlib.PurePosixPath(path).parents} - {"/"}
    for d in sorted(dirs):
        entry(d, 0o040755)
    entry("/dev/console", 0o020600, rdev=(5, 1))
    for path in sorted(files):
        entry(path, 0o100755, pathlib.Path(files[path]).read_bytes())
    for path, target in links:
        entry(path, 0o120777, target.encode())
    entry("TRAILER!!!", 0)
    return bytes(out)


def boot_disk(home, rootfs, kernel, image):
    """A small ext4 disk, label "boot", with what the first kernel loads as the second."""
    stage = home / "boot.stage"
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    shutil.copy(kernel, stage / "bzImage")
    shutil.copy(rootfs, stage / "rootfs.gz")
    size = sum(f.stat().st_size for f in stage.iterdir()) // 1024 + 4096
    new = image.with_name(image.name + ".new")
    new.unlink(missing_ok=True)
    # No journal: it is mounted read-only from a read-only disk.
    run("mke2fs", "-q", "-t", "ext4", "-O", "^has_journal", "-L", "boot", "-m", "0",
        "-d", stage, new, f"{size}k")
    os.replace(new, image)
    shutil.rmtree(stage)


def build(variant, kernel=None):
    """initramfs.gz and boot.img in build/<variant>; the kernel must be built."""
    home = BUILD / variant
    with lock(f"initramfs-{variant}"):
        files = contents(variant)
        key = digest(*(x for p in sorted(files) for x in (p, pathlib.Path(files[p]))),
                     pathlib.Path(__file__))
        image, stamp = home / "initramfs.gz", Stamp(home / ".lab-initramfs")
        if not (image.is_file() and stamp.fresh(key)):
            data = gzip.compress(cpio(files, [("/bin/sh", "busybox")]), 9, mtime=0)
            if len(data) > MAX_SIZE:
                raise LabError(f"{image} would be {len(data) >> 10} kB, too much for a small window")
            new = home / "initramfs.gz.new"
            new.write_bytes(data)
            os.replace(new, image)
            stamp.set(key)
            say(f"{variant}/initramfs.gz: {len(data) >> 10} kB")
        kernel = kernel or home / "bzImage"
        if not kernel.is_file():
            raise LabError(f"{kernel} is not built yet: lab/lab kernel {variant}")
        disk, stamp = home / "boot.img", Stamp(home / ".lab-boot")
        key = digest(image, kernel)
        if not (disk.is_file() and stamp.fresh(key)):
            boot_disk(home, image, kernel, disk)
            stamp.set(key)
    return home
