# SPDX-License-Identifier: GPL-2.0
"""kjump by hand: calling programs, switching, saving in the peer, looking for images."""
import errno
import json
import os
import re
import struct
import subprocess

from jumps import (JUMP, MB, SYSFS, Console, Work, address_of, assemble, build_programs, dmesg, load_command, put_file,
                   ranges, reboot, stop_at, sysfs)
from images import BAD_IMAGE, DEVICE, FAILED, MEMORY_BOUND, NONE, OK, PEER, REFUSED, USAGE, resume, rss
from kjlab.util import BUILD
from test_kjump_host import edit_index, set_fields

AT = 32 << 20


def returns(g, command, rc, says=""):
    r = g.run(command, timeout=300)
    assert r.rc == rc and re.search(says, r.out), r
    return r.out


def newer_kexec(g):
    """kjump is to use one like Debian 13's, which calls kexec_file_load(2) unless told not to."""
    g.run("""printf '%s\\n' '#!/bin/sh' 'case " $* " in *" --kexec-syscall "*) exec kexec "$@" ;; esac' """
          """'echo not supported with kexec_file_load; exit 255' >/tmp/kexec; chmod 755 /tmp/kexec; """
          "echo kexec=/tmp/kexec >>/etc/kjump.conf").check()
    assert g.run("/tmp/kexec -u").rc == 255


def call_with_arguments(g, programs):
    """What a program is given and returns; what is wrong is found before anything is called."""
    for kind in "bin", "elf":
        put_file(g, programs / f"arguments.{kind}", f"/tmp/args.{kind}")
        said = returns(g, f"kjump call /tmp/args.{kind} 0 'two words' '' --help", OK)
        assert re.findall(r'argument (\d): "(.*)"', said) == [
            ("0", f"/tmp/args.{kind}"), ("1", "0"), ("2", "two words"), ("3", ""), ("4", "--help")]
    # In a row, each adds to the output; the first exit code that is not 0 counts.
    jumps = int(sysfs(g, "jumps"))
    said = returns(g, "kjump call --times=3 /tmp/args.bin 0 x", OK)
    assert re.findall(r'argument (\d)', said) == ["0", "1", "2"] * 3
    returns(g, "kjump call --times=2 /tmp/args.bin 7", 71, "/tmp/args.bin ended with 7$")
    assert int(sysfs(g, "jumps")) == jumps + 5
    # What was written until then is there; nothing, if there was nothing.
    for nth, times in (3, 2), (1, 0):
        g.run(f"echo old >/tmp/out; echo syscore {nth} >/sys/kernel/debug/kexec_jump/fail_step").check()
        returns(g, "kjump call --times=5 --output=/tmp/out /tmp/args.bin", FAILED, "the jump failed")
        assert g.run("cat /tmp/out").out == ("\n".join(times * ['argument 0: "/tmp/args.bin"']) or "old")
    # Its exit code; from 63 on, only in words.
    for code, rc in (1, 65), (62, 126), (63, 127), (4000000000, 127):
        returns(g, f"kjump call /tmp/args.bin {code}", rc, f"/tmp/args.bin ended with {code}$")
    # Any bytes, more than a page and no multiple of it; from a file, and from a pipe.
    g.run("dd if=/dev/urandom of=/tmp/in bs=1000 count=2501 2>/dev/null; echo old >/tmp/out").check()
    for command in ("kjump call --input=/tmp/in --output=/tmp/out --room=3M /tmp/args.bin",
                    "cat /tmp/in | kjump call --input=- --room=3M /tmp/args.bin >/tmp/out"):
        g.run(command).check()
        said, sums = g.run("head -n 1 /tmp/out; tail -c 2501000 /tmp/out | md5sum; md5sum </tmp/in; "
                           "wc -c </tmp/out").check().out.split("\n", 1)
        first, second, size = (line.split()[0] for line in sums.splitlines())
        assert said == 'argument 0: "/tmp/args.bin"' and first == second and int(size) == 2501000 + len(said) + 1
    # What there is no room for is lost, and what was in a file is not mixed with it.
    returns(g, "kjump call --room=8 --output=/tmp/out /tmp/args.bin", OK, "returned 8 bytes, in /tmp/out")
    assert g.run("cat /tmp/out").out == "argument"

    jumps = sysfs(g, "jumps")
    for words, rc, says in (
            ("--input=/tmp/none /tmp/args.bin", FAILED, "/tmp/none: No such file"),
            ("--input=/tmp /tmp/args.bin", FAILED, "/tmp: Is a directory"),
            ("--input=/dev/zero /tmp/args.bin", REFUSED, "/dev/zero: more than .*give it a part"),
            ("--output=/none/out /tmp/args.bin", FAILED, "/none/out: No such file"),
            ("--output=/tmp /tmp/args.bin", FAILED, "/tmp: Is a directory"),
            ("--output=/tmp/new --mem=1G /tmp/args.bin", FAILED, "loading /tmp/args.bin"),
            ("--output=/tmp/new --input=/tmp/none /tmp/args.bin", FAILED, "/tmp/none: No such file"),
            ("--room=1T /tmp/args.bin", REFUSED, "--room=1024.0 GB: more than a quarter"),
            ("--room=some /tmp/args.bin", USAGE, 'no size: "some"'),
            (f"/tmp/args.bin {'x ' * 64}", USAGE, "64 arguments, a program can be given 63.*--input"),
            ("/tmp/args.bin $(head -c 5000 /dev/zero | tr '\\0' x)", USAGE, "a program can be given 4096.*--input")):
        returns(g, f"kjump call {words}", rc, says)
        assert sysfs(g, "shared_size") == "0" and sysfs(g, "image_entry") == "0x0"
    assert sysfs(g, "jumps") == jumps and g.run("ls /tmp/new").rc
    # Called by others it is told nothing, and returns.
    g.run(f"kload -e {AT:#x} -s {AT:#x}:{MB}:/tmp/args.bin").check()
    assert reboot(g, 2) == [0, 0] and sysfs(g, "last") == "ok"
    g.run("kexec -u").check()


