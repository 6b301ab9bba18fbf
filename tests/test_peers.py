# SPDX-License-Identifier: GPL-2.0
"""Several peers at once, each with a name: they take turns, come and go, and know no more of each other."""
import itertools
import mmap
import re

import pytest

from kjlab.guest import UNBIND_AHCI

from jumps import (BOTH, JUMP, SYSFS, Console, assemble, at_work, check_free, dmesg, fields, free_kb, load_command,
                   load_ret, load_way_back, put_file, result_of, sysfs)
from images import NONE, OK, REFUSED, USAGE, resume
from test_kjump_verbs import returns
from test_peer_panic import PANIC

# Jumps from one kernel to another, in a ring of four.
SWITCHES = 100


def named(name, command):
    """The command, meaning the peer of that name, as stock tools know of none."""
    return f"sh -c 'echo {name} >{SYSFS}/peer && exec \"$@\"' sh {command}"


def peers(g):
    """{name: state}"""
    return {line.split()[0]: line.split()[1] for line in sysfs(g, "peers").splitlines()}


def stock_load(g, name):
    """At the addresses that stock kexec asks for."""
    line = g.peer_line(name)
    g.run(named(name, load_command(g).replace(g.peer_line("B"), line)), timeout=300).check()


def load(g, name, options=""):
    g.run(f"kjump load --name={name} --append='lab.name={name} lab.mount=0' {options}",
          timeout=300).check()


class Peer:
    """A kernel that has work of its own; each time it runs it is looked at."""

    def __init__(self, g, name):
        self.g, self.name, self.before = g, name, None
        g.run(f"dd if=/dev/urandom of=/tmp/own bs=1M count=4 2>/dev/null; md5sum /tmp/own >/tmp/sum; "
              f"workload start -m 4; echo {name} >/tmp/me").check()

    def look(self):
        out = self.g.run("md5sum -c /tmp/sum >/dev/null && echo file=ok; workload status; echo me=$(cat /tmp/me) "
                         "boot=$(cat /proc/sys/kernel/random/boot_id)").out
        now = fields(out)
        assert (now["file"], now["errors"], now["mem"], now["me"]) == ("ok", "0", "ok", self.name), out
        if self.before:
            assert now["boot"] == self.before["boot"]
            assert int(now["counter"]) > int(self.before["counter"])
            assert int(now["mono_ms"]) > int(self.before["mono_ms"])
        self.before = now


@pytest.mark.essential
def test_ring(boot, variant):
    """A has work to do; red, green and blue too, and the way leads A, red, green, blue, A, by kjump and by stock tools."""
    g = boot(variant, smp=2, memory="1G")
    turns = SWITCHES // 4 if variant == "x86_64" or BOTH else SWITCHES // 16
    order = ["red", "green", "blue"]
    with at_work(g, disks=False) as work:
        load(g, "red")
        # Of another configuration: one CPU.
        load(g, "green", "--command-line='console=ttyS1,115200 nosmp'")
        stock_load(g, "blue")
        assert peers(g) == dict.fromkeys(order, "loaded")
        assert sysfs(g, "image_entry") == "0x0" and g.run("cat /sys/kernel/kexec_loaded").out == "0"
        assert g.run(named("blue", "cat /sys/kernel/kexec_loaded")).out == "1"
        colors = {}
        for turn in range(turns):
            g.jump("kjump switch red", to="red")
            for name, after in zip(order, order[1:] + [None]):
                if turn == 0:
                    colors[name] = Peer(g, name)
                    assert peers(g) == {n: "self" if n == name else "other" for n in order}
                    assert g.run("nproc").out == ("1" if name == "green" else "2")
                    load_way_back(g)
                colors[name].look()
                if after:
                    # By turns with kjump, which goes on by itself when this kernel runs again.
                    g.jump(f"kjump switch {after}" if turn % 2 else named(after, "kexec -e -x"), to=after)
            g.jump(JUMP, to="A")
            assert sysfs(g, "last") == "ok" and int(sysfs(g, "jumps")) == 3 * (turn + 1)
            assert peers(g) == dict.fromkeys(order, "preserved")
            work.check(goes_on=turn % 4 == 3)


