# SPDX-License-Identifier: GPL-2.0
"""Dumps of a running system, again and again, and what debuggers find in them."""
import filecmp
import os
import re

import pytest

from kjlab import dump
from kjlab.util import BASE, BUILD

from jumps import BOTH, at_work, sysfs
from images import DEVICE, REFUSED, check_fill, fill, host_kjump, make_disk, read_out


def report(g):
    """What the guest says of itself: {pid: command}, mount points."""
    # Kernel threads come, go and change their names.
    names = g.run("for d in /proc/[0-9]*; do readlink $d/exe >/dev/null && read -r name <$d/comm && "
                  "echo ${d#/proc/} $name; done 2>/dev/null")
    return dict(re.findall(r"^(\d+) (.*)$", names.out, re.M)), set(g.run("cut -d' ' -f2 /proc/mounts").out.split())


def change(g, n):
    """Another process, open file, mounted file system and line of the log than before."""
    g.run("killall -q sleep; umount /mnt/snap* 2>/dev/null; "
          f"mkdir /mnt/snap{n}; mount -t tmpfs tmpfs /mnt/snap{n}; echo >/mnt/nvme/held{n}; "
          f"echo snapshot number {n} >/dev/kmsg; sleep 1000{n} </mnt/nvme/held{n} & "
          f"until pidof sleep | grep -qx $!; do usleep 50000; done").check()
    tasks, mounts = report(g)
    (pid,) = [pid for pid, name in tasks.items() if name == "sleep"]
    return {"n": n, "tasks": tasks, "mounts": mounts, "sleep": pid}


def snapshot(g, file, options=""):
    out = g.run(f"kjump snapshot {options} {file}", timeout=400).check().out
    assert re.search(r"the system stood still for [\d.]+ s", out) and f"{file} is written" in out
    return out


def check_tasks(found, then):
    names = then["tasks"]
    assert len(names) >= 5 and {pid: found.get(pid) for pid in names} == names


def debug(variant, file, then, more=()):
    """crash finds what the guest reported, and not what it reported before or later.

    Returns what it says to more commands: to start it takes most of the time.
    """
    n, pid = then["n"], then["sleep"]
    tasks, bt, files, log, mount, system, jumped, *rest = dump.crash(variant, file, [
        "foreach set", f"bt {pid}", f"files {pid}", "log", "mount", "sys", dump.bt_of_jump(variant, file), *more])
    found = dict(re.findall(r'PID: (\d+)\s.*?COMMAND: "(.*?)"', tasks, re.S))
    check_tasks(found, then)
    assert "kjump" in found.values()
    assert re.search(r"hrtimer_nanosleep|do_nanosleep", bt) and f"PID: {pid}" in bt, bt
    assert re.search(rf"REG\s+/mnt/nvme/held{n}$", files, re.M), files
    assert re.findall(r"snapshot number (\d)", log) == [str(i) for i in range(1, n + 1)]
    assert then["mounts"] <= set(re.findall(r"\s(/\S*)\s*$", mount, re.M)), mount
    assert not re.search(rf"/mnt/snap[^{n}]", mount), mount
    assert f"RELEASE: {BASE}." in system, system
    assert 'COMMAND: "kjump"' in jumped, jumped
    # Not each function in between: on i386 crash goes by what looks like a return address, and misses some.
    assert re.search(r"\bkexec_jump_\w+ at .*\bkernel_kexec at ", jumped, re.S), jumped
    return rest


def ask_free(variant):
    """What free_frames() asks crash."""
    # Not the zones' MEM_MAP, which crash prints: on i386 that is a page off.
    base = "vmemmap_base" if variant == "x86_64" else "mem_map"
    return ["kmem -F", f"p/x (long){base}", "px sizeof(struct page)"]


def free_frames(listed, base, size):
    """Page frames on the free lists at the moment of the dump, from crash."""
    base, size = (int(text.split("=")[1], 0) for text in (base, size))
    frames, order = set(), None
    for line in listed.splitlines():
        if area := re.match(r"\s*(\d+)\s+\d+k\s", line):
            order = int(area[1])
        elif re.fullmatch(r"[0-9a-f]{8,16}", line.strip()):
            pfn, rest = divmod(int(line, 16) - base, size)
            assert (rest, pfn % (1 << order)) == (0, 0), line
            frames |= set(range(pfn, pfn + (1 << order)))
    return frames


