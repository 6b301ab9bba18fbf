# SPDX-License-Identifier: GPL-2.0
"""A -> B -> A -> B ...: two kernels take turns, and neither loses anything."""
import pytest

from jumps import BOTH, JUMP, at_host_time, at_work, end_frames, fields, load_kernel, load_way_back, sysfs, window_kb

# With this many CPUs so many round trips; on i386 half of them, but in lab/soak.
TRIPS = {1: 6, 2: 20, 4: 6}


class Clocks:
    """Do the clocks of a guest that is away now and then run like the host's?"""

    def __init__(self, g):
        self.g = g
        self.first = self.read()

    def read(self):
        """By how much it may be wrong; host's time, the guest's, its uptime."""
        slack, host, out = at_host_time(self.g, "date +%s; cat /proc/uptime")
        wall, uptime, _ = out.split()
        return slack, (host, int(wall), float(uptime))

    def check(self):
        (slack, now), (first_slack, then) = self.read(), self.first
        slack += first_slack
        host, wall, uptime = (a - b for a, b in zip(now, then))
        # The real-time clock, read for the time away, counts seconds. Uptime
        # counts the time away, too. (Monotonic time is checked by the work.)
        assert abs(wall - host) <= 2.5 + slack
        assert abs(uptime - host) <= 2 + slack


def round_trips(g, trips, cpus, in_the_way_mb=0, **loading):
    """The guest, kernel A, has work to do, and jumps to B, loaded like this, and back `trips` times."""
    with at_work(g) as work:
        clocks = Clocks(g)
        if in_the_way_mb:
            g.run(f"frames {in_the_way_mb} 5 /tmp/frames").check()
        load_kernel(g, **loading)
        booted = None
        for trip in range(1, trips + 1):
            g.jump(JUMP, to="B")
            if trip == 1:
                load_way_back(g)
                g.run("echo mine >/tmp/state; workload start -m 8").check()
            now = fields(g.run("workload status; echo jumps=$(cat /sys/kernel/kexec_jump/jumps) "
                               "cpus=$(nproc) state=$(cat /tmp/state) "
                               "boot=$(cat /proc/sys/kernel/random/boot_id)").out)
            # It is the B of the trip before, not one booted anew.
            assert (now["errors"], now["mem"], now["state"]) == ("0", "ok", "mine")
            assert (int(now["jumps"]), int(now["cpus"])) == (trip - 1, cpus)
            if booted:
                assert now["boot"] == booted["boot"]
                assert int(now["counter"]) > int(booted["counter"])
                assert int(now["mono_ms"]) > int(booted["mono_ms"])
            booted = now

            g.jump(JUMP, to="A")
            # Time for all of it to proceed is given now and then only: usually
            # the next jump comes in the middle of it.
            work.check(goes_on=trip % 4 == 0 or trip == trips)
            assert sysfs(g, "last") == "ok"
            assert int(sysfs(g, "jumps")) == trip
            assert int(g.run("nproc").out) == cpus
            clocks.check()
        if in_the_way_mb:
            assert window_kb(g)[1] > 1024
            end_frames(g)


@pytest.mark.essential
@pytest.mark.parametrize("smp", [pytest.param(smp, marks=[pytest.mark.everywhere] * (smp == 2)) for smp in TRIPS])
def test_round_trips(boot, variant, smp, record_property):
    trips = TRIPS[smp] if variant == "x86_64" or BOTH else TRIPS[smp] // 2
    round_trips(boot(variant, smp=smp), trips, smp)
    record_property("round_trips", trips)


def test_highmem(boot):
    """i386, with memory it has no direct mapping of, in use."""
    g = boot("i386", smp=2, memory="1536M")
    high = int(g.run("awk '/HighTotal/ {print $2}' /proc/meminfo").check().out)
    assert high > 512 << 10
    g.run("dd if=/dev/zero of=/tmp/filler bs=1M count=700 2>/dev/null").check()
    assert int(g.run("awk '/HighFree/ {print $2}' /proc/meminfo").out) < high - (200 << 10)
    round_trips(g, 5, 2)


# QEMU's "max" is an AMD of old to i386.
@pytest.mark.parametrize("variant, cpu", [("x86_64", "qemu64"), ("x86_64", "max"), ("i386", "max,vendor=GenuineIntel"),
                                          ("i386", "pentium2")])
def test_processors(boot, variant, cpu):
    """Without 1 GB pages, and with all there is, 5-level paging among it. Pages are exchanged by AVX, SSE2, or neither."""
    # Every second page of this cannot be moved out of a window.
    round_trips(boot(variant, smp=2, cpu=cpu), 3, 2, in_the_way_mb=200)


def test_options_once_needed(boot, variant):
    """What people had to say to make it work does no harm."""
    round_trips(boot(variant, smp=2), 3, 2, options="--pass-memmap-cmdline", append="nokaslr")
