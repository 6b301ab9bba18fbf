# SPDX-License-Identifier: GPL-2.0
"""The guests' root (an initramfs, for both kernels), the first one's /boot disk, and rootfs.gz."""
import gzip
import os
import pathlib
import re
import shutil
import subprocess

from . import kernel, packages
from .util import BUILD, LAB, ROOT, LabError, Stamp, digest, lock, jobs, run, say

PROGRAMS = ("kexec", "makedumpfile")
# kjump looks into the initramfs of a peer with it.
UNPACKER = ("lz4",)
# Of an initramfs for 15 MB, with the libraries of these.
SMALL_HAS = ("/init", "/bin/busybox", "/bin/lab-shell", "/bin/workload", "/bin/afresh", "/sbin/kexec")
# What two kernels exchange; guest programs include it.
ABI = ROOT / "include/linux/kexec_jump_abi.h"
SCRIPTS = ("lab-shell", "lab-disks", "lab-net")
KJUMP = ROOT / "tools/power/kjump"
# A second kernel has to boot with it in a window of 64 MB.
MAX_SIZE = 6 << 20


def bits(variant):
    """Options of gcc for programs of the guest."""
    return ["-m64"] if variant == "x86_64" else \
        ["-m32", "-idirafter", "/usr/include/x86_64-linux-gnu"]     # <asm/*.h>


def compile_guest(variant):
    """Compile lab/guest/*.c; returns {name: file}. The guest has the host's C library."""
    out = BUILD / variant / "guest"
    out.mkdir(parents=True, exist_ok=True)
    made = {}
    for src in sorted((LAB / "guest").glob("*.c")):
        exe = made[src.stem] = out / src.stem
        command = ["gcc", *bits(variant), "-O2", "-Wall", "-Wextra", "-Werror", "-s",
                   "-I", LAB / "guest/include", "-idirafter", ROOT / "include"]
        stamp, key = Stamp(out / f".{src.stem}"), digest(src, ABI, *map(str, command))
        if not (exe.is_file() and stamp.fresh(key)):
            run(*command, "-o", exe, src, what=f"compiling {src.name}")
            stamp.set(key)
    return made


def compile_kjump(variant):
    """kjump for the guest, static."""
    root, out = packages.guest_root(variant), BUILD / variant / "kjump"
    cflags, ldflags = ["-O2", *bits(variant)], ["-s"]
    if variant != "x86_64":
        cflags += ["-isystem", f"{root}/usr/include"]
        ldflags += [f"-L{root}/usr/lib/i386-linux-gnu"]
    # Nothing of the environment, nor of a make that called the lab.
    command = ["env", "-u", "MAKEFLAGS", "make", "-s", "-C", KJUMP, f"O={out}", "CC=gcc", "ARCH=",
               f"CFLAGS={' '.join(cflags)}", f"LDFLAGS={' '.join(ldflags)}", f"-j{jobs()}"]
    sources = sorted(p for p in KJUMP.rglob("*") if p.suffix in (".c", ".h") or p.name == "Makefile")
    stamp = Stamp(out / ".lab-kjump")
    key = digest(*(x for p in sources for x in (str(p.relative_to(KJUMP)), p)), *map(str, command))
    if not ((out / "kjump").is_file() and stamp.fresh(key)):
        shutil.rmtree(out, ignore_errors=True)
        run(*command, what="compiling kjump")
        stamp.set(key)
    return out / "kjump"


def tools(variant, more=()):
    """{path in the guest: file on the host} of what rootfs.gz and initramfs.img share, and these programs."""
    root = packages.guest_root(variant)
    files = {"/bin/busybox": root / "bin/busybox", "/sbin/kjump": compile_kjump(variant),
             "/sbin/kjump-boot": KJUMP / "initramfs/kjump-boot"}
    programs = PROGRAMS + more
    for name in programs:
        found = [p for d in ("sbin", "bin", "usr/sbin", "usr/bin")
                 if (p := root / d / name).is_file()]
        if not found:
            raise LabError(f"the guest packages have no {name}")
        files[f"/sbin/{name}"] = found[0]
    return files | packages.library_closure(root, [files[f"/sbin/{n}"] for n in programs])


def contents(variant, extra=None):
    """{path in the guest: file on the host}."""
    files = tools(variant, UNPACKER) | {"/init": LAB / "guest/init", "/etc/kjump.conf": LAB / "guest/kjump.conf"}
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


