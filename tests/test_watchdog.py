# SPDX-License-Identifier: GPL-2.0
"""A hardware watchdog does not reset the machine while nobody can ping it, and guards it afterwards."""
import errno

import pytest

from kjlab.guest import DISKS

from images import hibernate, resume
from jumps import MB, Console, assemble, dmesg, load_kernel, put_file, reboot, sysfs
from test_peer_panic import PANIC, check_told, enter, panic

AT = 32 * MB
STATE = "cat /sys/class/watchdog/watchdog0/state"
# It has no PM operations. When it fires the guest is stopped, and QEMU says so.
WATCHDOG = ["-device", "i6300esb", "-action", "watchdog=pause"]
HEARTBEAT = 3       # seconds
# Old drivers do not look whether there is what they drive; all watchdogs share a device number.
NO_IB700 = "initcall_blacklist=ibwdt_init"


# The one of a server's management controller; it is none of the watchdog core's.
IPMI = ["-device", "ipmi-bmc-sim,id=bmc", "-device", "isa-ipmi-kcs,bmc=bmc"]


def load(g, tmp_path, *defines):
    put_file(g, assemble("x86_64", "wait", AT, tmp_path, *defines)[1], "/tmp/wait")
    g.run(f"kload -e {AT:#x} -s {AT:#x}:{MB}:/tmp/wait").check()


def ping(g):
    """Who has it open pings it."""
    g.run("(while echo; do usleep 200000; done) >/dev/watchdog &").check()
    g.run(f"until [ $({STATE}) = active ]; do usleep 50000; done").check()


def stop_pinging(g):
    """It counts again: whoever does not ping it any more is stopped."""
    g.send("kill %1")
    g.until(lambda: g.qmp("query-status")["status"] == "watchdog", "the watchdog")


@pytest.mark.parametrize("variant", ["x86_64"])
def test_armed(boot, variant, tmp_path):
    console = Console(tmp_path)
    g = boot(variant, disks=False, net=False, qemu_args=WATCHDOG + console.qemu_args,
             append=f"{NO_IB700} i6300esb.heartbeat={HEARTBEAT}")
    load(g, tmp_path)
    assert g.run(STATE).out == "inactive"
    ping(g)
    # The program takes three times as long as the watchdog would wait.
    assert reboot(g) == [0]
    assert console.said().endswith("w")
    assert (g.run(STATE).out, sysfs(g, "last")) == ("active", "ok")
    assert g.run("nproc").out == "1"
    stop_pinging(g)


@pytest.mark.parametrize("variant", ["x86_64"])
def test_after_power_off(boot, variant, tmp_path):
    """A new machine's watchdog is told again how long to wait; by itself this one would wait for half an hour."""
    g = boot(variant, disks={"virtio": DISKS["virtio"]}, net=False, blank=300, workdir=tmp_path, qemu_args=WATCHDOG,
             append=f"{NO_IB700} i6300esb.heartbeat={4 * HEARTBEAT}")
    ping(g)
    hibernate(g)
    g = resume(boot, g)
    assert g.run(STATE).out == "active"
    stop_pinging(g)


@pytest.mark.parametrize("variant", ["x86_64"])
def test_cannot_be_stopped(boot, variant, tmp_path):
    g = boot(variant, disks=False, net=False, qemu_args=WATCHDOG,
             append=f"{NO_IB700} i6300esb.nowayout=1 i6300esb.heartbeat=60")
    load(g, tmp_path)
    ping(g)
    assert reboot(g) == [errno.EBUSY]
    assert sysfs(g, "last") == f"error -{errno.EBUSY} at watchdogs"
    assert dmesg(g, r"watchdog0 \(i6300ESB timer\) runs and cannot be stopped \(nowayout\): .* nowayout=0 for its driver")
    assert sysfs(g, "jumps") == "0"
    assert g.run(STATE).out == "active"


@pytest.mark.parametrize("variant", ["x86_64"])
def test_of_a_dead_peer(boot, variant):
    """It had started it; this kernel, which does not use it, is not reset later."""
    wait = 20       # long enough for the peer to die in
    g = boot(variant, smp=1, disks=False, net=False, qemu_args=WATCHDOG, append=NO_IB700, allow=PANIC)
    load_kernel(g, append=f"{NO_IB700} i6300esb.heartbeat={wait}")
    enter(g)
    ping(g)
    panic(g, 0)
    check_told(g)
    assert g.run(STATE).out == "inactive"
    g.run(f"sleep {2 * wait}").check()
    assert g.qmp("query-status")["status"] == "running"


def ping_ipmi(g):
    g.run("(while echo; do usleep 200000; done) >/dev/watchdog &").check()
    # It starts with the first of them.
    g.run("usleep 500000").check()


@pytest.mark.parametrize("variant", ["x86_64"])
def test_of_a_management_controller(boot, variant, tmp_path):
    console = Console(tmp_path)
    g = boot(variant, disks=False, net=False, qemu_args=IPMI + console.qemu_args,
             append=f"{NO_IB700} ipmi_watchdog.timeout={HEARTBEAT} ipmi_watchdog.pretimeout=0")
    load(g, tmp_path)
    # Not started: it stays so.
    assert reboot(g) == [0]
    ping_ipmi(g)
    assert reboot(g) == [0] and sysfs(g, "last") == "ok"
    assert console.said().endswith("w")
    g.run("echo 1 >/sys/module/ipmi_watchdog/parameters/nowayout").check()
    assert reboot(g) == [errno.EBUSY]
    assert sysfs(g, "last") == f"error -{errno.EBUSY} at watchdogs"
    assert dmesg(g, r"IPMI Watchdog: runs and cannot be stopped \(nowayout\)")
    # This one resets the machine, whatever QEMU is told to do when a watchdog fires.
    g.send("kill %1")
    g.wait()


@pytest.mark.parametrize("variant", ["x86_64"])
def test_that_nobody_knows_of(boot, variant, tmp_path):
    """An old driver, which has a device of its own, and does not say whether its watchdog runs."""
    g = boot(variant, disks=False, net=False, qemu_args=["-device", "ib700"])
    load(g, tmp_path)
    assert reboot(g) == [0]
    # Written so, it is stopped when it is closed, but who knows?
    g.run("echo V >/dev/watchdog").check()
    assert reboot(g) == [errno.EBUSY]
    assert sysfs(g, "last") == f"error -{errno.EBUSY} at watchdogs" and sysfs(g, "jumps") == "1"
    assert dmesg(g, r"watchdog \(ibwdt_open\) was opened, may run, and cannot be stopped")
