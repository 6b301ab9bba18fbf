# SPDX-License-Identifier: GPL-2.0
"""Memory that fails, goes, or comes while an image is loaded or a peer runs."""
import errno
import signal

import pytest

from images import hibernate, resume
from jumps import JUMP, MB, at_work, dmesg, load_kernel, load_ret, load_way_back, ranges, reboot, result_of, sysfs, to_peer
from test_load_calls import FIRST, LAST

# Blocks of memory that come and go, on x86_64.
BLOCK = 128 * MB
MEMORY = "/sys/devices/system/memory"
AT = 3 * BLOCK      # movable, in a guest that has kernelcore=256M, and where chance cannot put the kernel


def load(g, size=4 * MB):
    return load_ret(g, AT, size).out


def poison(g, address):
    """As the hardware does that finds it cannot be read any more."""
    # Whoever has the page, it is marked first of all.
    g.run(f"echo {address:#x} >{MEMORY}/hard_offline_page")
    assert dmesg(g, f"Memory failure: {address >> 12:#x}: ")


@pytest.mark.parametrize("variant", ["x86_64"])
def test_window_goes(boot, variant):
    """It is not given away when loading, nor taken away later."""
    g = boot(variant, smp=2, memory="640M", disks=False, net=False, append="kernelcore=256M nokaslr",
             allow=["Memory failure"])
    block = f"{MEMORY}/memory{AT // BLOCK}"
    assert result_of(load(g)) == 0
    # (Somebody may just be using a page of it, then nobody else is asked.)
    r = g.run(f"until dmesg | grep -q 'stays online'; do echo offline >{block}/state && break; "
              "usleep 100000; done 2>/dev/null")
    assert r.rc == 0 and g.run(f"cat {block}/state").out == "online", r
    assert dmesg(g, rf"kexec_jump: memory at {AT:#x} stays online: it is in the window .*kexec -u")
    assert reboot(g) == [0]
    g.run("kload -u").check()
    # Nobody needs it any more.
    g.run(f"until echo offline >{block}/state; do usleep 100000; done 2>/dev/null").check()
    assert result_of(load(g)) == errno.EADDRNOTAVAIL
    assert dmesg(g, rf"kexec_jump: window.* {AT:#x}")
    g.run(f"echo online >{block}/state").check()

    assert result_of(load(g)) == 0
    poison(g, AT + 2 * MB)
    assert reboot(g) == [errno.EADDRNOTAVAIL]
    assert sysfs(g, "last") == f"error -{errno.EADDRNOTAVAIL} at check"
    told = rf"kexec_jump: window: the page at {AT + 2 * MB:#x} is poisoned"
    assert len(dmesg(g, told)) == 1
    assert sysfs(g, "jumps") == "1"
    g.run("kload -u").check()
    assert result_of(load(g)) == errno.EADDRNOTAVAIL
    assert len(dmesg(g, told)) == 2
    assert result_of(load(g, MB)) == 0
    assert reboot(g) == [0]


@pytest.mark.parametrize("variant", ["x86_64"])
def test_window_in_a_balloon(boot, variant):
    """What the hypervisor was given is not there for a peer, until it is given back."""
    g = boot(variant, memory="512M", disks=False, net=False, append="nokaslr",
             qemu_args=["-device", "virtio-balloon-pci,id=balloon"])

    def inflate(to):
        g.qmp("balloon", value=to)
        g.until(lambda: g.qmp("query-balloon")["actual"] == to, f"the balloon at {to >> 20} MB")

    inflate(192 * MB)
    taken = [at for at in range(128 * MB, 480 * MB, 32 * MB)
             if result_of(load_ret(g, at, 32 * MB).out) == errno.EADDRNOTAVAIL]
    assert len(dmesg(g, "kexec_jump: window: the page at .* is taken by a balloon, or unplugged; choose another window")) \
        == len(taken) >= 4
    inflate(512 * MB)
    for at in taken:
        assert result_of(load_ret(g, at, 32 * MB).out) == 0 and reboot(g) == [0]


