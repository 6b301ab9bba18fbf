# SPDX-License-Identifier: GPL-2.0
"""The same stories on a kernel that looks for mistakes: it panics where others would only warn."""
import errno
import re

import pytest

from images import DEVICE, RESTORE, hibernate, resume
from jumps import (MB, SYSFS, Work, assemble, at_work, load_kernel, load_ret, load_way_back, put_file, reboot,
                   result_of, sysfs)
from kjlab import guest
from kjlab.kernel import DEBUG
from test_exceptions import AT, WORDS
from test_failures import fail_each_step
from test_fuzz import CALLS, fuzz_calls, fuzz_peer
from test_peer_panic import PANIC, check_told, enter, panic
from test_turns import series

# Memory is filled when it is freed, and what makes it too slow is left to the test that is about it. And for
# such a kernel as its peer.
STRICT = "page_poison=1 kmemleak=off debug_pagealloc=off"
DEBUG_PEER = {"append": "kmemleak=off debug_pagealloc=off", "mem_max": 0x13ffffff}
# On what is the NVMe elsewhere: the base's driver holds locks across the steps of its suspending,
# at the sight of which lockdep switches itself off.
DISKS = guest.DISKS | {"nvme": "ide-hd,bus=ide.1"}


@pytest.fixture
def debug(boot):
    """debug(...): a guest with that kernel."""
    def start(append=STRICT, disks=DISKS, **kw):
        g = boot(DEBUG, smp=2, memory="1G", net=False, append=append, disks=disks, **kw)
        # From now on: see PROVOKED.
        g.run("echo 1 >/proc/sys/kernel/panic_on_warn").check()
        return g
    return start


def test_leaks(debug):
    """Loads, unloads, steps that fail, calls: nothing that was allocated for them is forgotten."""
    g = debug(append=STRICT.replace("kmemleak=off", "kmemleak=on"))
    # What is to look for mistakes is at work.
    assert g.run("cat /proc/sys/kernel/panic_on_warn").out == "1"
    assert re.search(r"debug_locks: +1$", g.run("cat /proc/lockdep_stats").check().out, re.M)
    assert "KernelAddressSanitizer initialized" in g.log()
    kmemleak = "/sys/kernel/debug/kmemleak"
    g.run(f"echo clear >{kmemleak}").check()
    work = Work(g, mb=8, tmpfs_mb=8)
    for _ in range(3):
        load_ret(g, size=8 * MB).check()
        g.run("kload -u").check()
    load_ret(g, size=8 * MB).check()
    fail_each_step(g, work)
    for size in 8 * MB, 4096:
        load_ret(g, size=size).check()
        assert reboot(g, 2) == [0, 0]
    g.run("kload -u").check()
    # What is younger than five seconds is not told.
    g.run(f"sleep 6; echo scan >{kmemleak}; echo scan >{kmemleak}", timeout=600).check()
    assert g.run(f"cat {kmemleak}").out == ""
    work.end()


def test_jumps(debug):
    """Round trips, a peer that dies, another one, under load."""
    g = debug(allow=PANIC)
    with at_work(g) as work:
        load_kernel(g, **DEBUG_PEER)
        # Takes the locks the other way round.
        g.run(": </dev/snapshot").check()
        for trip in range(1, 4):
            enter(g)
            if trip == 1:
                load_way_back(g)
            g.jump("kjreboot", to="A")
            assert sysfs(g, "last") == "ok" and sysfs(g, "jumps") == str(trip)
            work.check()
        enter(g)
        panic(g, 1)
        check_told(g)
        work.check()
        load_ret(g, size=8 * MB).check()
        assert reboot(g, 2) == [0, 0]


def test_in_a_row(debug, tmp_path):
    """Calls without resuming devices, and without suspending them; then one that dies with too many words."""
    g = debug()
    with at_work(g) as work:
        g.run(f"echo 1000000 >{SYSFS}/shared_size").check()
        load_ret(g, size=8 * MB).check()
        assert series(g, 4) == 0
        work.check()
        assert any(result_of(load_ret(g, at, options="-f 0x402").out) == 0 for at in range(48 * MB, 400 * MB, 16 * MB))
        assert series(g, 20) == 0 and sysfs(g, "jumps") == "24"
        # FORTIFY_SOURCE looks at how they are read, at the worst moment there is.
        put_file(g, assemble("x86_64", "words", AT, tmp_path)[1], "/tmp/words")
        g.run(f"kload -e {AT:#x} -s {AT:#x}:{MB}:/tmp/words").check()
        assert reboot(g) == [errno.EOWNERDEAD] and sysfs(g, "last") == WORDS
        work.check()


def test_image(debug, boot, tmp_path):
    """A snapshot; then it is hibernated, and resumed."""
    g = debug(blank=640, workdir=tmp_path)
    window = (DEBUG_PEER["mem_max"] + 1) // MB
    # What is at work would be at work for as long as that takes.
    g.run(f"kjump load --ready --append='lab.name=B lab.mount=0' --window={window}M", timeout=600).check()
    work = Work(g, mb=8, tmpfs_mb=8)
    # Once it is back all that is left to do is to copy a file, which takes ten minutes here.
    g.run(f"kjump snapshot --via={DEVICE} /tmp/dump & until [ $(cat /sys/kernel/kexec_jump/jumps) = 2 ]; do usleep 100000; done; "
          "kill $!; wait; rm -f /tmp/dump*", timeout=600).check()
    assert sysfs(g, "last") == "ok"
    work.check()
    hibernate(g, f"kjump hibernate --force {DEVICE}", timeout=600)
    work.g = resume(boot, g, append=f"{STRICT} {RESTORE}")
    work.end()


def test_fuzz(debug, record_property):
    # KASAN gives back what was freed only later: up to a 32nd of all memory.
    fuzz_calls(debug(disks=False), record_property, calls=2 * CALLS, slack=40 << 10)


def test_fuzzed_pages(debug, record_property):
    # Whatever is forged, all memory is looked at that it might lead to: each takes half a second here.
    fuzz_peer(debug(), record_property, calls=CALLS // 25, **DEBUG_PEER)
