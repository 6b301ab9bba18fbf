# SPDX-License-Identifier: GPL-2.0
"""Disks are told apart by what they are: names and numbers differ from kernel to kernel."""
import os
import re
import signal

from images import BAD_IMAGE, DEVICE, OK, PEER, REFUSED, boot_fresh, hibernate, resume
from jumps import MB, SYSFS, sysfs
from kjlab.guest import Guest
from test_kjump_host import field
from test_kjump_verbs import returns

OTHER_DEVICES = "the firmware describes other devices here (DSDT)"
TABLES = " ".join(f"/sys/firmware/acpi/tables/{name}" for name in ("DSDT", "FACP", "APIC"))


def disks(tmp_path, *serials, size=320, first=0):
    """QEMU's arguments for virtio disks of one size; a serial number of None is none."""
    args = []
    for n, serial in enumerate(serials, first):
        file = tmp_path / f"disk{n}.img"
        if not file.exists():
            file.touch()
            os.truncate(file, size * MB)
        args += Guest.drive(f"disk{n}", file, "virtio-blk-pci" + (f",serial={serial}" if serial else ""))
    return args


def name_of(g, serial):
    return "/dev/" + g.run(f"basename $(dirname $(grep -l '^{serial}$' /sys/block/*/serial))").check().out


def test_names_differ(boot, either, tmp_path):
    """What A calls vdc, B calls vdb: A's is spared, and the free one taken."""
    g = boot(either, smp=2, memory="256M", disks=False, net=False, workdir=tmp_path,
             qemu_args=disks(tmp_path, "one", "two"))
    # Somebody holds the name.
    g.run(f"mke2fs {name_of(g, 'one')} >/dev/null 2>&1; mount {name_of(g, 'one')} /mnt/virtio && umount /mnt/virtio").check()
    before = name_of(g, "one")
    g.run(f"exec 7<{before}; cd /sys/bus/virtio/drivers/virtio_blk; d=$(basename $(realpath /sys/block/{before[5:]}/device)); "
          "echo $d >unbind && echo $d >bind; exec 7<&-; cd /").check()
    assert name_of(g, "one") != before
    g.run(f"mount {name_of(g, 'one')} /mnt/virtio; echo known >/mnt/virtio/file").check()
    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    assert name_of(g, "one") == before
    returns(g, f"kjump save --force {name_of(g, 'one')}", REFUSED, "is in use by the preserved kernel, as .*mounted on /mnt/virtio")
    # Nor to a file there, should B have mounted it.
    g.run(f"mkdir -p /mnt/x; mount -o ro,noload {name_of(g, 'one')} /mnt/x").check()
    returns(g, "kjump save /mnt/x/image", REFUSED, "/mnt/x/image is in use by the preserved kernel")
    g.run("umount /mnt/x").check()
    returns(g, f"kjump save {name_of(g, 'two')}", OK)
    g.jump("kjump back", to="A")
    assert g.run("cat /mnt/virtio/file; sync").out == "known" and sysfs(g, "last") == "ok"


def test_what_is_on_a_disk_in_use(boot, either, tmp_path):
    """In the peer: what is set up on top of A's disk is A's; a partition of it that nobody uses is free."""
    g = boot(either, smp=2, memory="256M", disks=False, net=False, workdir=tmp_path,
             qemu_args=disks(tmp_path, "one"))
    g.run("printf 'o\\nn\\np\\n1\\n2048\\n+16M\\nn\\np\\n2\\n40960\\n\\nw\\n' | fdisk -u /dev/vdb; "
          "mke2fs /dev/vdb1 >/dev/null 2>&1; mount /dev/vdb1 /mnt/virtio; echo known >/mnt/virtio/file").check()
    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    for target in "/dev/vdb", "/dev/vdb1":
        returns(g, f"kjump save --force {target}", REFUSED, "is in use by the preserved kernel")
    g.run("losetup /dev/loop0 /dev/vdb1; mkdir -p /mnt/x; mount -o ro /dev/loop0 /mnt/x").check()
    returns(g, "kjump save /mnt/x/image", REFUSED, "/mnt/x/image is in use by the preserved kernel")
    g.run("umount /mnt/x").check()
    returns(g, "kjump save --force /dev/loop0", REFUSED, "/dev/loop0 is in use by the preserved kernel")
    g.run("losetup -d /dev/loop0").check()
    returns(g, "kjump save /dev/vdb2", OK)
    # What a later boot compares is kept for a second one, too.
    returns(g, "kjump save --force /dev/vdb2", OK)
    g.jump("kjump back", to="A")
    assert g.run("cat /mnt/virtio/file; sync").out == "known" and sysfs(g, "last") == "ok"
    start = int(g.run("cat /sys/class/block/vdb2/start").out)
    image = tmp_path / "image"
    with open(tmp_path / "disk0.img", "rb") as f:
        f.seek(start * 512)
        image.write_bytes(f.read())
    at = field(image, "index_offset")
    index = image.read_bytes()[at:at + field(image, "index_length")]
    assert b"FACP " in index and b"mounted%20on%20/mnt/virtio" in index


