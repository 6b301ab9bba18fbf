# SPDX-License-Identifier: GPL-2.0
"""Run a kernel in QEMU and talk to its shell.

The first serial port is the guest's shell, the second its kernel log, so that
neither disturbs the other. The shell's prompt names the kernel that printed it
("kernel-A# "), from lab.name= on its command line: that is how a test sees
which kernel it is talking to after a jump.

    with Guest("x86_64", smp=2) as g:
        print(g.run("uname -a").out)
"""
import contextlib
import ctypes
import functools
import hashlib
import json
import mmap
import os
import pathlib
import platform
import re
import shlex
import shutil
import signal
import socket
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import uuid

import pexpect
import pexpect.fdpexpect

from . import packages
from .util import BUILD, LabError, run as host_run

PROMPT = r"kernel-(\w+)# "
# Under emulation on a busy machine everything is slow; a test that hangs is rare.
BOOT_TIMEOUT = 300
RUN_TIMEOUT = 180
# What no kernel log may hold.
TROUBLE = re.compile(
    r"BUG:|WARNING:|Oops|Call Trace|soft lockup|hard LOCKUP|blocked for more than|rcu: INFO|"
    r"I/O error|Kernel panic|general protection|Bad page|[Uu]nable to handle|INFO: task|"
    r"crash hp:|refcount_t:|list_(?:add|del) corruption|sleeping function called|unexpected IRQ|nobody cared|"
    r"UBSAN:|new suspected memory leaks|INFO: trying to register")
# What our init provokes in the base now and then: it stops the fair servers (see lab/guest/init), and
# before 6.17 that warns if the server has just something to wait for.
PROVOKED = re.compile(r"^[^\n]*\[ cut here \](?:(?!cut here).)*?end trace[^\n]*\n", re.M | re.S)
# Label and device.
DISKS = {"virtio": "virtio-blk-pci", "ahci": "ide-hd,bus=ide.0", "nvme": "nvme,serial=lab"}
# How the last jump ended, to a system that was resumed.
RESUMED = "ok, resumed from an image"
# Guests that have booted are kept where so much is free: all of a run take 8 GB.
KEPT_ROOM = 20 << 30
CONFIG_HZ = 250                 # of all lab kernels


class GuestError(LabError):
    pass


class Result:
    """What a command printed, and its exit status."""

    def __init__(self, cmd, rc, out):
        self.cmd, self.rc, self.out = cmd, rc, out

    def __repr__(self):
        return f"Result(cmd={self.cmd!r}, rc={self.rc}, out={self.out!r})"

    def check(self):
        if self.rc:
            raise GuestError(f"{self.cmd!r} in the guest: exit {self.rc}\n{self.out}")
        return self


