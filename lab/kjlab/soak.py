# SPDX-License-Identifier: GPL-2.0
"""Tests in which chance has a part, in rounds with other seeds, for as long as wanted."""
import collections
import os
import random
import re
import shutil
import subprocess
import time
import xml.etree.ElementTree as ElementTree

from .util import BUILD, ROOT, LabError, say

TESTS = ("tests/test_round_trips.py", "tests/test_power_cut.py", "tests/test_fuzz.py",
         "tests/test_fuzz_parsers.py", "tests/test_hibernate.py", "tests/test_kjump_verbs.py",
         "tests/test_debug_kernel.py", "tests/test_disk_identities.py", "tests/test_disks_in_use.py",
         "tests/test_peers.py")
# In a round: calls of each kind of fuzzing of the kernel, seconds for each parser; and both architectures everywhere.
MORE = {"KJ_FUZZ_CALLS": "40000", "KJ_FUZZ_SECONDS": "300", "KJ_BOTH": "1", "KJ_BOOT": "1"}
HOME = BUILD / "soak"


def one_round(seed):
    """Run the tests with a seed: how much of what they did, {failed test: its last line}."""
    report = HOME / f"{seed}.xml"
    command = ["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "-n", "2", "-q", "--tb=short",
               "--reruns", "1", "--only-rerun", "QEMU itself failed", f"--junitxml={report}", *TESTS]
    with open(HOME / f"{seed}.log", "wb") as log:
        subprocess.run(command, cwd=ROOT, stdout=log, stderr=log,
                       env={**os.environ, "KJ_SEED": str(seed), **MORE})
    if not report.is_file():
        raise LabError(f"pytest did not run: {HOME}/{seed}.log")
    done, failed = collections.Counter(), {}
    for case in ElementTree.parse(report).iter("testcase"):
        name = f"{case.get('classname').replace('.', '/')}.py::{case.get('name')}"
        trouble = case.find("failure") if case.find("failure") is not None else case.find("error")
        if trouble is not None:
            failed[name] = ((trouble.text or "").strip().splitlines() or [""])[-1]
        elif case.find("skipped") is None:
            done["tests"] += 1
        for p in case.iter("property"):
            if re.fullmatch(r"\d+", p.get("value")):
                done[p.get("name").replace("_", " ")] += int(p.get("value"))
    return done, failed


def main(minutes):
    until = time.monotonic() + minutes * 60
    shutil.rmtree(HOME, ignore_errors=True)
    HOME.mkdir(parents=True)
    done, failures, seeds = collections.Counter(), [], []
    # A round that was begun is finished.
    while time.monotonic() < until:
        seeds.append(random.SystemRandom().randrange(1 << 32))
        say(f"round {len(seeds)}, seed {seeds[-1]} (two to three hours on 2 cores): {' '.join(TESTS)}")
        more, failed = one_round(seeds[-1])
        done += more
        for test, end in failed.items():
            failures.append((seeds[-1], test))
            say(f"FAILED: {test}: {end}")
    print(f"rounds with the seeds {' '.join(map(str, seeds))}:")
    for what, n in sorted(done.items()):
        print(f"{n:9} {what}")
    for seed, test in failures:
        print(f"FAILED {test}; logs: {HOME}/{seed}.log and {BUILD}/test-logs; again with:\n"
              f"  KJ_SEED={seed} {' '.join(f'{k}={v}' for k, v in MORE.items())} lab/check '{test}'")
    return 1 if failures else 0
