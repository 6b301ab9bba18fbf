# SPDX-License-Identifier: GPL-2.0
"""A system is saved, the machine is switched off and on, and the system goes on."""
import json
import re

import pytest

from jumps import JUMP, MB, Work, check_free, fields, free_kb, load_kernel, needs, random_data, ranges, sysfs
from images import (BAD_IMAGE, DEVICE, FAILED, MEMORY_BOUND, NONE, OK, PEER, REFUSED, RESTORE, Clock, boot_fresh,
                    check_fill, fill, hibernate, load_stored, meminfo, resume, rss, store, store_disk)
from kjlab.guest import partitioned
from kjlab.util import BUILD

# The tool, which counts cycles, is the same on both.
CYCLES = {"x86_64": 10, "i386": 4}


def at_home(g, **kw):
    """Everything to do that needs no other machine: disks, memory, TCP between processes."""
    # Connections to others end with them being powered off; this one has both ends in the image.
    g.run("nc -ll -p 7 -e cat </dev/null >/dev/null 2>&1 & "
          "while ! netstat -ltn | grep -q :7; do usleep 50000; done").check()
    work = Work(g, tcp="-t 127.0.0.1:7", **kw)
    # Connected, and all else has begun: there will be no more processes.
    work.check()
    return work


def processes(g):
    return g.run("ps -o pid,args | grep -E 'workload|nc -ll|cat$' | grep -v grep").check().out


@pytest.mark.essential
def test_stock_tools(boot, variant, tmp_path):
    """The mission's ten steps, with kexec and cp only."""
    # kexec -l holds the file in memory twice: A is small, C is not.
    machine = dict(smp=2, memory="640M", net=False, workdir=tmp_path, qemu_args=store_disk(tmp_path, 256))
    g = boot(variant, append="mem=176M", **machine)
    work = at_home(g, mb=8, tmpfs_mb=8)
    there, clock = processes(g), Clock(g)
    load_kernel(g)
    g.jump(JUMP, to="B")
    store(g)

    g = boot(variant, name="C", **machine)
    load_stored(g)
    g.jump("kexec -e", to="A")
    work.g = g
    assert sysfs(g, "last") == "ok, resumed from an image"
    clock.check(g)
    assert processes(g) == there
    work.end()


@pytest.mark.essential
@pytest.mark.parametrize("smp, full", [pytest.param(1, False, id="little", marks=pytest.mark.everywhere),
                                       pytest.param(4, True, id="90-percent")])
