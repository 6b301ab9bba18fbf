# SPDX-License-Identifier: GPL-2.0
"""Debian packages: those the host needs, and those unpacked for the guests.

Host packages are installed, by lab/install. Guest packages and the kernel source
are only downloaded, through a private apt state per architecture in build/apt
that reads the host's list of sources: the host gets no foreign architecture,
and no package of another release.
"""
import errno
import functools
import os
import re
import shutil
import subprocess
import sys
import time

from .util import BASE, DEFAULT_BASE, LAB, SHARED, LabError, Stamp, digest, lock, run, say

GUEST = ("busybox-static", "kexec-tools", "makedumpfile", "lz4")
# The host has no libraries for 32 bits to build kjump with.
FOREIGN = {"i386": ("kjump",)}
# Where a program is too old in Debian 12, a later release's is unpacked, and run where it lies:
# from the first of its suites that the mirror has in order.
# Debian 12's knows no kernel as new as 6.12. For each architecture: it opens only images of its own.
CRASH, CRASH_SUITES = ("crash",), ("trixie", "stable", "forky")
# Nor does Debian 13's know a 7.3: it finds neither slabs nor the names of files.
if BASE != DEFAULT_BASE:
    CRASH_SUITES = ("forky", "sid")
SPARSE_SUITES = ("forky", "sid")
# Before version 11 the CPUs of a guest cannot run at once: what one of them reads or writes while another has the
# memory map changed (as at boot) may reach another device than its own, which loses interrupts, or QEMU ends.
QEMU, QEMU_PARALLEL, QEMU_SUITES = ("qemu-system-x86", "qemu-system-data", "seabios"), 11, ("forky", "sid")
# Where the newest kernel source is looked for.
NEWEST_SUITES = ("trixie-backports", "forky", "sid")
# Where a kernel source is taken from if the host's own sources have none.
SOURCE_SUITES = ("trixie", "bookworm-backports")
# What the newest is, is looked up again after a day.
NEWEST_AGE = 24 * 3600
# Lists that do not fit each other, as a mirror has them for a while, are read again after so long.
UPDATE_AGAIN = (5, 20)
DEB_ARCH = {"x86_64": "amd64", "i386": "i386"}


def named(*lists):
    """Packages that these lists of lab/packages name."""
    text = "".join((LAB / "packages" / name).read_text() for name in lists)
    return tuple(re.sub(r"#.*", "", text).split())


def install(*lists):
    """Have these lists' packages on the host; what cannot be done, lab/install has said."""
    if rc := subprocess.call([LAB / "install", *lists]):
        sys.exit(rc)


class Apt:
    """A private apt state for one architecture; of the host's release, or of another suite."""

    def __init__(self, arch, suite=None):
        self.arch, self.dir = arch, SHARED / "apt" / (f"{suite}-{arch}" if suite else arch)
        for sub in ("state/lists/partial", "cache/archives/partial"):
            (self.dir / sub).mkdir(parents=True, exist_ok=True)
        status = self.dir / "status"
        status.touch()
        self.opts = []
        for key, value in {
                "Dir::State": self.dir / "state", "Dir::State::status": status,
                "Dir::Cache": self.dir / "cache", "Dir::Log": self.dir,
                "APT::Architecture": arch, "APT::Architectures": arch,
                "Acquire::Languages": "none", "APT::Sandbox::User": "root",
                "APT::Update::Post-Invoke": "", "APT::Update::Post-Invoke-Success": ""}.items():
            self.opts += ["-o", f"{key}={value}"]
        self.updated = self.dir / "updated"
        if suite:
            sources = self.dir / "suite.sources"
            if not sources.is_file():
                new = self.dir / f"suite.{os.getpid()}"
                new.write_text(f"Types: deb\nURIs: {Apt(arch).mirror()}\nSuites: {suite}\n"
                               "Components: main\nSigned-By: /usr/share/keyrings/"
                               "debian-archive-keyring.gpg\n")
                os.replace(new, sources)
            self.opts += ["-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-"]

    def __call__(self, tool, *args, **kw):
        return run(tool, *self.opts, *args, what=f"{tool} {' '.join(map(str, args))}", **kw)

    def update(self, if_older=None):
        """Read the package lists; with if_older, unless that was done in the last so many seconds."""
        # Of two at a time, apt lets one fail.
        with lock(f"apt-{self.dir.name}", SHARED):
            if if_older is None or self.age() > if_older:
                self._update()

    def age(self):
        """Seconds since the package lists were read."""
        return time.time() - self.updated.stat().st_mtime if self.updated.exists() else float("inf")

    def _update(self):
        for seconds in (*UPDATE_AGAIN, None):
            say(f"reading the package lists for {self.arch}")
            try:
                self("apt-get", "update", "-q")
                break
            except LabError as e:
                errors = [l for l in str(e).splitlines() if l.startswith("E:")] or ["?"]
            if seconds and any("Mirror sync in progress" in l for l in errors):
                say(f"the mirror is changing its lists just now; again in {seconds} s")
                time.sleep(seconds)
                continue
            # One broken third-party source is no reason to stop; a missing package is.
            say("going on without some package lists: " + errors[0])
            break
        self.updated.touch()

    def have_lists(self, max_age=sys.maxsize):
        if self.age() > max_age:
            self.update(if_older=max_age)

    def mirror(self):
        """Where the host gets Debian from, which has the other releases too."""
        self.have_lists()
        found = self("apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages",
                     "Origin: Debian", "Label: Debian", "Component: main").split()
        if not found:
            raise LabError("none of the host's package sources is Debian's")
        return found[0]

    def versions(self, name):
        """Those on offer of a package, newest first."""
        self.have_lists()
        out = run("apt-cache", *self.opts, "madison", name)
        return [line.split("|")[1].strip() for line in out.splitlines()]

    def download(self, names, into):
        """Download packages ("name" or "name=version"); returns their files.

        One update if something is not found.
        """
        into.mkdir(parents=True, exist_ok=True)
        self.have_lists()
        try:
            self("apt-get", "download", "-q", *names, cwd=into)
        except LabError:
            self.update()
            self("apt-get", "download", "-q", *names, cwd=into)
        return [newest(into, n.partition("=")[0], self.arch) for n in names]


