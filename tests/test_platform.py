# SPDX-License-Identifier: GPL-2.0
"""What firmware and processor do for this system they do after a jump, too."""
import re

import pytest

from jumps import MB, RET, Console, assemble, load_ret, put_file, reboot, sysfs


@pytest.mark.parametrize("variant", ["x86_64"])
def test_acpi_events(boot, variant, tmp_path):
    """The power button works, though the peer knew nothing of ACPI."""
    console = Console(tmp_path)
    g = boot(variant, disks=False, net=False, qemu_args=console.qemu_args)

    def pressed():
        return int(g.run("cat /sys/firmware/acpi/interrupts/ff_pwr_btn").out.split()[0])

    def press():
        before = pressed()
        g.qmp("system_powerdown")
        g.until(lambda: pressed() > before, "the power button")

    press()
    put_file(g, assemble(variant, "events", RET, tmp_path)[1], "/tmp/events")
    g.run(f"kload -e {RET:#x} -s {RET:#x}:{MB}:/tmp/events").check()
    events = "grep -H . /sys/firmware/acpi/interrupts/* | grep -w enabled | sed 's/:.*//'"
    enabled = g.run(events).check().out
    assert "ff_pwr_btn" in enabled
    assert reboot(g) == [0]
    assert console.said().endswith("e")
    assert g.run(events).out == enabled
    press()


def processor(g, cpu):
    """Its instruction pointer."""
    registers = g.monitor("info registers -a").split(f"CPU#{cpu}\r\n")[1]
    return int(re.search(r"\b[RE]IP=([0-9a-f]+)", registers)[1], 16)


@pytest.mark.parametrize("variant", ["x86_64"])
def test_nosmt(boot, variant):
    """The siblings that are kept offline rest in the kernel, not in a state where any machine check is fatal."""
    g = boot(variant, smp="2,sockets=1,cores=1,threads=2", disks=False, net=False, append="nosmt")
    assert g.run("nproc").out == "1"
    load_ret(g, size=MB).check()
    assert processor(g, 1) > 0xffffffff80000000
    for _ in range(2):
        assert reboot(g) == [0]
        assert sysfs(g, "last") == "ok"
        assert processor(g, 1) > 0xffffffff80000000
        assert g.run("nproc").out == "1"