def test_peer_does_not_find_a_disk(boot, either):
    """It could not be compared later: the system goes on, or is saved if that is wanted."""
    g = boot(either, smp=2, memory="192M", blank=256, net=False)
    g.run("mount /dev/nvme0n1 /mnt/nvme; kjump load --append='initcall_blacklist=nvme_init'", timeout=300).check()
    returns(g, f"kjump hibernate {DEVICE}", PEER, r"does not find /dev/nvme0n1 \(mounted on /mnt/nvme\).*--ignore-missing")
    assert sysfs(g, "jumps") == "1"
    returns(g, f"kjump restore --check {DEVICE}", BAD_IMAGE, "half-written")
    hibernate(g, f"kjump hibernate --ignore-missing {DEVICE}")


def test_disks_without_a_name(boot, either, tmp_path):
    """Two of one size and without a serial number: they are where they are."""
    g = boot(either, smp=2, memory="256M", disks=False, net=False, workdir=tmp_path,
             qemu_args=disks(tmp_path, None, None))
    g.run("mke2fs /dev/vdb >/dev/null 2>&1; mount /dev/vdb /mnt/virtio").check()
    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    returns(g, "kjump save --force /dev/vdb", REFUSED, "is in use by the preserved kernel, as .*mounted on /mnt/virtio")
    returns(g, "kjump save /dev/vdc", OK)
    g.jump("kjump back", to="A")


def test_its_disks_are_taken_over(boot, either, tmp_path):
    """What cannot be resumed any more does not keep the next system from being saved."""
    g = boot(either, smp=2, memory="192M", blank=256, disks=False, net=False, workdir=tmp_path,
             qemu_args=disks(tmp_path, "one", size=16))
    one, target = name_of(g, "one"), "/dev/vdb"
    g.run(f"mke2fs {one} >/dev/null 2>&1; mkdir -p /mnt/one; mount {one} /mnt/one").check()
    hibernate(g, f"kjump hibernate {target}")

    c, _ = boot_fresh(boot, g, append="kjump.restore=no")
    there = "holds the image of a system saved .* that was not resumed; --force"
    returns(c, f"kjump hibernate --dry-run {target}", REFUSED, there)
    # Changed, but not by who would have lost it.
    c.run(f"mkdir -p /mnt/one; mount {one} /mnt/one && umount /mnt/one").check()
    returns(c, f"kjump restore --check {target}", BAD_IMAGE, "changed since its system left them")
    returns(c, f"kjump hibernate --dry-run {target}", REFUSED, there)
    c.run(f"mount -o ro,noload {one} /mnt/one").check()
    returns(c, f"kjump hibernate --dry-run {target}", REFUSED, there)
    c.run(f"umount /mnt/one; mount {one} /mnt/one").check()
    lost = rf"cannot be any more: this one writes to {one} \(mounted on /mnt/one\)"
    returns(c, f"kjump hibernate --dry-run {target}", OK, lost)
    hibernate(c, f"kjump hibernate {target}")
    g = resume(boot, c, append=f"kjump.restore={target}", name="C")
    g.run("echo still >/mnt/one/there && sync").check()


