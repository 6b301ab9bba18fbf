# SPDX-License-Identifier: GPL-2.0
"""Whatever step fails, the system goes on as if nothing had been asked."""
import errno

from jumps import at_work, dmesg, load_kernel, load_ret, load_way_back, reboot, sysfs

FAIL = "/sys/kernel/debug/kexec_jump/fail_step"


def step_names(g):
    return [line.split()[0] for line in sysfs(g, "steps").splitlines()]


def fail_each_step(g, work):
    """A peer is loaded and was not entered yet, and is not in any of these."""
    names = step_names(g)
    assert len(names) >= 10 and len(set(names)) == len(names)
    for name in names:
        g.run(f"echo {name} >{FAIL}").check()
        assert reboot(g) == [errno.EIO], name
        assert sysfs(g, "last") == f"error -5 at {name}"
        assert dmesg(g, f"kexec_jump: not jumped: step {name}: error -5")
        # It was entered, and left again; those after it were not.
        steps = [line.split() for line in sysfs(g, "steps").splitlines()]
        at = names.index(name)
        assert all(int(s[1]) == int(s[2]) == 0 for s in steps[at + 1:]), steps
        assert int(g.run("nproc").out) == 2
        assert sysfs(g, "jumps") == "0"
        work.check()


def test_every_step(boot, variant):
    g = boot(variant, smp=2)
    with at_work(g) as work:
        load_kernel(g)
        fail_each_step(g, work)
        # The peer has not been entered; it boots now. A failure in one that has
        # booted, and again in A, changes nothing.
        g.jump("kjreboot", to="B")
        load_way_back(g)
        for name in "devices", "processor":
            g.run(f"echo {name} >{FAIL}").check()
            assert reboot(g) == [errno.EIO]
        g.jump("kjreboot", to="A")
        work.check()
        g.run(f"echo syscore >{FAIL}").check()
        assert reboot(g) == [errno.EIO]
        work.check()
        g.jump("kjreboot", to="B")
        g.jump("kjreboot", to="A")
        assert sysfs(g, "last") == "ok"
        assert sysfs(g, "jumps") == "2"


def test_unknown_step(boot, variant):
    g = boot(variant, disks=False, net=False)
    assert g.run(f"echo nonsense >{FAIL}").rc != 0
    assert g.run(f"cat {FAIL}").out == ""


def test_opened_by_who_waits(boot, variant):
    """Who opens /dev/snapshot waits for the end of a jump, with a lock that one step needs."""
    g = boot(variant, smp=2)
    with at_work(g) as work:
        load_ret(g).check()
        g.run("while [ ! -e /tmp/enough ]; do : </dev/snapshot; done 2>/dev/null & true").check()
        refused = f"error -{errno.EBUSY} at watchdogs"
        # It may be refused earlier, for hibernating, or come to pass.
        for _ in range(40):
            assert reboot(g)[0] in (0, errno.EBUSY)
            if sysfs(g, "last") == refused:
                break
        assert sysfs(g, "last") == refused
        assert dmesg(g, "a device is being opened by who waits .*try again without")
        g.run("touch /tmp/enough; wait").check()
        assert reboot(g) == [0]
        work.check()
