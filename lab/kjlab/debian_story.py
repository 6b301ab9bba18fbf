# SPDX-License-Identifier: GPL-2.0
"""Debian as it is installed, hibernating: lab/debian.

Disks with GRUB and systemd, a database at work, somebody logged in. The
machine's firmware boots them; kjump setup, systemctl hibernate, the machine is
off, QEMU ends; started again, GRUB and the initramfs resume it. Then a
snapshot, which crash opens. Then the same disks in a machine with the other
firmware, and what can go wrong there, with what it says then. Debian 12's disks
are encrypted, Debian 13's have btrfs.

Every number shown is read from the guest, from the host's clock, or from crash.
"""
import concurrent.futures
import contextlib
import io
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

import pexpect

from . import deb, debian, dump, efivars, packages
from .demo import Machine, Story
from .guest import BOOT_TIMEOUT, RESUMED, GuestError
from .util import BUILD, LabError, run, say

MEMORY, SCRATCH_MB = "2G", 1000
# What the machine's disks hang on: for each release another one.
DISKS = {"12": {"uefi": "nvme", "bios": "ide-hd"},
         "13": {"bios": "virtio-blk-pci", "uefi": "scsi-hd"}}
CONTROLLERS = {"scsi-hd": ["-device", "virtio-scsi-pci"]}
# Bytes of a screen's picture that some lines of text take at least; a cursor takes less.
SOME_WORDS = 10000
# Programs that PostgreSQL's packages have in a folder of their own.
POSTGRES = "PATH=$PATH:$(echo /usr/lib/postgresql/*/bin)"


class Network:
    """What a machine's network card is plugged into. It stays when the machine is off: its connections wait.

    ssh gets in through 127.0.0.1:port.
    """

    def __init__(self, home):
        self.home = home
        with socket.socket() as s:
            s.bind(("127.0.0.1", 0))
            self.port = s.getsockname()[1]
        qemu, _ = packages.qemu_command()
        self.process = subprocess.Popen(
            [*qemu, "-machine", "none", "-nodefaults", "-display", "none",
             "-netdev", f"user,id=out,ipv6=off,hostfwd=tcp:127.0.0.1:{self.port}-:22", *self._cable("router", "machine"),
             "-netdev", "hubport,id=a,hubid=0,netdev=out", "-netdev", "hubport,id=b,hubid=0,netdev=cable"],
            stdin=subprocess.DEVNULL, stdout=open(home / "network.log", "wb"), stderr=subprocess.STDOUT)

    def _cable(self, here, there):
        return ["-netdev", f"dgram,id=cable,local.type=unix,local.path={self.home}/{here}.net,"
                f"remote.type=unix,remote.path={self.home}/{there}.net"]

    def card(self):
        """QEMU's arguments for a machine that is plugged in."""
        (self.home / "machine.net").unlink(missing_ok=True)
        return [*self._cable("machine", "router"), "-device", "virtio-net-pci,netdev=cable,romfile=,mac=52:54:00:12:34:56"]

    def close(self):
        self.process.terminate()
        self.process.wait()


class Login:
    """Somebody logged in with ssh, who stays logged in."""

    def __init__(self, home, port):
        options = [x for o in ("StrictHostKeyChecking=no", f"UserKnownHostsFile={home}/hosts", "LogLevel=ERROR",
                               "ServerAliveInterval=0", "TCPKeepAlive=no") for x in ("-o", o)]
        self.shell = pexpect.spawn("ssh", ["-tt", "-F", "none", "-i", str(home / "key"), "-p", str(port), *options,
                                           "root@127.0.0.1", "PS1='in# ' bash --norc --noprofile -i"],
                                   timeout=180, encoding="utf-8", env={**os.environ, "TERM": "dumb"})
        self.shell.setecho(False)
        self.shell.expect("in# ")
        self.ask("stty -echo; bind 'set enable-bracketed-paste off'")

    def ask(self, command):
        """The last line it prints: who is logged in is also told that the system hibernates."""
        self.shell.sendline(command)
        self.shell.expect("in# ")
        return self.shell.before.split("\n")[-2:][0].strip()

    def close(self):
        self.shell.close(force=True)


