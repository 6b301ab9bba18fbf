# SPDX-License-Identifier: GPL-2.0
"""A bare Debian 12, to see that the lab's commands need nothing else: its root, entered with chroot.

What a new installation has: the essential packages and apt, one line of
sources (the release's main archive), no package lists. It is made once, kept in
the user's cache folder, and unpacked for each use. Without being root, that is done
in a user namespace (unshare). In a chroot nothing can be mounted that would not
be seen outside as well: there it gets devices of its own, and no /proc.
"""
import os
import pathlib
import shlex
import shutil
import subprocess
import tempfile

from . import packages, tree
from .util import CACHE, DEFAULT_BASE, ROOT, SHARED, Stamp, digest, lock, run, say

SUITE = "bookworm"
# sudo is what a user who has it has; all others do without.
MORE = ("sudo",)
PASSWORD = "lab"
# Who types the lab's commands, and what sudo lets them.
USERS = {"root": "", "user": "", "admin": "ALL", "passwordless": "NOPASSWD: ALL"}
ARCHIVES = SHARED / "bare/archives"
CHECKOUT = "/srv/kexec-jump"


def in_chroot():
    try:
        mounts = pathlib.Path("/proc/self/mountinfo").read_text().splitlines()
    except OSError:
        return True
    return all(line.split()[4] != "/" for line in mounts)


def namespace(*command):
    """This command, in namespaces that end with it; root there."""
    mapped = () if os.geteuid() == 0 else ("--map-root-user", "--map-auto")
    mount = () if in_chroot() else ("--mount",)
    return ["unshare", *mapped, *mount, "--pid", "--fork", "--kill-child", *map(str, command)]


def apt_settings():
    """How this machine's apt reaches its mirror: proxies, and what it does not check."""
    lines = run("apt-config", "dump", "Acquire").splitlines()
    return "".join(l + "\n" for l in lines if l.startswith(
        ("Acquire::http", "Acquire::https", "Acquire::Check-")))


def installed(name, variant, include, suite=SUITE):
    """An archive of a Debian with these packages: mmdebstrap's variant, and more. Made once for all checkouts."""
    made, mirror = CACHE / f"{name}.tar", packages.Apt(packages.host_arch()).mirror()
    stamp, key = Stamp(CACHE / f".lab-{name}"), digest(mirror, suite, variant, *include)
    with lock(name, CACHE):
        if not made.is_file() or not stamp.fresh(key):
            say(f"installing Debian ({suite}, {variant}) in {made} (some minutes)")
            stamp.clear()
            settings, part = CACHE / f"{name}.apt.conf", CACHE / f"{name}.part.tar"
            settings.write_text(apt_settings())
            run("mmdebstrap", "--quiet", f"--variant={variant}", f"--include={','.join(include)}",
                f"--aptopt={settings}", suite, part, mirror, log=CACHE / f"{name}.log")
            # Somebody may be reading the old one.
            part.rename(made)
            stamp.set(key)
    return made


def checkout(into):
    """What a user has after git clone, with what is not committed yet."""
    run("git", "-c", "safe.directory=*", "clone", "-q", "--no-hardlinks", ROOT, into)
    for name in filter(None, tree.project_files("--cached", "--others", "--exclude-standard")):
        there = pathlib.Path(into) / name
        there.unlink(missing_ok=True)
        if (ROOT / name).is_file():
            there.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, there)


class Machine:
    """A bare root of its own with a checkout in it; gone afterwards.

    With have_source the kernel's source package has been downloaded there before.
    """

    def __init__(self, have_source=False):
        packed = installed("bare", "minbase", MORE)
        ARCHIVES.mkdir(parents=True, exist_ok=True)
        self.home = pathlib.Path(tempfile.mkdtemp(prefix="bare-", dir=SHARED))
        self.root = self.home / "root"
        self.root.mkdir()
        checkout(self.home / "checkout")
        cache = f"{self.root}/var/cache/apt/archives"
        # Its devices are this machine's, if they can be: only root can make some.
        setup = [f"tar -C {self.root} -xf {packed}" + ("" if in_chroot() else " --exclude='./dev/*'"),
                 *self.mounts(),
                 f"mv {self.home}/checkout {self.root}{CHECKOUT}"]
        for name, may in USERS.items():
            if name != "root":
                setup += [f"chroot {self.root} useradd -m -s /bin/sh {name}",
                          f"echo {name}:{PASSWORD} | chroot {self.root} chpasswd"]
            if may:
                setup.append(f"echo '{name} ALL={may}' >{self.root}/etc/sudoers.d/{name}")
        setup += [f"cp /etc/{name} {self.root}/etc/{name}" for name in ("resolv.conf", "hosts")]
        # It need not survive this host's power cuts.
        setup.append(f"echo force-unsafe-io >{self.root}/etc/dpkg/dpkg.cfg.d/unsafe-io")
        # What another one has downloaded.
        setup.append(f"find {ARCHIVES} -name '*.deb' -exec ln -t {cache} {{}} +")
        if have_source:
            source = packages.source_deb(f"linux-source-{DEFAULT_BASE}")
            setup += [f"mkdir -p {self.root}{CHECKOUT}/build/dl",
                      f"ln {source} {self.root}{CHECKOUT}/build/dl/"]
        try:
            run(*namespace("sh", "-ec", "\n".join(setup)), what="unpacking a bare Debian")
        except BaseException:
            self.close()
            raise

    def mounts(self):
        return [] if in_chroot() else [
            f"mount --rbind /dev {self.root}/dev", f"mount --rbind /sys {self.root}/sys",
            f"mount -t proc proc {self.root}/proc"]

    def argv(self, user, line):
        """What runs a command line in it, as this user, in the checkout, which is theirs then."""
        home = "/root" if user == "root" else f"/home/{user}"
        return namespace("sh", "-ec", "\n".join((
            *self.mounts(), f"chroot {self.root} chown -R {user}: {CHECKOUT}",
            # Not in the place of this shell, with which all ends: who changes users is no
            # longer told that unshare was killed.
            f"chroot --userspec={user}:{user} {self.root} env -i HOME={home} USER={user} TERM=dumb "
            f"PATH=/usr/local/bin:/usr/bin:/bin sh -c {shlex.quote(f'cd {CHECKOUT}; {line}')} || exit")))

    def run(self, user, line, until=None):
        """(exit status, what it said); ended when it says `until`: then the status is None."""
        said = ""
        with subprocess.Popen(self.argv(user, line), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT, text=True, errors="replace") as p:
            for text in p.stdout:
                said += text
                if until and until in text:
                    p.kill()
                    return None, said
        return p.returncode, said

    def close(self):
        with lock("bare", SHARED):
            run(*namespace("sh", "-c",
                           f"find {self.root}/var/cache/apt/archives -name '*.deb' -exec ln -f -t {ARCHIVES} {{}} + ;"
                           f"rm -rf --one-file-system {self.home}"))

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
