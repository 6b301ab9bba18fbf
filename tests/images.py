# SPDX-License-Identifier: GPL-2.0
"""What tests of hibernation and snapshots share: machines that end and are started again."""
import re
import subprocess
import time

from kjlab.guest import GuestError
from kjlab.util import BUILD

from jumps import MB

DEVICE = "/dev/vdc"         # Guest(blank=...)
RESTORE = f"kjump.restore={DEVICE}"
# kjump's exit codes
FAILED, NONE, REFUSED, BAD_IMAGE, PEER = 1, 3, 4, 5, 6


def hibernate(g, command=f"kjump hibernate {DEVICE}", timeout=180):
    """Run what saves the guest and powers off; its log must be free of trouble."""
    try:
        r = g.run(command, timeout=timeout)
    except GuestError:
        g.wait(30)
    else:
        raise AssertionError(f"{command}: exit {r.rc}, still there:\n{r.out}\n{g.log()[-3000:]}")
    g.check_log()
    g.close()


def resume(boot, g, append=RESTORE, **kw):
    """Switch the machine on again: g's system is resumed, and what it was doing goes on."""
    # A fresh boot would call itself C.
    new = boot(g.variant, smp=g.smp, memory=g.memory, cpu=g.cpu, disks=g.disks, net=g.net, blank=g.blank,
               qemu_args=g.qemu_args, workdir=g.dir, append=f"lab.name=C {append}", **kw)
    assert new.run("cat /sys/kernel/kexec_jump/last").out == "ok, resumed from an image"
    return new


def boot_fresh(boot, g, append=RESTORE, **kw):
    """Switch the machine on again and see it come up fresh; what kjump said."""
    kw = {"smp": g.smp, "memory": g.memory, "cpu": g.cpu} | kw
    new = boot(g.variant, name="C", blank=g.blank, disks=g.disks, net=g.net, qemu_args=g.qemu_args,
               workdir=g.dir, append=append, **kw)
    # kjump-boot speaks to the console, as the kernel does.
    said = re.findall(r"^(kjump.*)$", new.log(), re.M)
    assert said and "this is a fresh boot" in said[-1], new.log()[-2000:]
    assert new.run("cat /sys/kernel/kexec_jump/image_entry").out == "0x0"
    return new, "\n".join(said)


class Clock:
    """A guest's time of day goes on like the host's, whether or not the machine is on."""

    def __init__(self, g):
        self.ahead = self._ahead(g)

    def _ahead(self, g):
        return int(g.run("date +%s").out) - time.time()

    def check(self, g):
        # The real-time clock counts seconds, and is read twice.
        assert abs(self._ahead(g) - self.ahead) <= 3.5


def meminfo(g):
    """In kB, without what is only cached and would make room."""
    g.run("sync; echo 3 >/proc/sys/vm/drop_caches").check()
    return {k: int(v) for k, v in re.findall(r"^(\w+): +(\d+) kB", g.run("cat /proc/meminfo").out, re.M)}


def check_free(g, before, slack):
    """As much memory is free as before (meminfo), give or take what takes a while to be."""
    for _ in range(40):
        free = meminfo(g)["MemFree"]
        if free > before["MemFree"] - slack:
            return
        g.run("usleep 250000")
    raise AssertionError(f"{before['MemFree']} kB were free, {free} kB are now")


def fill(g, share):
    """Fill memory until this share of it is in use; check_fill() looks at it again."""
    m = meminfo(g)
    mb = (share * m["MemTotal"] - (m["MemTotal"] - m["MemFree"])) // 1024
    g.run(f"memfill -k 0x1234567890abcdef {int(mb) + 3}", timeout=180).check()
    m = meminfo(g)
    used = 1 - m["MemFree"] / m["MemTotal"]
    assert used >= share, m
    return used


def check_fill(g):
    g.run("killall -USR1 memfill; while [ ! -e /tmp/memfill ]; do usleep 100000; done", timeout=120).check()
    assert re.fullmatch(r"filled=\d+ kB ok", g.run("cat /tmp/memfill; rm /tmp/memfill").out)


def make_disk(g_dir, label, mb, kind="ext4"):
    """A disk with a file system, for Guest(workdir=g_dir): larger than what it would make itself."""
    g_dir.mkdir(exist_ok=True)
    path = g_dir / f"{label}.img"
    with open(path, "wb") as f:
        f.truncate(mb * MB)
    subprocess.run(["mke2fs", "-q", "-t", kind, "-L", label, "-m", "0", path], check=True)
    return path


MOUNT_STORE = "mkdir -p /mnt/h; mount $(findfs LABEL=store) /mnt/h && cd /mnt/h"


def store_disk(g_dir, mb, kind="ext4"):
    """QEMU's arguments for the disk that the mission's example saves to, with cp."""
    return ["-drive", f"file={make_disk(g_dir, 'store', mb, kind)},if=virtio,format=raw"]


def store(g):
    """In the peer: the example's steps from taking the entry to power off."""
    g.run(f"{MOUNT_STORE} && sed 's/.*kexec_jump_back_entry=//; s/ .*//' /proc/cmdline >entry && "
          "cp /proc/vmcore dump.elf && cd / && umount /mnt/h", timeout=120).check()
    g.power_off()
    g.check_log()
    g.close()


def load_stored(g):
    """In another kernel: load what store() wrote, with stock kexec."""
    g.run(f"{MOUNT_STORE} && kexec -l --args-none --entry=`cat entry` dump.elf && cd / && umount /mnt/h",
          timeout=180).check()


def read_out(disk, name, into):
    """A file of a disk of a guest that was powered off."""
    subprocess.run(["debugfs", "-R", f"dump {name} {into}", disk], check=True, capture_output=True)
    assert into.stat().st_size, f"{disk}: no {name}"
    return into


def host_kjump(variant, *args):
    """kjump of the guest, run here: it is static."""
    return subprocess.run([BUILD / variant / "kjump/kjump", *args], capture_output=True, text=True)