def test_each_is_alone(boot, variant):
    """What one has in its memory is in no view of another, and in no image of A, which has no peers when it is resumed."""
    g = boot(variant, smp=1, memory="320M", disks=False, net=False, blank=400)
    # No text may be in a command, or it were in a shell's memory, too.
    marks = {name: f"{name} has this in its memory" for name in ("A", "red", "green")}
    rot13 = str.maketrans("abcdefghijklmnopqrstuvwxyz", "nopqrstuvwxyzabcdefghijklm")

    def mark(name):
        g.run(f"echo '{marks[name].translate(rot13)}' | tr a-z n-za-m >/tmp/mark").check()

    mark("A")
    free = free_kb(g)
    for name in "red", "green":
        stock_load(g, name)
        g.jump(named(name, "kjreboot"), to=name)
        load_way_back(g)
        mark(name)
        g.jump("kjreboot", to="A")
    for name, other in ("red", "green"), ("green", "red"):
        g.jump(named(name, "kjreboot"), to=name)
        g.run("cp /proc/vmcore /dev/vdb; sync", timeout=300).check()
        with open(g.dir / "blank.img", "rb") as f, mmap.mmap(f.fileno(), 0, prot=mmap.PROT_READ) as core:
            assert core.find(marks["A"].encode()) >= 0
            assert core.find(marks[other].encode()) < 0 and core.find(marks[name].encode()) < 0
        g.jump("kjreboot", to="A")
    # What runs there would be lost.
    returns(g, "kjump hibernate --any-boot --force /dev/vdb", REFUSED,
            "would be lost: red green; .*kjump unload NAME")
    assert peers(g) == {"red": "preserved", "green": "preserved"}
    # By hand, in one of them, it can be done.
    g.jump("kjump switch red", to="red")
    g.run("kjump save --force /dev/vdb", timeout=300).check()
    g.power_off()
    g = resume(boot, g, append="kjump.restore=/dev/vdb")
    assert peers(g) == {} and sysfs(g, "image_entry") == "0x0"
    assert g.run("cat /tmp/mark").out == marks["A"]
    check_free(g, free, 4096)
    stock_load(g, "red")
    g.jump(named("red", "kjreboot"), to="red")
    load_way_back(g)
    g.jump("kjreboot", to="A")


def test_unloading(boot, variant, tmp_path):
    """In every order; who is left is as he was, and all memory comes back."""
    console = Console(tmp_path)
    g = boot(variant, smp=2, memory="256M", disks=False, net=False, qemu_args=console.qemu_args)
    g.run(UNBIND_AHCI).check()
    # One by itself, two at the same place.
    places = {"one": 32 << 20, "two": 48 << 20, "three": 48 << 20}
    for at in set(places.values()):
        put_file(g, assemble(variant, "state", at, tmp_path)[1], f"/tmp/{at:x}")

    def call(name):
        assert g.run(named(name, "kjreboot")).out == "reboot: ret=0", g.run("dmesg | tail").out
        return int(console.said().split()[-1], 16)

    console.said()
    before = None
    for order in itertools.permutations(places):
        counts = dict.fromkeys(places, 0)
        for name, at in places.items():
            g.run(named(name, f"kload -e {at:#x} -s {at:#x}:{8 << 20}:/tmp/{at:x}")).check()
        for n, gone in enumerate(order):
            for name in order[n:]:
                counts[name] += 1
                # They come back without a next entry, and are entered where they were; the count is in their memory.
                assert call(name) == counts[name]
            r = g.run(f"kjump unload {gone}" if n else named(gone, "kload -u"))
            assert r.rc == OK, r
            assert set(peers(g)) == set(order[n + 1:])
            r = g.run(named(gone, "kjreboot"))
            assert result_of(r.out) == 22 and dmesg(g, f"peer {gone}: not loaded")
        # What the first round leaves in caches is no loss.
        before = before or free_kb(g)
    check_free(g, before, 1024)
    # An unnamed one is another one still.
    load_ret(g, at=64 << 20).check()
    g.run(named("one", f"kload -e {places['one']:#x} -s {places['one']:#x}:0x1000:/tmp/{places['one']:x}")).check()
    g.run("kexec -u").check()
    assert peers(g) == {"one": "loaded"} and sysfs(g, "image_entry") == "0x0"
    assert call("one") == 1


