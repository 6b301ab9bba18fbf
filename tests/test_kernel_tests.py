# SPDX-License-Identifier: GPL-2.0
"""Tests as kernel developers have them: KUnit at boot, kselftests in a guest; and mainline's own."""
import os
import re
import shutil

import pytest

from kjlab import kernel, lint, tree
from kjlab.initramfs import bits
from kjlab.util import BUILD, ROOT, run

from images import files_disk
from jumps import dmesg, sysfs

KUNIT = ROOT / "kernel/kexec_jump/tests/kexec_jump_test.c"
SELFTEST = "test_kexec_jump"
pytestmark = [pytest.mark.essential, pytest.mark.everywhere]


def results(text):
    """{name: passed} of KTAP lines, nested ones too."""
    return {name: not bad for bad, name in re.findall(r"^\s*(not )?ok \d+ -? ?([^#\n]*?)(?: # .*)?$", text, re.M)}


def test_kunit(boot, variant):
    # Later kernels of the lab would wait to be asked, as their configuration begins with allnoconfig.
    g = boot(variant, smp=2, disks=False, net=False,
             append="kunit.enable=1 kunit.autorun=1 kunit.filter_glob=kexec_jump")
    found = results(g.run("cat /sys/kernel/debug/kunit/kexec_jump/results").check().out)
    cases = re.findall(r"KUNIT_CASE\((\w+)\)", KUNIT.read_text())
    assert len(cases) > 10
    assert found == dict.fromkeys([*cases, "kexec_jump"], True), found
    # Nothing of it is left.
    assert not g.run("cat /sys/kernel/kexec_jump/image_window").out


def test_kunit_configuration():
    """.kunitconfig has all that the tests depend on."""
    obj = BUILD / "kunit" / "obj"
    want = kernel.parse((ROOT / "kernel/kexec_jump/.kunitconfig").read_text())
    kernel.configure(tree.TREE, obj, "x86_64", want | {"64BIT": "y"})


def guest_with(boot, variant, tmp_path, files, **kw):
    """A guest that has the files of a folder in /tmp/m."""
    g = boot(variant, smp=2, net=False, workdir=tmp_path, qemu_args=files_disk(tmp_path, files, 4), **kw)
    g.run("mkdir /tmp/m; mount -o ro /dev/vdc /tmp/m; cd /tmp/m").check()
    return g


def test_selftest(boot, variant, tmp_path):
    """Built as anybody builds it, and all of it passes."""
    tree.compose()
    out, files = tmp_path / "out", tmp_path / "files"
    files.mkdir()
    run("make", "-s", "-C", tree.TREE / "tools/testing/selftests", "TARGETS=kexec_jump", f"O={out}",
        f"CC=gcc {' '.join(bits(variant))}", f"ARCH={variant}", what="building the selftest",
        env={k: v for k, v in os.environ.items() if k != "MAKEFLAGS"})
    (built,) = out.rglob(SELFTEST)
    built.rename(files / SELFTEST)
    g = guest_with(boot, variant, tmp_path, files, allow=["kexec_jump: the peer died: exception 6"])
    r = g.run(f"./{SELFTEST}")
    found = results(r.out)
    assert r.rc == 0 and f"1..{len(found)}\n" in r.out and len(found) > 30, r
    assert all(found.values()), r
    assert dmesg(g, "kexec_jump: the peer died: exception 6")


def test_mainline_selftest(boot, tmp_path):
    """That of the newest kernel, unchanged. (It is for x86_64; ours does the same on both.)"""
    files = tmp_path / "kexec"
    shutil.copytree(lint.newest()[1] / lint.SELFTESTS[0], files)
    run("gcc", "-o", files / SELFTEST, files / f"{SELFTEST}.c", what="building mainline's selftest")
    shutil.copy(BUILD / "x86_64/obj/.config", files / "config")
    g = guest_with(boot, "x86_64", tmp_path, files)
    # Where the script looks for it.
    g.run("d=/lib/modules/$(uname -r); mkdir -p $d; cp config $d").check()
    for times in 1, 2:
        r = g.run(f"sh ./{SELFTEST}.sh")
        assert r.rc == 0 and "Success" in r.out and "kexec_jump succeeded [PASS]" in r.out, r
        assert sysfs(g, "jumps") == str(2 * times)
