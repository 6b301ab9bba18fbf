# SPDX-License-Identifier: GPL-2.0
"""Debian packages, in build/deb: kjump, and a kernel to go with it."""
import os
import shutil

from . import initramfs, kernel, tree
from .util import BUILD, ROOT, LabError, Stamp, digest, lock, run, say

DEBS = BUILD / "deb"
# The kernel's image package alone.
PROFILES = "pkg.linux-upstream.nokernelheaders pkg.linux-upstream.nokerneldbg"


def only(folder, pattern):
    found = sorted(folder.glob(pattern))
    if len(found) != 1:
        raise LabError(f"{len(found)} packages {folder}/{pattern}")
    return found[0]


def kjump():
    """The package kjump, from debian/ and the tool's folder."""
    source, stamp = DEBS / "kjump", Stamp(DEBS / ".lab-kjump")
    files = sorted(p for d in (ROOT / "debian", initramfs.KJUMP) for p in d.rglob("*") if p.is_file())
    with lock("deb-kjump"):
        if not stamp.fresh(key := digest(*(x for p in files for x in (str(p.relative_to(ROOT)), p)))):
            say("building deb/kjump")
            stamp.clear()
            for old in DEBS.glob("kjump*"):
                shutil.rmtree(old) if old.is_dir() else old.unlink()
            shutil.copytree(initramfs.KJUMP, source)
            shutil.copytree(ROOT / "debian", source / "debian")
            run("env", "-u", "MAKEFLAGS", "dpkg-buildpackage", "-b", "-us", "-uc", what="building the package kjump",
                cwd=source, log=DEBS / "kjump.log")
            stamp.set(key)
    return only(DEBS, "kjump_*.deb")


def package(home, into):
    """The image package of the kernel that is built in home/obj."""
    name = into.relative_to(BUILD)
    stamp, key = Stamp(into / ".lab-kernel"), (home / ".lab-kernel").read_text()
    with lock(f"deb-{home.name}"):
        if not stamp.fresh(key):
            say(f"building {name}/linux-image (a minute)")
            stamp.clear()
            into.mkdir(parents=True, exist_ok=True)
            for old in into.glob("linux-*"):
                old.unlink()
            with lock(f"kernel-{home.name}"):
                kernel.package(tree.TREE, home / "obj", "x86_64", into / "linux.log",
                               env={**os.environ, "DEB_BUILD_PROFILES": PROFILES})
                # It puts them beside the folder it builds in.
                for made in home.glob("linux-*"):
                    if made.name.startswith("linux-image-") and made.suffix == ".deb":
                        shutil.move(made, into / made.name)
                    else:
                        made.unlink()
            stamp.set(key)
    return only(into, "linux-image-*.deb")


def linux(full=False):
    """The kernel with Debian's configuration; full: with all its modules."""
    return package(kernel.build_debian(full), DEBS)


def lab_kernel():
    """The kernel x86_64, which is small, built for the tests anyway, and has the drivers of QEMU's machines."""
    return package(kernel.build("x86_64"), DEBS / "lab")
