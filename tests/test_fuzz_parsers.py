# SPDX-License-Identifier: GPL-2.0
"""Files and messages that others wrote: whatever is in them, kjump reads no memory but its own, and ends.

build/fuzz/fuzz/NAME FILE tries one input again; what made a fuzzer fail is in build/fuzz/fuzz/NAME.found/.
"""
import gzip
import os
import re
import subprocess

import pytest

from kjlab.initramfs import cpio
from kjlab.util import BUILD, ROOT, jobs, lock

from test_kjump_host import grub_cfg, built, core, kjump  # noqa: F401 (fixtures)

KJUMP = ROOT / "tools/power/kjump"
HERE = KJUMP / "fuzz"
SECONDS = int(os.environ.get("KJ_FUZZ_SECONDS", 20))
NAMES = sorted(p.stem for p in HERE.glob("*.c"))


def seeds(name, kjump, core, folder):
    """Inputs to begin with."""
    folder.mkdir()
    if name == "image":
        for how in "none", "lz4", "zstd":
            kjump("save", f"--compress={how}", "--from", core, folder / how)
    elif name == "vmcore":
        (folder / "core").write_bytes(core.read_bytes()[:65536])
    elif name == "bzimage":
        (folder / "kernel").write_bytes((BUILD / "x86_64/bzImage").read_bytes()[:32768])
    elif name == "initramfs":
        archive = cpio({"/init": HERE / "fuzz.h", "/sbin/kjump": HERE / "fuzz.h"})
        (folder / "plain").write_bytes(archive)
        (folder / "gzip").write_bytes(gzip.compress(archive))
        for tool in "lz4 -l -c", "zstd -c", "xz -c", "bzip2 -c":
            packed = subprocess.run(tool.split(), input=archive, capture_output=True)
            (folder / tool.split()[0]).write_bytes(packed.stdout)
    elif name == "message":
        (folder / "message").write_text(
            "action=hibernate\nroom=4096\ndisks=/dev/sda1%2520(mounted%2520on%2520/)%201%201%201%200123456789abcdef%20"
            "size%3D4096%3Bstart%3D0%3Blength%3D4096%3Bserial%3Dabc%0A\n")
    elif name == "grub":
        (folder / "grub.cfg").write_text(grub_cfg())
    else:
        (folder / "line").write_text('quiet root=/dev/sda1 "a b=c" -- x\nconsole=ttyS0 memmap=4M!1G')
    return folder


@pytest.fixture(scope="session")
def fuzzers():
    """Built with clang's fuzzer and address sanitizer; checksums are taken for right."""
    out = BUILD / "fuzz"
    with lock("fuzz"):
        subprocess.run(["make", "-s", f"-j{jobs()}", "-C", KJUMP, f"O={out}", "fuzz"], check=True)
    return out / "fuzz"


@pytest.mark.parametrize("name", NAMES)
def test_parser(fuzzers, kjump, core, tmp_path, name, record_property):
    found = fuzzers / f"{name}.found"
    found.mkdir(exist_ok=True)
    grown = tmp_path / "grown"
    grown.mkdir()
    # By a shell: what counts as the most memory it had would begin with what we once had.
    p = subprocess.run(["sh", "-c", '"$@"; exit $?', "sh", fuzzers / name, f"-max_total_time={SECONDS}",
                        "-timeout=60", "-rss_limit_mb=2048", "-max_len=262144", "-print_final_stats=1",
                        f"-artifact_prefix={found}/", grown, seeds(name, kjump, core, tmp_path / "seeds")],
                       capture_output=True, text=True, errors="replace")
    assert p.returncode == 0, p.stderr[-4000:]
    # It came further than its first inputs.
    assert any(grown.iterdir())
    record_property("inputs_of_parsers", re.search(r"stat::number_of_executed_units: +(\d+)", p.stderr)[1])
