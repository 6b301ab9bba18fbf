# SPDX-License-Identifier: GPL-2.0
"""Disks with Debian on them, systemd and all, our packages installed, to be booted as guests.

A small one for the tests, and for lab/debian what a server has: with an encrypted
root file system (LVM on LUKS2), and with btrfs on two disks. A machine's firmware
boots them: there is a partition table, an EFI system partition, GRUB.
"""
import re
import shutil

from . import bare, deb, initramfs
from .guest import Guest, command_line
from .util import BUILD, LAB, Stamp, digest, lock, run, say

HOME = BUILD / bare.SUITE
HAS = ("systemd-sysv", "udev", "dbus", "initramfs-tools", "kexec-tools", "busybox", "cpio", "zstd", "xz-utils",
       "kmod", "procps", "psmisc", "dosfstools", "fdisk", "grub2-common", "grub-efi-amd64-bin")
PROGRAMS = ("workload", "mixdata", "pagesum", "lab-shell", "debian-disk")
RELEASES = {"12": "bookworm", "13": "trixie"}
# What else a server has.
MORE = ("btrfs-progs", "cryptsetup-initramfs", "grub-pc-bin", "iproute2", "kdump-tools", "lvm2", "netbase",
        "openssh-server", "postgresql")
# How lab/guest/debian-disk puts it on which disks, in MB.
SERVERS = {"12": ("encrypted", {"disk": 6200}), "13": ("btrfs", {"disk": 3500, "second": 1600})}
PASSPHRASE = "lab"
# Partitions in MB, after the first MB: GRUB's own, ESP, root.
GRUB_MB, ESP_MB, ROOT_MB, SERVER_MB = 1, 64, 1400, 3000
ESP_AT = (1 + GRUB_MB) << 20
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
# What only a running system can do.
BOOTABLE = (
    "mkfs.vfat -n ESP $(blkid -t PARTLABEL=ESP -o device)",
    "echo 'LABEL=ESP /boot/efi vfat umask=0077 0 1' >>/etc/fstab; udevadm settle; mount /boot/efi",
    "grub-install --target=x86_64-efi --removable --no-nvram",
    "update-initramfs -u", "update-grub; rm -r /srv/*", "umount /boot/efi")
KDUMP_HOOK = "etc/kernel/postinst.d/kdump-tools"
# Its card gets an address, whatever it is called.
NETWORK = "[Match]\nName=en* eth*\n\n[Network]\nDHCP=yes\n"


def customize(root, home, install):
    """Shell commands that make a guest of what is in `root`; with the command that installs /srv/*.deb."""
    inside, words = f"chroot {root}", command_line(mount=False)
    return f"""
        mkdir -p {root}/srv {root}/boot/grub {root}/boot/efi {root}/etc/default/grub.d
        echo 'GRUB_TIMEOUT=0' >{root}/etc/default/grub.d/lab.cfg
        echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX {words}"' >>{root}/etc/default/grub.d/lab.cfg
        # Made often, and here every processor is slow.
        echo COMPRESSLEVEL=1 >{root}/etc/initramfs-tools/conf.d/lab
        cp {home}/*.deb {root}/srv/
        cp {home}/lab-shell.service {root}/etc/systemd/system/
        for p in {' '.join(PROGRAMS)}; do install -m 755 {home}/$p {root}/usr/local/bin/; done
        ln -s /bin/busybox {root}/usr/local/bin/usleep
        echo 'LABEL=root / ext4 errors=remount-ro 0 1' >{root}/etc/fstab
        echo debian >{root}/etc/hostname
        echo 127.0.0.1 localhost debian >{root}/etc/hosts
        echo root:root | {inside} chpasswd
        {inside} env DEBIAN_FRONTEND=noninteractive sh -ec '{install}' >{home}/dpkg.log 2>&1
        {inside} systemctl -q enable lab-shell
        {inside} systemctl -q mask serial-getty@ttyS0 serial-getty@ttyS1
        cp {root}/boot/vmlinuz-* {home}/bzImage
        cp {root}/boot/initrd.img-* {home}/initrd.img
        """


def as_server(root):
    """Commands for what else a server has, before our packages are installed."""
    return f"""
        printf '{NETWORK}' >{root}/etc/systemd/network/lab.network
        chroot {root} systemctl -q enable systemd-networkd
        # Its hook needs /sys.
        chmod -x {root}/{KDUMP_HOOK}
        """