def test_missing_and_changed(boot, either, tmp_path):
    """Each is named, with what to do; connected again, and as it was, it is resumed."""
    spare = ["-device", "nvme,serial=spare"]
    g = boot(either, smp=2, memory="192M", blank=256, disks=False, net=False, workdir=tmp_path,
             qemu_args=disks(tmp_path, "one", "two", "three", size=16) + spare)
    tables = g.run(f"md5sum {TABLES}").check().out
    for serial, options in ("one", "rw"), ("two", "ro"):
        g.run(f"mke2fs {name_of(g, serial)} >/dev/null 2>&1; mkdir -p /mnt/{serial}; "
              f"mount -o {options} {name_of(g, serial)} /mnt/{serial}").check()
    g.run(f"mkswap {name_of(g, 'three')} && swapon {name_of(g, 'three')}").check()
    one, two, three = (name_of(g, serial) for serial in ("one", "two", "three"))
    # The image's own disk comes before these.
    target = "/dev/vdb"
    hibernate(g, f"kjump hibernate {target}")
    args = g.qemu_args

    # Other disks in the place of some; and two that changed places.
    g.qemu_args = disks(tmp_path, "other", "another", "three", size=16) + spare
    c, said = boot_fresh(boot, g, append=f"kjump.restore={target}", pause=5)
    missing = f"not there: {one} (mounted on /mnt/one), which its system has in use; connect"
    # It gives time to do so.
    assert said.count(missing) > 1 and "switch off to keep the image; trying again" in said, said
    # Nothing can be lost of what was mounted read-only.
    r = c.run(f"kjump restore --check {target}")
    assert r.rc == BAD_IMAGE and f"not there: {two} (mounted on /mnt/two), which its system only reads" in r.out, r
    returns(c, f"kjump restore --check --ignore-changed {target}", BAD_IMAGE, "not there: .*--ignore-missing")
    c.run(f"kjump restore --check --ignore-missing {target}").check()
    # Somebody ends it while it waits: nothing stays loaded, for the next reboot to jump to.
    r = c.run(f"kjump restore {target} & until [ $(cat {SYSFS}/held) = 1 ] || ! kill -0 $!; do usleep 50000; done; cat {SYSFS}/held; "
              "kill $!; wait $!")
    assert r.rc == 128 + signal.SIGTERM and re.search("^1$", r.out, re.M) and "interrupted" in r.out, r
    assert c.run(f"cat {SYSFS}/image_entry").out == "0x0"
    assert f"{target}: complete" in c.run("kjump restore --list").out
    c.close()
    # QEMU's tables name what is there: that they are others is told, and is no reason.
    g.qemu_args = args[:8]
    c, said = boot_fresh(boot, g, append=f"kjump.restore={target}")
    assert f"not there: {three} (swap" in said and OTHER_DEVICES in c.user_log(), said
    c.run(f"kjump restore --check --ignore-missing {target}").check()
    c.close()
    g.qemu_args = args[4:8] + args[:4] + args[8:]
    c, said = boot_fresh(boot, g, append=f"kjump.restore={target}")
    assert f"connected elsewhere than before: {one} (mounted on /mnt/one), {two} (mounted on /mnt/two)" in said, said
    c.close()
    # What was only read, too; but when nothing is where it was, it is only missing.
    g.qemu_args = args[:4] + ["-device", "pci-testdev"] + args[8:] + args[4:8]
    c, said = boot_fresh(boot, g, append="kjump.restore=no")
    returns(c, f"kjump restore --check {target}", OK, rf"not there: {two} \(mounted on /mnt/two\), which its system only reads")
    c.close()

    # Somebody's swap space, and somebody's work: each is noticed, and undone it is as before.
    g.qemu_args = args
    c, said = boot_fresh(boot, g, append="kjump.restore=no")
    c.run(f"mkdir -p /mnt/x; mount -o ro {one} /mnt/x; umount /mnt/x").check()
    c.run(f"kjump restore --check {target}").check()
    for disk, was, change in ((three, f"{three} (swap space", f"dd if=/dev/urandom of={three} bs=4k seek=2048 count=1"),
                              (one, f"{one} (mounted on /mnt/one)", f"mount {one} /mnt/x && umount /mnt/x")):
        c.run(f"dd if={disk} of=/tmp/kept bs=1M; {change}; sync").check()
        returns(c, f"kjump restore --check {target}", BAD_IMAGE, rf"changed since .*: {re.escape(was)}.*--ignore-changed")
        c.run(f"kjump restore --check --ignore-changed {target}").check()
        c.run(f"dd if=/tmp/kept of={disk} bs=1M; sync").check()
        c.run(f"kjump restore --check {target}").check()
    c.close()
    # The name has moved: it is looked for elsewhere. And a device is missing that nobody uses.
    g.qemu_args = args[:-len(spare)]
    new = resume(boot, g, append="kjump.restore=/dev/vdz")
    assert OTHER_DEVICES in new.user_log()
    # The tables are those it knows; it can be saved again.
    assert new.run(f"md5sum {TABLES}").check().out == tables
    returns(new, f"kjump hibernate --dry-run --force {target}", OK, "could be saved")
    new.run(f"echo goes on >/mnt/one/file && sync && umount /mnt/one && swapoff {three}").check()
