# SPDX-License-Identifier: GPL-2.0
"""A disk with Debian 12 on it, systemd and all, our packages installed, to be booted as a guest."""
import shutil

from . import bare, deb, initramfs, packages
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
        base_stamp = Stamp(HOME / ".lab-base")
        HOME.mkdir(parents=True, exist_ok=True)
        stamp.clear()
        base_key = digest(*HAS, bare.SUITE)
        if not (base.is_file() and base_stamp.fresh(base_key)):
            say("installing Debian 12 in build/bookworm (some minutes)")
            (HOME / "apt.conf").write_text(bare.apt_settings())
            run("mmdebstrap", "--quiet", "--variant=important", f"--include={','.join(HAS)}",
                f"--aptopt={HOME / 'apt.conf'}", bare.SUITE, base, packages.Apt(packages.host_arch()).mirror(),
                log=HOME / "mmdebstrap.log")
            base_stamp.set(base_key)
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
        unmounts = "" if alone else f"umount -l {root}/proc {root}/dev"
        script = f"""
            rm -rf --one-file-system {root}; mkdir {root}
            tar -C {root} -xf {base} {devices}
            {mounts}
            {customize(root)}
            {unmounts}
            rm -f {image}
            mke2fs -q -t ext4 -L root -d {root} {image} {SIZE}M
            rm -rf --one-file-system {root}
            """
        run(*bare.namespace("sh", "-ec", script), what="installing our packages", log=HOME / "install.log")
        stamp.set(key)
    return HOME
