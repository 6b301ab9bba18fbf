# SPDX-License-Identifier: GPL-2.0
"""Fixtures: which kernel (variant), and booting guests (boot)."""
import collections
import os
import pathlib
import shutil
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "lab"))
sys.dont_write_bytecode = True

from jumps import BOTH  # noqa: E402
from kjlab.guest import Guest  # noqa: E402
from kjlab.kernel import SMALL  # noqa: E402
from kjlab.util import BUILD  # noqa: E402

Machine = collections.namedtuple("Machine", "variant kw")
MACHINES = {
    "x86_64": Machine("x86_64", {"smp": 2}),
    "i386": Machine("i386", {"smp": 2}),
    # Has page tables of two levels, and drivers for one CPU and no disk but virtio's.
    SMALL: Machine("i386", {"kernel": BUILD / SMALL / "bzImage", "disks": False, "net": False}),
}


# Seconds that the longest tests take on 2 idle cores. Not a limit: the order is made from it.
LONG = {"test_set_up_used_and_purged": 250, "test_image": 200, "test_leaks": 150, "test_jumps": 150,
        "test_installs_what_it_needs": 150, "test_ten_thousand_calls": 120, "test_cycles": 120, "test_snapshots": 120,
        "test_fuzzed_pages": 100, "test_ring": 100, "test_kjump": 100, "test_cuts": 100,
        "test_a_user_without_sudo_is_told": 100, "test_drivers_are_modules": 100,
        "test_applies_to_every_offered_version": 100, "test_missing_and_changed": 80, "test_no_new_warnings": 80,
        "test_round_trips": 60, "test_processors": 60, "test_compiles_with_debians_configuration": 50,
        "test_claimed": 50, "test_highmem": 40, "test_compiles_for_superh": 40}


def pytest_configure(config):
    config.addinivalue_line("markers", "essential: a main story, to be tried on every base (-m essential)")
    config.addinivalue_line("markers", "everywhere: of those, what every check tries on the other bases, too")


def pytest_collection_modifyitems(config, items):
    """Long tests first, so that at the end no worker waits for another one's.

    Each worker of xdist is given a part of the list to begin with, a quarter of
    its share, and then a few at a time.
    """
    items.sort(key=lambda item: -LONG.get(item.originalname, 0))
    workers = getattr(config, "workerinput", {}).get("workercount", 1)
    first = max(len(items) // (4 * workers), 2) * workers
    items[:first] = [item for n in range(workers) for item in items[n:first:workers]]


@pytest.fixture(params=["x86_64", "i386"])
def variant(request):
    """The kernels most tests run on. A test that wants others parametrizes "variant" itself."""
    return request.param


# What only the tool has a part in is tried on one architecture; on both with KJ_BOTH=1, as in lab/soak.
@pytest.fixture(params=["x86_64", "i386"] if BOTH else ["x86_64"])
def either(request):
    """A variant, for what is the same on both."""
    return request.param


@pytest.fixture(params=["x86_64", "i386", "i386-small"])
def machine(request):
    """boot(machine.variant, **machine.kw): for what also depends on the page tables; others parametrize it."""
    return MACHINES[request.param]


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    report = (yield).get_result()
    if report.when == "setup":
        item.failed_phase = None
    if report.failed:
        item.failed_phase = report.when


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_teardown(item):
    """Disks and memory images of all tests together would be more than a disk has: only a failed test's stay."""
    outcome = yield
    folder = item.funcargs.get("tmp_path")
    # A file's own tmp_path may be gone by now.
    if folder and folder.exists() and not item.failed_phase and not outcome.excinfo:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def booted(tmp_path_factory):
    """Where guests that have booted are kept for the tests of this run, whichever worker runs them.

    With KJ_BOOT=1 each boots by itself, and is laid out in memory by its own random numbers."""
    if os.environ.get("KJ_BOOT"):
        return None
    own = tmp_path_factory.getbasetemp()
    return (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / "booted"


def pytest_sessionfinish(session):
    """Of what is kept there, each is as large as a guest's memory."""
    if "PYTEST_XDIST_WORKER" not in os.environ:
        shutil.rmtree(session.config._tmp_path_factory.getbasetemp() / "booted", ignore_errors=True)


@pytest.fixture
def boot(request, booted):
    """boot(variant, smp=2, ...): a running Guest, ended with the test.

    When the test is over, the kernel log of every guest must be free of
    trouble. boot(..., allow=[regex]) excuses lines, allow=None all of them.
    """
    guests = []

    def start(variant, *, allow=(), **kw):
        g = Guest(variant, label=f"{request.node.name}-{len(guests)}",
                  **{"booted": booted} | kw)
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
            # Among the last lines of the report.
            print(f"{g.fate()}; logs: {g.save_artefacts()}")
        g.close()
    if troubled:
        raise troubled