def call_damaged(g, variant, tmp_path):
    """A program that dies, or that leaves what makes no sense, is named; and the next one is called as ever."""
    put_file(g, assemble(variant, "fault", AT, tmp_path, "-DOPCODE")[1], "/tmp/fault")
    said = returns(g, "kjump call /tmp/fault", PEER, r"/tmp/fault died: exception 6 \(invalid opcode\), error code")
    at, byte = (int(n, 16) for n in re.search(r"instruction at (\w+), .*\(byte (\w+) of the file\)", said).groups())
    assert at == AT + byte and (tmp_path / "fault.bin").read_bytes()[byte:byte + 2] == b"\x0f\x0b"
    # struct kj_call: magic, output_at, output_size, state
    for byte, value, says in ((0, 1, "has overwritten what it was told"), (57, 255, "has overwritten what it was told"),
                              (75, 1, "says that it wrote 16777216 bytes, and there is room for 1048576"),
                              (80, 2, "ended in a state that does not exist: 2")):
        put_file(g, assemble(variant, "damage", AT, tmp_path, f"-DBYTE={byte}", f"-DVALUE={value}")[1], "/tmp/damage")
        returns(g, "kjump call --output=/tmp/damaged /tmp/damage", PEER, f"/tmp/damage {says}")
        assert g.run("ls /tmp/damaged").rc and sysfs(g, "shared_size") == "0"
    returns(g, "kjump call /tmp/args.bin 0 again", OK, "again")


