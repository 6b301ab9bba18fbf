# SPDX-License-Identifier: GPL-2.0
"""What the lab itself promises: the other tests stand on it."""
import os
import re
import select
import subprocess
import sys
import time

import pytest

from kjlab import bench_exchange, guest, kernel, packages, timeline, tree, util
from kjlab.echo import EchoServer
from kjlab.guest import GuestError
from kjlab.util import LAB, LabError


def fields(line):
    return dict(re.findall(r"(\w+)=(\w+)", line))


@pytest.mark.parametrize("variant,smp", [("x86_64", 1), ("x86_64", 4), ("i386", 1), ("i386", 2)])
def test_guest_boots(boot, variant, smp):
    g = boot(variant, smp=smp, booted=None)
    assert int(g.run("nproc").check().out) == smp
    machine = "x86_64" if variant == "x86_64" else "i686"
    assert g.run("uname -m").out == machine
    assert g.run("ls /boot").out.split() == ["bzImage", "initramfs.img", "lost+found", "rootfs.gz"]
    g.power_off()


def test_cpus_at_once(boot):
    """The CPUs of all guests here run at the same time."""
    if not packages.qemu_command()[1]:
        pytest.skip("no QEMU of at least 11 is to be had: the CPUs of all guests have taken turns")
    g = boot("x86_64", smp=2, disks=False, net=False)
    with open(f"/proc/{g.qemu.pid}/cmdline") as f:
        assert "tcg,thread=multi" in f.read().split("\0")


def test_guest_goes_on(boot, tmp_path, monkeypatch):
    """From one that has booted: it is another one, with its own disks, random numbers and the time of day."""
    # However full this disk is: what is kept here is small.
    monkeypatch.setattr(guest, "KEPT_ROOM", 0)
    kept, ids = tmp_path / "kept", []
    for n in range(3):
        g = boot("x86_64", disks={"ahci": "ide-hd,bus=ide.0"}, net=False, booted=kept)
        assert bool(g.state) == (n > 0) and len(list(kept.iterdir())) == 1
        assert "Linux version" in g.log()
        assert abs(int(g.run("date +%s").out) - time.time()) < 5
        ids.append(g.run("cat /proc/sys/kernel/random/uuid").out)
        assert g.run("head -c 4 /dev/sda | od -An -tx4").out.split() == ["00000000"]
        g.run(f"printf {n}xxx | dd of=/dev/sda conv=notrunc 2>/dev/null; sync").check()
        g.close()
    assert len(set(ids)) == 3
    # Another machine is not like it.
    g = boot("x86_64", disks={"ahci": "ide-hd,bus=ide.0"}, net=False, memory="256M", booted=kept)
    assert not g.state and len(list(kept.iterdir())) == 2


def test_guest_shell(boot):
    g = boot("x86_64", disks=False, net=False)
    assert g.run("false").rc == 1
    assert g.run("printf 'a b\\n  c'").out == "a b\n  c"
    assert g.run("echo \"it's $((6 * 7))\" '$HOME'").out == "it's 42 $HOME"
    assert g.run("cat").out == ""               # stdin is empty, the next command is safe
    g.run("cd /tmp; x=1")                       # the shell keeps its state
    assert g.run("pwd; echo $x").out == "/tmp\n1"
    assert len(g.run("seq 20000").out.split()) == 20000
    with pytest.raises(GuestError, match="nothing after 1 s"):
        g.run("sleep 5", timeout=1)
    g.expect_kernel("A")
    with pytest.raises(GuestError, match="ended the shell"):
        g.run("exit 3")                         # and a new one takes its place
    assert g.run("echo again").out == "again"
    assert "running" in g.monitor("info status")


def test_kernel_log_is_checked(boot):
    g = boot("x86_64", disks=False, net=False, allow=["made up"])
    g.check_log()
    g.run("echo 'BUG: made up' >/dev/kmsg")
    with pytest.raises(GuestError, match="BUG: made up"):
        g.check_log()