class Booted(Machine):
    """Its initramfs asks for passphrases: these are the answers."""

    def __init__(self, *args, answers=(), **kwargs):
        self.answers = list(answers)
        super().__init__(*args, **kwargs)

    def expect_kernel(self, name, timeout=BOOT_TIMEOUT):
        asked = 0
        while self.answers:
            until = time.monotonic() + timeout
            while self.log().count("unlock disk") <= asked:
                if self.qemu.poll() is not None or time.monotonic() > until:
                    raise GuestError(f"waiting for a passphrase to be asked for: {self.fate()}")
                time.sleep(0.2)
            asked += 1
            self.type_on_console(self.answers.pop(0))
        return super().expect_kernel(name, timeout)


class Server:
    """The machine: its disks, one network card, a screen. Switched on as often as wanted."""

    def __init__(self, home, release, network, lab_kernel):
        self.home, self.release, self.network = home, release, network
        self.disks = []
        for image in debian.server(release, lab_kernel):
            self.disks.append(home / image.stem)
            run("cp", "--sparse=always", image, self.disks[-1])
        # What a snapshot goes to, for the host to read; with the package of another kernel.
        self.scratch, files = home / "scratch", home / "files"
        files.mkdir()
        if not lab_kernel:
            shutil.copy(deb.lab_kernel(), files)
        run("mke2fs", "-q", "-t", "ext4", "-L", "scratch", "-d", files, self.scratch, f"{SCRATCH_MB}M")
        self.answers = [debian.PASSPHRASE] * (debian.SERVERS[release][0] == "encrypted")

    def on(self, firmware, answers=None):
        device = DISKS[self.release][firmware]
        flash = Machine.uefi(self.home) if firmware == "uefi" else []
        drives = [arg for n, disk in enumerate(self.disks, 1)
                  for arg in Machine.drive(disk.name, disk, f"{device},serial={disk.name},bootindex={n}")]
        drives += Machine.drive("scratch", self.scratch, "virtio-blk-pci")
        # What is on its screen is looked at, too.
        g = Booted("x86_64", smp=2, memory=MEMORY, disks=False, net=False, boots_disk=True, workdir=self.home,
                   label=f"debian-{self.release}-{firmware}", start=False, answers=answers or self.answers,
                   qemu_args=[*flash, *CONTROLLERS.get(device, ()), "-device", "VGA", *self.network.card(), *drives])
        try:
            g.start()
        except GuestError:
            g.save_artefacts()
            g.close()
            raise
        return g


def check_system(story):
    """systemd has started all it has, and nothing of it failed."""
    state = story.g.run("systemctl is-system-running --wait", timeout=600).out
    failed = story.ask("systemctl --failed --no-legend --plain | cat")
    story.check("systemctl", state == "running" and not failed, state + (f"; failed: {failed}" if failed else ""))


def check_journal(story):
    errors = story.ask("journalctl -b -q -p err --no-pager -o cat").splitlines()
    story.check("errors in the journal", not errors, f"{len(errors)}" + (f", {errors[-1]}" if errors else ""))


def picture(story):
    """The system's screen, without the cursor, which may be on or off at the moment."""
    story.ask(r"printf '\033[?25l' >/dev/tty1; sleep 1")
    return story.g.picture()


def check_picture(story, before):
    after = picture(story)
    logs = BUILD / "test-logs"
    logs.mkdir(exist_ok=True)
    if before != after:
        (logs / "before.ppm").write_bytes(before)
        (logs / "after.ppm").write_bytes(after)
    story.check("the picture on the screen", before == after, "as before" if before == after else f"{logs}/*.ppm")


def set_up(story, server):
    encrypted = bool(server.answers)
    story.tell(f"kjump setup chooses the {'volume' if encrypted else 'partition'} that nobody uses, "
               "and has systemctl hibernate use kjump")
    if encrypted:
        refused(story, "kjump setup --dry-run /dev/disk/by-partlabel/free", "kjump setup --unencrypted")
    # So that the second kernel has something to say on the screen, and what with: the lab's has no driver of its own.
    story.ask("if modinfo bochs >/dev/null 2>&1; then echo modules=bochs; fi >>/etc/kjump.conf; "
              "echo append=console=tty0 console=ttyS1,115200 >>/etc/kjump.conf")
    story.type("kjump setup --systemd --ready 2>/dev/null", timeout=900)
    place = story.ask("sed -n s/^device=//p /etc/kjump.conf")
    story.check("chosen", place.startswith("/dev/mapper/debian--vg-" if encrypted else "PARTUUID="), place)
    story.ask("systemctl restart systemd-logind")


