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


def test_no_new_warnings(variant):
    warnings, _ = lint.new_warnings(variant)
    assert warnings == []


def test_builds_without_the_feature(variant):
    home = kernel.build_without(variant)
    assert "warning:" not in (home / "kernel.log").read_text()
    symbols = (home / "obj/System.map").read_text()
    assert not re.search(r" kexec_jump_(execute|load|panic|go)$", symbols, re.M)


@pytest.mark.parametrize("variant", VARIANTS)
def test_builds_without_warnings(variant):
    home = kernel.build(variant)
    assert "warning:" not in (home / "kernel.log").read_text()


def test_compiles_with_debians_configuration():
    objects = lint.debian_config()
    assert "kernel/kexec_jump/sequence.o" in objects
    # Headers of the base warn with this configuration, whatever includes them.
    warnings = re.findall(r"^.*\.[cS]:\d+.*warning:.*|^.*objtool.*", (BUILD / "debian/build.log").read_text(), re.M)
    assert warnings == []


def test_compiles_for_superh():
    assert lint.superh() == []
