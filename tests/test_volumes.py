# SPDX-License-Identifier: GPL-2.0
"""Images on volumes (LVM, LUKS), of which the peer knows only what it is told."""
import pytest

from images import OK, REFUSED, boot_fresh, hibernate, resume
from test_changed_file_systems import KEY
from test_kjump_verbs import returns

DISK, DISK_MB = "/dev/vdc", 700
VOLUME, STRIPED, MIXED = "/dev/dm-1", "/dev/dm-2", "/dev/dm-3"
# In sectors. The volume is in two pieces; where the disk has the second one first.
PIECE, ALL = 600000, DISK_MB << 11
SECRET = "kept secret by whoever"


def device_mapper(encrypted, first=PIECE, second=0):
    """Of the kernel command line: LVM's volume on what may be encrypted, and others that will not do."""
    below = f"crypt aes-xts-plain64 {KEY} 0 {DISK} 0" if encrypted else f"linear {DISK} 0"
    return (f'dm-mod.create="below,,0,rw,0 {ALL} {below};'
            f"volume,,1,rw,0 {PIECE} linear /dev/dm-0 {first},{PIECE} {PIECE} linear /dev/dm-0 {second};"
            f"striped,,2,rw,0 {PIECE} striped 2 8 /dev/dm-0 0 /dev/dm-0 {PIECE};"
            f'mixed,,3,rw,0 {PIECE} linear {DISK} 0,{PIECE} {PIECE} linear /dev/dm-0 {PIECE}"')


def what_the_initramfs_opens(g):
    """Whatever /etc/crypttab says: that of Debian's says what it does, and whether it has the key."""
    g.run(f"echo below {DISK} /etc/keys/k luks,initramfs >/etc/crypttab; cp -r /boot /tmp/boot; mount --bind /tmp/boot /boot").check()
    for line, rc, *says in ((f"other {DISK} none luks", REFUSED, "no initramfs opens below, .*update-initramfs -u -k all, or --closed"),
                            (f"below {DISK} /FIXME-initramfs-rootmnt/etc/keys/k luks", REFUSED,
                             "cannot open below, .* its key is a file of the root file system, /etc/keys/k; .*KEYFILE_PATTERN"),
                            (f"below {DISK} /cryptroot/keyfiles/below.key luks", OK), (f"below {DISK} none luks", OK)):
        g.run(f"cd /tmp; mkdir -p conf cryptroot sbin; touch conf/initramfs.conf; cp /sbin/kjump sbin; echo {line} >cryptroot/crypttab; "
              "find conf cryptroot sbin | cpio -o -H newc 2>/dev/null | gzip >/boot/initrd.img-$(uname -r); cd").check()
        returns(g, f"kjump hibernate --dry-run {VOLUME}", rc, *says)
    g.run("umount /boot").check()


@pytest.mark.parametrize("encrypted", [True, False], ids=["encrypted", "plain"])
def test_image_on_a_volume(boot, tmp_path, encrypted):
    """Saved there, by a peer that has no volumes; resumed, again and again; not to be read without the volume's key."""
    append = device_mapper(encrypted)
    g = boot("x86_64", blank=DISK_MB, workdir=tmp_path, append=append)
    returns(g, f"kjump hibernate --dry-run --force {STRIPED}", REFUSED, "is not simply in pieces of disks")
    returns(g, f"kjump hibernate --dry-run --force {DISK}", REFUSED, "in use")
    if encrypted:
        # A key would be on the part that is not.
        returns(g, f"kjump hibernate --dry-run --force {MIXED}", REFUSED, "only a part of .* is encrypted")
        # What nobody has written to is no zeroes; who makes a volume has its first page cleared.
        returns(g, f"kjump hibernate --dry-run {VOLUME}", REFUSED, "holds something")
        g.run(f"dd if=/dev/zero of={VOLUME} bs=4k count=1 conv=fsync,notrunc").check()
        g.run(f"echo written | dd of={VOLUME} bs=4k seek=20 conv=sync,fsync,notrunc").check()
        returns(g, f"kjump hibernate --dry-run {VOLUME}", REFUSED, "holds something")
        g.run(f"dd if=/dev/zero of={VOLUME} bs=4k count=1 seek=20 conv=fsync,notrunc").check()
        # At the next boot nobody would open what it is on, for all that kjump knows.
        returns(g, f"kjump hibernate --dry-run {VOLUME}", REFUSED, "no initramfs opens below, which .*crypttab.* or --closed")
        for options, rc in (("luks", REFUSED), ("noauto,initramfsx", REFUSED), ("luks,initramfs", OK), ("x-initrd.attach", OK)):
            g.run(f"printf '# names\\nother none none initramfs\\nbelow {DISK} none {options}\\n' >/etc/crypttab").check()
            returns(g, f"kjump hibernate --dry-run {VOLUME}", rc)
        what_the_initramfs_opens(g)
        g.run("rm /etc/crypttab").check()
    closed = "--closed" if encrypted else ""
    returns(g, f"kjump hibernate --dry-run {closed} {VOLUME}", OK)
    g.run(f"yes '{SECRET}' | head -c 4M >/tmp/secret; sha256sum /tmp/secret >/tmp/sum").check()
    for number, restore in enumerate((f"kjump.restore={VOLUME}", "kjump.restore")):
        # The second image goes where the first one was, without --force: it was used.
        hibernate(g, f"kjump hibernate {closed} --compress=none {VOLUME}")
        disk = (tmp_path / "blank.img").read_bytes()
        for what in (SECRET, "KJUMPIMG", "KJUMPVOL"):
            assert (what.encode() in disk) != encrypted, what
        if not number:
            # Elsewhere its pieces make no image; nothing is written there.
            moved, said = boot_fresh(boot, g, device_mapper(encrypted, 0, PIECE) + " " + restore)
            assert "no image" in said
            moved.power_off()
            assert (tmp_path / "blank.img").read_bytes() == disk
        g = resume(boot, g, f"{append} {restore}")
        g.run("sha256sum -c /tmp/sum").check()
    r = g.run(f"kjump snapshot --via={VOLUME} /tmp/dump && head -c 4 /tmp/dump", timeout=300)
    assert r.rc == OK and r.out.endswith("ELF"), r
    g.check_log()
