# SPDX-License-Identifier: GPL-2.0
"""Debian packages, and Debian 12 with them: systemctl hibernate, and its initramfs resumes."""
import re
import shutil
import subprocess

import pytest

from images import REFUSED, USAGE, hibernate, resume
from jumps import Work
from kjlab import bare, deb, debian
from kjlab.guest import RESUMED, Guest
from kjlab.util import ROOT, run


@pytest.fixture
def machine(boot, tmp_path):
    """machine(target): it is switched on, UEFI starts GRUB, Debian's initramfs mounts the root file system, systemd starts."""
    # Its disk is this test's own.
    subprocess.run(["cp", "--sparse=always", debian.build(), tmp_path / "root.img"], check=True)
    with open(tmp_path / "target.img", "wb") as f:
        f.truncate(640 << 20)

    def start(target):
        root = Guest.drive("root", tmp_path / "root.img", "virtio-blk-pci,bootindex=1")
        return boot("x86_64", smp=2, memory="768M", disks=False, net=False, boots_disk=True, workdir=tmp_path,
                    qemu_args=Guest.uefi(tmp_path) + root + target)

    start.target = lambda device: Guest.drive("target", tmp_path / "target.img", f"{device},serial=target")
    return start


def check_system(g):
    """systemd has started all of it, and nothing failed."""
    assert g.run("systemctl is-system-running --wait", timeout=300).out == "running", \
        g.run("systemctl --failed; systemctl list-jobs").out