def test_call(boot, variant, tmp_path):
    """Programs that know no operating system, flat and ELF, by kjump and by stock kexec."""
    console = Console(tmp_path)
    g = boot(variant, smp=2, memory="256M", disks=False, net=False, qemu_args=console.qemu_args)
    newer_kexec(g)
    high, _ = assemble(variant, "state", 96 * MB, tmp_path)
    put_file(g, high, "/tmp/high")
    for file, name in zip(assemble(variant, "state", AT, tmp_path), ("elf", "flat")):
        put_file(g, file, f"/tmp/{name}")

    def ran(times=1):
        """How often the program said to have been called; what it does not keep begins anew."""
        return [int(line.split()[-1], 16) for line in console.said().splitlines()] == list(range(1, times + 1))

    console.said()
    for jumps, name in enumerate(("flat", "elf", "high"), 1):
        returns(g, f"kjump call /tmp/{name}", OK, f"/tmp/{name} returned")
        assert ran() and sysfs(g, "last") == "ok" and sysfs(g, "jumps") == str(jumps)
        assert sysfs(g, "image_entry") == "0x0"
    # As in 2008.
    g.run("kexec --load-preserve-context --args-none /tmp/elf --mem-min=0x100000 --mem-max=0x3ffffff").check()
    assert reboot(g, 3) == [0] * 3 and ran(3)
    g.run("kexec -u").check()

    call_with_arguments(g, build_programs(variant, tmp_path))
    console.said()
    call_damaged(g, variant, tmp_path)
    console.said()

    # A peer that is loaded is not lost by accident.
    g.run("kjump load", timeout=300).check()
    peer, jumps = sysfs(g, "image_entry"), sysfs(g, "jumps")
    returns(g, "kjump call /tmp/flat", REFUSED, "a peer is loaded.*--force")
    returns(g, "kjump call --force /tmp/nothing", FAILED, "/tmp/nothing: No such file")
    g.run(": >/tmp/empty; cp /tmp/elf /tmp/other; "
          f"printf '\\{'003' if variant == 'x86_64' else '076'}' | dd of=/tmp/other bs=1 seek=18 conv=notrunc 2>/dev/null").check()
    returns(g, "kjump call --force /tmp/empty", FAILED, "/tmp/empty: there is nothing in it")
    returns(g, "kjump call --force /dev/null", FAILED, "/dev/null: no regular file")
    returns(g, "kjump call --force /tmp/other", REFUSED, "/tmp/other: an ELF program for another architecture")
    g.run("head -c 100 /tmp/elf >/tmp/cut").check()
    returns(g, "kjump call --force /tmp/cut", FAILED, "/tmp/cut: damaged, or there is nothing to load in it")
    returns(g, "kjump call --force --mem=4097 /tmp/flat", USAGE, "no address of a page")
    returns(g, "kjump call --force --mem=32M /tmp/elf", USAGE, "an ELF program says itself")
    returns(g, "kjump call --force --no-devices /tmp/elf", USAGE, "--no-devices is for flat programs")
    # Not RAM.
    returns(g, "kjump call --force --mem=1G /tmp/flat", FAILED, "loading /tmp/flat")
    assert sysfs(g, "image_entry") == peer and sysfs(g, "jumps") == jumps and not console.said()
    returns(g, "kjump call --force /tmp/flat", OK)
    assert ran() and sysfs(g, "image_entry") == "0x0"


