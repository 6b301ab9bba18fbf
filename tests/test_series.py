# SPDX-License-Identifier: GPL-2.0
"""The series is fit to be sent: it applies, builds either way, and the kernel's checkers are content."""
import re

import pytest

from kjlab import kernel, lint, packages, tree
from kjlab.util import BUILD, VARIANTS


def test_applies_to_every_offered_version():
    offers = list(packages.sources(tree.SOURCE))
    assert offers
    for apt, versions in offers:
        for version in versions:
            changed = lint.apply_to_version(apt, version)
            assert "kernel/kexec_core.c" in changed


@pytest.mark.parametrize("patch", [p.name for p in tree.patches()])
def test_checkpatch(patch):
    tree.write_series()
    (mail,) = (BUILD / "series").glob(patch[:4] + "-*.patch")
    assert lint.checkpatch(mail) == ""
    assert lint.misspelled(mail) == ""


def test_no_new_warnings(variant):
    warnings, _ = lint.new_warnings(variant)
    assert warnings == []


def warnings_in(said):
    """Warnings about sources; the base's decompressor has more of them when its files are compiled one by one."""
    found = re.findall(r"^.*\.[cS]:\d+.*warning:.*|^.*objtool.*", said, re.M)
    return [w for w in found if "boot/compressed/misc.c" not in w and "boot/compressed/kaslr.c" not in w]


def test_builds_without_the_feature(variant):
    """Nothing of the series is called there; on i386 this is a kernel for one CPU."""
    objects, calls, said = lint.without_feature(variant)
    assert "kernel/kexec_core.o" in objects and calls == []
    assert warnings_in(said) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_builds_without_warnings(variant):
    home = kernel.build(variant)
    assert "warning:" not in (home / "kernel.log").read_text()


def test_compiles_with_debians_configuration():
    objects = lint.debian_config()
    assert "kernel/kexec_jump/sequence.o" in objects
    # Headers of the base warn with this configuration, whatever includes them.
    assert warnings_in((BUILD / "debian/build.log").read_text()) == []


def test_compiles_for_superh():
    assert lint.superh() == []
