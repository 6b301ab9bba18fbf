# SPDX-License-Identifier: GPL-2.0
"""Paths, running commands, and the two ways to end: say() and LabError."""
import contextlib
import fcntl
import hashlib
import os
import pathlib
import re
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[2]
LAB = ROOT / "lab"
# What every base needs, downloads above all; what is built of one is in BUILD (below).
SHARED = pathlib.Path(os.environ.get("KJ_BUILD", ROOT / "build")).resolve()
# What takes long to download or make, and is the same for every checkout, is kept where ccache keeps what it has.
CACHE = (pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache") / "kexec-jump"
         if os.access(pathlib.Path.home(), os.W_OK) else SHARED / "cache")
DEFAULT_BASE = "6.12"
COMPILERS = ("gcc", "clang")
VARIANTS = ("x86_64", "i386")
# mke2fs lives in sbin, which is not in every user's PATH.
os.environ["PATH"] = os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin"
IDENTITY = ("Kexec jump project", "kexec-jump@example.org")


class LabError(Exception):
    """Something the user has to know; the CLI prints it without a traceback."""


def say(text):
    print(f"lab: {text}", file=sys.stderr, flush=True)


def jobs():
    return int(os.environ.get("KJ_JOBS", len(os.sched_getaffinity(0))))


def run(*argv, what=None, log=None, **kw):
    """Run a command; on failure raise LabError with the end of its output.

    With log=PATH the output goes to that file, else it is captured and returned.
    """
    argv = [str(a) for a in argv]
    kw.setdefault("stdin", subprocess.DEVNULL if "input" not in kw else None)
    if "input" in kw:
        del kw["stdin"]
    if log:
        log.parent.mkdir(parents=True, exist_ok=True)
        with open(log, "ab") as out:
            p = subprocess.run(argv, stdout=out, stderr=subprocess.STDOUT, **kw)
        text = log.read_text(errors="replace") if p.returncode else ""
    else:
        p = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **kw)
        text = (p.stderr or b"").decode(errors="replace") + (
            p.stdout.decode(errors="replace") if p.returncode else "")
    if p.returncode:
        tail = "\n".join(text.splitlines()[-25:])
        where = f"\n(full output: {log})" if log else ""
        raise LabError(f"{what or ' '.join(argv[:4])} failed "
                       f"(exit {p.returncode}):\n{tail}{where}")
    return "" if log else p.stdout.decode(errors="replace")


def digest(*parts):
    """A short hash of strings, bytes and files (a missing file counts as such)."""
    h = hashlib.sha256()
    for part in parts:
        if isinstance(part, pathlib.Path):
            part = part.read_bytes() if part.is_file() else b"(none)"
        elif isinstance(part, str):
            part = part.encode()
        h.update(len(part).to_bytes(8, "little") + part)
    return h.hexdigest()[:24]


class Stamp:
    """Remembers what a result was made from, so it is made again only when that changes."""

    def __init__(self, path):
        self.path = pathlib.Path(path)

    def fresh(self, value):
        return self.path.is_file() and self.path.read_text() == value

    def set(self, value):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.path.write_text(value)

    def clear(self):
        self.path.unlink(missing_ok=True)


@contextlib.contextmanager
def lock(name, folder=None):
    """One lab process at a time may work on `name` (a tree, a variant) in BUILD, or in this folder."""
    folder = folder or BUILD
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / f".lock-{name}", "w") as f:
        try:
            fcntl.flock(f, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"waiting: something else in the lab is at work on {name}")
            fcntl.flock(f, fcntl.LOCK_EX)
        yield


def chosen_base():
    """The kernel that the series is put on: BASE= a version (6.12, 7.3 ...), or "newest"."""
    base = os.environ.get("BASE") or DEFAULT_BASE
    if base == "newest":
        # By another process: packages needs this module.
        found = subprocess.run([sys.executable, "-B", LAB / "lab", "newest"], stdout=subprocess.PIPE, text=True,
                               env={**os.environ, "BASE": DEFAULT_BASE})
        if found.returncode:
            sys.exit(found.returncode)
        base = found.stdout.strip()
    elif not re.fullmatch(r"\d+\.\d+", base):
        raise LabError(f"BASE={base} is neither a version (as in BASE={DEFAULT_BASE}) nor 'newest'")
    # For what the lab starts: it is asked for once.
    os.environ["BASE"] = base
    return base


def chosen_compiler():
    """What kernels are compiled with: COMPILER= gcc or clang."""
    name = os.environ.get("COMPILER") or COMPILERS[0]
    if name not in COMPILERS:
        raise LabError(f"COMPILER={name} is none of {', '.join(COMPILERS)}")
    return name


try:
    BASE, COMPILER = chosen_base(), chosen_compiler()
except LabError as e:
    sys.exit(f"lab: {e}")


def build_folder(base):
    """Where kernels of this base are built, and what is made of them."""
    return SHARED.joinpath(*(name for name in (base, COMPILER) if name not in (DEFAULT_BASE, COMPILERS[0])))


BUILD = build_folder(BASE)