def test_one_dies(boot, variant):
    """The kernel in the middle panics: it alone is gone."""
    g = boot(variant, smp=2, memory="768M", disks=False, net=False, allow=PANIC)
    names = ["red", "green", "blue"]
    for name in names:
        load(g, name)
    g.jump("kjump switch red", to="red")
    red = Peer(g, "red")
    load_way_back(g)
    g.jump("kjump switch green", to="green")
    g.run("echo 1 >/proc/sys/kernel/sysrq").check()
    g.jump("echo c >/proc/sysrq-trigger", to="A")
    assert sysfs(g, "last") == "peer died: sysrq triggered crash"
    assert peers(g) == {"red": "preserved", "blue": "loaded"}
    returns(g, "kjump switch green", NONE, "no peer green is loaded; there is red blue")
    g.jump("kjump switch red", to="red")
    red.look()
    # It has been told; and of what is not there before it leaves.
    assert peers(g) == {"red": "self", "blue": "other"}
    returns(g, "kjump switch green", NONE, "no peer green is loaded; there is red blue")
    returns(g, "kjump switch red", NONE, "red is this kernel")
    assert result_of(g.run(named("green", "kjreboot")).out) == 22
    red.look()
    g.jump("kjump switch blue", to="blue")
    load_way_back(g)
    # What A finds out about the next one is not the fault of the one that asked for it.
    g.jump(JUMP, to="A")
    returns(g, "kjump unload blue", OK)
    load(g, "blue", "--ready")
    g.jump("kjump switch red", to="red")
    red.look()
    g.jump("kjump back", to="A")
    assert "peer died" not in sysfs(g, "last")