@pytest.mark.parametrize("variant", ["x86_64"])
def test_image_with_failed_memory(boot, variant, tmp_path):
    """What can be read beside it is saved, also in a huge page; what failed is not read."""
    g = boot(variant, memory="256M", blank=320, net=False, workdir=tmp_path, allow=["Memory failure"])
    g.run("mkdir /tmp/huge && mount -t hugetlbfs none /tmp/huge && echo 1 >/proc/sys/vm/nr_hugepages").check()
    assert g.run("hugefail /tmp/huge/file 100").rc == 128 + signal.SIGBUS

    def parts(g):
        """Of the parts before, in and behind the failed one: how much can be read, and what it is."""
        return g.run("for at in '0 100' '100 1' '101 411'; do set -- $at; dd if=/tmp/huge/file bs=4096 skip=$1 count=$2 "
                     "2>/dev/null | tee /tmp/part | md5sum; wc -c </tmp/part; done").out

    before = parts(g)
    assert [int(n) for n in before.split()[2::3]] == [100 << 12, 0, 411 << 12], before
    hibernate(g)
    g = resume(boot, g)
    assert parts(g) == before
    g.power_off()


@pytest.mark.parametrize("variant", ["x86_64"])
def test_memory_added(boot, variant):
    """A peer that was loaded before does not know of it: it would not save all, nor find its way back."""
    g = boot(variant, smp=2, memory="704M", disks=False, net=False, append="mem=512M nokaslr")
    load_kernel(g)
    g.run(f"echo {4 * BLOCK:#x} >{MEMORY}/probe; echo online >{MEMORY}/memory4/state").check()
    assert reboot(g) == [errno.ESTALE]
    assert sysfs(g, "last") == f"error -{errno.ESTALE} at check" and sysfs(g, "jumps") == "0"
    assert dmesg(g, "kexec_jump: memory was added since the other kernel was loaded, .*: load it again")
    # A program needs to know nothing.
    assert result_of(load(g)) == 0 and reboot(g) == [0]
    load_kernel(g)
    g.jump(JUMP, to="B")
    load_way_back(g)
    g.jump(JUMP, to="A")
    assert sysfs(g, "last") == "ok"


@pytest.mark.parametrize("variant", ["x86_64"])
def test_memory_comes_back(boot, variant):
    """That is none which was added: a peer that waits knows of it."""
    g = boot(variant, smp=2, memory="640M", disks=False, net=False, append="kernelcore=256M nokaslr")
    to_peer(g)
    g.jump(JUMP, to="A")
    block = f"{MEMORY}/memory{AT // BLOCK}/state"
    for _ in range(2):
        g.run(f"until echo offline >{block}; do usleep 100000; done 2>/dev/null; echo online >{block}").check()
        g.jump(JUMP, to="B")
        g.jump(JUMP, to="A")
        assert sysfs(g, "last") == "ok"
    # Who is loaded while it is away does not.
    g.run(f"kexec -u; until echo offline >{block}; do usleep 100000; done 2>/dev/null").check()
    load_kernel(g)
    g.run(f"echo online >{block}").check()
    assert reboot(g) == [errno.ESTALE]


@pytest.mark.parametrize("variant", ["x86_64"])
def test_module_goes_between_two_calls(boot, variant, tmp_path):
    """Of one load: it fails, and nothing of it troubles a jump to another peer."""
    at = 4 << 30
    g = boot(variant, smp=2, disks=False, net=False, memory=f"{4 * BLOCK >> 20}M,slots=2,maxmem=2G",
             append="memhp_default_state=online_movable", qemu_args=["-object", f"memory-backend-ram,id=module,size={BLOCK}"])
    g.qmp("device_add", driver="pc-dimm", id="dimm", memdev="module", addr=at)
    g.run(f"until grep -q '^100000000-.*System RAM' /proc/iomem && grep -q online {MEMORY}/memory{at // BLOCK}/state; do usleep 100000; done").check()
    load_kernel(g)
    g.run(r"printf '\303' >/tmp/ret; "
          f"printf 'load {FIRST:#x} 0 {at:#x}:{4 * MB}:/tmp/ret\\nsay WAITING\\nwait /tmp/go\\nload {LAST:#x} {at:#x} {at + 4 * MB:#x}:{MB}\\n' >/tmp/calls; "
          "(kcalls </tmp/calls >/tmp/out 2>&1 &); until grep -q WAITING /tmp/out; do usleep 50000; done").check()
    assert "errno" not in g.run("cat /tmp/out").out
    g.qmp("device_del", id="dimm")
    g.run("until ! grep -q '^100000000-.*System RAM' /proc/iomem; do usleep 100000; done").check()
    g.run("touch /tmp/go; while pidof kcalls >/dev/null; do usleep 50000; done").check()
    assert result_of(g.run("tail -n 1 /tmp/out").out) == errno.EADDRNOTAVAIL
    g.jump(JUMP, to="B")
    load_way_back(g)
    g.jump(JUMP, to="A")
    assert sysfs(g, "last") == "ok"