def test_load(boot, variant):
    """What kjump load works out, and what it refuses; what was loaded stays."""
    g = boot(variant, memory="256M", disks=False, net=False)
    newer_kexec(g)
    returns(g, "kjump switch", NONE, "nothing to jump to is loaded; kjump load")
    # What the file says of its architecture, in xloadflags.
    g.run("cp /boot/bzImage /tmp/other; "
          f"printf '\\{0 if variant == 'x86_64' else 1}' | dd of=/tmp/other bs=1 seek={0x236} conv=notrunc 2>/dev/null").check()
    for words, rc, says in (("--window=2M", REFUSED, r"a window up to 2 MB is too small: .*use --window=\d+M"),
                            ("--window=2G", REFUSED, "a window up to 2048 MB: there is no RAM right below that"),
                            ("--window=5000", USAGE, "no size above 1M"),
                            ("--kernel=/nothing", FAILED, "kernel /nothing: No such file"),
                            ("--kernel=/bin/lab-shell", FAILED, "kernel /bin/lab-shell: not a bzImage"),
                            ("--kernel=/tmp/other", REFUSED, "kernel /tmp/other: it is for .* cannot jump to each other; name another"),
                            ("--append='quiet lockdown=integrity'", REFUSED, "locked down does not jump back; leave out lockdown=integrity"),
                            ("--initrd=/nothing", FAILED, "initramfs /nothing: No such file"),
                            ("--initrd=/bin/lab-shell", REFUSED, "initramfs /bin/lab-shell: not one")):
        returns(g, f"kjump load {words}", rc, says)
        assert sysfs(g, "image_entry") == "0x0"
    # Nor does stock kexec get it loaded.
    r = g.run(load_command(g).replace("/boot/bzImage", "/tmp/other"))
    assert r.rc and dmesg(g, "kexec_jump: the kernel image is for .*, and could not come back to this kernel"), r
    returns(g, "kjump load --append='lab.name=B lab.mount=0 one.word=1'", OK, "loading /boot/bzImage with /boot/initramfs.img")
    assert "loaded, window" in returns(g, "kjump status", OK, "last jump +none")
    window = sysfs(g, "image_window")
    start, end = ranges(window)[-1]
    assert start % (4 * MB) == 0 and end + 1 - start == 64 * MB
    returns(g, "kjump load --window=2M", REFUSED)
    assert sysfs(g, "image_window") == window
    # For kjump only: what shuts a system down would start a kernel that is loaded.
    loaded = "/sys/kernel/kexec_loaded"
    assert g.run(f"cat {loaded}").out == "0" and sysfs(g, "held") == "1"
    assert reboot(g) == [errno.EINVAL] and sysfs(g, "jumps") == "0"
    g.jump("kjump switch", to="B")
    line = g.run("cat /proc/cmdline").out.split()
    assert "one.word=1" in line and "kjump.serve" in line and "lab.name=B" in line
    assert not any(w.startswith("BOOT_IMAGE=") for w in line)
    g.jump("kjump back", to="A")
    assert g.run(f"cat {loaded}").out == "0" and sysfs(g, "held") == "1"
    head, *steps, total = (line.split() for line in returns(g, "kjump status --timing", OK).splitlines())
    assert [[name, float(there), float(back)] for name, there, back in steps] == \
        [[name, int(there) / 1000, int(back) / 1000] for name, there, back in
         (line.split() for line in sysfs(g, "steps").splitlines())]
    took = dict((name, (float(there), float(back))) for name, there, back in steps)
    assert head[0] == "step" and took["devices"] > (0, 0) and float(total[1]) >= took["devices"][0]
    returns(g, "kjump status --timing --json", USAGE, "one of --json, --timing and --kernel")
    # Stock kexec in both directions, for who wants it.
    g.run(f"echo 0 >{SYSFS}/held").check()
    assert g.run(f"cat {loaded}").out == "1"
    g.jump("kjump switch", to="B")
    g.jump("kjump back", to="A")
    assert g.run(f"cat {loaded}").out == "1"
    g.jump(JUMP, to="B")
    assert sysfs(g, "held") == "0"
    g.jump(JUMP, to="A")
    assert sysfs(g, "last") == "ok"
    # A new image is not held, and where none is there is nothing to hold.
    g.run("kload -u").check()
    assert g.run(f"echo 1 >{SYSFS}/held").rc and sysfs(g, "held") == "0"


