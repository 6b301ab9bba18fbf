# SPDX-License-Identifier: GPL-2.0
"""Build guest kernels: allnoconfig plus the fragments in lab/config, checked."""
import lzma
import os
import pathlib
import re
import shutil

from . import packages, tree
from .util import BASE, BUILD, COMPILER, LAB, SHARED, VARIANTS, LabError, Stamp, digest, lock, jobs, run, say

# Same source and config give the same bytes, whoever builds them and when.
REPRODUCIBLE = ("KBUILD_BUILD_TIMESTAMP=2025-01-01", "KBUILD_BUILD_USER=lab",
                "KBUILD_BUILD_HOST=lab", "KBUILD_BUILD_VERSION=1", "LOCALVERSION=")
# With debug information. Most of its price is for the place of each variable at
# each instruction and the like, which crash has no use for.
DEBUG_FLAGS = ("KCFLAGS=-fno-var-tracking -gno-statement-frontiers",) if COMPILER == "gcc" else ()
# Debian 12 has several; lab/packages/clang names this one.
LLVM = "-19"
TOOLCHAIN = (f"LLVM={LLVM}",) if COMPILER == "clang" else ()
# Not one of the VARIANTS: an i386 kernel without PAE, for one CPU, and complete in itself.
SMALL = "i386-small"
# Nor is this: an x86_64 kernel that looks for mistakes, its own and other people's.
DEBUG = "debug"
FRAGMENTS = {"x86_64": ("common", "x86_64"), "i386": ("common", "i386"), SMALL: (SMALL,),
             DEBUG: ("common", "x86_64", DEBUG)}
if COMPILER == "clang":
    # What no other compiler does.
    FRAGMENTS["x86_64"] += ("clang",)
# For kernels nobody looks into with crash.
NO_DEBUG_INFO = {"DEBUG_INFO_DWARF5": "n", "DEBUG_INFO_NONE": "y"}


def compiler():
    """Equal sources are compiled once, whichever folder they are in, if there is ccache.

    The cache is the user's own (~/.cache/ccache), with the user's own settings.
    """
    plain = "gcc" if COMPILER == "gcc" else f"clang{LLVM}"
    if not shutil.which("ccache"):
        return plain
    # Paths below it become relative ones, and the folder's own name is not looked at.
    os.environ.setdefault("CCACHE_BASEDIR", str(BUILD))
    os.environ.setdefault("CCACHE_NOHASHDIR", "1")
    # What the compiler says it has read is enough: no run of the preprocessor before each compilation.
    os.environ.setdefault("CCACHE_DEPEND", "1")
    if "CCACHE_DIR" not in os.environ and not os.access(pathlib.Path.home(), os.W_OK):
        os.environ["CCACHE_DIR"] = str(SHARED / "ccache")
    return f"ccache {plain}"


def make_args(src, obj, variant, cppflags=""):
    # The kernel's own map of source paths (__FILE__) names the absolute one.
    cppflags = f"-fmacro-prefix-map={os.path.relpath(src, obj)}/= {cppflags}".strip()
    return ["make", "-s", "-C", src, f"O={obj}", *REPRODUCIBLE,
            "ARCH=x86_64" if variant in ("x86_64", DEBUG) else "ARCH=i386", f"-j{jobs()}",
            *TOOLCHAIN, f"CC={compiler()}", f"KCPPFLAGS={cppflags}"]


def parse(text):
    """{symbol: value} of a config or fragment; "is not set" is the value n."""
    found = {}
    for line in text.splitlines():
        if m := re.match(r"CONFIG_(\w+)=(.*)$", line):
            found[m[1]] = m[2]
        elif m := re.match(r"# CONFIG_(\w+) is not set$", line):
            found[m[1]] = "n"
    return found


