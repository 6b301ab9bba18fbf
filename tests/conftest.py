# SPDX-License-Identifier: GPL-2.0
"""Fixtures: which kernel (variant), and booting guests (boot)."""
import pathlib
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lab"))
sys.dont_write_bytecode = True

from kjlab.guest import Guest  # noqa: E402


@pytest.fixture(params=["x86_64", "i386"])
def variant(request):
    """The kernels most tests run on. A test that wants others parametrizes "variant" itself."""
    return request.param


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "setup":
        item.failed_phase = None
    if report.failed:
        item.failed_phase = report.when


@pytest.fixture
def boot(request):
    """boot(variant, smp=2, ...): a running Guest, ended with the test.

    When the test is over, the kernel log of every guest must be free of
    trouble. boot(..., allow=[regex]) excuses lines, allow=None all of them.
    """
    guests = []

    def start(variant, *, allow=(), **kw):
        g = Guest(variant, label=f"{request.node.name}-{len(guests)}", **kw)
        guests.append((g, allow))
        return g

    yield start
    failed = getattr(request.node, "failed_phase", None)
    troubled = None
    for g, allow in guests:
        if not failed and allow is not None:
            try:
                g.check_log(allow)
            except Exception as e:      # reported below, once every guest is ended
                troubled = troubled or e
        if failed or troubled:
            kept = g.save_artefacts()
            print(f"logs kept in {kept}")
        g.close()
    if troubled:
        raise troubled