def saved_frames(file):
    """Page frames that the dump has, not as a hole, from its headers."""
    frames = set()
    with open(file, "rb") as f:
        for kind, offset, paddr, size in dump.segments(file):
            at, end = offset, offset + size
            while kind == dump.PT_LOAD and at < end:
                try:
                    data = os.lseek(f.fileno(), at, os.SEEK_DATA)
                except OSError:     # no more
                    break
                at = os.lseek(f.fileno(), data, os.SEEK_HOLE)
                frames |= set(range((paddr + data - offset) >> 12, (paddr + min(at, end) - offset) >> 12))
    return frames


def check_frames(variant, free, disk, file, scratch):
    """Free pages are not in the image; what the dump has is what the image has."""
    r = host_kjump(variant, "extract", disk, scratch)
    assert r.returncode == 0, r
    assert filecmp.cmp(scratch, file, shallow=False)
    saved = saved_frames(scratch)
    os.unlink(scratch)
    assert len(free) > 1000 and len(saved) > 10000
    assert not free & saved, sorted(free & saved)[:100]


def check_with_drgn(file, vmlinux, then):
    import drgn
    from drgn.helpers.linux import d_path, find_task, for_each_file, for_each_task, get_dmesg
    prog = drgn.Program()
    prog.set_core_dump(str(file))
    prog.load_debug_info([str(vmlinux)])
    found = {str(t.pid.value_()): t.comm.string_().decode() for t in for_each_task(prog)}
    check_tasks(found, then)
    task = find_task(prog, int(then["sleep"]))
    paths = {d_path(f.f_path).decode() for _, f in for_each_file(task)}
    assert f"/mnt/nvme/held{then['n']}" in paths
    assert f"snapshot number {then['n']}\n".encode() in get_dmesg(prog) + b"\n"


@pytest.mark.essential
@pytest.mark.everywhere
def test_snapshots(boot, variant, tmp_path):
    """Three in a row, with changes in between, while the system works; the last with memory full."""
    disk = make_disk(tmp_path, "ahci", 1024)
    # No network cards: with memory full their drivers cannot but say in the log that they got none.
    g = boot(variant, smp=2, memory="320M", blank=384, net=False, workdir=tmp_path)
    then = []
    with at_work(g, mb=8, tmpfs_mb=8) as work:
        for n in 1, 2:
            then.append(change(g, n))
            snapshot(g, f"/mnt/ahci/dump{n}")
            work.check()
            # The memory it took is free again.
            assert sysfs(g, "shared_size") == "0"
            peer = sysfs(g, "image_entry")
        then.append(change(g, 3))
        fill(g, 32 << 10)
        r = g.run("kjump snapshot /mnt/ahci/dump3")
        assert r.rc == REFUSED and "use --via=DEVICE" in r.out, r
        snapshot(g, "/mnt/ahci/dump3", f"--via={DEVICE}")
        work.check()
        check_fill(g)
        r = g.run("kjump snapshot /mnt/ahci/dump3")
        assert r.rc == REFUSED and "is there already; --force" in r.out, r
        # What lies on the device is no image to be resumed: the system went on.
        r = g.run(f"kjump restore --check {DEVICE}")
        assert r.rc and "snapshot" in r.out, r
        # It is the same peer all the time, and was booted once.
        assert (sysfs(g, "jumps"), sysfs(g, "image_entry")) == ("3", peer)
        assert g.log().count("Linux version") == 2
        assert g.run("ls /mnt/ahci/*-part").rc
        g.run("killall sleep").check()
    for t in then:
        last = t["n"] == 3
        # To start crash for i386 takes more than a minute.
        if variant == "i386" and not last and not BOTH:
            continue
        file = read_out(disk, f"dump{t['n']}", tmp_path / "dump")
        said = debug(variant, file, t, ask_free(variant) if last else ())
        if variant == "x86_64":
            check_with_drgn(file, BUILD / variant / "vmlinux", t)
        if last:
            check_frames(variant, free_frames(*said), tmp_path / "blank.img", file, tmp_path / "extracted")
        os.unlink(file)
