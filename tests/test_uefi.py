# SPDX-License-Identifier: GPL-2.0
"""A machine with UEFI: other holes in its memory, and services of the firmware that stay."""
import pytest

from images import RESTORE, hibernate, resume
from jumps import MB, at_work, iomem, ranges, sysfs
from kjlab import efivars
from kjlab.guest import Guest


def check_services(g, before, name):
    """The firmware's services are there: they tell what they told, and write."""
    assert efivars.variables(g) == before
    new = efivars.write(g, name)
    now = efivars.variables(g)
    assert set(now) - set(before) == {new} and before.items() <= now.items()
    return now


@pytest.mark.parametrize("memory,append", [("1G", "memmap=64K$24M memmap=1M$60M memmap=16K$250M memmap=2M$400M"), ("8G", "")],
                         ids=["holes", "8G"])
def test_hibernate(boot, memory, append, tmp_path):
    """The window is where there is room; the machine resumes, again and again, and its firmware's services with it."""
    g = boot("x86_64", smp=2, memory=memory, net=False, blank=512, workdir=tmp_path, qemu_args=Guest.uefi(tmp_path),
             append=append)
    assert g.run("ls -d /sys/firmware/efi").rc == 0
    # The piece of RAM from 1 MB on, where a BIOS's machine has its window, is too small.
    ram = iomem(g, "System RAM")
    (first,) = [end for start, end in ram if start == MB]
    assert first < 16 * MB
    with at_work(g, mb=8, tmpfs_mb=8) as work:
        g.run("kjump load --ready", timeout=300).check()
        start, end = ranges(sysfs(g, "image_window"))[-1]
        assert start > first and end - start >= 48 * MB
        assert any(a <= start and end <= b for a, b in ram)
        before = check_services(g, efivars.variables(g), "KjumpBefore")
        for n in range(2):
            hibernate(g)
            work.g = g = resume(boot, g, append=f"{RESTORE} {append}")
            work.check()
            before = check_services(g, before, f"KjumpResumed{n}")