def test_guest_ends_with_the_lab(tmp_path):
    """Also when the lab is killed: no QEMU stays behind."""
    lab = (f"import sys; sys.path.insert(0, {str(LAB)!r}); from kjlab.guest import Guest; "
           f"print(Guest('x86_64', workdir={str(tmp_path)!r}).qemu.pid, flush=True); input()")
    with subprocess.Popen([sys.executable, "-B", "-c", lab], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as p:
        qemu = os.pidfd_open(int(p.stdout.readline()))
        assert not select.select([qemu], [], [], 0)[0]
        p.kill()
    assert select.select([qemu], [], [], 60)[0]
    os.close(qemu)


def test_workload(boot, variant):
    with EchoServer() as echo:
        g = boot(variant, smp=2)
        g.run("lab-disks").check()
        g.run("lab-net").check()
        g.run(f"workload start -t 10.0.2.2:{echo.port} -t 10.0.3.2:{echo.port} "
              "/mnt/virtio /mnt/ahci /mnt/nvme").check()
        least = {"counter": 50, "mem_rounds": 0, "disk_rounds": 0, "tcp_rounds": 0}
        for _ in range(60):
            now = fields(g.run("usleep 500000; workload status").check().out)
            if all(int(now[what]) > n for what, n in least.items()):
                break
        assert now["mem"] == "ok" and now["errors"] == "0"
        for what, n in least.items():
            assert int(now[what]) > n, what
        g.run("workload stop").check()
        g.run("lab-disks -u").check()


def test_workload_notices(boot):
    """An echo server that goes away is an error, not silence."""
    g = boot("x86_64", disks=False)
    g.run("lab-net").check()
    g.run("workload start -m 1 -t 10.0.2.2:1 /nowhere").check()
    g.run("until [ $(workload status | sed 's/.* errors=//; s/ .*//') -ge 2 ]; do usleep 100000; done")
    r = g.run("workload stop")
    assert r.rc == 1
    assert "connect" in r.out and "open: No such file" in r.out


def test_small_programs(boot, variant):
    g = boot(variant, disks=False, net=False)
    filled = g.run("memfill 0x5a5a5a5a5a5a5a5a 64").check().out
    assert filled == "filled=65536 kB ok"
    g.run("echo hello >/tmp/f").check()
    assert g.run("pagesum /tmp/f").check().out.split()[1] == "1"
    assert g.run("pagesum /tmp/f").out == g.run("cp /tmp/f /tmp/g; pagesum /tmp/g").out.replace("g", "f")
    assert "errno=" in g.run("kload -e 0x1000 -s 0x1001:0x10").out
    assert g.run("kload -u").check().out == "kexec_load: ok"
    assert "errno=22" in g.run("kjreboot").out
    # The benchmarks' data: the same on every architecture and each time.
    assert g.run("mixdata 2 | md5sum").out.split()[0] == "8bd92145a148005575dd8d98ac4c2305"
    for program in ("kexec --version", "makedumpfile -v"):
        g.run(program).check()


def test_memfill_takes_nearly_everything(boot):
    g = boot("i386", disks=False, net=False, memory="256M")
    kb = int(re.search(r"filled=(\d+) kB ok", g.run("memfill 0x1234", timeout=180).check().out)[1])
    assert kb > 150 << 10


TRACE = """
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
        kjreboot-103     [000] .....    10.000000: kexec_jump_step: tasks enter begin error=0
        kjreboot-103     [000] .....    10.002000: kexec_jump_step: tasks enter end error=0
        kjreboot-103     [000] .....    10.002000: kexec_jump_step: devices enter begin error=0
   kworker/u8:3-55       [001] .....    10.003000: device_pm_callback_start: nvme 0000:00:03.0, parent: pci0000:00, bus [freeze]
        kjreboot-103     [000] .....    10.004000: device_pm_callback_start: e1000 0000:00:05.0, parent: pci0000:00, bus [freeze]
        kjreboot-103     [000] .....    10.006000: device_pm_callback_end: e1000 0000:00:05.0, err=0
   kworker/u8:3-55       [001] .....    10.009000: device_pm_callback_end: nvme 0000:00:03.0, err=0
        kjreboot-103     [000] .....    10.010000: kexec_jump_step: devices enter end error=0
        kjreboot-103     [000] .....    10.010000: kexec_jump_step: devices leave begin error=0
        kjreboot-103     [000] .....    10.010500: device_pm_callback_start: e1000 0000:00:05.0, parent: pci0000:00, bus [restore]
        kjreboot-103     [000] .....    10.012500: device_pm_callback_end: e1000 0000:00:05.0, err=0
        kjreboot-103     [000] .....    10.014000: kexec_jump_step: devices leave end error=0
        kjreboot-103     [000] .....    10.014000: device_pm_callback_end: lost 0, err=0
"""


def test_timeline():
    """What lab/bench draws: steps and devices, going and coming back; those at work at the same time count once."""
    bars = timeline.bars(TRACE)
    assert [(b.what, b.device, round(b.start, 3), round(b.end, 3), b.back) for b in bars] == [
        ("tasks", False, 0, 2, False), ("devices", False, 2, 10, False), ("nvme 0000:00:03.0", True, 3, 9, False),
        ("e1000 0000:00:05.0", True, 4, 6, False), ("devices", False, 10, 14, True),
        ("e1000 0000:00:05.0", True, 10.5, 12.5, True)]
    assert list(timeline.chosen(bars)) == [(False, "tasks"), (False, "devices"), (True, "nvme 0000:00:03.0"),
                                           (True, "e1000 0000:00:05.0")]
    assert abs(timeline.drivers_share(bars) - 8 / 14) < 1e-6
    with pytest.raises(LabError, match="nothing was traced"):
        timeline.bars("# tracer: nop")


def test_native_exchange(variant):
    """The trampoline's exchange of pages, on this machine: exchange.c looks at every page afterwards."""
    found = bench_exchange.measure(variant, 1)
    assert {"three_copies", "sse2"} <= found.keys() and all(found.values())


def test_config_is_checked():
    have = "CONFIG_KEXEC=y\n# CONFIG_SMP is not set\n"
    kernel.check_config(have, {"KEXEC": "y", "SMP": "n", "UNHEARD_OF": "n"})
    with pytest.raises(LabError, match="CONFIG_SMP=y"):
        kernel.check_config(have, {"SMP": "y"})
    with pytest.raises(LabError, match="CONFIG_UNHEARD_OF=y"):
        kernel.check_config(have, {"UNHEARD_OF": "y"})


def test_feature_off_takes_its_options_along():
    want = kernel.wanted(tree.TREE, "x86_64", {"KEXEC_JUMP": "n"})
    assert want["KEXEC_JUMP"] == "n"
    assert not [s for s in want if s.startswith("KEXEC_JUMP_")]


def test_patch_file_format(tmp_path):
    p = tmp_path / "0001-x.patch"
    p.write_text("From: x\nSubject: [PATCH] kexec: do a\n thing\n\nWhy.\n\n"
                 "Overlay: kernel/a.c\nOverlay: kernel/b.c\n\nSigned-off-by: X <x@y>\n---\n")
    patch = tree.Patch(p)
    assert patch.message == "kexec: do a thing\n\nWhy.\n\nSigned-off-by: X <x@y>\n"
    assert patch.overlay == ["kernel/a.c", "kernel/b.c"]
    assert not patch.has_diff


def test_composing_is_idempotent():
    assert tree.compose() == tree.compose()
    before = tree.git("rev-parse", "HEAD")
    tree.compose(force=True)
    assert tree.git("rev-parse", "HEAD") == before


def test_newest_base():
    """It is what Debian's suites have now, for every command alike."""
    newest = subprocess.run([LAB / "lab", "newest"], stdout=subprocess.PIPE, text=True, check=True).stdout.strip()
    assert re.fullmatch(r"\d+\.\d+", newest) and tree.number(newest) > tree.number(util.DEFAULT_BASE)
    told = subprocess.run(["/usr/bin/python3", "-B", "-c", "from kjlab import util; print(util.BUILD)"], cwd=LAB,
                          env={**os.environ, "BASE": "newest"}, stdout=subprocess.PIPE, text=True, check=True).stdout
    assert told.strip() == str(util.SHARED / newest)


def test_other_bases():
    """What a whole check tries on them: each story, on both architectures."""
    others = subprocess.run([LAB / "lab", "other-bases"], stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    assert util.BASE not in others and set(others) <= set(tree.known_bases())
    said = subprocess.run(["/usr/bin/python3", "-B", "-m", "pytest", "-p", "no:cacheprovider", "--collect-only", "-q",
                           "-m", "everywhere", "-k", "not small"], cwd=LAB.parent, stdout=subprocess.PIPE, text=True).stdout
    stories = set(re.findall(r"::(\w+(?:\[[\w-]+\])?)$", said, re.M))
    each = "round_trips[%s-2]", "kjump[%s-little]", "snapshots[%s]", "many_calls[%s]", "exceptions[%s]", \
        "peer_panics[%s-4-3]", "selftest[%s]", "kunit[%s]"
    assert stories >= {"test_" + name % v for name in each for v in util.VARIANTS} | {"test_mainline_selftest"}


def test_patch_that_does_not_apply(tmp_path):
    p = tmp_path / "0001-x.patch"
    p.write_text("Subject: [PATCH] x\n\nWhy.\n---\n"
                 "diff --git a/Makefile b/Makefile\n--- a/Makefile\n+++ b/Makefile\n"
                 "@@ -1,3 +1,3 @@\n not\n-what is\n+there\n at all\n")
    env = {"GIT_INDEX_FILE": str(tmp_path / "index")}
    tree.git("read-tree", "base", env=env)
    with pytest.raises(LabError, match=r"0001-x.patch does not apply to Linux [\d.]+:\n"
                                       r"  the hunk for Makefile:1, \S+/0001-x.patch:8\n.*BASE=\d"):
        tree.commit(tree.Patch(p), "base", 1, env)


def test_a_base_may_have_a_diff_of_its_own(tmp_path):
    p = tmp_path / "0001-x.patch"
    p.write_text("Subject: [PATCH] x\n\nWhy.\n---\n--- a/Makefile\n+++ b/Makefile\n@@ -1,1 +1,1 @@\n-a\n+b\n")
    special = tmp_path / "9.9"
    assert "\n+b\n" in tree.Patch(p, special).diff
    special.mkdir()
    (special / "0001-x.diff").write_text("--- a/Makefile\n+++ b/Makefile\n@@ -2,1 +2,1 @@\n-a\n+c\n")
    patch = tree.Patch(p, special)
    assert "\n+c\n" in patch.diff and patch.message == "x\n\nWhy.\n"
    assert patch.hunk("Makefile", "2") == 3 and tree.Patch(p).hunk("Makefile", "1") == 7


def test_bases():
    """One that is not known yet is tried with what the last one before it has."""
    assert tree.known_bases()[0] == "6.12"
    for base, like in ("6.12", "6.12"), ("6.18", "6.12"), ("7.3", "7.3"), ("7.10", "7.3"), ("6.1", "6.12"):
        assert tree.base_folder(base).name == like
    p = subprocess.run([LAB / "lab", "tree"], env={**os.environ, "COMPILER": "tcc"}, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 1 and p.stdout == "lab: COMPILER=tcc is none of gcc, clang\n"
    p = subprocess.run([LAB / "lab", "tree"], env={**os.environ, "BASE": "new"}, text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    assert p.returncode == 1 and p.stdout.startswith("lab: BASE=new is neither") and "Traceback" not in p.stdout


def test_every_owned_file_is_in_exactly_one_patch(tmp_path):
    (tmp_path / "a.patch").write_text("Subject: a\n\nWhy.\n\nOverlay: Makefile\n---\n")
    (tmp_path / "b.patch").write_text("Subject: b\n\nWhy.\n\nOverlay: Makefile\n---\n")
    a, b = tree.Patch(tmp_path / "a.patch"), tree.Patch(tmp_path / "b.patch")
    tree.check_ownership([a], ["Makefile"])
    with pytest.raises(LabError, match="Makefile: named by both a.patch and b.patch"):
        tree.check_ownership([a, b], ["Makefile"])
    with pytest.raises(LabError, match="lab/lab"):
        tree.check_ownership([a], ["Makefile", "lab/lab"])
