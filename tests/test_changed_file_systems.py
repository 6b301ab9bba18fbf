# SPDX-License-Identifier: GPL-2.0
"""Somebody who changed a file system of a saved system is noticed, whatever file system it is and whatever it is on."""
import gzip
import re
import shutil
import struct
import subprocess
import zlib

from kjlab.initramfs import cpio
from kjlab.util import BUILD

from images import BAD_IMAGE, DEVICE, OK, REFUSED, boot_fresh, hibernate
from jumps import sysfs
from test_disk_identities import disks
from test_kjump_verbs import returns

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


def lvm_label(disk):
    """What makes libblkid take it for LVM's: the second sector, with a checksum."""
    label = b"LVM2 001" + b"u" * 32 + struct.pack("<Q", SECTORS * 512)
    label = (struct.pack("<I", 32) + label).ljust(492, b"\0")
    crc = zlib.crc32(label, 0xf597a6cf ^ 0xffffffff) ^ 0xffffffff
    with open(disk, "r+b") as f:
        f.seek(512)
        f.write(b"LABELONE" + struct.pack("<QI", 1, crc) + label)


def partition(disk, table):
    subprocess.run(["/sbin/sfdisk", "-q", disk], input=table, text=True, check=True)


class Mounts:
    """How the file systems are mounted: as it is usual, and so that nothing is written."""

    def __init__(self, log):
        self.options = {name: (name, "rw", readonly) for name, (_, _, readonly) in KINDS.items()}
        self.options["esp"] = ("vfat", "rw", "ro")
        self.options["xfslog"] = ("xfs", f"logdev={log}", f"ro,norecovery,logdev={log}")

    def command(self, name, device, where, readonly=False):
        kind, usual, careful = self.options.get(name, ("ext4", "rw", "ro,noload"))
        return f"mount -t {kind} -o {careful if readonly else usual} {device} {where}"