def newest(into, name, arch):
    found = [p for a in (arch, "all") for p in into.glob(f"{name}_*_{a}.deb")]
    if not found:
        raise LabError(f"no package {name} for {arch}")
    return max(found, key=lambda p: p.stat().st_mtime)


def host_arch():
    return run("dpkg", "--print-architecture").strip()


def sources(name):
    """Who offers a kernel source package: yields (Apt, [versions, newest first]).

    The host's own sources first. A host that was set up with the release's main archive
    alone, as debootstrap does it, has none there, but its mirror has other suites.
    """
    arch = host_arch()
    more = () if name.endswith(f"-{DEFAULT_BASE}") else NEWEST_SUITES
    for suite in (None, *SOURCE_SUITES, *more):
        apt = Apt(arch, suite)
        if versions := apt.versions(name):
            yield apt, versions


def newest_source():
    """(Apt, name, version) of the newest kernel source that the mirror has."""
    found = []
    for suite in NEWEST_SUITES:
        apt = Apt(host_arch(), suite)
        apt.have_lists(NEWEST_AGE)
        for name in run("apt-cache", *apt.opts, "pkgnames", "linux-source-").split():
            if number := re.fullmatch(r"linux-source-(\d+)\.(\d+)", name):
                found.append((tuple(map(int, number.groups())), name, apt))
    if not found:
        raise LabError(f"no kernel source in {', '.join(NEWEST_SUITES)}")
    _, name, apt = max(found, key=lambda f: f[0])
    return apt, name, apt.versions(name)[0]


def source_files(apt, name, version, wanted, into):
    """Have these files and folders of one version of a kernel source package in a folder."""
    stamp, key = Stamp(into.with_name(f".{into.name}")), digest(version, *wanted)
    if stamp.fresh(key):
        return into
    shutil.rmtree(into, ignore_errors=True)
    into.mkdir(parents=True)
    say(f"downloading {name} {version}")
    (deb,) = apt.download([f"{name}={version}"], into)
    members = " ".join(f"{name}/{n}" for n in wanted)
    run("sh", "-c", f"dpkg-deb --fsys-tarfile '{deb}' | tar -xO ./usr/src/{name}.tar.xz"
                    f" | tar -xJ -C '{into}' --strip-components=1 {members}", what=f"unpacking {deb.name}")
    deb.unlink()
    stamp.set(key)
    return into


def downloaded(name):
    return any((SHARED / "dl").glob(f"{name}_*_all.deb"))


def source_deb(name):
    """A kernel source package, downloaded once."""
    into = SHARED / "dl"
    if downloaded(name):
        return newest(into, name, "all")
    for apt, versions in sources(name):
        say(f"downloading {name} {versions[0]} (about 140 MB)")
        return apt.download([name], into)[0]
    raise LabError(f"neither this machine's package sources nor the other suites of its "
                   f"mirror have {name}; LINUX_SRC=FILE takes a tarball or tree you have")


def is_there(name):
    """Whether source_deb() would find this one."""
    return downloaded(name) or any(sources(name))


def library_depends(deb):
    """Library packages a package depends on (first alternative)."""
    fields = run("dpkg-deb", "-f", deb, "Depends", "Pre-Depends")
    names = re.findall(r"(?:^\S+:|,)\s*([a-z0-9.+-]+)", fields, re.M)
    return [n for n in names if re.match(r"lib|zlib", n)]