def swap_file(story):
    """Which no kernel resumes from without being told; on a BIOS machine systemd from 255 on refuses for that."""
    call = "busctl call org.freedesktop.login1 /org/freedesktop/login1 org.freedesktop.login1.Manager CanHibernate"
    story.ask("btrfs filesystem mkswapfile --size 64m /swapfile && swapon /swapfile && systemctl restart systemd-logind")
    story.check("with a swap file logind hibernates, too", (said := story.ask(call)) == 's "yes"', said)
    story.ask("swapoff /swapfile; rm /swapfile; systemctl restart systemd-logind")


def start_work(story, network):
    """A database at work, somebody logged in, files with a checksum: what must be the same afterwards."""
    story.tell("work: PostgreSQL and pgbench, somebody logged in with ssh, checksums of /usr/lib")
    run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", story.g.dir / "key")
    public = (story.g.dir / "key.pub").read_text().strip()
    story.ask(f"mkdir -p /root/.ssh; echo '{public}' >>/root/.ssh/authorized_keys")
    login = Login(story.g.dir, network.port)
    login.ask("mine=$RANDOM$RANDOM")
    story.ask(f"cd /; su postgres -c '{POSTGRES}; pgbench -q -i -s 5 postgres' 2>&1", 600)
    start_pgbench(story)
    files = story.ask("find /usr/lib -xdev -type f -size -2000k -print0 | xargs -0 sha256sum >/root/sums; wc -l </root/sums", 900)
    kept = {"login": login.ask("echo $$ $mine"), "files": files, "boot": story.ask("cat /proc/sys/kernel/random/boot_id"),
            "started": started(story), "transactions": transactions(story)}
    story.check("the database works", kept["transactions"] > 0, f"{kept['transactions']} transactions so far")
    story.check("somebody is logged in", len(kept["login"].split()) == 2, f"process {kept['login'].split()[0]}")
    return login, kept


def start_pgbench(story):
    story.ask("systemd-run -q --unit=load -p User=postgres sh -c '" + POSTGRES + "; pgbench -n -c 2 -T 100000 postgres'")


def transactions(story):
    return int(story.ask("su postgres -c \"psql -qtAc 'select count(*) from pgbench_history' postgres\"", 300))


def started(story):
    """When the database's and pgbench's processes were started, in ticks since the boot."""
    return story.ask("for p in $(pgrep -x pgbench) $(pgrep -ox postgres); do cut -d' ' -f22 /proc/$p/stat; done")


def written(picture, before):
    """How many bytes of a picture are neither black nor as before."""
    if len(picture) != len(before):     # another mode
        before = bytes(len(picture))
    new = int.from_bytes(picture.translate(b"\0" + b"\xff" * 255), "big") & \
        (int.from_bytes(picture, "big") ^ int.from_bytes(before, "big"))
    return len(picture) - new.to_bytes(len(picture), "big").count(0)


def hibernate_to_off(story, server):
    """Returns the system's picture before."""
    before, most = picture(story), 0
    story.tell("systemctl hibernate: a second kernel saves it, and switches the machine off")
    print("          kernel-A# systemctl hibernate", flush=True)
    began = time.monotonic()
    # It does not wait for what it has begun; its shell says something once the system is back.
    jumps = "cat /sys/kernel/kexec_jump/jumps"
    command = f"was=$({jumps}); systemctl hibernate && while [ $({jumps}) = $was ]; do sleep 0.2; done"

    def look():
        nonlocal most
        most = max(most, written(story.g.picture(), before))
        time.sleep(0.2)

    with story.g.seen_when_off(command, timeout=600, look=look):
        look()
    story.check("the second kernel's words on the screen", most > SOME_WORDS, f"{most} bytes of it are new and not black")
    for line in re.findall(r"saved \d.*", story.g.log()):
        story.note(f"it says: {line}")
    story.check("kernel logs", not story.g.trouble(), "; ".join(story.g.trouble()[:1]) or "no BUG, WARNING or I/O error")
    story.g.close()
    story.tell(f"off after {time.monotonic() - began:.0f} s; QEMU has ended")
    if server.answers:
        # Nor the program, in which these letters are, too.
        seen = [d.name for d in server.disks if subprocess.run(["grep", "-qa", "KJUMPIMG", d]).returncode == 0]
        story.check("who has the disks alone does not see it", not seen, f"an image on {', '.join(seen) or 'none of them'}")
    return before