def test_package(tmp_path):
    """lintian has nothing to say, and the package has what make install installs."""
    kjump = deb.kjump()
    (changes,) = deb.DEBS.glob("kjump_*.changes")
    said = subprocess.run(["lintian", "--fail-on", "error,warning", changes],
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert said.returncode == 0, said.stdout
    run("make", "-s", "-C", deb.DEBS / "kjump", "ARCH=", f"O={deb.DEBS}/kjump/build", f"DESTDIR={tmp_path}", "install")
    installed = {p.relative_to(tmp_path): p.stat().st_mode & 0o777 for p in tmp_path.rglob("*") if p.is_file()}
    run("dpkg-deb", "-x", kjump, tmp_path / "deb")
    packaged = {p.relative_to(tmp_path / "deb"): p.stat().st_mode & 0o777
                for p in (tmp_path / "deb").rglob("*") if p.is_file()}
    debians = {"usr/share/doc/kjump/changelog.gz", "usr/share/doc/kjump/copyright", "usr/share/lintian/overrides/kjump"}
    assert debians <= {str(p) for p in packaged}
    # It packs manual pages.
    assert {str(p).removesuffix(".gz"): mode for p, mode in packaged.items() if str(p) not in debians} == \
        {str(p): mode for p, mode in installed.items()}


def test_autopkgtest():
    """Debian's own way to try a package: installed where nothing else is, by its dependencies alone."""
    with bare.Machine() as m:
        shutil.copy(deb.kjump(), m.root / "srv")
        shutil.copytree(ROOT / "debian", m.root / "srv/source/debian")
        rc, said = m.run("root", "export PATH=$PATH:/usr/sbin:/sbin DEBIAN_FRONTEND=noninteractive; apt-get update -q && "
                         "apt-get install -qy --no-install-recommends autopkgtest && "
                         "cd /srv && autopkgtest kjump_*.deb source/ -- null")
    # As its only test is one of little: see autopkgtest(1).
    assert rc in (0, 8) and re.search(r"^command1 +PASS", said, re.M), said[-3000:]


def off_and_on(boot, g, command):
    """Hibernate by that command; the next boot's initramfs resumes, as GRUB tells it."""
    g.run("kjump hibernate --dry-run").check()
    work = Work(g, disks=False, mb=16, tmpfs_mb=8)
    hibernate(g, f"{command} && until grep -qx '{RESUMED}' /sys/kernel/kexec_jump/last; do sleep 0.2; done")
    work.g = g = resume(boot, g)
    work.end()
    check_system(g)
    return g


def written(g):
    """What a setup might write: {path: checksum}."""
    g.run("sync").check()
    listed = g.run("find /etc /var/lib/kjump /usr/lib/systemd -xdev ! -type d 2>/dev/null "
                   "| xargs sha256sum 2>/dev/null").out
    return dict(line.split()[::-1] for line in listed.splitlines())


def test_set_up_used_and_purged(boot, machine):
    """kjump setup, systemctl hibernate, off; on again, and everything goes on. Then nothing is left of it."""
    g = machine(machine.target("virtio-blk-pci"))
    check_system(g)
    # A hook of systemd's, as other packages have them.
    g.run(r"printf '#!/bin/sh\necho $1 $2 $SYSTEMD_SLEEP_ACTION >>/root/hooks\n' "
          "> /usr/lib/systemd/system-sleep/lab; chmod +x /usr/lib/systemd/system-sleep/lab").check()
    g.run(r"printf 'label: gpt\n,\n' | sfdisk -q /dev/disk/by-id/virtio-target && udevadm settle && update-grub").check()
    (place,) = g.run("readlink -f /dev/disk/by-id/virtio-target-part1").check().out.split()
    (name,) = g.run(f"lsblk -dno PARTUUID {place}").check().out.split()
    before = written(g)

    r = g.run("kjump setup --dry-run --systemd").check()
    assert "has kexec jump" in r.out and re.search(rf"^  {place} \S+: free$", r.out, re.M)
    # With what is mounted, and with GRUB's own.
    for why in "in use", "too small":
        assert re.search(rf"^  /dev/vd\S+ \S+: .* is {why}", r.out, re.M), why
    assert f"kjump.restore=PARTUUID={name}" in r.out and written(g) == before

    # Not a matter of places.
    r = g.run("mv /sbin/kexec /sbin/kexec.away; kjump setup --dry-run; rc=$?; mv /sbin/kexec.away /sbin/kexec; (exit $rc)")
    assert r.rc == REFUSED and r.out.endswith("install kexec-tools") and written(g) == before, r

    assert g.run("kjump setup --force").rc == USAGE
    assert "is in use" in g.run("kjump setup --force /dev/disk/by-label/root").out and written(g) == before
    r = g.run("kjump setup --systemd --ready", timeout=600).check()
    assert f"kjump: ready: kjump hibernate saves to {place}" in r.out, r
    assert g.run("cat /etc/kjump.conf").out == f"device=PARTUUID={name}"
    words = set(g.run("grep -o 'kjump.restore=[^ ]*' /boot/grub/grub.cfg").out.split())
    assert words == {f"kjump.restore=PARTUUID={name}"}
    # What GRUB starts next is looked at.
    g.run("cp /boot/grub/grub.cfg /root/; sed -i 's/ kjump.restore=[^ ]*//' /boot/grub/grub.cfg").check()
    r = g.run("kjump hibernate")
    assert r.rc == REFUSED and f"does not have kjump.restore={place}" in r.out, r
    g.run("kjump hibernate --dry-run --any-boot && cp /root/grub.cfg /boot/grub/").check()
    # So is its initramfs.
    initrd = "/boot/initrd.img-$(uname -r)"
    g.run(f"mv {initrd} /root/initrd; cd /etc && echo hostname | cpio --quiet -o -H newc >{initrd}; cd").check()
    r = g.run("kjump hibernate")
    assert r.rc == REFUSED and re.search(r"has no kjump in its initramfs, /boot/initrd\.img", r.out), r
    g.run(f"kjump hibernate --dry-run --any-boot && mv /root/initrd {initrd}").check()
    g.run("systemctl restart systemd-logind; systemctl start kjump-load", timeout=300).check()
    g = off_and_on(boot, g, "systemctl hibernate")
    # For the next time.
    g.run("until [ $(cat /sys/kernel/kexec_jump/image_entry) != 0x0 ]; do sleep 0.5; done", timeout=300).check()
    assert g.run("cat /root/hooks").out.split("\n") == ["pre hibernate hibernate", "post hibernate hibernate"]
    assert g.run("journalctl -b -p err -q --no-pager -u systemd-hibernate -u systemd-logind").out == ""

    g.run("kjump setup --undo", timeout=600).check()
    assert written(g) == before
    assert g.run("grep -c kjump.restore /boot/grub/grub.cfg").out == "0"
    g.run(f"kjump setup --systemd --ready {place}", timeout=600).check()
    g.run("rm /root/hooks; dpkg -P kjump", timeout=600).check()
    assert g.run("find / -xdev -name '*kjump*' ! -path '/usr/lib/modules/*'").out == ""
    assert g.run("grep -rl kjump /etc /boot/grub /var/lib/systemd").out == ""
    assert "systemd-sleep hibernate" in g.run("systemctl show --no-pager -P ExecStart systemd-hibernate").out
    check_system(g)


def test_drivers_are_modules(boot, machine):
    """A USB disk, which takes a while to appear: the peer's initramfs has its drivers, so has Debian's."""
    g = machine(["-device", "qemu-xhci"] + machine.target("usb-storage,removable=on"))
    check_system(g)
    assert g.run("lsmod | grep -o '^usb_storage'").out == "usb_storage"

    def modules():
        packed = "/boot/kjump-initrd.img-$(uname -r)"
        return g.run(f"gzip -dc {packed} | cpio -t --quiet | grep 'ko$'").out.split()

    # It was installed where there was no such disk.
    assert not modules()
    g.run("kjump-mkinitramfs").check()
    assert {"lib/modules/usb-storage.ko", "lib/modules/xhci-pci.ko"} <= set(modules()) and len(modules()) < 12
    # What somebody asks for besides; if it is not there it is as before.
    g.run("echo modules=f2fs >/etc/kjump.conf; kjump-mkinitramfs").check()
    assert {"lib/modules/f2fs.ko", "lib/modules/usb-storage.ko"} <= set(there := modules())
    refused = g.run("echo modules=f2fs nonesuch >/etc/kjump.conf; kjump-mkinitramfs 2>&1")
    assert refused.rc == 1 and "nonesuch" in refused.out and "modules= in /etc/kjump.conf" in refused.out, refused
    assert modules() == there
    # So has the one that resumes, where it has no more than the root file system needs.
    g.run("echo MODULES=dep >/etc/initramfs-tools/conf.d/dep; update-initramfs -u", timeout=600).check()
    assert {"usb-storage.ko", "xhci-pci.ko"} <= set(g.run(
        "lsinitramfs /boot/initrd.img-$(uname -r) | sed -n 's,.*/,,p' | sed 's,[.]ko[.].*,.ko,'").out.split())
    g.run("echo device=/dev/sda >/etc/kjump.conf; "
          "echo 'GRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX kjump.restore\"' >/etc/default/grub.d/restore.cfg; update-grub").check()
    g = off_and_on(boot, g, "kjump hibernate")
    # To its system it was there all the time.
    assert "USB disconnect" not in g.run("dmesg").out
    # What restarts the machine does not take the peer for a kernel to start.
    g.run("kjump load --ready", timeout=300).check()
    said = len(g.log())
    g.send("systemctl reboot")
    g.wait()
    said = g.log()[said:]
    assert "reboot: Restarting system" in said and "kexec_jump" not in said, said