def known_symbols(src):
    """Symbols the tree's kexec Kconfig files define (jump.config may ask for no others)."""
    text = "".join(p.read_text() for p in [src / "kernel/Kconfig.kexec",
                                           *(src / "kernel/kexec_jump").glob("Kconfig*")]
                   if p.is_file())
    return set(re.findall(r"^\s*config (\w+)$", text, re.M))


def fragment_of(name):
    """What lab/config asks for under that name, with what is asked for otherwise on this base."""
    want = parse((LAB / f"config/{name}.config").read_text())
    special = LAB / f"config/{tree.base_folder().name}/{name}.config"
    return want | (parse(special.read_text()) if special.is_file() else {})


def wanted(src, variant, override=None):
    want = {}
    for name in FRAGMENTS[variant]:
        want |= fragment_of(name)
    if variant != SMALL:
        known = known_symbols(src)
        want |= {s: v for s, v in parse((LAB / "config/jump.config").read_text()).items()
                 if s in known}
    for symbol, value in (override or {}).items():
        # Switching the feature off takes its own options (KEXEC_JUMP_*) along.
        if value == "n":
            want = {s: v for s, v in want.items() if not s.startswith(symbol + "_")}
        want[symbol] = value
    return want


def fragment(want):
    return "".join(f"CONFIG_{s}={v}\n" if v != "n" else f"# CONFIG_{s} is not set\n"
                   for s, v in want.items())


def check_config(text, want):
    """Every symbol asked for must be in the final config as asked."""
    have = parse(text)
    wrong = [f"CONFIG_{s}={v} (is {have.get(s, 'n, or its dependencies are not met')})"
             for s, v in want.items() if have.get(s, "n") != v]
    if wrong:
        raise LabError("the kernel configuration is not what lab/config asks for:\n  "
                       + "\n  ".join(wrong))


def configure(src, obj, variant, want):
    obj.mkdir(parents=True, exist_ok=True)
    frag, config = obj / "lab.config", obj / ".config"
    text = fragment(want)
    stamp = Stamp(obj / ".lab-config")
    key = digest(text, *sorted(p for p in src.glob("kernel/Kconfig*")),
                 *sorted(src.glob("kernel/kexec_jump/Kconfig*")),
                 src / "arch/x86/Kconfig", src / "Makefile")
    if not (stamp.fresh(key) and config.is_file()):
        stamp.clear()
        frag.write_text(text)
        old = config.read_bytes() if config.is_file() else None
        run(*make_args(src, obj, variant), f"KCONFIG_ALLCONFIG={frag}", "allnoconfig",
            what=f"configuring {variant}")
        check_config(config.read_text(), want)
        if old is not None and old == config.read_bytes():
            # Same answers: do not let make think that everything changed.
            auto = obj / "include/config/auto.conf"
            if auto.is_file():
                before = auto.stat().st_mtime - 1
                os.utime(config, (before, before))
        stamp.set(key)
    check_config(config.read_text(), want)


def debian_config(modules=None):
    """Debian's own configuration of its kernel, with KEXEC_JUMP; of what it has as modules only these, if any are named."""
    name = f"linux-config-{BASE}"
    root, part = SHARED / "debs" / name, SHARED / "debs" / f"{name}.part"
    with lock(name, SHARED):
        if not root.is_dir():
            run("dpkg-deb", "-x", packages.source_deb(name), part)
            part.rename(root)
    (packed,) = root.glob(f"usr/src/{name}/config.amd64_none_amd64.xz")
    want = parse(lzma.decompress(packed.read_bytes()).decode())
    # Key files of the build daemon are not ours to have.
    want |= {s: '""' for s in ("SYSTEM_TRUSTED_KEYS", "MODULE_SIG_KEY") if s in want} | {"KEXEC_JUMP": "y"}
    if modules:
        want = {s: "n" if v == "m" and s not in modules else v for s, v in want.items()}
    return want