def partitions(image):
    """Commands that make a disk of ROOT."""
    lines = "\n".join(("label: gpt", f"size={GRUB_MB}MiB,type=21686148-6449-6E6F-744E-656564454649",
                       f"size={ESP_MB}MiB,type=U,name=ESP", f"size={ROOT_MB}MiB,type=L"))
    begin = 1 + GRUB_MB + ESP_MB
    return (f"truncate -s {begin + ROOT_MB + 1}M {image}; echo '{lines}' | sfdisk -q {image}; "
            f"mke2fs -q -F -t ext4 -L root -E offset={begin << 20} -d ROOT {image} {ROOT_MB}M")


def make(home, suite, include, debs, inside, image, booted, disks=None):
    """Have a root of that suite with these packages, ours among them, made into an image: root.img in `home`.

    inside and image are commands, which know it as ROOT: run with what is in it, and then to make the image.
    booted are commands for a guest that has booted it. If there are disks, {name: MB}, it puts all on them, and
    they are what is made: <name>.img, known to it by that name as serial number. Returns the images' paths.
    """
    programs = initramfs.compile_guest("x86_64") | {p: LAB / "guest" / p for p in ("lab-shell", "debian-disk")}
    stamp = Stamp(home / ".lab-debian")
    made = [home / f"{name}.img" for name in disks or ("root",)]
    # How fast this machine's clock is differs a little each time it is looked at.
    text = re.sub(r"\b(tsc_early_khz|lpj)=\d+", "", inside + image)
    key = digest(*debs, *(programs[p] for p in PROGRAMS), SHELL, text, *include, *booted, str(disks))
    if all(each.is_file() for each in made) and stamp.fresh(key):
        return made
    base = bare.installed(f"{suite}-{'server' if disks else 'small'}", "important", include, suite)
    home.mkdir(parents=True, exist_ok=True)
    stamp.clear()
    for old in (*home.glob("*.deb"), *home.glob("*.img")):
        old.unlink()
    for file in (*debs, *(programs[p] for p in PROGRAMS)):
        shutil.copy(file, home)
    (home / "lab-shell.service").write_text(SHELL)
    say(f"installing our packages in build/{home.name}")
    root = home / "root"
    # As in bare.Machine: where nothing can be mounted it has its own devices, and no /proc.
    alone = bare.in_chroot()
    devices = "" if alone else "--exclude='./dev/*'"
    mounts = "" if alone else f"mount --rbind /dev {root}/dev; mount -t proc proc {root}/proc"
    # What is mounted for one of these is gone for the next.
    for script in (f"rm -rf --one-file-system {root}; mkdir {root}\ntar -C {root} -xf {base} {devices}\n{mounts}\n"
                   + inside.replace("ROOT", str(root)),
                   image.replace("ROOT", str(root)) + f"\nrm -rf --one-file-system {root}"):
        run(*bare.namespace("sh", "-ec", script), what="installing our packages", log=home / "install.log")
    say(f"making build/{home.name}'s disk bootable")
    drives = Guest.drive("root", home / "root.img", "virtio-blk-pci")
    for name, mb in (disks or {}).items():
        with open(home / f"{name}.img", "wb") as f:
            f.truncate(mb << 20)
        drives += Guest.drive(name, f.name, f"virtio-blk-pci,serial={name}")
    with Guest("x86_64", smp=2, memory="1G", disks=False, net=False, kernel=home / "bzImage",
               initrd=home / "initrd.img", append="root=LABEL=root rw", label=home.name, qemu_args=drives) as g:
        for command in booted:
            g.run(command, timeout=1800).check()
        g.power_off()
    if disks:
        (home / "root.img").unlink()
    stamp.set(key)
    return made


def build():
    """The disk for tests, which UEFI boots: Debian 12, the lab's kernel, and little more than systemd."""
    with lock("debian"):
        (image,) = make(HOME, bare.SUITE, HAS, (deb.kjump(), deb.lab_kernel()),
                        customize("ROOT", HOME, "dpkg -i -G /srv/*.deb"), partitions(HOME / "root.img"), BOOTABLE)
    return image


def server(release, lab_kernel=False):
    """The disks of a server with Debian 12 or 13, which UEFI boots, and a BIOS does; with the lab's kernel or Debian's."""
    home = BUILD / f"debian-{release}{'-lab' if lab_kernel else ''}"
    kind, disks = SERVERS[release]
    places = " ".join(f"/dev/disk/by-id/virtio-{name}" for name in disks)
    with lock(home.name):
        return make(home, RELEASES[release], (*HAS, *MORE), (deb.kjump(), deb.lab_kernel() if lab_kernel else deb.linux()),
                    as_server("ROOT") + customize("ROOT", home, "apt-get install -y /srv/*.deb"),
                    f"mke2fs -q -F -t ext4 -L root -d ROOT {home}/root.img {SERVER_MB}M",
                    (f"debian-disk {kind} {places} 2>&1",), disks)