def hibernate(story, server, firmware):
    """systemctl hibernate, and on again; the seconds each took. Returns the system's picture before."""
    before = firmware == "uefi" and set_variable(story, "KjumpBefore")
    shown = hibernate_to_off(story, server)
    story.tell(f"switched on again: {firmware}, GRUB, the initramfs")
    began = time.monotonic()
    # Its shell goes on where it was.
    story.g = server.on(firmware)
    story.tell(f"it is back, {time.monotonic() - began:.0f} s after it was switched on")
    if before:
        after = set_variable(story, "KjumpAfter")
        story.check("the firmware's variables", before.items() <= after.items() and len(after) == len(before) + 1,
                    f"{len(before)} as before, and one more can be written")
    return shown


def set_variable(story, name):
    """Have the firmware keep one more; all that it keeps while the machine is off."""
    efivars.write(story.g, name)
    return {name: what for name, what in efivars.variables(story.g).items() if what[0] & efivars.NON_VOLATILE}


def install_another_kernel(story):
    """It is what the machine boots from now on, while this one runs. Returns its version."""
    story.tell("another kernel is installed meanwhile, newer to GRUB")
    story.ask("mount LABEL=scratch /mnt; DEBIAN_FRONTEND=noninteractive dpkg -i /mnt/linux-image-*.deb 2>&1; umount /mnt", 900)
    version = story.ask("ls /boot | sed -n 's/^vmlinuz-//p' | grep -vx $(uname -r)")
    story.ask(f"for f in vmlinuz config initrd.img; do ln /boot/$f-{version} /boot/$f-99.0; done; update-grub 2>&1", 600)
    return version


def check_another_kernel(story, version):
    booted, runs = re.findall(r"Linux version (\S+)", story.g.log()), story.ask("uname -r")
    story.check("resumed by another kernel", booted == [version] and runs != version, f"{', '.join(booted)} resumed {runs}")
    story.ask(f"rm /boot/*-99.0; DEBIAN_FRONTEND=noninteractive dpkg -P linux-image-{version} 2>&1", 900)


def check_resumed(story, login, kept):
    last = story.ask("cat /sys/kernel/kexec_jump/last")
    boot = story.ask("cat /proc/sys/kernel/random/boot_id")
    story.check("it is the same system", last == RESUMED and boot == kept["boot"], f"boot id {boot[:8]}, the kernel says \"{last}\"")
    said = login.ask("echo $$ $mine")
    story.check("the same ssh session", said == kept["login"], f"process {said.split()[0]}")
    story.check("the same database", started(story) == kept["started"], "its processes were not started again")
    now = transactions(story)
    for _ in range(100):
        if (later := transactions(story)) > now:
            break
        time.sleep(0.5)
    story.check("pgbench goes on", later > now >= kept["transactions"], f"{kept['transactions']} transactions then, {later} now")
    story.ask("systemctl stop load")
    amcheck = story.g.run(f"su postgres -c '{POSTGRES}; pg_amcheck --install-missing --heapallindexed postgres' 2>&1", timeout=900)
    story.check("pg_amcheck", amcheck.rc == 0, amcheck.out or "no complaint")
    bad = story.g.run("sync; echo 3 >/proc/sys/vm/drop_caches; sha256sum --quiet -c /root/sums 2>&1 | tail -3", timeout=900).out
    story.check("checksums of /usr/lib, read from the disk", not bad, bad or f"{kept['files']} files")
    check_system(story)
    check_journal(story)


def snapshot(story):
    """A dump of the running system."""
    story.tell("a snapshot of the running system, to a file on another disk")
    start_pgbench(story)
    story.ask("mount LABEL=scratch /mnt")
    story.type("kjump snapshot /mnt/dump 2>/dev/null", timeout=900)
    story.ask("systemctl stop load; umount /mnt")


