# SPDX-License-Identifier: GPL-2.0
"""Calls that make no sense, or nearly make sense: errors come of them, and nothing else.

"kfuzz SEED FIRST COUNT" makes the same calls again in any guest of the variant.
"""
import collections
import os
import re

import pytest

from jumps import (BOTH, JUMP, SEED, at_work, check_free, free_kb, jump_back_entry, load_kernel, load_ret, load_way_back,
                   reboot, sysfs)
from kjlab.guest import TROUBLE

CALLS = int(os.environ.get("KJ_FUZZ_CALLS", 2500))
# Each leaves no more in the kernel's log than there is room for.
AT_ONCE = 125


class Fuzzer:
    """A guest whose log is read a part at a time: on the console it would take longer than all the calls."""

    def __init__(self, g, record, options=""):
        self.g, self.record, self.options = g, record, options
        self.results = collections.defaultdict(collections.Counter)
        g.run("dmesg -n 1; echo N >/sys/module/printk/parameters/ignore_loglevel; dmesg -c >/dev/null").check()

    def run(self, calls):
        print(f"KJ_SEED={SEED}")
        for first in range(0, calls, AT_ONCE):
            count = min(AT_ONCE, calls - first)
            out = self.g.run(f"kfuzz {self.options} {SEED} {first} {count}", timeout=900).check().out
            said = self.g.run("dmesg -c").out
            assert not TROUBLE.search(said), f"calls {first} to {first + count}: {said}"
            for kind, found in re.findall(r"^(\w+)((?: \d+=\d+)+)$", out, re.M):
                self.results[kind].update({int(e): int(n) for e, n in re.findall(r"(\d+)=(\d+)", found)})
        self.record("fuzzed_calls", calls)

    def end(self):
        """Nothing of it is left loaded."""
        self.g.run("kload -u").check()
        self.g.run("echo 0 >/sys/kernel/kexec_jump/shared_size; echo >/sys/kernel/debug/kexec_jump/fail_step; "
                   "echo Y >/sys/module/printk/parameters/ignore_loglevel; dmesg -n 8")


def fuzz_calls(g, record, calls=CALLS, slack=8192):
    before = free_kb(g)
    f = Fuzzer(g, record)
    f.run(calls)
    f.end()
    check_free(g, before, slack)
    # Some were right, and the others were wrong in many ways.
    assert f.results["load"][0] > calls // 100 and len(f.results["load"]) >= 5, f.results
    assert sysfs(g, "jumps") == "0" and not sysfs(g, "image_window")
    # It still works.
    load_ret(g).check()
    assert reboot(g, 2) == [0, 0]


# On x86_64 a kernel looks that sees more: test_debug_kernel.py.
@pytest.mark.parametrize("variant", ["x86_64", "i386"] if BOTH else ["i386"])
def test_calls(boot, variant, record_property):
    fuzz_calls(boot(variant, smp=2, disks=False, net=False), record_property)


def test_peer(boot, variant, record_property):
    fuzz_peer(boot(variant, smp=2), record_property)


def fuzz_peer(g, record_property, calls=CALLS // 2, **peer):
    """In a peer, which finds another jump page each time it looks."""
    load_kernel(g, **peer)
    with at_work(g) as work:
        g.jump(JUMP, to="B")
        load_way_back(g)
        entry = jump_back_entry(g)
        f = Fuzzer(g, record_property, f"-e {entry:#x}")
        f.run(calls)
        f.end()
        assert f.results["forge"] and len(f.results["read"]) >= 2, f.results
        load_way_back(g)
        g.jump("kjreboot", to="A")
        assert sysfs(g, "last") == "ok"
        work.check()
