# SPDX-License-Identifier: GPL-2.0
"""A display: it shows what it did, whatever the other kernel had to say on it meanwhile."""
import re

import pytest

from images import DEVICE, RESTORE, resume
from jumps import JUMP, load_kernel, load_way_back
from kjlab.guest import Guest

# What the machine's first kernel is started with, and what it calls its console then.
MODES = {"text": ("", "VGA+ 80x25"), "vesa": ("vga=0x317", "frame buffer device 128x48"),
         "uefi": ("", "frame buffer device")}
# Also when it asks what came of it, the kernel that is jumped to speaks there.
CONSOLE = "console=tty0"


def on(boot, variant, mode, tmp_path, **kw):
    """A guest with a display, and words on it."""
    append, console = MODES[mode]
    uefi = Guest.uefi(tmp_path) if mode == "uefi" else []
    g = boot(variant, smp=2, append=append, net=False, workdir=tmp_path, qemu_args=["-device", "VGA", *uefi], **kw)
    assert console in g.run("dmesg | grep 'Console: '").check().out
    # Without the cursor, which is on or off at the moment.
    g.run("for n in $(seq 9); do echo What was on the screen: line $n; done >/dev/tty1; printf '\\033[?25l' >/dev/tty1; "
          "sleep 1").check()
    return g


def text(g):
    """What the display's memory holds in text mode, shown or not: 80 characters a line, each with its colours."""
    words = re.findall(r"0x([0-9a-f]{4})\b", re.sub(r"^\w+:", "", g.monitor("xp/16384hx 0xb8000"), flags=re.M))
    return "".join(chr(int(word[2:], 16)) for word in words)


@pytest.mark.parametrize("variant,mode", [("x86_64", "text"), ("i386", "text"), ("x86_64", "vesa"), ("i386", "vesa"),
                                          ("x86_64", "uefi")])
def test_jumps(boot, variant, mode, tmp_path):
    """The peer uses the display as it finds it; once it is gone the picture is the one from before."""
    g = on(boot, variant, mode, tmp_path, disks=False)
    before = g.picture()
    load_kernel(g, append=CONSOLE)
    for n in range(2):
        g.jump(JUMP if not n else "kjreboot", to="B")
        if not n:
            load_way_back(g)
        # Not the kernel alone.
        shown = g.picture()
        assert shown != before
        g.run("echo Here is another one >/dev/tty1; sleep 1").check()
        assert g.picture() != shown
        if mode == "text":
            assert "Here is another one" in text(g)
        g.jump("kjreboot", to="A")
        assert g.picture() == before


@pytest.mark.parametrize("mode", ["text", "uefi"])
def test_hibernate(boot, mode, tmp_path):
    """What saves the system says so there; the machine that is switched on again shows what it showed."""
    g = on(boot, "x86_64", mode, tmp_path, blank=512)
    before = g.picture()
    g.run(f"kjump load --append='lab.name=B lab.mount=0 {CONSOLE}'", timeout=300).check()
    with g.seen_when_off(f"kjump hibernate --force {DEVICE}", timeout=300):
        assert g.picture() != before
        if mode == "text":
            assert re.search(r"saved \d+", text(g)), text(g)
    g.check_log()
    g.close()
    g = resume(boot, g, append=f"{RESTORE} {MODES[mode][0]}")
    assert g.picture() == before
