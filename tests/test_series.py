# SPDX-License-Identifier: GPL-2.0
"""The series is fit to be sent: it applies, builds either way, and the kernel's checkers are content."""
import re

import pytest

from kjlab import kernel, lint, packages, tree
from kjlab.util import BUILD, COMPILER, ROOT, VARIANTS, LabError, run


def test_applies_to_every_offered_version():
    offers = list(packages.sources(tree.SOURCE))
    assert offers
    for apt, versions in offers:
        for version in versions:
            changed = lint.apply_to_version(apt, tree.SOURCE, version)
            assert "kernel/kexec_core.c" in changed


def test_applies_to_the_newest():
    """If that is a base it was made for; else it may apply, or not, and who tries it is told."""
    (apt, source, version, base), _ = lint.newest()
    try:
        changed = lint.apply_to_version(apt, source, version, base, lint.SELFTESTS)
        assert "kernel/kexec_core.c" in changed
    except LabError as e:
        assert base not in tree.known_bases(), e


@pytest.mark.parametrize("patch", [p.name for p in tree.patches()])
def test_checkpatch(patch):
    tree.write_series()
    (mail,) = (BUILD / "series").glob(patch[:4] + "-*.patch")
    assert lint.checkpatch(mail) == ""
    assert lint.misspelled(mail) == ""


def test_cover_letter():
    """It says what the patches say, and none of them is told apart by a number that it does not have."""
    mails = tree.write_series()
    (letter,) = (BUILD / "series").glob("0000-*")
    text = letter.read_text()
    assert "***" not in text and f"[PATCH 00/{len(mails)}]" in text
    for number, title in {13: "table of steps", 24: "several peers", 29: "use the new kexec jump", 30: "does not come back any more",
                          31: "confine", 32: "panic", 33: "watchdog", 34: "watchdog", 35: "watchdog", 36: "SEV",
                          37: "KUnit", 38: "selftests", 39: "Documentation", 40: "Documentation"}.items():
        assert re.search(rf"\((?:\d+, )?{number}(?:, \d+)?\)", text) and re.search(
            rf"^Subject: .*{title}", mails[number - 1].read_text().replace("\n ", " "), re.M), number


def test_readme_names_the_patches():
    """Each number it names is that of a patch with one of the files it names beside."""
    found = 0
    for line in (ROOT / "README.md").read_text().splitlines():
        files = re.findall(r"`([\w./-]+)`", line)
        for number in re.findall(r"\b00\d\d\b", line):
            (patch,) = tree.SERIES.glob(f"{number}-*.patch")
            assert any(re.search(rf"^(\+\+\+ b/|Overlay: ){re.escape(file)}", patch.read_text(), re.M) for file in files), line
            found += 1
    assert found > 5


def test_licenses_and_maintainers():
    mails = tree.write_series()
    assert lint.licenses_and_states() == ""
    assert "kexec@lists.infradead.org" in lint.recipients(mails[-1:]).splitlines()


def test_patches_are_short():
    """About 600 lines can be reviewed; a file is not cut."""
    for mail in tree.write_series():
        sizes = lint.sizes(mail)
        assert 0 < sum(sizes.values()) <= max([660, *sizes.values()]), mail.name


def test_no_new_warnings(variant):
    warnings, _ = lint.new_warnings(variant)
    assert warnings == []


def warnings_in(said):
    """Warnings about sources; the base's decompressor has more of them when its files are compiled one by one."""
    found = re.findall(r"^.*\.[chS]:\d+.*warning:.*|^.*objtool.*", said, re.M)
    return [w for w in found if "boot/compressed/misc." not in w and "boot/compressed/kaslr.c" not in w]


def test_builds_without_the_feature(variant):
    """Nothing of the series is called there; on i386 this is a kernel for one CPU."""
    objects, calls, said = lint.without_feature(variant)
    assert "kernel/kexec_core.o" in objects and calls == []
    assert warnings_in(said) == []


def test_each_file_is_built_on_those_below():
    """Of the kernel that jumps away: its Makefile names them from the bottom up, and none calls one further up."""
    folder = kernel.build("x86_64") / "obj/kernel/kexec_jump"
    nm = "nm" if COMPILER == "gcc" else f"llvm-nm{kernel.LLVM}"
    own = (ROOT / "kernel/kexec_jump/Makefile").read_text().partition("# This kernel as one that was")[0]
    order = re.findall(r"(\w+)\.o\b", own)
    above, found = {}, 0
    for name in reversed(order):
        symbols = [line.split()[-2:] for line in run(nm, folder / f"{name}.o").splitlines()]
        assert [f"{name}.c calls {above[s]}.c: {s}" for kind, s in symbols if kind == "U" and s in above] == []
        above |= {s: name for kind, s in symbols if kind == "T"}
        found += len(symbols)
    assert len(order) > 10 and found > 200


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
