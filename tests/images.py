# SPDX-License-Identifier: GPL-2.0
"""What tests of hibernation and snapshots share: machines that end and are started again."""
import re
import subprocess

from kjlab import packages
from kjlab.guest import RESUMED, GuestError
from kjlab.util import BUILD

from jumps import MB, at_host_time

DEVICE = "/dev/vdc"         # Guest(blank=...)
RESTORE = f"kjump.restore={DEVICE}"
# kjump's exit codes
# What saving and restoring may take beside the kernel, in kB.
MEMORY_BOUND = 64 << 10
OK, FAILED, USAGE, NONE, REFUSED, BAD_IMAGE, PEER = range(7)


def hibernate(g, command=f"kjump hibernate {DEVICE}", timeout=300):
    """Run what saves the guest and powers off; its log must be free of trouble."""
    try:
        r = g.run(command, timeout=timeout)
    except GuestError as e:
        if "QEMU itself failed" in str(e):
            raise
        g.wait()
    else:
        raise AssertionError(f"{command}: exit {r.rc}, still there:\n{r.out}\n{g.log()[-3000:]}")
    g.check_log()
    g.close()


def resume(boot, g, append=RESTORE, **kw):
    """Switch the machine on again: g's system is resumed, and what it was doing goes on."""
    # A fresh boot would call itself C.
    kw = {"variant": g.variant, "cpu": g.cpu, "boots_disk": g.boots_disk} | kw
    new = boot(smp=g.smp, memory=g.memory, disks=g.disks, net=g.net, blank=g.blank,
               qemu_args=g.qemu_args, workdir=g.dir, append=f"lab.name=C {append}", **kw)
    assert new.run("cat /sys/kernel/kexec_jump/last").out == RESUMED
    return new


def boot_fresh(boot, g, append=RESTORE, pause=0, **kw):
    """Switch the machine on again and see it come up fresh; what kjump said."""
    kw = {"smp": g.smp, "memory": g.memory, "cpu": g.cpu} | kw
    new = boot(g.variant, name="C", blank=g.blank, disks=g.disks, net=g.net, qemu_args=g.qemu_args,
               workdir=g.dir, append=f"{append} kjump.pause={pause}", **kw)
    # kjump-boot speaks to the console, as the kernel does.
    said = re.findall(r"^(kjump.*)$", new.user_log(), re.M)
    assert said and "this is a fresh boot" in said[-1], new.log()[-2000:]
    assert new.run("cat /sys/kernel/kexec_jump/image_entry").out == "0x0"
    return new, "\n".join(said)


class Clock:
    """A guest's time of day goes on like the host's, whether or not the machine is on."""

    def __init__(self, g):
        self.ahead = self._ahead(g)

    @staticmethod
    def _ahead(g):
        """Guest minus host, and by how much that may be wrong: the best of some looks."""
        slack, host, out = at_host_time(g, "date +%s")
        return 0.5 + slack, float(out) + 0.5 - host

    def check(self, g):
        slack, ahead = self._ahead(g)
        # The real-time clock counts seconds, and is read twice.
        assert abs(ahead - self.ahead[1]) <= 2 + slack + self.ahead[0]


def meminfo(g):
    """In kB, without what is only cached and would make room."""
    g.run("sync; echo 3 >/proc/sys/vm/drop_caches").check()
    return {k: int(v) for k, v in re.findall(r"^(\w+): +(\d+) kB", g.run("cat /proc/meminfo").out, re.M)}


def fill(g, left):
    """Fill memory until no more than this many kB are free; check_fill() looks at it again."""
    mb = 0
    # Filling makes room, too: what was used for other things is given up.
    for _ in range(4):
        missing = meminfo(g)["MemFree"] - left
        if missing <= 0:
            return
        mb += missing // 1024 + 3
        g.run(f"killall -q memfill; while pidof memfill >/dev/null; do usleep 50000; done; "
              f"memfill -k 0x1234567890abcdef {mb}", timeout=300).check()
    m = meminfo(g)
    assert m["MemFree"] <= left, (mb, m)


def check_fill(g):
    g.run("killall -USR1 memfill; while [ ! -e /tmp/memfill ]; do usleep 100000; done", timeout=300).check()
    assert re.fullmatch(r"filled=\d+ kB ok", g.run("cat /tmp/memfill; rm /tmp/memfill").out)


def make_disk(g_dir, label, mb, kind="ext4"):
    """A disk with a file system, for Guest(workdir=g_dir): larger than what it would make itself."""
    g_dir.mkdir(exist_ok=True)
    path = g_dir / f"{label}.img"
    with open(path, "wb") as f:
        f.truncate(mb * MB)
    subprocess.run(["mke2fs", "-q", "-t", kind, "-L", label, "-m", "0", path], check=True)
    return path


def files_disk(g_dir, files, mb):
    """QEMU's arguments for a disk, labelled "files", that has what a folder has; nobody can write to it."""
    disk = g_dir / "files.img"
    subprocess.run(["mke2fs", "-q", "-t", "ext2", "-L", "files", "-d", files, disk, f"{mb}M"], check=True)
    return ["-drive", f"file={disk},if=virtio,format=raw,readonly=on"]


MOUNT_STORE = "mkdir -p /mnt/h; mount $(findfs LABEL=store) /mnt/h && cd /mnt/h"


def store_disk(g_dir, mb, kind="ext4"):
    """QEMU's arguments for the disk that the mission's example saves to, with cp."""
    return ["-drive", f"file={make_disk(g_dir, 'store', mb, kind)},if=virtio,format=raw"]


def store(g):
    """In the peer: the example's steps from taking the entry to power off."""
    g.run(f"{MOUNT_STORE} && sed 's/.*kexec_jump_back_entry=//; s/ .*//' /proc/cmdline >entry && "
          "cp /proc/vmcore dump.elf && cd / && umount /mnt/h", timeout=300).check()
    g.power_off()
    g.check_log()
    g.close()


def load_stored(g):
    """In another kernel: load what store() wrote, with stock kexec."""
    g.run(f"{MOUNT_STORE} && kexec -l --args-none --entry=`cat entry` dump.elf && cd / && umount /mnt/h",
          timeout=300).check()


def read_out(disk, name, into):
    """A file of a disk of a guest that was powered off."""
    subprocess.run(["debugfs", "-R", f"dump {name} {into}", disk], check=True, capture_output=True)
    assert into.stat().st_size, f"{disk}: no {name}"
    return into


def rss(out):
    """What tsctime says of the memory a command had at most, in kB."""
    return int(re.search(r"rss=(\d+)", out)[1])


def host_kjump(variant, *args):
    """kjump of the guest, run here: it is static."""
    return subprocess.run([*packages.runner(variant), BUILD / variant / "kjump/kjump", *args],
                          capture_output=True, text=True)