def test_refused(boot, variant):
    g = boot(variant, smp=1, memory="256M", disks=False, net=False)
    g.run(r"printf '\303' >/tmp/ret").check()
    at = 32 << 20

    def loads(name, more=""):
        at_name = at + 0x10000 * len(peers(g))
        return g.run(named(name, f"kload {more} -e {at_name:#x} -s {at_name:#x}:0x1000:/tmp/ret"))

    # Names
    for bad in "'\"\"-x\"\"'", "a/b", "sixteen.letters.", "'\"a b\"'", "'\"ä\"'":
        r = g.run(f"echo {bad} >{SYSFS}/peer")
        assert r.rc and "Invalid argument" in r.out, (bad, r)
    for bad in "-x", "a/b", "sixteen.letters.", "'a b'", "''", "ä":
        returns(g, f"kjump unload -- {bad}", USAGE, "no name")
        returns(g, f"kjump load --name={bad}", USAGE, "no name")
    assert g.run(f"asuser sh -c 'echo x >{SYSFS}/peer'").rc and g.run(f"asuser cat {SYSFS}/peers").rc == 0
    # A choice is a process's own, and ends with it.
    assert g.run(f"echo mine >{SYSFS}/peer; cat {SYSFS}/peer; {named('other', f'cat {SYSFS}/peer')}; "
                 f"sh -c 'echo x >{SYSFS}/peer; echo >{SYSFS}/peer; exec cat {SYSFS}/peer'; "
                 f"read x <{SYSFS}/peer; echo $x; echo >{SYSFS}/peer").out.split() == ["other", "mine"]
    # What is no peer
    assert result_of(loads("plain", "-f 0").out) == 22
    assert dmesg(g, "peer plain: only what preserves the context can be loaded with a name")
    assert result_of(g.run(named("nobody", "kload -u")).out) == 2
    assert peers(g) == {}
    # A load that fails leaves no name behind, and what was there before.
    assert result_of(loads("first").out) == 0
    assert result_of(g.run(named("first", f"kload -e {at:#x} -s 0xc0000000:0x1000:/tmp/ret")).out)
    assert result_of(g.run(named("second", f"kload -e {at:#x} -s 0xc0000000:0x1000:/tmp/ret")).out)
    assert peers(g) == {"first": "loaded"}
    assert result_of(g.run(named("first", "kjreboot")).out) == 0
    # As many as there may be, and one without a name.
    for n in range(2, 9):
        assert result_of(loads(f"n{n}").out) == 0
    r = loads("n9")
    assert result_of(r.out) == 28 and dmesg(g, "peer n9: 8 others are loaded, unload one"), r
    assert result_of(loads("n8").out) == 0 and len(peers(g)) == 8
    load_ret(g, at=at + 0x100000).check()
    assert result_of(g.run("kjreboot").out) == 0
    for n in peers(g):
        assert result_of(g.run(named(n, "kjreboot")).out) == 0
    # The one that is called while devices work is one of them; who dies of an exception is gone.
    returns(g, "kjump unload n8", OK)
    quick = named("quick", f"kload -f 0x402 -e {at + 0x200000:#x} -s {at + 0x200000:#x}:0x1000:/tmp/ret")
    assert result_of(g.run(quick).out) == 0
    assert result_of(g.run(named("quick", "kjreboot")).out) == 0
    g.run(r"printf '\017\013' >/tmp/ret; kjump unload quick").check()
    g.run(quick).check()
    assert result_of(g.run(named("quick", "kjreboot")).out) == 130
    assert "quick" not in peers(g) and len(peers(g)) == 7
    out = g.run("kjump status; kjump status --json").check().out
    assert re.search(r"peers with names +first loaded 636 n2 loaded", out), out
    assert '"peers": [{"name": "first", "state": "loaded", "window_bytes": 651264}' in out, out
    if variant == "x86_64":
        # Who means one with a name does not put kexec_file_load(2) in the place of that without.
        entry = sysfs(g, "image_entry")
        assert g.run(named("n3", "kexec -s -u")).rc == 0 and "n3" not in peers(g)
        assert g.run(named("n3", "kexec -s -u")).rc
        r = g.run(named("n4", "kexec -s -l /boot/bzImage"))
        assert r.rc and len(dmesg(g, "peer n4: only what preserves the context can be loaded with a name")) == 1, r
        assert len(peers(g)) == 6 and sysfs(g, "image_entry") == entry != "0x0"
        assert result_of(loads("n3").out) == 0
    # The last place is taken between two calls of a load.
    call = f"{at + 0x200000:#x}"
    g.run(f"printf 'load 0x102 0 {call}:0x100000\\nsay WAITING\\nwait /tmp/go\\nload 0x202 {call}\\n"
          f"say WAITING\\nwait /tmp/on\\nload 0x202 {call}\\n' >/tmp/half; "
          + named("late", "kcalls") + " </tmp/half >/tmp/out 2>&1 & until grep -q WAITING /tmp/out; do usleep 50000; done").check()
    assert result_of(loads("n8").out) == 0
    g.run("touch /tmp/go; until [ $(grep -c WAITING /tmp/out) = 2 ]; do usleep 50000; done").check()
    returns(g, "kjump unload n8", OK)
    # What had been loaded is gone.
    out = g.run("touch /tmp/on; while pidof kcalls >/dev/null; do usleep 50000; done; cat /tmp/out").out
    assert re.search(r"errno=28 .*\nWAITING\nerrno=116 ", out), out
    returns(g, "kjump unload", OK)
    returns(g, "kjump unload", NONE, "nothing to jump to is loaded")
    returns(g, "kjump unload none", NONE, "no peer none is loaded; there is first n2")
    returns(g, "kjump unload one two", USAGE, 'what is "two"')