def test_by_hand(boot, either, tmp_path):
    """Switch, save in the peer, go back; what was saved then is only to look at. Then for good."""
    more = [tmp_path / "copy.img", tmp_path / "stale.img"]
    for disk in more:
        disk.touch()
        os.truncate(disk, 320 * MB)
    machine = dict(smp=2, memory="256M", blank=320, net=False, workdir=tmp_path,
                   qemu_args=[a for d in more for a in ("-drive", f"file={d},if=virtio,format=raw")])
    g = boot(either, **machine)
    work = Work(g, mb=8, tmpfs_mb=8)
    assert json.loads(g.run("kjump status --json").check().out)["images"] == []
    # Whoever may not look does not know of any.
    assert json.loads(g.run("asuser kjump status --json").check().out)["images"] is None
    returns(g, "asuser kjump restore --list", FAILED, "only root may look for an image")
    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    status = json.loads(g.run("kjump status --json").check().out)
    assert status["preserved"] == 1 and int(status["jump_back_entry"], 0) and not status["images"], status
    # A's file systems are A's. B, which does not know of the mounts, is told.
    for disk in "/dev/sda", "/dev/nvme0n1":
        returns(g, f"kjump save --force {disk}", REFUSED, f"{disk} is in use by the preserved kernel")
    took = rss(returns(g, f"tsctime kjump save {DEVICE}", OK, r"saved \d+ MB as \d+ MB in"))
    assert took < MEMORY_BOUND
    returns(g, "kjump restore --list", OK, rf"{DEVICE}: complete \d+[.]\d+")
    # Its own memory is nobody's to save, and to switch is to go back.
    returns(g, f"kjump hibernate --force {DEVICE}", REFUSED, "the kernel that jumped here would be lost")
    g.jump("kjump switch", to="A")
    work.check()
    # That image is of a system that went on since.
    returns(g, f"kjump restore --check {DEVICE}", BAD_IMAGE, "a snapshot, of a system that went on")
    returns(g, "kjump restore --wait=0", NONE, "no image to restore")

    # The same B, which was asked for nothing but to let its user in.
    g.jump("kjump switch", to="B")
    assert g.log().count("Linux version") == 2
    # What is gone cannot be marked: then there is no way back until somebody has seen to it.
    g.run(f"mkdir -p /mnt/t && mount -t tmpfs -o size=90% tmpfs /mnt/t; echo gone >/run/kjump.saved; "
          "echo 0123 /mnt/t/image >>/run/kjump.saved").check()
    returns(g, "kjump back", REFUSED, "the image saved to /mnt/t/image .*remove /run/kjump.saved")
    g.run("rm /run/kjump.saved").check()
    returns(g, f"kjump save {DEVICE}", OK)
    g.power_off()
    g.close()

    # A copy of the image, and one of another machine: there are four CPUs there.
    for disk in more:
        subprocess.run(["cp", "--sparse=always", tmp_path / "blank.img", disk], check=True)
    with open(more[1], "r+b") as f:
        f.seek(16)
        f.write(bytes(range(16)))
    set_fields(more[1])
    edit_index(more[1], lambda index: index.__setitem__(slice(24, 28), struct.pack("<I", 4)))
    # Nobody says where: all disks are searched. C has the example's own initramfs.
    work.g = g = resume(boot, g, append="kjump.restore", initrd=BUILD / either / "rootfs.gz")
    assert "resumed from an image" in g.transcript.decode()
    assert "is the one of 2 images that fits" in g.log()
    work.end()


def asked_for(g, *lines):
    """In B: have a message, as if A had jumped with it."""
    g.run(f"printf '{''.join(f'{line}' + chr(92) + 'n' for line in lines)}' >/tmp/m && "
          "dd if=/tmp/m of=/sys/kernel/kexec_jump/shared conv=sync bs=4096 2>/dev/null").check()


def test_peer_cannot_suspend(boot, either):
    """Nor will it: it is ended, and the first kernel goes on."""
    g = boot(either, smp=2, memory="256M", disks=False, net=False, allow=["Kernel panic - not syncing", "Call Trace:"])
    work = Work(g, disks=False, mb=8, tmpfs_mb=8)
    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    asked_for(g, "action=ready")
    g.run("(while :; do echo devices >/sys/kernel/debug/kexec_jump/fail_step; usleep 1000; done) >/dev/null 2>&1 &").check()
    said = g.jump("kjump serve", to="A")
    # What it says last may be lost in the panic, which is what shows that it was ended.
    assert "trying again" in said, said
    assert sysfs(g, "last") == "peer died: sysrq triggered crash"
    work.end()


