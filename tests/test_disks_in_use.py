# SPDX-License-Identifier: GPL-2.0
"""What is in use, by whomever and however many there are, is not written to: neither here nor by the peer."""
import urllib.parse

from images import DEVICE, NONE, REFUSED
from jumps import SYSFS, sysfs
from test_kjump_verbs import returns

MANY = 700


def told(g, key):
    """{device: what the peer was told of it} of A's message."""
    text = g.run(f"tr '\\0' '\\n' <{SYSFS}/shared | sed -n 's/^{key}=//p'").check().out
    lines = urllib.parse.unquote(text).splitlines()
    return {urllib.parse.unquote(line).split()[0]: line.split()[1:] for line in lines}


def test_whoever_uses_it(boot, either):
    """A mount that this mount namespace does not have; a program that writes to a device; more devices than fit a page."""
    g = boot(either, smp=2, memory="512M", blank=320, net=False)
    disk, raw = "/dev/sda", DEVICE
    g.run(f"holdmany {MANY} & while [ ! -e /tmp/holdmany ]; do usleep 100000; done").check()
    g.run(f"unshare -m sh -c 'mkdir -p /tmp/x; mount {disk} /tmp/x; touch /tmp/mounted; exec sleep 100000' & "
          "while [ ! -e /tmp/mounted ]; do usleep 100000; done").check()
    assert disk not in g.run("cat /proc/self/mountinfo /proc/swaps").out
    for target in disk, raw:
        if target == raw:
            g.run(f"sleep 100000 1<>{raw} &").check()
        for command in f"kjump hibernate --force {target}", f"kjump snapshot --force --via={target} /tmp/dump":
            returns(g, command, REFUSED, f"{target} is in use: " +
                    ("held by a mount elsewhere" if target == disk else "opened for writing by sleep, process"))
    assert sysfs(g, "jumps") == "0" and sysfs(g, "image_entry") == "0x0"

    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    # B is told of all of them.
    disks, busy = told(g, "disks"), told(g, "busy")
    assert {disk, raw, "/dev/loop1000", f"/dev/loop{999 + MANY}"} <= set(disks) and len(disks) > MANY
    # Loop devices are nothing that the peer could write to by mistake.
    assert {disk, raw} <= set(busy) and not any("loop" in d for d in busy)
    for target in disk, raw:
        returns(g, f"kjump save --force {target}", REFUSED, f"{target} is in use by the preserved kernel")
    g.jump("kjump back", to="A")
    assert sysfs(g, "last") == "ok"
    # With so much to say it is saved all the same.
    g.run("killall sleep").check()
    g.run(f"kjump snapshot --via={raw} /tmp/dump && rm /tmp/dump", timeout=300).check()


def test_partitions_made_since(boot, either):
    """The peer waits, booted, while partitions are made and changed; what it knew of the disk is no matter."""
    g = boot(either, smp=2, memory="512M", blank=320, disks=False, net=False)
    disk = "/dev/vdb"
    g.run("kjump load --ready", timeout=300).check()
    for first in "2048", "40960":
        g.run(f"printf 'o\\nn\\np\\n1\\n{first}\\n\\nw\\n' | fdisk -u {disk}; cat /sys/class/block/vdb1/start").check()
        assert g.run("cat /sys/class/block/vdb1/start").out == first
        # It is named by what does not change, too.
        g.run(f"printf '\\022\\064\\126\\170' | dd of={disk} bs=1 seek=440 conv=notrunc").check()
        for via in f"{disk}1", "'PARTUUID=\"78563412-01\"'":
            g.run(f"rm -f /tmp/dump; kjump snapshot --via={via} --force /tmp/dump", timeout=300).check()
    returns(g, "kjump snapshot --via=PARTUUID=78563412-02 /tmp/other", NONE, "PARTUUID=78563412-02 is not there")
    assert sysfs(g, "jumps") == "5"
