# SPDX-License-Identifier: GPL-2.0
"""A disk with Debian 12 on it, systemd and all, our packages installed, to be booted as a guest."""
import shutil

from . import bare, deb, initramfs
from .util import BUILD, LAB, Stamp, digest, lock, run, say

HOME = BUILD / bare.SUITE
SIZE = 1400     # MB
HAS = ("systemd-sysv", "udev", "dbus", "initramfs-tools", "kexec-tools", "busybox", "cpio", "zstd", "xz-utils",
       "kmod", "procps", "psmisc", "grub2-common")
PROGRAMS = ("workload", "pagesum", "lab-shell")
# The serial shell of the lab's guests, as a service.
SHELL = """[Unit]
Description=The shell the lab talks to

[Service]
Type=idle
Environment=LAB_NAME=A HOME=/root PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ExecStart=/usr/local/bin/lab-shell
StandardInput=tty-force
StandardOutput=tty
StandardError=tty
TTYPath=/dev/ttyS0
Restart=always

[Install]
WantedBy=multi-user.target
"""


def customize(root):
    """Shell commands that make a guest of what is in `root`."""
    inside = f"chroot {root}"
    return f"""
        mkdir -p {root}/srv {root}/boot/grub
        cp {HOME}/*.deb {root}/srv/
        cp {HOME}/lab-shell.service {root}/etc/systemd/system/
        for p in {' '.join(PROGRAMS)}; do install -m 755 {HOME}/$p {root}/usr/local/bin/; done
        ln -s /bin/busybox {root}/usr/local/bin/usleep
        echo 'LABEL=root / ext4 errors=remount-ro 0 1' >{root}/etc/fstab
        echo debian >{root}/etc/hostname
        echo 127.0.0.1 localhost debian >{root}/etc/hosts
        echo root:root | {inside} chpasswd
        {inside} env DEBIAN_FRONTEND=noninteractive dpkg -i -G $(cd {HOME}; printf '/srv/%s ' *.deb) >{HOME}/dpkg.log 2>&1
        {inside} systemctl -q enable lab-shell
        {inside} systemctl -q mask serial-getty@ttyS0 serial-getty@ttyS1
        cp {root}/boot/vmlinuz-* {HOME}/bzImage
        cp {root}/boot/initrd.img-* {HOME}/initrd.img
        """


def build():
    """build/bookworm/root.img, and kernel and initramfs as the packages put them in its /boot: bzImage, initrd.img."""
    debs = deb.kjump(), deb.lab_kernel()
    programs = initramfs.compile_guest("x86_64") | {"lab-shell": LAB / "guest/lab-shell"}
    image, stamp = HOME / "root.img", Stamp(HOME / ".lab-debian")
    key = digest(*debs, *(programs[p] for p in PROGRAMS), SHELL, customize("ROOT"), *HAS, str(SIZE))
    with lock("debian"):
        if image.is_file() and stamp.fresh(key):
            return HOME
        base = HOME / "base.tar"
        bare.install(base, "important", HAS)
        stamp.clear()
        for old in HOME.glob("*.deb"):
            old.unlink()
        for file in (*debs, *(programs[p] for p in PROGRAMS)):
            shutil.copy(file, HOME)
        (HOME / "lab-shell.service").write_text(SHELL)
        say("installing our packages in build/bookworm")
        root = HOME / "root"
        # As in bare.Machine: where nothing can be mounted it has its own devices, and no /proc.
        alone = bare.in_chroot()
        devices = "" if alone else "--exclude='./dev/*'"
        mounts = "" if alone else f"mount --rbind /dev {root}/dev; mount -t proc proc {root}/proc"
        # What is mounted for one of these is gone for the next.
        for script in (f"rm -rf --one-file-system {root}; mkdir {root}\ntar -C {root} -xf {base} {devices}\n{mounts}\n"
                       + customize(root),
                       f"rm -f {image}; mke2fs -q -t ext4 -L root -d {root} {image} {SIZE}M\n"
                       f"rm -rf --one-file-system {root}"):
            run(*bare.namespace("sh", "-ec", script), what="installing our packages", log=HOME / "install.log")
        stamp.set(key)
    return HOME