def test_peer_has_a_fault(boot, either):
    """What it was about to do might wait for ever for the thread that died."""
    g = boot(either, smp=2, memory="256M", disks=False, net=False, allow=None)
    work = Work(g, disks=False, mb=8, tmpfs_mb=8)
    g.run("kjump load --append='lab.name=B lab.mount=0'", timeout=300).check()
    g.jump("kjump switch", to="B")
    function = address_of(g, "version_proc_show")
    g.send("while :; do cat /proc/version; done >/dev/null")
    stop_at(g, function, "set $pc = 0")
    g.expect_kernel("A")
    assert sysfs(g, "last").startswith("peer died: Fatal exception")
    work.end()


def test_keyboard_while_the_peer_saves(boot, either, tmp_path):
    """Somebody is impatient, and sees nothing."""
    g = boot(either, smp=2, memory="256M", blank=320, disks=False, net=False, workdir=tmp_path)
    disk = "/dev/vdb"
    g.run("kjump load --ready --initrd=/boot/rootfs.gz", timeout=300).check()
    pressed = []

    def press():
        keys = [{"type": "qcode", "data": key} for key in ("ctrl", "alt", "delete")]
        # Before, it is for the first kernel.
        if "saving " in g.log() and g.qmp("query-status")["status"] == "running":
            g.qmp("send-key", keys=keys)
            # Ctrl-S: whoever writes there waits.
            g.type_on_console("\x13")
            pressed.append(len(g.log()))

    with g.seen_when_off(f"kjump hibernate --force {disk}", look=press):
        pass
    g.check_log()
    g.close()
    assert pressed
    g = resume(boot, g, append=f"kjump.restore={disk}")
    g.power_off()


def test_peer_dies_after_saving(boot, either):
    """Nobody marked the image when its system went on: that system does."""
    g = boot(either, smp=2, memory="256M", blank=320, disks=False, net=False,
             allow=["Kernel panic - not syncing", "Call Trace:"])
    work = Work(g, disks=False, mb=8, tmpfs_mb=8)
    g.run("kjump load", timeout=300).check()
    g.jump("kjump switch", to="B")
    disk = "/dev/vdb"
    returns(g, f"kjump save {disk}", OK)
    state = f"kjump status --json {disk}"
    assert json.loads(g.run(state).check().out)["state"] == "complete"
    said = g.jump("echo c >/proc/sysrq-trigger", to="A")
    assert "sysrq triggered crash" in said and "must not be resumed" not in said, said
    assert json.loads(g.run(state).check().out)["state"] == "snapshot"
    work.end()


def test_peer_goes_back_whatever_happens(boot, variant):
    """Nobody sits at the peer's console: it tries again, and if kjump dies there init goes back."""
    g = boot(variant, smp=2, memory="256M", disks=False, net=False)
    work = Work(g, disks=False, mb=8, tmpfs_mb=8)
    g.run("kjump load", timeout=300).check()

    g.jump("kjump switch", to="B")
    asked_for(g, "action=ready")
    g.run("echo devices >/sys/kernel/debug/kexec_jump/fail_step").check()
    said = g.jump("kjump serve", to="A")
    assert "Input/output error" in said and "trying again" in said, said
    work.check()

    g.jump("kjump switch", to="B")
    # It looks for that device for a while.
    asked_for(g, "action=hibernate", "id=0123456789abcdef")
    said = g.jump("kjump-boot & while ! pidof kjump >/dev/null; do usleep 50000; done; "
                  "usleep 500000; kill -9 $(pidof kjump); wait", to="A")
    assert "kjump serve: exit 137, going back" in said, said
    work.check()
    assert (sysfs(g, "jumps"), sysfs(g, "last")) == ("2", "ok")
    # Asked by A, it answers.
    r = g.run("kjump hibernate /dev/nothing")
    assert r.rc == FAILED, r
    g.run("kjump snapshot /tmp/dump && rm /tmp/dump", timeout=300).check()
    work.end()
