# SPDX-License-Identifier: GPL-2.0
"""Somebody who changed a file system of a saved system is noticed, whatever file system it is and whatever it is on."""
import gzip
import re
import shutil
import subprocess

from kjlab.initramfs import cpio
from kjlab.util import BUILD

from images import BAD_IMAGE, DEVICE, boot_fresh, hibernate
from test_disk_identities import disks

# How each is made, its size in MB, and how it is mounted so that nothing is written.
KINDS = {
    "ext4": ("mke2fs -q -t ext4", 32, "ro,noload"),
    "xfs": ("mkfs.xfs -q", 320, "ro,norecovery"),
    "btrfs": ("mkfs.btrfs -q", 128, "ro,rescue=nologreplay"),
    "f2fs": ("mkfs.f2fs -q", 64, "ro,norecovery"),
    "vfat": ("mkfs.vfat", 64, "ro"),
    "exfat": ("mkfs.exfat", 64, "ro"),
    "ntfs3": ("mkntfs -q -F -Q", 64, "ro"),
}
# What somebody does who mounts it; on most, to write a file.
WRITE = "echo 1 >/mnt/x/file1"
CHANGES = {"vfat": "mv /mnt/x/d/sub/a /mnt/x/e/b", "exfat": "mv /mnt/x/d/sub/a /mnt/x/e/b"}
# On these, ext4.
STACKED = ("linear", "crypt", "mirror")
KEY = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f"
SECTORS = 65536


def device_mapper(linear, crypt):
    """Of the kernel command line: the first is a part of its disk only."""
    return (f'dm-mod.create="linear,,0,rw,0 {SECTORS - 4096} linear {linear} 4096;'
            f'crypt,,1,rw,0 {SECTORS} crypt aes-xts-plain64 {KEY} 0 {crypt} 0"')


def with_modules(initrd, path):
    """An initramfs, and the modules of the kernel; only the first kernel's: they are large."""
    modules = {f"/lib/modules/{m.name}": m for m in (BUILD / "x86_64/modules").glob("*.ko")}
    path.write_bytes(gzip.compress(cpio(modules), 1) + initrd.read_bytes())
    return path


def insert_modules(g):
    """In any order: those that miss another one until all are there."""
    g.run("cd /lib/modules; for i in 1 2 3 4 5; do for m in *.ko; do insmod $m 2>/dev/null; done; done; "
          "[ $(wc -l </proc/modules) = $(ls | wc -l) ]").check()


def write_by_ntfs_3g(disk, copy):
    """By another driver than the kernel's, which does not use the log; on a copy, as QEMU has the disk locked."""
    shutil.copy(disk, copy)
    subprocess.run(["ntfscp", "-f", copy, __file__, "file1"], check=True, capture_output=True)
    with open(disk, "r+b") as f:
        f.write(copy.read_bytes())


class Mounts:
    """How the file systems are mounted: as it is usual, and so that nothing is written."""

    def __init__(self, log):
        self.options = {name: (name, "rw", readonly) for name, (_, _, readonly) in KINDS.items()}
        self.options["xfslog"] = ("xfs", f"logdev={log}", f"ro,norecovery,logdev={log}")

    def command(self, name, device, where, readonly=False):
        kind, usual, careful = self.options.get(name, ("ext4", "rw", "ro,noload"))
        return f"mount -t {kind} -o {careful if readonly else usual} {device} {where}"


def test_each_kind(boot, tmp_path):
    # The last two are an XFS and its log.
    sizes = [size for _, size, _ in KINDS.values()] + [SECTORS // 2048] * 4 + [320, 96]
    qemu_args, files = [], []
    for n, size in enumerate(sizes):
        qemu_args += disks(tmp_path, f"serial{n}", size=size, first=n)
        files.append(tmp_path / f"disk{n}.img")
    for (make, _, _), file in zip(KINDS.values(), files):
        subprocess.run([*make.split(), file], check=True, capture_output=True)
    subprocess.run(["mkfs.xfs", "-q", "-l", f"logdev={files[-1]},size=64m", files[-2]], check=True)
    # The first disk after DEVICE's is vdd, as Guest() has the others.
    names = [f"/dev/vd{chr(ord('d') + n)}" for n in range(len(sizes))]
    devices = dict(zip(KINDS, names)) | {"linear": "/dev/dm-0", "crypt": "/dev/dm-1", "mirror": "/dev/md0"}
    linear, crypt, *mirror, devices["xfslog"], log = names[len(KINDS):]
    mounts = Mounts(log)
    append = device_mapper(linear, crypt)
    initrd = with_modules(BUILD / "x86_64/initramfs.img", tmp_path / "initramfs.img")
    g = boot("x86_64", smp=2, memory="384M", initrd=initrd, blank=400, net=False, workdir=tmp_path, qemu_args=qemu_args,
             append=append)
    insert_modules(g)
    g.run(f"mirror {' '.join(mirror)}").check()
    for name, device in devices.items():
        if name in STACKED:
            g.run(f"mke2fs {device} >/dev/null 2>&1").check()
        g.run(f"mkdir -p /mnt/{name}; {mounts.command(name, device, f'/mnt/{name}')}; "
              f"cd /mnt/{name} && echo A >file && mkdir -p d/sub e && echo A >d/sub/a; cd /; sync").check()
    # Boot loaders do not look into journals.
    g.run("kjump load && mount --bind /mnt/xfs /boot && echo A >/boot/menu").check()
    hibernate(g)

    c, _ = boot_fresh(boot, g, initrd=initrd, append=f"kjump.restore=no {append}")
    insert_modules(c)
    c.run(f"mirror {' '.join(mirror)}; mkdir -p /mnt/x").check()
    for name, device in devices.items():
        c.run(mounts.command(name, device, "/mnt/x", readonly=True)).check()
        assert name != "xfs" or c.run("cat /mnt/x/menu").out == "A"
        c.run("umount /mnt/x").check()
    c.run(f"kjump restore --check {DEVICE}").check()
    changed = []
    for name, device in devices.items():
        # Somebody mounts it, changes something, and goes.
        if name == "ntfs3":
            write_by_ntfs_3g(files[names.index(device)], tmp_path / "copy")
        else:
            c.run(f"{mounts.command(name, device, '/mnt/x')} && {CHANGES.get(name, WRITE)} && umount /mnt/x").check()
        changed.append(f"{device} (mounted on /mnt/{name})")
        r = c.run(f"kjump restore --check {DEVICE}")
        assert r.rc == BAD_IMAGE and "changed since" in r.out, (name, r)
        told = re.findall(r"(/dev/\S+ \(mounted on /mnt/\w+\))", r.out)
        assert sorted(told) == sorted(changed), (name, r.out)
    c.power_off()
