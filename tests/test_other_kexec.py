# SPDX-License-Identifier: GPL-2.0
"""The neighbours of kexec jump work as before: kexec, crash kernels, hibernation."""
import re

import pytest

from jumps import address_of, fields, load_crash_kernel, load_ret, stop_at, sysfs

pytestmark = pytest.mark.essential


def test_kexec(boot, variant):
    """kexec -l; kexec -e: a new kernel instead of this one, not confined to anything."""
    g = boot(variant, smp=2, net=False)
    total = int(g.run("awk '/MemTotal/ {print $2}' /proc/meminfo").out)
    g.run("lab-disks").check()
    g.run(f"kexec -l /boot/bzImage --initrd=/boot/initramfs.img --append='{g.peer_line('B')}'").check()
    g.jump("kexec -e", to="B")
    assert "kexec_jump_back_entry" not in g.run("cat /proc/cmdline").out
    assert int(sysfs(g, "jump_back_entry"), 0) == 0
    assert sysfs(g, "confined_to") == ""
    assert int(g.run("nproc").out) == 2
    assert abs(int(g.run("awk '/MemTotal/ {print $2}' /proc/meminfo").out) - total) < 1 << 10
    g.run("lab-disks && lab-disks -u").check()


def test_crash_kernel(boot, variant):
    """kexec -p: the crash kernel starts and finds the crashed one's memory."""
    g = boot(variant, smp=2, disks=False, net=False, append="crashkernel=128M",
             allow=["Kernel panic - not syncing: sysrq", "Call Trace:"])
    load_crash_kernel(g, append="maxcpus=1")
    assert g.run("cat /sys/kernel/kexec_crash_loaded").out == "1"
    g.run("echo crashed-here >/tmp/mark").check()
    g.jump("echo c >/proc/sysrq-trigger", to="C")
    size = int(g.run("stat -c %s /proc/vmcore").check().out)
    assert size > 200 << 20
    # It is an ELF core file with the notes of the kernel that crashed.
    check_vmcore(g)
    assert g.run("head -c 65536 /proc/vmcore | grep -c CRASHTIME=").out != "0"


def with_crash_kernel(boot, variant):
    """A guest with a crash kernel, which an NMI starts."""
    g = boot(variant, smp=2, disks=False, net=False, append="crashkernel=128M no_console_suspend",
             allow=["Kernel panic - not syncing: NMI", "Call Trace:", "NMI received for unknown reason"])
    load_crash_kernel(g, append="maxcpus=1")
    g.run("echo 1 >/proc/sys/kernel/unknown_nmi_panic").check()
    return g


def stop_on_its_way(g, level):
    """To a peer."""
    load_ret(g).check()
    g.run(f"echo {level} >/sys/power/pm_test").check()
    g.send("kjreboot")
    g.until(lambda: "pm_test: stopped after step" in g.log(), "pm_test")


def check_vmcore(g):
    assert g.run("head -c 4 /proc/vmcore | od -An -c").check().out.split() == ["177", "E", "L", "F"]


@pytest.mark.parametrize("level", ["devices", "processors"])
def test_crash_during_a_jump(boot, variant, level):
    """The crash kernel starts, too, when the system panics on its way to a peer."""
    g = with_crash_kernel(boot, variant)
    stop_on_its_way(g, level)
    g.monitor("nmi")
    g.expect_kernel("C")
    check_vmcore(g)


def test_crash_while_the_clock_is_set(boot, variant):
    """The crash kernel starts wherever the NMI came, here where others would wait for the clock."""
    g = with_crash_kernel(boot, variant)
    # It is called with the clock's sequence counter taken.
    function = address_of(g, "update_vsyscall")
    stop_on_its_way(g, "processors")
    stop_at(g, function, "monitor nmi")
    g.expect_kernel("C")
    check_vmcore(g)


def test_hibernation(boot, variant, tmp_path):
    """echo disk > /sys/power/state, and resume in a machine that was off."""
    swap = "mkswap /dev/disk >/dev/null && swapon /dev/disk"
    g = boot(variant, smp=2, net=False, blank=512, workdir=tmp_path)
    disk = g.run("for d in /sys/block/vd*; do [ $(cat $d/size) = 1048576 ] && echo ${d##*/}; done").check().out
    assert re.fullmatch(r"vd[a-z]", disk)
    g.run(swap.replace("disk", disk)).check()
    g.run("workload start -m 32").check()
    g.run("echo kept >/tmp/state; usleep 500000").check()
    before = fields(g.run("workload status").out)
    g.send("echo disk >/sys/power/state")
    g.wait(120)
    g.close()

    g = boot(variant, smp=2, net=False, blank=512, workdir=tmp_path,
             append=f"resume=/dev/{disk}")
    after = fields(g.run("workload status").check().out)
    assert after["errors"] == "0" and after["mem"] == "ok"
    assert int(after["counter"]) >= int(before["counter"])
    assert g.run("cat /tmp/state").out == "kept"
    assert int(g.run("nproc").out) == 2
    assert g.run("workload stop").rc == 0
