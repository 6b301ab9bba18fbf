# SPDX-License-Identifier: GPL-2.0
"""Programs that use no devices are called while these are at work (KEXEC_NO_DEVICES)."""
import errno

import pytest

from images import FAILED
from jumps import MB, Console, assemble, at_work, build_programs, dmesg, iomem, put_file, reboot, result_of, sysfs
from test_round_trips import Clocks

PRESERVE, NO_DEVICES = 0x2, 0x400
CALLS = {"x86_64": 10000, "i386": 3000}


@pytest.fixture
def machine_at_work(boot, variant, tmp_path):
    console = Console(tmp_path)
    g = boot(variant, smp=2, memory="512M", qemu_args=console.qemu_args)
    console.said()
    return g, console


def load_at(g, tmp_path, at, name, *defines, flags=PRESERVE | NO_DEVICES):
    put_file(g, assemble(g.variant, name, at, tmp_path, *defines)[1], f"/tmp/{name}")
    return g.run(f"kload -f {flags:#x} -e {at:#x} -s {at:#x}:0x10000:/tmp/{name}").out


def load(g, tmp_path, name, *defines):
    """Where it can be: who is told that a page is in use takes another address. What was loaded is unloaded."""
    g.run("kload -u").check()
    for at in range(48 * MB, 400 * MB, 16 * MB):
        out = load_at(g, tmp_path, at, name, *defines)
        if result_of(out) == 0:
            return at
        assert result_of(out) == errno.EADDRNOTAVAIL and "choose another address" in dmesg(g, "window: the page at")[-1]
        assert sysfs(g, "image_entry") == "0x0"
    raise AssertionError("no place")


def test_ten_thousand_calls(machine_at_work, variant, tmp_path):
    """Disks, network and clocks go on as if nothing was; nothing is lost."""
    g, console = machine_at_work
    calls = CALLS[variant]
    with at_work(g) as work:
        load(g, tmp_path, "state")
        resumes = len(dmesg(g, "ahci|nvme|ata[0-9]"))
        clocks = Clocks(g)
        g.run(f"kjreboot -n {calls} >/tmp/calls; sort /tmp/calls | uniq -c >/tmp/results", timeout=600)
        assert g.run("cat /tmp/results").out.split() == [str(calls), "reboot:", "ret=0"]
        clocks.check()
        work.check()
        # Its memory was its own all the time, and no device had been suspended.
        assert int(console.said().split()[-1], 16) == calls and sysfs(g, "jumps") == str(calls)
        assert len(dmesg(g, "ahci|nvme|ata[0-9]")) == resumes
        # One that leaves nothing as it was.
        load(g, tmp_path, "rude")
        assert reboot(g, 20) == [0] * 20
        work.check()
    assert console.said() == 20 * "r"


def test_dies_and_refused(machine_at_work, tmp_path):
    g, console = machine_at_work
    with at_work(g) as work:
        kernel = iomem(g, "Kernel code")[0][0] // MB * MB
        assert result_of(load_at(g, tmp_path, kernel, "state")) == errno.EADDRNOTAVAIL
        assert "choose another address" in dmesg(g, "window: the page at")[-1]
        assert result_of(load_at(g, tmp_path, 256 * MB, "state", flags=NO_DEVICES)) == errno.EINVAL
        assert dmesg(g, "only what preserves the context can be called while devices are at work")
        # A kernel.
        (tmp_path / "kernel").write_bytes(bytes(0x202) + b"HdrS" + bytes(0x1000))
        put_file(g, tmp_path / "kernel", "/tmp/kernel")
        at = load(g, tmp_path, "state")
        other = at + 32 * MB
        out = g.run(f"kload -f {PRESERVE | NO_DEVICES:#x} -e {other:#x} -s {other:#x}:0x10000:/tmp/kernel").out
        assert result_of(out) == errno.EINVAL and dmesg(g, f"entry {other:#x}: only a program is called while devices are at work")
        # In the place of what is loaded.
        assert result_of(load_at(g, tmp_path, at, "state")) == errno.EADDRNOTAVAIL
        assert "what is loaded now; unload it first" in dmesg(g, "window: the page at")[-1]
        assert int(sysfs(g, "image_entry"), 0) == at and reboot(g) == [0]
        assert len(console.said().split()) == 5
        work.check()
        load(g, tmp_path, "fault", "-DOPCODE")
        assert reboot(g) == [errno.EOWNERDEAD] and sysfs(g, "image_entry") == "0x0"
        assert "exception 6 (invalid opcode)" in sysfs(g, "last")
        work.check()
        # With kjump, which tells a program something, and prints what it returns.
        g.run("kload -u").check()
        for at in range(48 * MB, 400 * MB, 16 * MB):
            (tmp_path / str(at)).mkdir()
            put_file(g, build_programs(g.variant, tmp_path / str(at), at=at) / "arguments.bin", "/tmp/args.bin")
            r = g.run(f"kjump call --no-devices --mem={at // MB}M /tmp/args.bin 0 words")
            if "Cannot assign requested address" not in r.out:
                break
        out = r.check().out
        assert 'argument 0: "/tmp/args.bin"' in out and 'argument 2: "words"' in out
        refused = g.run(f"kjump call --no-devices --mem={kernel // MB}M /tmp/args.bin")
        assert refused.rc == FAILED and "loading /tmp/args.bin" in refused.out