def test_each_kind(boot, tmp_path):
    # The last two are an XFS and its log.
    sizes = [size for _, size, _ in KINDS.values()] + [SECTORS // 2048] * 4 + [64, 64, 320, 96]
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
    linear, crypt, *mirror, table, devices["esp"], devices["xfslog"], log = names[len(KINDS):]
    esp, devices["esp"] = devices["esp"], f"{devices['esp']}1"
    devices["logical"] = f"{table}5"
    lvm_label(files[names.index(linear)])
    # The table's first block says nothing of the fifth.
    partition(files[names.index(table)], f"start=2048, type=5\nstart=4096, size={SECTORS}")
    partition(files[names.index(esp)], "start=2048, type=ef")
    subprocess.run(["mkfs.vfat", "-F", "32", "-s", "1", "--offset=2048", files[names.index(esp)], str(63 << 10)],
                   check=True, capture_output=True)
    mounts = Mounts(log)
    append = device_mapper(linear, crypt)
    initrd = with_modules(BUILD / "x86_64/initramfs.img", tmp_path / "initramfs.img")
    g = boot("x86_64", smp=2, memory="384M", initrd=initrd, blank=400, net=False, workdir=tmp_path, qemu_args=qemu_args,
             append=append)
    insert_modules(g)
    g.run(f"mirror {' '.join(mirror)}").check()
    for name, device in devices.items():
        if name in (*STACKED, "logical"):
            g.run(f"mke2fs {device} >/dev/null 2>&1").check()
        g.run(f"mkdir -p /mnt/{name}; {mounts.command(name, device, f'/mnt/{name}')}; "
              f"cd /mnt/{name} && echo A >file && mkdir -p d/sub e && echo A >d/sub/a; cd /; sync").check()
    # Boot loaders do not look into journals.
    g.run("kjump load && mount --bind /mnt/xfs /boot && echo A >/boot/menu").check()
    returns(g, f"kjump hibernate --dry-run {DEVICE}", REFUSED, "is not encrypted, but crypt of this system is: .*--unencrypted")
    hibernate(g, f"kjump hibernate --unencrypted {DEVICE}")

    c, _ = boot_fresh(boot, g, initrd=initrd, append=f"kjump.restore=no {append}")
    insert_modules(c)
    c.run(f"mirror {' '.join(mirror)}; mkdir -p /mnt/x").check()
    for name, device in devices.items():
        c.run(mounts.command(name, device, "/mnt/x", readonly=True)).check()
        assert name != "xfs" or c.run("cat /mnt/x/menu").out == "A"
        c.run("umount /mnt/x").check()
    # At each boot, firmware and boot loaders write to files that they have there.
    c.run(f"{mounts.command('esp', devices['esp'], '/mnt/x')} && echo C | dd of=/mnt/x/file conv=notrunc 2>/dev/null && "
          "umount /mnt/x").check()
    c.run(f"kjump restore --check {DEVICE}").check()
    changed = []

    def seen(what):
        changed.append(what)
        r = c.run(f"kjump restore --check {DEVICE}")
        assert r.rc == BAD_IMAGE and "changed since" in r.out, (what, r)
        told = re.findall(r"(/dev/\S+ \((?!held)[^)]+\))", r.out)
        assert sorted(told) == sorted(changed), (what, r.out)

    # Volumes are moved, and a partition, without a byte of a file system.
    c.run(f"printf x | dd of={linear} bs=1 seek=8192 conv=notrunc 2>/dev/null; sync").check()
    seen(f"{linear} (where LVM has its volumes)")
    c.run(f"printf 'd\\n5\\nn\\nl\\n8192\\n\\nw\\n' | fdisk -u {table} >/dev/null; sync; "
          f"[ $(cat /sys/class/block/{devices.pop('logical')[5:]}/start) = 8192 ]").check()
    seen(f"{table} (its partition table)")
    for name, device in devices.items():
        # Somebody mounts it, changes something, and goes.
        if name == "ntfs3":
            write_by_ntfs_3g(files[names.index(device)], tmp_path / "copy")
        else:
            c.run(f"{mounts.command(name, device, '/mnt/x')} && {CHANGES.get(name, WRITE)} && umount /mnt/x").check()
        seen(f"{device} (mounted on /mnt/{name})")
    c.power_off()


def test_what_shows_no_change(boot, tmp_path):
    """A file system in stripes, and a cache that writes to its parts as soon as it is set up."""
    one, two, origin, cache = (f"/dev/vd{c}" for c in "defg")
    initrd = with_modules(BUILD / "x86_64/initramfs.img", tmp_path / "initramfs.img")
    g = boot("x86_64", smp=2, memory="384M", initrd=initrd, blank=400, net=False, workdir=tmp_path,
             qemu_args=disks(tmp_path, "one", "two", "origin", "cache", size=64),
             append=f'dm-mod.create="stripes,,,rw,0 {2 * SECTORS} striped 2 128 {one} 0 {two} 0"')
    insert_modules(g)
    try_it = f"kjump hibernate --dry-run {DEVICE}"
    returns(g, try_it, OK)
    stripes = r"/dev/dm-0 \(mounted on /mnt/x\)"
    g.run("mkdir /mnt/x; mke2fs /dev/dm-0 >/dev/null 2>&1; mount /dev/dm-0 /mnt/x").check()
    for command in try_it, f"kjump hibernate {DEVICE}":
        returns(g, command, REFUSED, f"nobody would notice .*--ignore-unguarded .*: {stripes}$")
    assert sysfs(g, "jumps") == "0" and sysfs(g, "image_entry") == "0x0"
    returns(g, f"{try_it} --ignore-unguarded", OK, f"changes .* would not be noticed: {stripes}")
    returns(g, f"echo ignore-unguarded=yes >/tmp/conf; KJUMP_CONF=/tmp/conf {try_it}", OK, "could be saved")
    # By hand, too.
    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    returns(g, f"kjump save {DEVICE}", REFUSED, f"nobody would notice .*: {stripes}$")
    returns(g, f"kjump save --ignore-unguarded {DEVICE}", OK)
    g.jump("kjump back", to="A")
    g.run("mount -o remount,ro /mnt/x").check()
    returns(g, try_it, OK)
    # Whether or not anything is mounted.
    g.run(f"umount /mnt/x; mapped cached {SECTORS} writecache 's {origin} {cache} 4096 0'").check()
    returns(g, try_it, REFUSED, r"nobody would notice .*: /dev/dm-1 \(writecache, whose parts change at each boot\)$")


def test_what_needs_no_guard(boot, tmp_path):
    """What is in files, in memory, only read, or known by what is on it is no reason to refuse."""
    whole, swap = "/dev/vdd", "/dev/vde"
    initrd = with_modules(BUILD / "x86_64/initramfs.img", tmp_path / "initramfs.img")
    qemu_args = disks(tmp_path, "whole", "swap", size=128)
    subprocess.run(["mkfs.btrfs", "-q", tmp_path / "disk1.img"], check=True)
    g = boot("x86_64", smp=2, memory="384M", initrd=initrd, blank=400, net=False, workdir=tmp_path, qemu_args=qemu_args)
    insert_modules(g)
    try_it = f"kjump hibernate --dry-run {DEVICE}"
    # As an installer's stick: a file system on all of a disk, which seems to have partitions, too.
    g.run(f"mke2fs {whole} >/dev/null 2>&1; printf 'n\\np\\n1\\n2048\\n\\nw\\n' | fdisk -u {whole} >/dev/null; "
          f"mkdir -p /mnt/x /mnt/y /mnt/z; mount -o ro {whole} /mnt/x && [ -b {whole}1 ]").check()
    returns(g, try_it, OK)
    g.run(f"mount -t btrfs -o nodatacow {swap} /mnt/y; cd /mnt/y; dd if=/dev/zero of=swap bs=1M count=16 2>/dev/null; "
          "chmod 600 swap; mkswap swap >/dev/null; swapon swap; cd /; grep /mnt/y/swap /proc/swaps").check()
    returns(g, try_it, OK)
    # In a file, and encrypted in a file.
    g.run("dd if=/dev/zero of=/mnt/y/file bs=1M count=8 2>/dev/null; losetup /dev/loop0 /mnt/y/file; "
          f"mapped secret 16384 crypt 'aes-xts-plain64 {KEY} 0 /dev/loop0 0'; mke2fs /dev/dm-0 >/dev/null 2>&1; mount /dev/dm-0 /mnt/z").check()
    returns(g, f"{try_it} --unencrypted", OK)