def look_inside(story, disk, vmlinux):
    """Open the dump on the host; the machine is off."""
    story.tell("off; crash opens the snapshot, on the host")
    file = disk.with_name("dump")
    run("debugfs", "-R", f"dump /dump {file}", disk, what="reading the dump from the disk")
    tasks, log = dump.crash("x86_64", file, ["foreach set", "log"], vmlinux=vmlinux, timeout=900)
    found = re.findall(r'COMMAND: "?([^"\n]+)', tasks)
    file.unlink()
    story.check("its processes are in the dump", {"systemd", "sshd", "postgres", "pgbench", "kjump"} <= set(found),
                f"{len(found)}, {found.count('postgres')} of them postgres")
    story.check("its log is", "kexec_jump: resumed from an image" in log, f"{len(log.splitlines())} lines")


def refused(story, cmd, says):
    """It is not done, and says why."""
    r = story.g.run(f"{cmd} 2>&1", timeout=600)
    line = next((l for l in r.out.splitlines() if says in l), r.out)
    story.check(f"{cmd}: exit {r.rc}", r.rc != 0 and says in r.out, line)


def refusals(story):
    """What is refused while all goes on, and a kernel that was installed since."""
    story.tell("what is refused, with what it says")
    esp = story.ask("findmnt -nvo SOURCE /boot/efi")
    small = story.ask(f"ls $(echo {esp} | sed 's/[0-9]*$/1/')")
    refused(story, f"kjump hibernate --dry-run {esp}", "is in use: mounted on /boot/efi")
    refused(story, f"kjump hibernate --dry-run --force --any-boot {small}", "is too small")
    refused(story, "kjump hibernate --dry-run /dev/sdz9", "/dev/sdz9")
    story.note("a kernel that cannot jump is installed, a newer one:")
    # What counts is what the kernel's file says of itself.
    story.ask("LC_ALL=C sed s/KJMP/NONE/ /boot/vmlinuz-$(uname -r) >/boot/vmlinuz-99.0; "
              "cp /boot/config-$(uname -r) /boot/config-99.0; "
              "cp /boot/initrd.img-$(uname -r) /boot/initrd.img-99.0; update-grub 2>&1", 300)
    refused(story, "kjump hibernate --dry-run", "starts vmlinuz-99.0, by /boot/grub/grub.cfg: it has no kexec jump")
    story.ask("rm /boot/*-99.0; update-grub 2>&1", 300)
    story.check("without it", story.g.run("kjump hibernate --dry-run").rc == 0, "could be saved")


def wrong_passphrases(story, server, firmware):
    """Three, after which nothing is resumed, though what was saved is not encrypted; then the right one."""
    story.tell("switched on: three wrong passphrases, then the right one")
    story.g = server.on(firmware, ["wrong"] * 3 + [debian.PASSPHRASE])
    last, said = story.ask("cat /sys/kernel/kexec_jump/last"), story.g.user_log()
    story.check("it is resumed", last == RESUMED, f"the kernel says \"{last}\"")
    story.check("not before the right one", said.count("No key available") == 3 and
                said.rindex("unlock disk") < said.index("loading "), "asked four times, then loading")


def changed_between(story, server, firmware):
    """Somebody writes to a disk that the saved system has mounted. Then it is too late."""
    story.tell("while it is off, a file is written to its EFI system partition")
    file = server.home / "RESCUE.TXT"
    file.write_text("was here")
    run("mcopy", "-i", f"{server.disks[0]}@@{debian.ESP_AT}", file, "::/", what="writing to the ESP")
    story.tell("switched on: it says why it does not resume it, waits for 30 s, and boots afresh")
    story.g = server.on(firmware)
    said = [line for line in story.g.user_log().splitlines() if "changed since its system left them" in line]
    story.check("the reason on the console", said and "/boot/efi" in said[0], said[0] if said else "none")
    last = story.ask("cat /sys/kernel/kexec_jump/last")
    story.check("another boot", last != RESUMED, f"the kernel says \"{last}\"")
    check_system(story)


def locked_down(story):
    story.tell("locked down, as with Secure Boot")
    story.ask("echo integrity >/sys/kernel/security/lockdown")
    refused(story, "kjump hibernate", "this kernel is locked down")