def test_kjump(boot, variant, smp, full, tmp_path):
    """The same with one command, whatever memory holds."""
    # On x86_64 little of much, and with a hole below 4 GB; on i386 much, and above the direct mapping.
    memory_mb, blank = {("x86_64", True): (1536, 1664), ("i386", True): (1152, 1280),
                        ("x86_64", False): (4608, 640), ("i386", False): (512, 640)}[variant, full]
    partitioned(tmp_path / "blank.img", blank)
    partition = f"{DEVICE}1"
    g = boot(variant, smp=smp, memory=f"{memory_mb}M", blank=blank, net=False, workdir=tmp_path)
    work = at_home(g, mb=8, tmpfs_mb=16)
    there, clock = processes(g), Clock(g)
    if not full:
        # All file systems are frozen before, and thawed again, on bases that do so.
        g.run("! test -e /sys/power/freeze_filesystems || echo 1 >/sys/power/freeze_filesystems").check()
    # The peer has the example's own initramfs.
    g.run("kjump load --ready --initrd=/boot/rootfs.gz", timeout=300).check()
    if full:
        # What the peer has is not in use by this system, nor are tables the kernel is not told of.
        memory = meminfo(g)["MemTotal"]
        peer = sum(end + 1 - start for start, end in ranges(sysfs(g, "image_window"))) // 1024
        fill(g, memory // 10 - peer - 8192)
        work.check()
    # Not the disk: it has a partition table.
    r = g.run(f"kjump hibernate {DEVICE}")
    assert r.rc == REFUSED and "holds a partition table" in r.out, r
    hibernate(g, f"kjump hibernate {partition}")
    # C has it, too.
    work.g = g = resume(boot, g, append=f"kjump.restore={partition}", initrd=BUILD / variant / "rootfs.gz")
    if full:
        image = json.loads(g.run(f"kjump status --json {partition}").check().out)
        assert image["data_bytes"] >= 0.9 * memory * 1024
    assert "resumed" in g.transcript.decode()
    clock.check(g)
    assert processes(g) == there
    assert int(g.run("nproc").out) == smp
    if full:
        check_fill(g)
    # The peer was not part of it; a new one can be loaded and jumped to.
    assert sysfs(g, "shared_size") == "0"
    assert g.run("kjump switch").rc == NONE
    if not full:
        g.run("kjump load --ready", timeout=300).check()
        assert sysfs(g, "last") == "ok"
    work.end()


def test_free_pages_are_cleared(boot, tmp_path):
    """All of them are written to after the image was loaded; they are not mapped."""
    g = boot("x86_64", smp=2, memory="256M", blank=320, disks=False, net=False, workdir=tmp_path,
             append="debug_pagealloc=on init_on_free=1")
    disk = "/dev/vdb"
    work = Work(g, disks=False, mb=8, tmpfs_mb=8)
    hibernate(g, f"kjump hibernate {disk}")
    work.g = g = resume(boot, g, append=f"kjump.restore={disk}")
    assert "free pages cleared after restore" in g.log()
    work.end()


@pytest.mark.parametrize("saved, loader", [("i386", "i386-small"), ("i386-small", "i386")])
def test_another_kernel_resumes(boot, saved, loader, tmp_path):
    """An image holds its kernel: another one, with other page tables, can load it."""
    g = boot("i386", kernel=BUILD / saved / "bzImage", memory="256M", net=False, blank=320,
             workdir=tmp_path)
    work = Work(g, disks=False, mb=8, tmpfs_mb=16)

    def check_kernel():
        """Its direct mapping is made of pages of another size."""
        size = "2M" if saved == "i386" else "4M"
        assert g.run("grep -o 'DirectMap[24]M' /proc/meminfo").out == f"DirectMap{size}"

    check_kernel()
    hibernate(g)
    work.g = g = resume(boot, g, kernel=BUILD / loader / "bzImage")
    check_kernel()
    work.end()


def test_cycles(boot, variant, tmp_path):
    """One system, hibernated again and again by one command each."""
    cycles = CYCLES[variant]
    # The machine is really reset, and each boot tries to resume first.
    g = boot(variant, memory="192M", blank=256, net=False, append=RESTORE, workdir=tmp_path,
             qemu_args=["-action", "reboot=reset"])
    assert "this is a fresh boot" in g.user_log()
    work = at_home(g, mb=8, tmpfs_mb=8)
    there, clock, before = processes(g), Clock(g), None
    for cycle in range(1, cycles + 1):
        # What one image has, the next must not.
        g.run(f"echo {cycle} >/tmp/cycle; echo {cycle} >>/mnt/nvme/cycles; sync").check()
        g.run(f"kjump hibernate --reboot {DEVICE}", timeout=300).check()
        assert sysfs(g, "last") == "ok, resumed from an image"
        now = fields(g.run("echo cycle=$(cat /tmp/cycle) lines=$(wc -l </mnt/nvme/cycles)").check().out)
        assert (now["cycle"], now["lines"]) == (str(cycle), str(cycle)), now
        work.check(goes_on=cycle == cycles)
        # From the second on nothing is new.
        before = before or free_kb(g)
    assert processes(g) == there
    # Nothing is lost from one to the next.
    check_free(g, before, 6144)
    assert g.log().count("kexec_jump: resumed from an image") == cycles
    clock.check(g)
    work.end()


def test_refused_before_the_jump(boot, either):
    """A device that is used, not blank or too small costs nothing but the attempt."""
    g = boot(either, smp=2, blank=640, memory="256M", net=False)
    g.run("lab-disks").check()

    def refused(command, why, rc=REFUSED):
        r = g.run(command)
        assert (r.rc, why in r.out) == (rc, True), r

    for options in "", "--force ":
        for verb in f"kjump hibernate {options}", f"kjump snapshot {options}/tmp/x --via=":
            refused(f"{verb}/dev/sda", "in use: mounted on /mnt/ahci")
    g.run(f"mkswap {DEVICE} && swapon {DEVICE}").check()
    refused(f"kjump hibernate --force {DEVICE}", "in use: swap space")
    g.run(f"swapoff {DEVICE}").check()
    refused(f"kjump hibernate {DEVICE}", "holds swap space; --force overwrites it")
    g.run(f"mke2fs {DEVICE} >/dev/null; losetup /dev/loop0 {DEVICE}; mount /dev/loop0 /mnt/ahci").check()
    refused(f"kjump hibernate --force {DEVICE}", "in use: below a loop device")
    g.run("umount /mnt/ahci; losetup -d /dev/loop0; umount /mnt/nvme").check()
    refused("kjump hibernate /dev/nvme0n1", "holds a file system (ext4); --force overwrites it")
    g.run(f"{random_data(70)} >/tmp/much").check()
    refused("kjump hibernate --force /dev/nvme0n1", "too small")
    refused("kjump hibernate /dev/nothing", "No such file", rc=1)
    refused("kjump hibernate", "name a device", rc=2)
    g.run(f"blockdev --setro {DEVICE}").check()
    refused(f"kjump hibernate --dry-run --force {DEVICE}", "is read-only (blockdev --setrw")
    g.run(f"blockdev --setrw {DEVICE}").check()
    # In memory, with what is in memory.
    g.run("mkdir /tmp/t; mount -t tmpfs -o size=90% t /tmp/t").check()
    fill(g, 48 << 10)
    refused("kjump snapshot /tmp/t/dump", "it would be in memory, of which")
    g.run("killall memfill; while pidof memfill >/dev/null; do usleep 50000; done; umount /tmp/t").check()
    # Tried dry: the same answers, nothing loaded, nothing written, and what the next boot needs is told.
    refused("kjump hibernate --dry-run /dev/nvme0n1", "holds a file system (ext4)")
    window = sysfs(g, "image_window")
    g.run(f"rm /tmp/much; dd if=/dev/zero of={DEVICE} bs=1M 2>/dev/null; sync; pagesum {DEVICE} >/tmp/before")
    r = g.run(f"kjump hibernate --dry-run {DEVICE}")
    assert r.rc == OK and "could be saved" in r.out and f"must have kjump.restore={DEVICE}" in r.out, r
    g.run(f"pagesum {DEVICE} | cmp - /tmp/before").check()
    assert sysfs(g, "image_window") == window
    assert sysfs(g, "jumps") == "0"
    g.run("mount /dev/nvme0n1 /mnt/nvme").check()       # nothing was written to it


def test_memory_above_4_gb_on_i386(boot):
    """kexec_load(2) has no such addresses there: an image could be saved, but not resumed."""
    needs("i386", "HIGHMEM64G")
    # A processor without long mode: else newer firmware puts devices where this kernel cannot reach.
    g = boot("i386", memory="4608M", cpu="qemu32", net=False, blank=64)
    r = g.run(f"kjump hibernate {DEVICE}")
    assert r.rc == REFUSED and "above 4 GB" in r.out and "mem=4G" in r.out, r
    assert sysfs(g, "jumps") == "0"
    assert not g.run("cat /sys/kernel/kexec_jump/image_window").out


def test_disk_error(boot, either, tmp_path):
    """The disk fails while the system is saved: it goes on, and says so; then it fits elsewhere."""
    bad = tmp_path / "bad.img"
    with open(bad, "wb") as f:
        f.truncate(512 << 20)
    # A write to the fifth megabyte fails; the superblock can be written.
    broken = ["-blockdev", f"driver=raw,node-name=bad,file.driver=blkdebug,file.image.driver=file,"
              f"file.image.filename={bad},file.inject-error.0.event=none,file.inject-error.0.iotype=write,"
              f"file.inject-error.0.sector={5 << 11},file.inject-error.0.errno=5",
              "-device", "virtio-blk-pci,drive=bad,werror=report"]
    g = boot(either, smp=2, memory="320M", blank=320, net=False, workdir=tmp_path, qemu_args=broken,
             allow=["I/O error"])
    work = at_home(g, mb=8, tmpfs_mb=16)
    r = g.run("kjump hibernate /dev/vdd", timeout=300)
    assert r.rc == PEER and "the peer failed: /dev/vdd" in r.out and "Input/output error" in r.out, r
    work.check()
    assert sysfs(g, "jumps") == "1"
    r = g.run("kjump restore --check /dev/vdd")
    assert r.rc == BAD_IMAGE and "half-written" in r.out, r
    r = g.run("kjump snapshot --via=/dev/vdd /tmp/x", timeout=300)
    assert r.rc == PEER and "Input/output error" in r.out and g.run("ls /tmp/x*").rc, r
    work.check()
    # The same peer does it on a good disk.
    r = g.run(f"kjump snapshot --via={DEVICE} /tmp/x; ls /tmp/x", timeout=300).check()
    assert sysfs(g, "jumps") == "3"
    assert g.log().count("Linux version") == 2
    g.run("rm /tmp/x")
    work.end()


# A CPU that has all of the default one, and more.
BETTER = "qemu64,+ssse3,+sse4.1,+popcnt,+aes"


def test_refused_before_anything_is_lost(boot, either, tmp_path):
    """An image that does not fit the machine, or is damaged, is refused, and a good one stays good: also on a better CPU."""
    # That a machine has more memory than the system used is no reason.
    g = boot(either, smp=2, memory="256M", blank=320, net=False, append="mem=240M", workdir=tmp_path)
    g.run("sleep 12345 &")
    work = Work(g, disks=False, mb=8, tmpfs_mb=16)
    hibernate(g)

    # Another machine. None of these attempts touches the image.
    for change, why in ((dict(memory="320M"), "from another machine: its firmware is another one, or elsewhere: FACS"),
                        (dict(memory="192M"), "which the image needs, is RAM"),
                        (dict(smp=1), "from another machine: it has 1 CPUs, the image needs 2"),
                        (dict(cpu="qemu64,-sse3"), "its CPU lacks features: CPUID 1.ecx is")):
        other, said = boot_fresh(boot, g, **change)
        assert why in said, (change, said)
        other.check_log()
        other.close()

    # Damaged, in a machine it is from. The kernel and its memory are as before each time.
    # The first is the magic number, the last in the middle of the data.
    c, said = boot_fresh(boot, g, append="kjump.restore=no", cpu=BETTER)
    before = free_kb(c)
    for offset, what in ((0, "no image"), (40, "damaged"), (300, "damaged"), (8 << 20, "damaged (chunk")):
        at = f"{DEVICE} bs=1 {{}}={offset} count=4"
        c.run(f"dd of=/tmp/kept if={at.format('skip')} 2>/dev/null; printf 'OOPS' | "
              f"dd conv=notrunc of={at.format('seek')} 2>/dev/null").check()
        r = c.run(f"kjump restore {DEVICE}")
        assert what in r.out and r.rc in (BAD_IMAGE, NONE), (offset, r)
        c.run(f"dd conv=notrunc if=/tmp/kept of={at.format('seek')} 2>/dev/null").check()
    # Cut off, as by a smaller disk.
    for cut in 4096, 6 << 20:
        c.run(f"dd if={DEVICE} of=/tmp/cut bs=4096 count={cut // 4096} 2>/dev/null").check()
        r = c.run("kjump restore /tmp/cut")
        assert r.rc == BAD_IMAGE and "damaged (cut off" in r.out, r
    c.run("rm /tmp/cut").check()
    # This kernel cannot go at the last moment: it goes on, and the image stays good.
    c.run("echo devices >/sys/kernel/debug/kexec_jump/fail_step").check()
    r = c.run(f"tsctime kjump restore {DEVICE}")
    assert r.rc == FAILED and "the jump failed: Input/output error" in r.out, r
    assert rss(r.out) < MEMORY_BOUND
    assert c.run("cat /sys/kernel/kexec_jump/image_entry /sys/kernel/kexec_jump/jumps").out == "0x0\n0"
    check_free(c, before, 8192)
    c.run(f"kjump restore --check {DEVICE}").check()

    # Two at once: one resumes, and no harm is done by the other.
    c.send(f"kjump restore {DEVICE} & kjump restore {DEVICE}; wait")
    c.expect_kernel("A")
    work.g = c
    assert sysfs(c, "last") == "ok, resumed from an image"
    work.check()
    assert c.run("ps | grep 'sleep 1234[5]'").out
    c.power_off()
    c.close()
    c, said = boot_fresh(boot, g)
    assert "used" in said


def test_changed_disks(boot, either, tmp_path):
    """Somebody booted without resuming, and worked: what A has in its memory fits the disks no more."""
    g = boot(either, smp=2, memory="192M", blank=256, net=False, workdir=tmp_path)
    g.run("lab-disks").check()
    hibernate(g)
    c, said = boot_fresh(boot, g, append="kjump.restore=no")
    c.run(f"kjump restore --check {DEVICE}").check()
    c.run("lab-disks").check()
    r = c.run(f"kjump restore {DEVICE}")
    assert r.rc == REFUSED and "this system is at work" in r.out and "mounted on /mnt/" in r.out, r
    c.run("lab-disks -u").check()
    for check in "--check", "":
        r = c.run(f"kjump restore {check} {DEVICE}")
        # Not /boot, which nobody can write to.
        names = [c.run(f"findfs LABEL={label}").check().out for label in ("virtio", "ahci", "nvme")]
        assert r.rc == BAD_IMAGE and re.findall(r"(/dev/\w+) \(mounted on", r.out) == sorted(names, key=r.out.find), r
        assert "mounted on /boot" not in r.out and "by a mount or repair" in r.out
    assert c.run("cat /sys/kernel/kexec_jump/image_entry /sys/kernel/kexec_jump/jumps").out == "0x0\n0"
    c.power_off()


def test_memory_kept_for_others(boot, tmp_path):
    """The kernel that resumes keeps as much for huge pages, before anybody uses them."""
    huge = "hugepages=96"
    g = boot("x86_64", smp=2, memory="512M", blank=640, disks=False, net=False, append=huge, workdir=tmp_path)
    assert g.run("cat /proc/sys/vm/nr_hugepages").out == "96"
    disk = "/dev/vdb"
    g.run("kjump load --ready", timeout=300).check()
    fill(g, 64 << 10)
    hibernate(g, f"kjump hibernate --force {disk}")

    def flip():
        with open(tmp_path / "blank.img", "r+b") as f:
            f.seek(20 * MB)
            byte = f.read(1)
            f.seek(20 * MB)
            f.write(bytes([byte[0] ^ 1]))

    # While it is damaged: booted afresh, there are as many as were asked for.
    flip()
    c, said = boot_fresh(boot, g, append=f"kjump.restore={disk} {huge}")
    assert "make room for the image" in c.user_log() and "damaged" in said, said
    assert c.run("cat /proc/sys/vm/nr_hugepages").out == "96"
    c.power_off()
    c.close()
    flip()
    g = resume(boot, g, append=f"kjump.restore={disk} {huge}")
    assert "huge pages that nobody uses yet make room for the image" in g.user_log()
    assert g.run("cat /proc/sys/vm/nr_hugepages").out == "96"
    check_fill(g)
    g.power_off()


def test_memory_for_movable_pages(boot, tmp_path):
    """It is of no use to the kernel that resumes: that is said before."""
    g = boot("x86_64", smp=2, memory="512M", blank=640, disks=False, net=False, append="kernelcore=200M nokaslr", workdir=tmp_path)
    g.run("kjump load --ready", timeout=300).check()
    fill(g, 120 << 10)
    r = g.run("kjump hibernate /dev/vdb")
    assert r.rc == REFUSED and re.search("free beside what can be had for movable pages only, .*kernelcore=", r.out), r
    assert sysfs(g, "jumps") == "1"
