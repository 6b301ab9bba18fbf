# SPDX-License-Identifier: GPL-2.0
"""What is loaded, who jumped, and where the time went can be seen."""
import re

from jumps import RET, load_ret, ranges, reboot, sysfs

TRACING = "/sys/kernel/tracing"


def steps(g):
    """[(name, microseconds in, microseconds back)]"""
    return [(name, int(into), int(back)) for name, into, back in
            (line.split() for line in sysfs(g, "steps").splitlines())]


def trace(g):
    """From now on."""
    g.run(f"echo 1 >{TRACING}/events/kexec_jump/kexec_jump_step/enable && echo >{TRACING}/trace").check()


def traced(g):
    """[(step, enter or leave, begin or end)], of what went well"""
    return re.findall(r"kexec_jump_step: (\S+) (\w+) (\w+) error=0$", g.run(f"cat {TRACING}/trace").out, re.M)


def test_a_jump_is_seen(boot, variant):
    g = boot(variant, smp=2, disks=False, net=False)
    assert sysfs(g, "last") == "none"
    assert {into + back for _, into, back in steps(g)} == {0}
    assert sysfs(g, "preserved") == "0"
    assert int(sysfs(g, "image_entry"), 0) == 0
    assert sysfs(g, "image_window") == sysfs(g, "confined_to") == ""

    load_ret(g, size=0x3000).check()
    assert int(sysfs(g, "image_entry"), 0) == RET
    assert (RET, RET + 0x2fff) in ranges(sysfs(g, "image_window"))

    trace(g)
    assert reboot(g) == [0]
    names = [name for name, _, _ in steps(g)]
    assert traced(g) == ([(n, "enter", part) for n in names for part in ("begin", "end")]
                         + [(n, "leave", part) for n in reversed(names) for part in ("begin", "end")])

    # Devices are never free, in either direction.
    assert all(into > 0 and back > 0 for name, into, back in steps(g) if name == "devices")
    assert (sysfs(g, "last"), sysfs(g, "jumps")) == ("ok", "1")

    # Addresses are for root; how it went is for all.
    assert g.run("asuser cat /sys/kernel/kexec_jump/image_window").rc != 0
    assert g.run("asuser cat /sys/kernel/kexec_jump/last").out == "ok"
