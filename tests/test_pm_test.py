# SPDX-License-Identifier: GPL-2.0
"""/sys/power/pm_test and wakeup events mean for a jump what they mean for hibernation."""
import errno

from jumps import at_work, dmesg, load_kernel, load_way_back, reboot, sysfs

# Level of pm_test: the step after which it stops.
LEVELS = {"freezer": "kthreads", "devices": "devices", "platform": "platform",
          "processors": "cpus", "core": "syscore"}


def test_levels(boot, variant):
    g = boot(variant, smp=2)
    with at_work(g) as work:
        load_kernel(g)
        known = g.run("cat /sys/power/pm_test").out.replace("[", "").replace("]", "").split()
        assert set(known) == {"none", *LEVELS}
        for level, step in LEVELS.items():
            g.run(f"echo {level} >/sys/power/pm_test").check()
            assert reboot(g) == [0]
            assert sysfs(g, "last") == f"test at {step}"
            # The peer was not entered: that would have booted it.
            assert sysfs(g, "jumps") == "0"
            assert int(g.run("nproc").out) == 2
            work.check()
        assert "lab.name=B" not in g.log()

        g.run("echo none >/sys/power/pm_test").check()
        g.jump("kjreboot", to="B")
        load_way_back(g)
        g.jump("kjreboot", to="A")
        assert sysfs(g, "last") == "ok"


def test_wakeup_event(boot, variant):
    """An event that came since wakeup_count was read stops the jump."""
    g = boot(variant, smp=2)
    with at_work(g) as work:
        load_kernel(g)
        g.run("cnt=$(cat /sys/power/wakeup_count); echo $cnt >/sys/power/wakeup_count").check()
        g.run("echo test >/sys/power/wake_lock").check()
        assert reboot(g) == [errno.EBUSY]
        assert sysfs(g, "last").startswith(f"error -{errno.EBUSY} at ")
        assert dmesg(g, f"kexec_jump: not jumped: .*error -{errno.EBUSY}")
        assert sysfs(g, "jumps") == "0"
        work.check()

        g.run("echo test >/sys/power/wake_unlock").check()
        g.run("cnt=$(cat /sys/power/wakeup_count); echo $cnt >/sys/power/wakeup_count").check()
        g.jump("kjreboot", to="B")
        load_way_back(g)
        g.jump("kjreboot", to="A")
        assert sysfs(g, "last") == "ok"


def test_hibernation_going_on(boot, variant):
    """Whoever has /dev/snapshot open is hibernating: only one at a time."""
    g = boot(variant, smp=2, disks=False, net=False)
    load_kernel(g)
    g.run("sleep 1000 </dev/snapshot & echo $! >/tmp/pid; until pidof sleep; do usleep 50000; done").check()
    assert reboot(g) == [errno.EBUSY]
    assert sysfs(g, "last") == f"error -{errno.EBUSY} at notifiers"
    g.run("kill $(cat /tmp/pid); while pidof sleep; do usleep 50000; done").check()
    g.jump("kjreboot", to="B")
    load_way_back(g)
    g.jump("kjreboot", to="A")
    assert sysfs(g, "last") == "ok"