def complete(src, obj, variant, want):
    """Configure with a whole configuration, that may be of a slightly different tree."""
    obj.mkdir(parents=True, exist_ok=True)
    (obj / ".config").write_text(fragment(want))
    run(*make_args(src, obj, variant), "olddefconfig", what=f"configuring {obj.parent.name}")
    have = parse((obj / ".config").read_text())
    if have.get("KEXEC_JUMP") != "y":
        raise LabError("this configuration does not take CONFIG_KEXEC_JUMP=y")
    return have


def copy_modules(obj, results):
    """All modules, in one folder, without debug information."""
    shutil.rmtree(results, ignore_errors=True)
    results.mkdir()
    for name in (obj / "modules.order").read_text().split():
        ko = (obj / name).with_suffix(".ko")
        run("strip", "--strip-debug", "-o", results / ko.name, ko)


def debug_flags(config):
    dwarf = "DEBUG_INFO_DWARF5", "DEBUG_INFO_DWARF_TOOLCHAIN_DEFAULT"
    return DEBUG_FLAGS if "y" in map(config.get, dwarf) else ()


def build_in(src, obj, variant, want, source, results, targets=("bzImage",), by=configure, how_long="a few minutes"):
    """Build `src` in `obj`; copy bzImage and vmlinux to `results` when they changed, modules to `results`/modules."""
    stamp = Stamp(results / ".lab-kernel")
    flags = debug_flags(want)
    key = digest(source, fragment(want), " ".join(REPRODUCIBLE + TOOLCHAIN + flags))
    if stamp.fresh(key) and all((results / f).is_file() for f in ("bzImage", "vmlinux")):
        return
    log = results / "kernel.log"
    results.mkdir(parents=True, exist_ok=True)
    log.write_text("")
    stamp.clear()
    by(src, obj, variant, want)
    first = not (obj / "vmlinux").is_file()
    say(f"building {results.relative_to(SHARED)}" + (f" ({how_long})" if first else ""))
    run(*make_args(src, obj, variant), *flags, *targets, what=f"building {variant}", log=log)
    warnings = [l for l in log.read_text().splitlines() if "warning:" in l]
    for line in warnings[:10]:
        say(line)
    for name, made in (("vmlinux", obj / "vmlinux"),
                       ("bzImage", obj / "arch/x86/boot/bzImage")):
        # A new file, not new content in the old one: a guest may be reading that.
        shutil.copy2(made, results / f"{name}.new")
        os.replace(results / f"{name}.new", results / name)
    if "modules" in targets:
        copy_modules(obj, results / "modules")
    stamp.set(key)


def package(src, obj, variant, log, env):
    """Make Debian packages of what is built in `obj`, in the folder it is in."""
    log.unlink(missing_ok=True)
    run(*make_args(src, obj, variant), *debug_flags(parse((obj / ".config").read_text())), "KDEB_PKGVERSION=1-1", "bindeb-pkg",
        what=f"packaging {variant}", log=log, env=env)


def build(variant):
    """The kernel under test."""
    source = tree.compose()
    home = BUILD / variant
    want = wanted(tree.TREE, variant)
    targets = ("bzImage", "modules") if want.get("MODULES") == "y" else ("bzImage",)
    with lock(f"kernel-{variant}"):
        build_in(tree.TREE, home / "obj", variant, want, source, home, targets)
    return home


def build_debian(full=False):
    """The kernel with Debian's configuration, and lab/config/debian-modules; or with all its modules."""
    source = tree.compose()
    home = BUILD / "debian-kernel"
    modules = re.sub(r"#.*", "", (LAB / "config/debian-modules").read_text()).split()
    want = debian_config(None if full else modules)
    if unknown := [m for m in modules if want.get(m) not in ("y", "m")]:
        raise LabError(f"lab/config/debian-modules: Debian's configuration has no {' '.join(unknown)}")
    # What only modules from elsewhere need, and takes as long as compiling; and what would need pahole.
    want |= {"MODVERSIONS": "n", "DEBUG_INFO_BTF": "n", "LOCALVERSION": '"-kjump"'}
    # Without BTF systemd has an error to tell of at each boot, if there is BPF's security module.
    want["LSM"] = want["LSM"].replace(",bpf", "")

    def configure_all(*args):
        have = complete(*args)
        if lost := [m for m in modules if have.get(m) not in ("y", "m")]:
            raise LabError(f"lab/config/debian-modules: what {' '.join(lost)} depends on is not there")

    with lock(f"kernel-{home.name}"):
        # "all": its modules stay where they are, to be packaged.
        build_in(tree.TREE, home / "obj", "x86_64", want, source, home, ("all",), configure_all,
                 how_long="several hours" if full else "about half an hour on 2 cores")
    return home