def boot_disk(home, files, image):
    """A small disk, label "boot", with what the first kernel loads as the second."""
    stamp = Stamp(home / ".lab-boot")
    key = digest(*(x for name, path in files.items() for x in (name, path)))
    if image.is_file() and stamp.fresh(key):
        return
    disk_with(files, image, "boot")
    stamp.set(key)


def disk_with(files, image, label):
    """A disk with these files, {name: path}."""
    stage = image.with_suffix(".stage")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    for name, path in files.items():
        shutil.copy(path, stage / name)
    size = sum(f.stat().st_size for f in stage.iterdir()) // 1024 + 4096
    new = image.with_name(image.name + ".new")
    new.unlink(missing_ok=True)
    # Of a kind that the small kernel knows, too.
    run("mke2fs", "-q", "-t", "ext2", "-L", label, "-m", "0",
        "-d", stage, new, f"{size}k")
    os.replace(new, image)
    shutil.rmtree(stage)


def pack(files, image):
    """Write an initramfs with these files, if they changed."""
    key = digest(*(x for p in sorted(files) for x in (p, pathlib.Path(files[p]))),
                 pathlib.Path(__file__))
    stamp = Stamp(image.with_name(f".lab-{image.stem}"))
    if image.is_file() and stamp.fresh(key):
        return
    data = cpio(files, [("/bin/sh", "busybox")])
    # What every guest unpacks, some of them twice, is packed with what is quick to unpack.
    data = gzip.compress(data, 9, mtime=0) if image.suffix == ".gz" else \
        subprocess.run(["lz4", "-l", "-9", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    if len(data) > MAX_SIZE:
        raise LabError(f"{image} would be {len(data) >> 10} kB, too much for a small window")
    image.parent.mkdir(parents=True, exist_ok=True)
    new = image.with_name(image.name + ".new")
    new.write_bytes(data)
    os.replace(new, image)
    stamp.set(key)
    say(f"{image.parent.name}/{image.name}: {len(data) >> 10} kB")


def build_rootfs(variant):
    """rootfs.gz in build/<variant>: kexec, makedumpfile and kjump, for any second kernel."""
    image = BUILD / variant / "rootfs.gz"
    with lock(f"initramfs-{variant}"):
        pack(tools(variant) | {"/init": KJUMP / "initramfs/init"}, image)
    return image


def build_small():
    """A guest "i386-small": the example needs little more than kexec, in a kernel for 15 MB."""
    home = BUILD / kernel.SMALL
    with lock(f"initramfs-{kernel.SMALL}"):
        files = {path: file for path, file in contents("i386").items()
                 if path in SMALL_HAS or re.match(r"/lib/(libc|ld-linux|libz|liblzma)\.so", path)}
        archive, data = home / "initramfs.cpio", cpio(files, [("/bin/sh", "busybox")])
        if not archive.is_file() or archive.read_bytes() != data:
            home.mkdir(parents=True, exist_ok=True)
            archive.write_bytes(data)
        kernel.build_small(archive)
        pack({}, home / "initramfs.img")
        boot_disk(home, {"bzImage": home / "bzImage"}, home / "boot.img")
    return home


def build_debug():
    """A guest "debug": that of x86_64, which must be built, but for the kernel."""
    kernel.build(kernel.DEBUG)
    return build("x86_64", kernel.DEBUG)


def boot_files(variant, kernel):
    """What a guest of this variant has in /boot: the lab's initramfs, with a shell to talk to, and rootfs.gz."""
    return {"bzImage": kernel, "initramfs.img": BUILD / variant / "initramfs.img",
            "rootfs.gz": build_rootfs(variant)}


def build(variant, name=None):
    """initramfs.img, rootfs.gz and boot.img in build/<name, or variant>; the kernel there must be built."""
    name = name or variant
    home = BUILD / name
    kernel = home / "bzImage"
    if not kernel.is_file():
        raise LabError(f"{kernel} is not built yet: lab/lab kernel {name}")
    with lock(f"initramfs-{name}"):
        pack(contents(variant), home / "initramfs.img")
    files = boot_files(variant, kernel)
    with lock(f"initramfs-{name}"):
        boot_disk(home, files, home / "boot.img")
    return home