@pytest.mark.parametrize("variant", ["x86_64"])
def test_memory_offered_to_the_peer(boot, variant):
    """Firmware or hypervisor offers a running peer memory that is the preserved kernel's."""
    g = boot(variant, smp=2)
    with at_work(g) as work:
        load_kernel(g)
        g.jump(JUMP, to="B")
        load_way_back(g)
        before = g.run("grep MemTotal /proc/meminfo").out
        for at in BLOCK, 3 * BLOCK, 64 * BLOCK:
            r = g.run(f"echo {at:#x} >{MEMORY}/probe")
            assert r.rc, r
            assert dmesg(g, rf"kexec_jump: memory \[{at:#x}-{at + BLOCK - 1:#x}\] is not added: it is not in the window")
        assert g.run("grep MemTotal /proc/meminfo").out == before
        g.jump(JUMP, to="A")
        work.check()
        work.check_files()


@pytest.mark.parametrize("variant", ["x86_64"])
def test_modules_change_while_the_peer_runs(boot, variant):
    """What the machine wants back then is the preserved kernel's; what it offers is nobody's yet."""
    g = boot(variant, disks=False, net=False, memory=f"{4 * BLOCK >> 20}M,slots=2,maxmem=2G", qemu_args=[
        "-object", f"memory-backend-ram,id=module,size={BLOCK}", "-device", "pc-dimm,id=dimm,memdev=module"])
    total = g.run("grep MemTotal /proc/meminfo").out
    g.run("ls -d /sys/bus/acpi/devices/PNP0C80:*").check()
    # That more may be added, above 4 GB, takes no memory of the peer's.
    g.run("kjump load --append='lab.name=B lab.mount=0'", timeout=300).check()
    g.jump("kjump switch", to="B")
    g.qmp("device_del", id="dimm")
    g.run("until dmesg | grep -q 'is not ejected'; do usleep 100000; done").check()
    assert dmesg(g, r"kexec_jump: PNP0C80:\d+ is not ejected: the preserved kernel may use it")
    own = g.run("grep MemTotal /proc/meminfo").out
    g.qmp("object-add", **{"qom-type": "memory-backend-ram", "id": "more", "size": BLOCK})
    g.qmp("device_add", driver="pc-dimm", id="dimm2", memdev="more")
    g.run("until dmesg | grep -q 'is not added: it is not in the window'; do usleep 100000; done").check()
    assert g.run("grep MemTotal /proc/meminfo").out == own
    g.jump("kjump back", to="A")
    assert '"dimm"' in g.monitor("info memory-devices") and g.run("grep MemTotal /proc/meminfo").out == total


@pytest.mark.parametrize("variant", ["x86_64"])
def test_entry_in_free_memory(boot, variant):
    """Looking for a jump page in a page that must not be touched is no oops."""
    g = boot(variant, disks=False, net=False, append="debug_pagealloc=on")
    assert dmesg(g, "debug_pagealloc")
    (_, last) = ranges(g.run("grep 'System RAM' /proc/iomem").out)[-1]
    # Free pages have no mapping. Most of 512 MB are free.
    for entry in range(256 * MB, last, 16 * MB):
        assert result_of(g.run(f"kload -e {entry:#x} -s 0:0").out) == errno.ENOEXEC
    assert len(dmesg(g, "kexec_jump: entry .* no memory that can be read")) >= 4
    assert result_of(load(g)) == 0 and reboot(g) == [0]
