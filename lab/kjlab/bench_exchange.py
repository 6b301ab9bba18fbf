# SPDX-License-Identifier: GPL-2.0
"""lab/bench: how fast two pages are exchanged on this machine itself, not in QEMU (lab/native/exchange.c)."""
import re

from .initramfs import bits
from .util import BUILD, ROOT, run

NATIVE = ROOT / "lab/native"


def measure(variant, runs):
    """{way: MB/s of each of the two}, the best of so many runs. Each checks what it exchanged."""
    program = BUILD / "native" / f"exchange-{variant}"
    program.parent.mkdir(parents=True, exist_ok=True)
    run("gcc", *bits(variant), "-O2", "-Wall", "-Wextra", "-Werror", "-I", ROOT / "arch/x86/kernel", "-o", program,
        NATIVE / "exchange.c", NATIVE / "exchange.S", what="building exchange")
    return {way: int(speed) for way, speed in re.findall(r"(\w+)=(\d+)", run(program, runs))}


def table(variant, found):
    """Print what was measured, against three copies."""
    print(f"\n{variant}, native: pages exchanged, of a window of 256 MB with backup pages in random places")
    for way, speed in found.items():
        print(f"  {way:14} {speed / 1000:.2f} GB/s  {speed / found['three_copies']:.2f}")