def unpacked(name, arch, wanted, suite=None):
    """build/debs/<name>: these packages and the libraries they need, unpacked."""
    root = SHARED / "debs" / name
    stamp = Stamp(root / ".lab-packages")
    with lock(f"debs-{name}", SHARED):
        if stamp.fresh(" ".join(wanted)):
            return root
        apt, into = Apt(arch, suite), SHARED / "dl" / (suite or "")
        scratch = root.with_name(f"{name}.part")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        todo, seen = list(wanted), set()
        say(f"downloading packages for {arch}: {' '.join(wanted)}")
        while todo:
            batch = [n for n in dict.fromkeys(todo) if n not in seen]
            if not batch:
                break
            seen.update(batch)
            todo = []
            for deb in apt.download(batch, into):
                run("dpkg-deb", "-x", deb, scratch)
                todo += library_depends(deb)
        shutil.rmtree(root, ignore_errors=True)
        scratch.rename(root)
        stamp.set(" ".join(wanted))
    return root


def guest_root(variant):
    """Directory with the guest packages and the libraries they need, and those of FOREIGN."""
    arch = DEB_ARCH[variant]
    return unpacked(arch, arch, (*GUEST, *named(*FOREIGN.get(arch, ()))))


def later_root(what, arch, wanted, suites):
    """These packages of a later release, unpacked; of one that is there already, if there is."""
    def name(suite):
        return f"{suite}-{arch}-{what}"

    def there(suite):
        return (SHARED / "debs" / name(suite)).is_dir()

    with lock(f"{what}-{arch}", SHARED):
        for suite in sorted(suites, key=there, reverse=True):
            try:
                return unpacked(name(suite), arch, wanted, suite)
            except LabError as e:
                say(f"no {what} from {suite}: {str(e).splitlines()[-1]}")
    raise LabError(f"no suite of {', '.join(suites)} gives a {what} for {arch}")


def run_in_place(root, path):
    """The command for a program of another release, unpacked below root: run with its own libraries."""
    program = root / path
    libraries = library_closure(root, [program])
    loader = libraries[needed(program)[0]]
    dirs = sorted({str(path.parent) for path in libraries.values()})
    return [str(loader), "--library-path", ":".join(dirs), str(program)]


@functools.cache
def runner(variant):
    """What has to run a variant's programs on the host: nothing, or an emulator where its kernel has no 32 bits."""
    if variant == "x86_64":
        return []
    try:
        subprocess.run([guest_root(variant) / "bin/busybox", "true"], check=True)
        return []
    except OSError as e:
        if e.errno != errno.ENOEXEC:
            raise
    say("this machine's kernel runs no programs for 32 bits: QEMU does")
    return run_in_place(unpacked("qemu-user", host_arch(), ("qemu-user",)), "usr/bin/qemu-i386")


def crash_command(variant):
    """The crash that opens images of this variant's kernel."""
    return runner(variant) + run_in_place(later_root("crash", DEB_ARCH[variant], CRASH, CRASH_SUITES), "usr/bin/crash")


def sparse_command(src):
    """The sparse that this kernel's source takes for new enough."""
    check = src / "scripts/checker-valid.sh"
    if not check.is_file() or run("sh", check, "sparse").strip() == "1":
        return ["sparse"]
    return run_in_place(later_root("sparse", host_arch(), ("sparse",), SPARSE_SUITES), "usr/bin/sparse")


def qemu_version(command):
    return int(re.search(r"version (\d+)", run(*command, "--version"))[1])


@functools.cache
def qemu_command():
    """The guests' QEMU, and whether it can run several CPUs of a guest at once."""
    command = ["qemu-system-x86_64"]
    if qemu_version(command) >= QEMU_PARALLEL:
        return command, True
    try:
        root = later_root("qemu", host_arch(), QEMU, QEMU_SUITES)
        newer = run_in_place(root, "usr/bin/qemu-system-x86_64")
        for firmware in "seabios", "qemu":
            newer += ["-L", str(root / "usr/share" / firmware)]
        return newer, qemu_version(newer) >= QEMU_PARALLEL
    except LabError as e:
        say(f"the host's QEMU has to do, and a guest's CPUs take turns: {e}")
        return command, False


def needed(path):
    """(program interpreter, DT_NEEDED names) of an ELF file."""
    out = run("readelf", "-W", "-l", "-d", path)
    interp = re.search(r"program interpreter: ([^]]+)\]", out)
    return interp and interp[1], re.findall(r"\(NEEDED\).*\[([^]]+)\]", out)


def library_closure(root, programs):
    """{path in the guest: file} for the interpreter and all libraries of `programs`."""
    have = {}
    for d in ("lib", "usr/lib"):
        for path in (root / d).glob("**/*.so*"):
            have.setdefault(path.name, path)
    result, todo = {}, list(programs)
    while todo:
        interp, names = needed(todo.pop())
        if interp and interp not in result:
            result[interp] = have[os.path.basename(interp)].resolve()
        for name in names:
            if name not in have:
                raise LabError(f"no guest package holds {name}")
            if f"/lib/{name}" not in result:
                result[f"/lib/{name}"] = have[name].resolve()
                todo.append(have[name])
    return result