def power_off(story):
    """What hibernated a moment ago may not be over for logind, which refuses then."""
    story.g.last_words("until systemctl poweroff; do sleep 1; done; sleep 1000", timeout=600)


def tell(release, lab_kernel):
    """The whole story of one release. Returns what was wrong."""
    print(f"\n== Debian {release} ==", flush=True)
    # Short: sockets are in it.
    home = pathlib.Path(tempfile.mkdtemp(prefix="kj-"))
    network = login = story = None
    first, second = DISKS[release]
    try:
        network = Network(home)
        server = Server(home, release, network, lab_kernel)
        story = Story(None)
        story.g = server.on(first)
        story.tell(f"{first}, GRUB, systemd: {story.ask('uname -srm')}, {debian.SERVERS[release][0]} on {DISKS[release][first]}")
        check_system(story)
        set_up(story, server)
        if (first, debian.SERVERS[release][0]) == ("bios", "btrfs"):
            swap_file(story)
        login, kept = start_work(story, network)
        check_picture(story, hibernate(story, server, first))
        check_resumed(story, login, kept)
        snapshot(story)
        login.close()
        power_off(story)
        story.g.close()
        look_inside(story, server.scratch, BUILD / ("x86_64" if lab_kernel else "debian-kernel") / "vmlinux")
        story.tell(f"on again as another machine: {second}, on {DISKS[release][second]}")
        story.g = server.on(second)
        check_system(story)
        story.note("the second kernel's initramfs has drivers for the disks there were")
        story.type("kjump-mkinitramfs && kjump load --ready 2>/dev/null", 600)
        boot = story.ask("cat /proc/sys/kernel/random/boot_id")
        another = None if lab_kernel else install_another_kernel(story)
        hibernate(story, server, second)
        story.check("it is the same system", story.ask("cat /proc/sys/kernel/random/boot_id") == boot, f"boot id {boot[:8]}")
        if another:
            check_another_kernel(story, another)
        check_system(story)
        check_journal(story)
        refusals(story)
        if server.answers:
            hibernate_to_off(story, server)
            wrong_passphrases(story, server, second)
        hibernate_to_off(story, server)
        changed_between(story, server, second)
        locked_down(story)
        power_off(story)
    except Exception:
        if story and story.g:
            print(f"{story.g.fate()}; logs: {story.g.save_artefacts()}", flush=True)
        raise
    finally:
        for each in (login, story and story.g, network):
            if each:
                with contextlib.suppress(OSError):
                    each.close()
        shutil.rmtree(home, ignore_errors=True)
    story.tell(f"Debian {release}: " + ("everything is right" if not story.wrong else f"{len(story.wrong)} WRONG"))
    return [f"Debian {release}: {w}" for w in story.wrong]


def tell_later(release, lab_kernel):
    """What was wrong, and the story, for when another one's is over."""
    with contextlib.redirect_stdout(io.StringIO()) as lines:
        try:
            wrong = tell(release, lab_kernel)
        except LabError as e:
            print(e)
            wrong = [f"Debian {release}: {str(e).splitlines()[0]}"]
    return wrong, lines.getvalue()


def main(releases, lab_kernel):
    began = time.monotonic()
    say("the first run installs Debian (some minutes)"
        + ("" if lab_kernel else ", and compiles a kernel with its configuration (about half an hour on 2 cores)")
        + "; after that it takes about 10 minutes for a release, 15 for both at once")
    # What they share is built once, before; the others' lines follow when the first one's are over.
    deb.kjump()
    deb.lab_kernel()
    if not lab_kernel:
        deb.linux()
    with concurrent.futures.ProcessPoolExecutor() as pool:
        others = [pool.submit(tell_later, release, lab_kernel) for release in releases[1:]]
        wrong = tell(releases[0], lab_kernel)
        for other in others:
            more, lines = other.result()
            print(lines.rstrip(), flush=True)
            wrong += more
    print(flush=True)
    say(f"debian: {time.monotonic() - began:.0f} s in all")
    for line in wrong:
        print(f"WRONG: {line}")
    if not wrong:
        print(f"debian: all checks right on Debian {' and '.join(releases)}", flush=True)
    return 1 if wrong else 0
