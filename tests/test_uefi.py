# SPDX-License-Identifier: GPL-2.0
"""A machine with UEFI: other holes in its memory, and services of the firmware that stay."""
import shutil

import pytest

from images import hibernate, resume
from jumps import MB, at_work, iomem, ranges, sysfs

CODE, VARS = "/usr/share/OVMF/OVMF_CODE_4M.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"


@pytest.fixture
def uefi(boot, tmp_path):
    """uefi(...): a guest that OVMF boots; its variables are kept in a file, as on a board."""
    shutil.copy(VARS, tmp_path / "vars.fd")
    flash = [x for n, (file, more) in enumerate(((CODE, ",readonly=on"), (tmp_path / "vars.fd", "")))
             for x in ("-drive", f"if=pflash,unit={n},format=raw,file={file}{more}")]

    def start(**kw):
        return boot("x86_64", smp=2, net=False, blank=512, workdir=tmp_path, qemu_args=flash, **kw)
    return start


@pytest.mark.parametrize("memory", ["512M", "8G"])
def test_hibernate(boot, uefi, memory):
    """The window is where there is room; the machine resumes, again and again."""
    g = uefi(memory=memory)
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
        for _ in range(2):
            hibernate(g)
            work.g = g = resume(boot, g)
            work.check()
