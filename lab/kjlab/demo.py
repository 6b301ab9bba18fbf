# SPDX-License-Identifier: GPL-2.0
"""lab/demo: show it, live, on each architecture."""
import time

from . import initramfs, kernel
from .guest import Guest


def show(guest, cmd):
    print(f"kernel-{guest.name}# {cmd}")
    out = guest.run(cmd).check().out
    if out:
        print(out)


def story(variant):
    started = time.monotonic()
    print(f"\n== {variant} ==", flush=True)
    with Guest(variant, smp=2, label=f"demo-{variant}") as a:
        print(f"kernel A is up after {time.monotonic() - started:.1f} s")
        show(a, "uname -rm")
        show(a, "free -m")
        show(a, "ls -l /boot")
        a.check_log()
        a.power_off()


def main(variants):
    for variant in variants:
        kernel.build(variant)
        initramfs.build(variant)
    for variant in variants:
        story(variant)
    return 0