@functools.cache
def host_tsc_khz():
    """What the host's TSC, which the emulated one follows, counts in a millisecond."""
    if platform.machine() != "x86_64":
        return None
    # rdtsc; shl $32,%rdx; or %rdx,%rax; ret
    page = mmap.mmap(-1, mmap.PAGESIZE, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
    page.write(bytes.fromhex("0f31 48c1e220 4809d0 c3"))
    rdtsc = ctypes.CFUNCTYPE(ctypes.c_uint64)(ctypes.addressof(ctypes.c_char.from_buffer(page)))

    def measure():
        ticks, start = rdtsc(), time.monotonic_ns()
        time.sleep(0.1)
        return round((rdtsc() - ticks) * 1000000 / (time.monotonic_ns() - start))

    # We may be put aside between reading one clock and the other.
    return statistics.median_low(measure() for _ in range(5))


def command_line(name="A", mount=True, append="", icount=None):
    """The lab's kernel command line; also right for a kernel that is jumped to (mount=False)."""
    words = ["console=ttyS1,115200", "ignore_loglevel", f"lab.name={name}", "panic=-1"]
    # On a busy host the guest's own measurement can be wrong by a factor, and
    # then so is all its time. With -icount the TSC counts nanoseconds.
    if khz := 1000000 if icount else host_tsc_khz():
        # Each further CPU measures its delays by itself, and udelay() of one that was
        # wrong by a factor does not wait at all.
        words += [f"tsc_early_khz={khz}", f"lpj={khz * 1000 // CONFIG_HZ}"]
    # Likewise the check that some timer interrupts arrive in a few milliseconds.
    words.append("no_timer_check")
    # To try all crypto algorithms takes a tenth of each boot.
    words.append("cryptomgr.notests")
    if mount:
        words.append("lab.mount=1")
    return " ".join(words + ([append] if append else []))


def tsctime_ms(out, khz=None):
    """Milliseconds of each tsctime in what a guest printed."""
    return [int(t) / (khz or host_tsc_khz()) for t in re.findall(r"tsc=(\d+)", out)]


def free_kb(g):
    """Memory in use by nobody: also what the page allocator keeps in lists per CPU, without what is only cached."""
    g.run("sync; echo 3 >/proc/sys/vm/drop_caches").check()
    out = g.run("grep MemFree /proc/meminfo; grep count: /proc/zoneinfo").check().out
    free, *kept = map(int, re.findall(r"\d+", out))
    return free + 4 * sum(kept)


def loaded_kb(g):
    """(kB of the window that was loaded last, kB of it that are exchanged at a jump), as the log says."""
    said = re.findall(r"kexec_jump: loaded: entry \S+ window of (\d+) kB, (\d+) kB to exchange", g.run("dmesg").out)
    return tuple(map(int, said[-1]))


# What the guest types to be without AHCI, whose ports are reset for 300 ms after each return from a jump.
UNBIND_AHCI = "basename /sys/bus/pci/drivers/ahci/0000:* > /sys/bus/pci/drivers/ahci/unbind"


class Guest:
    def __init__(self, variant="x86_64", *, smp=1, parallel=None, memory="512M", cpu=None, name="A",
                 append="", kernel=None, initrd=None, icount=None, disks=True, net=True, blank=0,
                 workdir=None, state=None, booted=None, boots_disk=False, qemu_args=(), label=None,
                 start=True):
        """
        parallel the guest's CPUs run at the same time, not in turns (default: if QEMU can do that well)
        cpu      QEMU's -cpu (default: QEMU's own default, qemu64)
        name     what the kernel calls itself in its prompt
        append   more kernel command line
        kernel   a bzImage other than build/<variant>/bzImage
        disks    those of DISKS, or {label: device}
        icount   QEMU's -icount, for example "shift=0,sleep=off"
        blank    size in MB of one more, empty, virtio disk (/dev/vdc), 0 for none
        workdir  keep disks, sockets and logs here; disks that exist are used as they are,
                 so that a later guest finds what an earlier one wrote
        boots_disk
                 its firmware starts what is on one of the disks of qemu_args, as a real machine's
                 does: kernel, initrd and append do not count
        state    start from what save_state() wrote of a guest that is otherwise the same,
                 with the disks it had then
        booted   a folder where guests that have booted are kept: the second one that is to be like the
                 first goes on from there
        label    name of the saved log when something fails
        """
        self.variant, self.smp, self.memory, self.cpu = variant, smp, memory, cpu
        self.name, self.append, self.icount, self.parallel = name, append, icount, parallel
        self.home = BUILD / variant
        self.kernel = pathlib.Path(kernel or self.home / "bzImage")
        self.initrd = pathlib.Path(initrd or self.home / "initramfs.img")
        self.disks, self.net, self.blank, self.state = disks, net, blank, state
        self.booted, self.boots_disk = booted, boots_disk
        self.qemu_args, self.label = list(qemu_args), label or f"{variant}-{os.getpid()}"
        self._own_dir = workdir is None
        # Short: a unix socket's path may have 107 characters.
        self.dir = pathlib.Path(workdir or tempfile.mkdtemp(prefix="kj-"))
        self.qemu = self.shell = self._qmp = None
        self.transcript, self.typed = b"", None
        # One for each QEMU, even if several use the same directory.
        self._log = self.dir / f"kernel-{uuid.uuid4().hex[:8]}.log"
        self._kept_log = ""
        if start:
            try:
                self.start()
            except BaseException:
                print(self.fate(), "logs:", self.save_artefacts())
                self.close()
                raise

    # --- start and end -----------------------------------------------------

    def _disk(self, label, size):
        image = self.dir / f"{label}.img"
        if not image.exists():
            with open(image, "wb") as f:
                f.truncate(size << 20)
            if label != "blank":
                host_run("mke2fs", "-q", "-t", "ext4", "-L", label, "-m", "0", image)
        return image

    def _argv(self):
        d = self.dir
        qemu, good_at_it = packages.qemu_command()
        parallel = good_at_it if self.parallel is None else self.parallel
        threads = "multi" if parallel and not self.icount else "single"
        argv = [*qemu, "-machine", "q35", "-accel", f"tcg,thread={threads}",
                "-nodefaults", "-no-user-config",
                "-display", "none", "-no-reboot", "-m", self.memory, "-smp", str(self.smp),
                "-chardev", f"socket,id=shell,path={d}/shell,server=on,wait=off",
                "-serial", "chardev:shell",
                # What is typed there: see type_on_console().
                "-chardev", f"socket,id=log,path={d}/console,server=on,wait=off,"
                f"logfile={self._log},logappend=on",
                "-serial", "chardev:log",
                "-qmp", f"unix:{d}/qmp,server=on,wait=off",
                # Says whether a reset was a triple fault.
                "-d", "cpu_reset", "-D", d / "reset.log"]
        if self.cpu:
            argv += ["-cpu", self.cpu]
        if self.icount:
            argv += ["-icount", self.icount]
        boot = self.home / "boot.img"
        if not self.boots_disk:
            argv += ["-kernel", self.kernel, "-initrd", self.initrd,
                     "-append", command_line(self.name, append=self.append, icount=self.icount)]
            if boot.is_file():
                argv += self.drive("boot", boot, "virtio-blk-pci", ",read-only=on")
        if self.disks:
            for label, device in (DISKS if self.disks is True else self.disks).items():
                argv += self.drive(label, self._disk(label, 64), device)
        if self.blank:
            argv += self.drive("blank", self._disk("blank", self.blank), "virtio-blk-pci")
        if self.net:
            for n, card in ((2, "virtio-net-pci"), (3, "e1000")):
                argv += ["-netdev", f"user,id=net{n},net=10.0.{n}.0/24,host=10.0.{n}.2,ipv6=off",
                         "-device", f"{card},netdev=net{n},romfile="]
        if self.state:
            argv += ["-incoming", f"exec:cat {shlex.quote(str(self.state))}"]
        return [str(a) for a in argv + self.qemu_args]

    @staticmethod
    def drive(ident, image, device, more=""):
        """QEMU's arguments for a disk of a file: as this device, with more options for the file."""
        # To end QEMU loses nothing, and what the host's disk does meanwhile is no matter.
        return ["-blockdev", f"driver=raw,node-name={ident},cache.no-flush=on,file.driver=file,"
                f"file.filename={image}{more}",
                "-device", f"{device},drive={ident}"]

    @staticmethod
    def uefi(folder):
        """QEMU's arguments for a machine with UEFI, whose variables are kept in this folder."""
        if not (folder / "vars.fd").exists():
            shutil.copy("/usr/share/OVMF/OVMF_VARS_4M.fd", folder / "vars.fd")
        return [arg for n, file in enumerate(("/usr/share/OVMF/OVMF_CODE_4M.fd,readonly=on", folder / "vars.fd"))
                for arg in ("-drive", f"if=pflash,unit={n},format=raw,file={file}")]

    def start(self):
        for path in (self.kernel, self.initrd):
            if not path.is_file() and not self.boots_disk:
                raise GuestError(f"{path} is missing: lab/lab build")
        self.dir.mkdir(parents=True, exist_ok=True)
        for old in ("shell", "console", "qmp"):
            (self.dir / old).unlink(missing_ok=True)
        kept = self._kept()
        goes_on = kept and (kept / "state").exists()
        if goes_on:
            self.state = kept / "state"
            for file in kept.iterdir():
                if file != self.state:
                    host_run("cp", "--sparse=always", file, self._log if file.name == "log" else self.dir)
        # It ends with us, also if we are killed.
        self.qemu = subprocess.Popen(["setpriv", "--pdeathsig", "KILL", *self._argv()], stdin=subprocess.DEVNULL,
                                     stdout=open(self.dir / "qemu.log", "wb"),
                                     stderr=subprocess.STDOUT)
        self._socket = self._connect("shell")
        self.shell = pexpect.fdpexpect.fdspawn(self._socket.fileno(), timeout=BOOT_TIMEOUT)
        self.shell.logfile_read = self
        if self.state:
            # It has said its prompt already: once it goes on, ask for another.
            self.until(lambda: self.qmp("query-status")["status"] == "paused", "its state")
            self.qmp("cont")
            self.send("")
        try:
            self.expect_kernel(self.name, BOOT_TIMEOUT)
        except GuestError as e:
            # The machine's first kernel, and none of ours has run yet: interrupts of CPUs that run at once are lost.
            if "Booting SMP configuration" in "".join(self.log().splitlines()[-6:]):
                raise GuestError(f"QEMU itself failed, as CPUs were started: {e}") from None
            raise
        if goes_on:
            self.run(f"afresh {time.time_ns()} {uuid.uuid4()}").check()
        elif kept:
            self._keep(kept)

    def write(self, data):          # pexpect's log of what the guest sent
        self.transcript = (self.transcript + data)[-200000:]

    def flush(self):
        pass

    def _connect(self, name):
        s = socket.socket(socket.AF_UNIX)
        for _ in range(1200):
            try:
                s.connect(str(self.dir / name))
                return s
            except (FileNotFoundError, ConnectionRefusedError):
                if self.qemu.poll() is not None:
                    break
                time.sleep(0.05)
        raise GuestError("QEMU did not start:\n"
                         + (self.dir / "qemu.log").read_text(errors="replace"))

    def close(self):
        """End QEMU, whatever state the guest is in."""
        if self.qemu and self.qemu.poll() is None:
            self.qemu.terminate()
            try:
                self.qemu.wait(5)
            except subprocess.TimeoutExpired:
                self.qemu.kill()
                self.qemu.wait()
        for s in (self._qmp, getattr(self, "_socket", None)):
            if s:
                s.close()
        self._qmp = self._socket = None
        if self._own_dir:
            self._kept_log = self.log()
            shutil.rmtree(self.dir, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        if kind:
            self.save_artefacts()
        self.close()

    def power_off(self, timeout=RUN_TIMEOUT):
        self.send("sync; poweroff -f")
        self.wait(timeout)

    def wait(self, timeout=RUN_TIMEOUT):
        """Wait until QEMU ends (guest powered off, or reset: -no-reboot)."""
        try:
            rc = self.qemu.wait(timeout)
        except subprocess.TimeoutExpired:
            raise GuestError(self._story("the guest did not power off")) from None
        if rc:
            raise GuestError(self._story(self._why_ended()))

    @contextlib.contextmanager
    def seen_when_off(self, cmd, timeout=RUN_TIMEOUT, look=None):
        """Type a command that ends with the machine off. Its screen can be looked at until this is left.

        look() is called several times a second until it is off: a display's own driver darkens it then.
        """
        self.qmp("set-action", shutdown="pause")
        self.send(cmd)

        def is_off():
            with contextlib.suppress(pexpect.TIMEOUT, pexpect.EOF, OSError):
                self.shell.expect(PROMPT, timeout=0)
                raise GuestError(f"{cmd!r} came back:\n{self.shell.before.decode(errors='replace')}")
            if look:
                look()
            return self.qmp("query-status")["status"] == "shutdown"

        self.until(is_off, "the machine to be off", timeout)
        yield
        self.qmp("quit")
        self.wait()

    def save_state(self, path):
        """Write the machine's state, but for the disks, and end QEMU."""
        self._write_state(path)
        self.close()

    def _write_state(self, path):
        """Write the machine's state, but for the disks; it stands still then."""
        self.qmp("stop")
        self.qmp("migrate-set-parameters", **{"max-bandwidth": 1 << 40})
        self.qmp("migrate", uri=f"exec:cat >{shlex.quote(str(path))}")
        while (status := self.qmp("query-migrate").get("status")) != "completed":
            if status in ("failed", "cancelled"):
                raise GuestError(self._story(f"QEMU cannot save the guest's state: {status}"))
            time.sleep(0.05)

    def _kept(self):
        """The folder for a guest that has booted and is like this one; None for what depends on files of one test."""
        if not self.booted or self.state or self.boots_disk or not self._own_dir \
                or "/" in "".join(self.qemu_args) or self.initrd.parent != self.home:
            return None
        like = repr((self.variant, self.smp, self.memory, self.cpu, self.name, self.append, self.icount, self.parallel,
                     self.disks, self.net, self.blank, self.qemu_args,
                     [(str(file), file.stat().st_mtime_ns) for file in (self.kernel, self.initrd)]))
        return pathlib.Path(self.booted) / hashlib.sha256(like.encode()).hexdigest()[:16]

    def _keep(self, folder):
        """Keep this guest's state, its disks and its log, if nobody else does."""
        # All that are like it would be told of its trouble; and others need room, too.
        if self.trouble() or shutil.disk_usage(folder.parents[1]).free < KEPT_ROOM:
            return
        with contextlib.suppress(FileExistsError):
            folder.mkdir(parents=True)
            # It saves time, no more: there may be no room, and before 11, QEMU cannot do that with NVMe.
            with contextlib.suppress(LabError, OSError):
                self._write_state(folder / "state.new")
                for image in self.dir.glob("*.img"):
                    host_run("cp", "--sparse=always", image, folder)
                shutil.copy(self._log, folder / "log")
                os.replace(folder / "state.new", folder / "state")
            (folder / "state.new").unlink(missing_ok=True)
            self.qmp("cont")

    # --- shell -------------------------------------------------------------

    def peer_line(self, name="B", append=""):
        """Kernel command line for a kernel this guest is going to jump to."""
        return command_line(name, mount=False, append=append, icount=self.icount)

    def send(self, cmd):
        """Type a command, do not wait."""
        if "\n" in cmd or len(cmd) > 4000:
            raise ValueError("one line of at most 4000 characters")
        self._type(cmd)

    def _type(self, line, what=None):
        self.typed = what or line
        try:
            self.shell.send(line + "\n")
        except OSError:
            raise GuestError(self._story(f"typing {line!r}: {self._why_ended()}")) from None

    def expect_kernel(self, name, timeout=BOOT_TIMEOUT):
        """Wait for the prompt of kernel `name`: it has booted, or has come back."""
        self._expect(PROMPT, timeout, f"waiting for kernel {name}'s prompt")
        got = self.shell.match[1].decode()
        if got != name:
            raise GuestError(self._story(f"waited for kernel {name}, kernel {got} answered"))
        # Whatever the other kernel left half-printed is of no interest.
        return self.shell.before.decode(errors="replace")

    def until(self, condition, what, timeout=BOOT_TIMEOUT):
        """Wait until condition() holds, as long as QEMU runs."""
        end = time.monotonic() + timeout
        while not condition():
            if self.qemu.poll() is not None or time.monotonic() > end:
                raise GuestError(self._story(f"waiting for {what}: {self.fate()}"))
            time.sleep(0.02)

    def jump(self, cmd="kexec -e", to="B", timeout=BOOT_TIMEOUT):
        """Type the command that jumps and wait for the other kernel's prompt."""
        self.send(cmd)
        return self.expect_kernel(to, timeout)

    def run(self, cmd, timeout=RUN_TIMEOUT):
        """Run a command in the guest's shell (sh); its stdin is empty."""
        ident = uuid.uuid4().hex[:12]
        # The marks are assembled by the guest's shell, so an echo of this line is no match.
        line = (f"echo '@''b{ident}'; eval {shlex.quote(cmd)} </dev/null; "
                f"echo '@''e{ident}' $?")
        if "\n" in cmd:
            raise ValueError("one line, please: join commands with ';'")
        if len(line) > 4000:
            raise ValueError("too long for a terminal line: split it")
        self._type(line, cmd)
        what = f"running {cmd!r}"
        self._expect(f"@b{ident}\r?\n", timeout, what)
        # The prompt without the end mark: the command ended the shell itself.
        which = self._expect([rf"@e{ident} (\d+)\r?\n", "(?:^|\n)" + PROMPT], timeout, what)
        out = self.shell.before.decode(errors="replace").replace("\r\n", "\n")
        if which:
            raise GuestError(self._story(f"{cmd!r} ended the shell:\n{out}"))
        rc = int(self.shell.match[1])
        self._expect(PROMPT, timeout, what)
        return Result(cmd, rc, out.strip("\n"))

    def _expect(self, pattern, timeout, what):
        try:
            return self.shell.expect(pattern, timeout=timeout)
        except pexpect.TIMEOUT:
            raise GuestError(self._story(f"{what}: nothing after {timeout} s")) from None
        except (pexpect.EOF, OSError):
            raise GuestError(self._story(f"{what}: {self._why_ended()}")) from None

    def _why_ended(self):
        """The guest's own doing (a reset, power off), or QEMU's?"""
        try:
            rc = self.qemu.wait(10)
        except subprocess.TimeoutExpired:
            return "its serial port is closed, though QEMU runs"
        said = (self.dir / "qemu.log").read_text(errors="replace").strip()
        if rc or said:
            return f"QEMU itself failed (exit {rc}): {said}"
        with contextlib.suppress(FileNotFoundError):
            if "Triple fault" in (self.dir / "reset.log").read_text(errors="replace"):
                return "the guest ended (triple fault)"
        return "the guest ended (reset or power off)"

    def fate(self):
        """Which guest, what was typed last, and how it is, in a line."""
        state = "did not start" if not self.qemu else "runs" if self.qemu.poll() is None else self._why_ended()
        return f"guest {self.label} (kernel {self.name}, {self.variant}): {state}; last typed: {self.typed!r}"

    def type_on_console(self, line):
        """Type on the second serial port, where a system that has no shell yet asks."""
        with self._connect("console") as console:
            console.sendall(line.encode() + b"\n")

    # --- looking in --------------------------------------------------------

    def log(self):
        """The kernels' log so far (of all kernels that ran in this guest)."""
        if not self._log.exists():
            return self._kept_log
        return self._log.read_text(errors="replace").replace("\r\n", "\n")

    def user_log(self):
        """What user space said on the console; a kernel's line may have come in the middle of its."""
        return re.sub(r"\[ *\d+\.\d{6}\] [^\n]*\n", "", self.log())

    def trouble(self, allow=()):
        """Lines of the log that no healthy kernel prints, except those matching `allow`."""
        log = PROVOKED.sub(lambda m: "" if "sched_fair_server_write" in m[0] else m[0], self.log())
        return [l for l in log.splitlines()
                if TROUBLE.search(l) and not any(re.search(a, l) for a in allow)]

    def check_log(self, allow=()):
        lines = self.trouble(allow)
        if lines:
            raise GuestError(self._story("the kernel log has trouble:\n  " + "\n  ".join(lines[:10])))

    def qmp(self, execute, **arguments):
        if self._qmp is None:
            self._qmp = self._connect("qmp")
            self._qmp.settimeout(RUN_TIMEOUT)
            self._lines = self._qmp.makefile("r")
            self._lines.readline()
            self.qmp("qmp_capabilities")
        self._qmp.sendall(json.dumps({"execute": execute, "arguments": arguments}).encode())
        while True:
            line = self._lines.readline()
            if not line:
                raise GuestError(self._story(f"QEMU: {execute}: {self._why_ended()}"))
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise GuestError(f"QEMU: {execute}: {answer['error']['desc']}")

    def monitor(self, line):
        """A command of QEMU's human monitor: nmi, info registers, xp/4wx 0x1000 ..."""
        return self.qmp("human-monitor-command", **{"command-line": line})

    def picture(self):
        """The screen, as the machine's card shows it: a file in PPM format."""
        file = self.dir / "screen.ppm"
        self.qmp("screendump", filename=str(file))
        return file.read_bytes()

    def _story(self, headline):
        tail = "\n".join(self.log().splitlines()[-25:])
        typed = self.transcript.decode(errors="replace")[-1500:]
        return (f"{headline}\n--- end of the serial shell ---\n{typed}\n"
                f"--- end of the kernel log ---\n{tail}")

    def save_artefacts(self):
        """Keep the logs of a guest that failed in build/test-logs."""
        into = BUILD / "test-logs" / re.sub(r"[^\w.,=-]+", "_", self.label)
        into.mkdir(parents=True, exist_ok=True)
        (into / "shell.log").write_bytes(self.transcript)
        (into / "kernel.log").write_text(self.log())
        if (self.dir / "qemu.log").exists():
            shutil.copy(self.dir / "qemu.log", into)
        return into


def partitioned(path, mb):
    """A disk image of this size with one partition, from the first MB on."""
    with open(path, "wb") as f:
        f.truncate(mb << 20)
        f.seek(446)
        # Not active; addresses only as sectors; type Linux.
        f.write(struct.pack("<B3sB3sII", 0, b"\xfe\xff\xff", 0x83, b"\xfe\xff\xff", 2048, (mb - 1) * 2048))
        f.seek(510)
        f.write(b"\x55\xaa")
    return path


def interactive(variant, smp=1, memory="512M", cpu=None, append=""):
    """The guest's shell on this terminal; the kernel's log goes to a file."""
    g = Guest(variant, smp=smp, memory=memory, cpu=cpu,
              append=f"lab.human=1 {append}".strip(), start=False)
    argv = g._argv()
    at = argv.index("-chardev")
    argv[at:at + 4] = ["-chardev", "stdio,id=shell,signal=off,mux=on",
                       "-serial", "chardev:shell", "-mon", "shell"]
    keep = BUILD / "test-logs"
    keep.mkdir(parents=True, exist_ok=True)
    print("lab: Ctrl-A X ends QEMU, poweroff -f ends the guest", file=sys.stderr)
    old = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return subprocess.call(argv)
    finally:
        signal.signal(signal.SIGINT, old)
        if log := g.log():
            (keep / "shell-kernel.log").write_text(log)
            print(f"lab: the kernel log is in {keep}/shell-kernel.log", file=sys.stderr)
        g.close()
