# SPDX-License-Identifier: GPL-2.0
"""A peer that panics gives the machine back."""
import errno

import pytest

from jumps import MB, at_work, dmesg, load_crash_kernel, load_kernel, load_way_back, reboot, sysfs

# What a peer prints when it is made to panic.
PANIC = ["Kernel panic - not syncing", "Call Trace:"]
RESULT = "/tmp/result"
pytestmark = pytest.mark.essential


def enter(g):
    """Jump with a program that keeps what reboot(2) returned, for later."""
    g.jump(f"kjreboot >{RESULT}", to="B")


def panic(g, cpu):
    """In B: panic on that CPU. It is A that answers."""
    g.run("echo 1 >/proc/sys/kernel/sysrq").check()
    assert g.run(f"taskset {1 << cpu:x} true").rc == 0
    g.jump(f"taskset {1 << cpu:x} sh -c 'echo c >/proc/sysrq-trigger'", to="A")


def check_told(g):
    """A's user space and its log are told."""
    assert f"errno={errno.EOWNERDEAD} " in g.run(f"cat {RESULT}").out
    assert sysfs(g, "last") == "peer died: sysrq triggered crash"
    assert dmesg(g, "kexec_jump: the peer died: sysrq triggered crash")
    # Of no device the DMA went on into memory that was A's again.
    assert not dmesg(g, "went on with DMA")


def check_another_peer(g):
    """What is left of the dead one is gone, and another one can be loaded."""
    assert reboot(g) == [errno.EINVAL]
    load_kernel(g)
    enter(g)
    load_way_back(g)
    g.jump("kjreboot", to="A")
    assert "ret=0" in g.run(f"cat {RESULT}").out
    assert sysfs(g, "last") == "ok"


@pytest.mark.parametrize("smp,cpu", [(1, 0), pytest.param(4, 3, marks=pytest.mark.everywhere)])
def test_peer_panics(boot, variant, smp, cpu):
    g = boot(variant, smp=smp, allow=PANIC)
    with at_work(g) as work:
        load_kernel(g)
        enter(g)
        panic(g, cpu)
        check_told(g)
        assert int(g.run("nproc").out) == smp
        work.check()
        check_another_peer(g)


def test_peer_panics_later(boot, variant):
    """After round trips, with memory filled, and while it loads something itself."""
    g = boot(variant, smp=2, allow=PANIC)
    with at_work(g) as work:
        load_kernel(g)
        enter(g)
        load_way_back(g)
        for _ in range(2):
            g.jump("kjreboot", to="A")
            work.check()
            enter(g)
        g.run("memfill -k 0xdeaddeaddeaddead", timeout=300).check()
        panic(g, 1)
        check_told(g)
        assert int(sysfs(g, "jumps")) == 3
        work.check()
        check_another_peer(g)


def test_peer_dies_with_its_disks_busy(boot, variant):
    """Its DMA must not go on into memory that is A's again."""
    g = boot(variant, smp=2, blank=64, allow=PANIC)
    with at_work(g) as work:
        load_kernel(g)
        enter(g)
        # A uses this disk for nothing.
        g.run("cd /tmp; (while :; do dd if=/dev/vdc of=/dev/null bs=1M iflag=direct; done) "
              ">/dev/null 2>&1 &").check()
        panic(g, 0)
        check_told(g)
        work.check()
        check_another_peer(g)


def test_peer_that_cannot_start(boot, variant):
    """No user space for it: A is told why it does not get an answer."""
    g = boot(variant, smp=2, disks=False, net=False, allow=PANIC)
    load_kernel(g, append="rdinit=/nowhere init=/nowhere")
    g.jump(f"kjreboot >{RESULT}", to="A")
    assert f"errno={errno.EOWNERDEAD} " in g.run(f"cat {RESULT}").out
    assert sysfs(g, "last").startswith("peer died: VFS: Unable to mount root fs")


def test_crash_kernel_out_of_reach(boot, variant):
    """It has a crash kernel, but panics while somebody else has the lock that is needed to start it."""
    g = boot(variant, smp=2, disks=False, net=False, allow=PANIC)
    load_kernel(g, append="crashkernel=64M", mem_max=256 * MB - 1)
    enter(g)
    load_way_back(g)
    g.run("mount -o ro $(findfs LABEL=boot) /boot").check()
    load_crash_kernel(g)
    assert g.run("cat /sys/kernel/kexec_crash_loaded").out == "1"
    g.run("echo 1 >/proc/sys/kernel/unknown_nmi_panic; echo freezer >/sys/power/pm_test").check()
    # reboot(2) has it for the five seconds of the test, and longer.
    g.send("kjreboot")
    g.until(lambda: "pm_test: stopped after step" in g.log(), "pm_test")
    g.monitor("nmi")
    g.expect_kernel("A")
    assert f"errno={errno.EOWNERDEAD} " in g.run(f"cat {RESULT}").out
    assert sysfs(g, "last").startswith("peer died: NMI")


def test_first_kernel_panics(boot):
    """Only a kernel that was jumped to jumps back: one that was jumped from dies as ever."""
    g = boot("x86_64", allow=PANIC, disks=False, net=False)
    load_kernel(g)
    enter(g)
    load_way_back(g)
    g.jump("kjreboot", to="A")
    g.send("echo c >/proc/sysrq-trigger")
    g.wait()                    # panic=-1: it reboots, and QEMU ends
    assert "jumping back" not in g.log()