def build_small(initramfs):
    """An i386 kernel for a window of 15 MB, with this initramfs (a cpio archive) built in.

    Stock kexec puts an initrd at 16 MB or above, so in that window there can be none.
    """
    source = tree.compose()
    home = BUILD / SMALL
    # Every object is compiled with the configuration: the same wherever this folder is.
    path = os.path.relpath(initramfs, home / "obj")
    want = wanted(tree.TREE, SMALL) | {"INITRAMFS_SOURCE": f'"{path}"', "INITRAMFS_COMPRESSION_XZ": "y"}
    with lock(f"kernel-{SMALL}"):
        build_in(tree.TREE, home / "obj", SMALL, want, digest(source, initramfs), home)
    return home


def seed(old, new):
    """Start a build directory from another one, so that little is compiled again."""
    if old.is_dir() and not new.is_dir():
        part = new.with_name(new.name + ".part")
        new.parent.mkdir(parents=True, exist_ok=True)
        shutil.rmtree(part, ignore_errors=True)
        run("cp", "-a", "--reflink=auto", old, part)
        for name in (".lab-config", "lab.config"):
            (part / name).unlink(missing_ok=True)
        # objtool's build notes hold the directory's name. If it were built
        # again, so would be every object it has looked at.
        for note in (part / "tools").rglob(".*.cmd"):
            times = note.stat()
            note.write_text(note.read_text().replace(str(old), str(new)))
            os.utime(note, ns=(times.st_atime_ns, times.st_mtime_ns))
        part.rename(new)


def build_base(variant):
    """The unpatched base with the same configuration, to measure against."""
    tree.compose()
    src, home = BUILD / "base/tree", BUILD / "base" / variant
    with lock("base"):
        source = tree.worktree(src, "base")
        build_in(src, home / "obj", variant, wanted(src, variant, NO_DEBUG_INFO), source, home)
    return home


def changes_kernel(commit):
    """Whether a commit of the series changes what a kernel is made of."""
    names = tree.git("diff-tree", "-r", "--no-commit-id", "--name-only", commit).split()
    return not all(n.startswith(("tools/", "Documentation/", "MAINTAINERS")) for n in names)


def bisect_check(variants=VARIANTS, first=None):
    """Every commit of the series that changes the kernel builds, with the feature on and off."""
    tree.compose()
    src = BUILD / "bisect/tree"
    commits = tree.git("rev-list", "--reverse", "base..HEAD").split()
    with lock("bisect"):
        for n, commit in enumerate(commits, 1):
            if first and n < first or not changes_kernel(commit):
                continue
            source = tree.worktree(src, commit)
            title = tree.git("log", "-1", "--format=%s", commit)
            for variant in variants:
                for value in "yn":
                    home = BUILD / "bisect" / f"{variant}-{value}"
                    override = NO_DEBUG_INFO | ({"KEXEC_JUMP": "n"} if value == "n" else {})
                    say(f"[{n}/{len(commits)}] {title}: {variant}, KEXEC_JUMP={value}")
                    if value == "n":
                        seed(BUILD / "bisect" / f"{variant}-y" / "obj", home / "obj")
                    build_in(src, home / "obj", variant, wanted(src, variant, override),
                             source, home)
    say(f"all {len(commits)} commits build")
