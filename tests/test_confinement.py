# SPDX-License-Identifier: GPL-2.0
"""A kernel that was jumped to keeps to its window."""
import errno

from jumps import (JUMP, MB, Work, at_work, dmesg, iomem, jump_back_entry, load_kernel, load_ret, load_way_back,
                   ranges, reboot, result_of, sysfs, to_peer)


def inside(part, whole):
    return all(any(a <= start and end <= b for a, b in whole) for start, end in part)


def test_memory_filled(boot, variant):
    """The peer fills all the memory it can get: nothing of it was the preserved kernel's."""
    g = boot(variant, smp=2)
    with at_work(g, tmpfs_mb=128) as work:
        load_kernel(g, mem_max=64 * MB - 1)
        window = ranges(sysfs(g, "image_window"))
        # What was asked for, and below 640 KB what any peer needs.
        assert max(end for _, end in window) == 64 * MB - 1
        g.jump(JUMP, to="B")
        load_way_back(g)

        assert ranges(sysfs(g, "confined_to")) == window
        ram = iomem(g, "System RAM")
        assert ram and inside(ram, window)
        assert inside(iomem(g, "Kernel (?:code|rodata|data|bss)"), window)
        total = int(g.run("awk '/MemTotal/ {print $2}' /proc/meminfo").out)
        assert 30 << 10 < total < 64 << 10

        filled = g.run("memfill -k 0xb0b0b0b0b0b0b0b0", timeout=300).check().out
        assert " ok" in filled
        g.jump(JUMP, to="A")
        work.check()
        work.check_files()
        g.jump(JUMP, to="B")
        assert "BAD" not in g.run("memfill 0x0b0b0b0b0b0b0b0b").out
        g.jump(JUMP, to="A")
        work.check_files()


def test_kaslr(boot, variant):
    """It does not need nokaslr: it places itself at random, but in the window."""
    g = boot(variant, disks=False, net=False)
    places = set()
    for _ in range(4):
        load_kernel(g, mem_max=128 * MB - 1)
        window = ranges(sysfs(g, "image_window"))
        g.jump(JUMP, to="B")
        load_way_back(g)
        # On i386 this address is the physical one plus a constant. On x86_64 it
        # is independent of it, and the physical one has no choice: it is not
        # below where the kernel was loaded, which is at the window's end.
        places.add(g.run("awk '$3 == \"_text\" {print $1}' /proc/kallsyms").check().out)
        kernel = iomem(g, "Kernel (?:code|rodata|data|bss)")
        assert len(kernel) >= 3 and inside(kernel, window)
        assert inside(iomem(g, "System RAM"), window)
        g.jump(JUMP, to="A")
    assert len(places) > 1


def test_hidden_entry(boot, variant):
    """Wherever the word is that kexec appends, the peer keeps to its window."""
    g = boot(variant, smp=2)
    with at_work(g) as work:
        for hidden in "-- single", 'never="closed', "kexec_jump_back_entry=0x5000 -- single":
            load_kernel(g, append=hidden)
            window = ranges(sysfs(g, "image_window"))
            g.jump(JUMP, to="B")
            assert hidden in g.run("cat /proc/cmdline").out
            assert ranges(sysfs(g, "confined_to")) == window
            assert inside(iomem(g, "System RAM"), window)
            load_way_back(g)
            g.jump(JUMP, to="A")
            work.check()
        # Or it goes back, before it has written anywhere.
        load_kernel(g, append="x" * (2000 - len(g.peer_line("B"))))
        assert reboot(g) == [errno.EOWNERDEAD]
        assert sysfs(g, "last") == "peer died: cannot be confined: its command line is too long"
        work.check()
        work.check_files()


def test_peer_does_not_leave(boot, variant):
    """Its image would be without the kernel that waits for it, and the machine off. Nor does it start another kernel."""
    g = boot(variant, smp=2, disks=False, net=False)
    to_peer(g)
    r = g.run("echo disk >/sys/power/state")
    assert r.rc and "busy" in r.out, r
    assert dmesg(g, "kexec_jump: no hibernation: the kernel that jumped here would be lost; jump back")
    # What comes back is loaded otherwise.
    assert result_of(load_ret(g, options="-f 0").out) == errno.EBUSY
    assert dmesg(g, "kexec_jump: no other kernel is loaded: the one that jumped here would be lost; jump back")
    g.jump(JUMP, to="A")
    assert sysfs(g, "last") == "ok"


def test_other_paging_depth(boot):
    """A peer with 5-level paging cannot jump back to a kernel with 4, but spares its memory."""
    g = boot("x86_64", cpu="max", append="no5lvl", disks=False, net=False)
    load_kernel(g)
    window = ranges(sysfs(g, "image_window"))
    g.jump(JUMP, to="B")
    assert inside(iomem(g, "System RAM"), window)
    assert sysfs(g, "preserved") == "0"
    refused = g.run(f"kexec --load-jump-back-helper --entry={jump_back_entry(g):#x}")
    assert "Protocol not supported" in refused.out
    assert dmesg(g, "kexec_jump: entry .* with flags 0x0, this one is for 62 with 0x1")


def nmis(g):
    """NMIs each CPU that is online has taken."""
    return g.run("grep NMI: /proc/interrupts").check().out.split()[1:-2]


def test_other_cpus(boot, variant):
    """The preserved kernel's other CPUs do nothing until they are started, not even halt in its memory."""
    g = boot(variant, smp=3, disks=False, net=False)
    work = Work(g, disks=False)
    offline = "/sys/devices/system/cpu/cpu2/online"
    before = nmis(g)
    assert len(before) == 3
    g.run(f"echo 0 >{offline}").check()
    load_kernel(g, append="maxcpus=1")
    for turn in range(2):
        g.jump(JUMP, to="B")
        assert g.run("nproc").out == "1"
        # The local APIC sends an NMI to all other CPUs: it would wake them from HLT.
        g.run("devmem 0xfee00300 32 0xc4400").check()
        if not turn:
            load_way_back(g)
        g.jump(JUMP, to="A")
        # A CPU that was offline still is.
        assert g.run("nproc").out == "2"
        assert nmis(g) == before[:2]
        work.check()
    g.run(f"echo 1 >{offline}").check()
    assert nmis(g) == before
    work.end()
