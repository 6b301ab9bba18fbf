# SPDX-License-Identifier: GPL-2.0
"""What the kernel's own checkers say of the series: checkpatch, W=1, sparse, other configurations."""
import os
import re
import shutil
import subprocess

from . import kernel, packages, tree
from .util import BASE, BUILD, ROOT, LabError, digest, Stamp, jobs, lock, run, say

# Debian's python3 has the modules checkpatch's SPDX check needs; an own one may not.
SYSTEM_PATH = {**os.environ, "PATH": "/usr/bin:/bin:/usr/sbin:/sbin"}

# Mainline's own for kexec jump.
SELFTESTS = ("tools/testing/selftests/kexec",)
# Makes generated/utsversion.h, which the decompressor includes.
VERSION = ("init/version-timestamp.o",)


def files(suffix, owned=True, touched=True):
    """Files of the series with that ending: those it adds, those it changes.

    With an ending: sources of the kernel, not of tools.
    """
    found = set()
    for patch in tree.patches():
        if owned:
            found.update(patch.overlay)
        if touched:
            found.update(patch.touched)
    return sorted(f for f in found
                  if not suffix or f.endswith(suffix) and not f.startswith("tools/"))


# What the lab's kernels do not have.
SEV = ("AMD_IOMMU", "CRYPTO_HW", "CRYPTO_DEV_CCP", "CRYPTO_DEV_CCP_DD", "CRYPTO_DEV_SP_PSP")


def wanted(src, variant):
    """The options of the lab's kernel, and what else the series touches."""
    more = ["HYPERVISOR_GUEST", "PARAVIRT"]
    if variant == "x86_64":
        more += SEV
    return kernel.wanted(src, variant, dict.fromkeys(more, "y"))


def for_variant(sources, variant):
    """Sources of x86 that this variant compiles."""
    # There are no memory hotplug, no kexec_file_load and no SEV on i386.
    others = ("_32.",) if variant == "x86_64" else ("_64.", "memory_hotplug.", "kexec_file.", "/ccp/")
    return [f for f in sources if not any(other in f for other in others)]


def checkpatch(mail):
    """Complaints of checkpatch --strict about one mail of the series.

    With the tree it would start two programs for each file of a mail: they are
    started once for all of them, see licenses_and_states().
    """
    # The names of zstd's functions are not ours.
    ignore = ["CAMELCASE"] if "kjump" in mail.name else []
    # All folders of the series are in MAINTAINERS, from the mails on that say so.
    if "+++ b/MAINTAINERS" not in mail.read_text():
        ignore.append("FILE_PATH_CHANGES")
    p = in_tree("perl", "scripts/checkpatch.pl", "--strict", "--no-summary", "--no-tree",
                *(word for i in ignore for word in ("--ignore", i)), mail)
    return "" if p.returncode == 0 and "no obvious style problems" in p.stdout else p.stdout


def in_tree(*argv):
    return subprocess.run(argv, cwd=tree.TREE, env=SYSTEM_PATH, text=True,
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def licenses_and_states():
    """What spdxcheck says of the files of the series, and whether nobody maintains one of them."""
    names = files("")
    said = ""
    licenses = in_tree("python3", "scripts/spdxcheck.py", *names)
    if licenses.returncode or licenses.stdout:
        said += licenses.stdout or f"spdxcheck.py: exit {licenses.returncode}\n"
    states = in_tree("perl", "scripts/get_maintainer.pl", "--status", "--nom", "--nol", "--nogit", "--nogit-fallback",
                     *(word for name in names for word in ("-f", name)))
    if states.returncode or "Obsolete" in states.stdout:
        said += f"get_maintainer.pl: {states.stdout}\n"
    return said


def sizes(mail):
    """{file: lines that are added to it or removed}."""
    parts = re.split(r"^diff --git .* b/(\S+)$", mail.read_text(), flags=re.M)[1:]
    return {name: len(re.findall(r"^[+-](?!\+\+ |-- )", diff, re.M)) for name, diff in zip(parts[::2], parts[1::2])}


def documentation(folder):
    """Build the pages of a folder below Documentation/, all anew: what is said about ours, and where they are."""
    tree.compose()
    obj = BUILD / "docs"
    with lock("docs"):
        shutil.rmtree(obj, ignore_errors=True)
        obj.mkdir(parents=True)
        log = obj / "build.log"
        run("make", "-C", tree.TREE, f"O={obj}", f"-j{jobs()}", f"SPHINXDIRS={folder}", "htmldocs",
            env=SYSTEM_PATH, what=f"building the pages of Documentation/{folder}", log=log)
        said = log.read_text()
    # Folders above may be called like what is looked for.
    said = said.replace(f"{tree.TREE}/", "").replace(f"{obj}/", "")
    ours = [l for l in said.splitlines()
            if re.search(r"kexec[-_]jump", l) and re.search(r"warning|error|critical|severe", l, re.I)]
    return ours, obj / "Documentation/output" / folder


def kernel_doc():
    """What kernel-doc says of the comments in files of the series."""
    p = in_tree("scripts/kernel-doc", "-Wall", "-none", *files((".c", ".h", ".S"), touched=False))
    return p.stdout or ("" if p.returncode == 0 else f"kernel-doc: exit {p.returncode}")


def manual_pages():
    """Those that are not just another name for one."""
    return [f for f in files("") if re.search(r"\.\d$", f) and not (ROOT / f).read_text().startswith(".so ")]


def manual(page):
    """A manual page as text, no word of it parted, and what groff has to say of it."""
    p = subprocess.run(["groff", "-man", "-Tutf8", "-rHY=0", "-ww", page], capture_output=True, text=True)
    said = p.stderr or ("" if p.returncode == 0 else f"groff: exit {p.returncode}")
    return re.sub(r"\x1b\[[0-9;]*m|.\x08", "", p.stdout).replace("‐", "-").replace("−", "-"), said


def docs():
    """Build the pages, with those of their folder, and say what there is to say about ours."""
    warnings, home = documentation("power")
    said = [*warnings, kernel_doc(), *(manual(ROOT / page)[1] for page in manual_pages())]
    for text in filter(None, said):
        print(text)
    say(f"the pages are {home}/kexec-jump/index.html; " +
        ("there are complaints" if any(said) else "nothing to complain about"))
    return 1 if any(said) else 0


def series():
    """Write the series, and say what checkers have to say of it, and who is to get it."""
    mails = tree.write_series()
    said = [text for mail in mails if (text := checkpatch(mail) + misspelled(mail))] + [licenses_and_states()]
    for text in filter(None, said):
        print(text)
    (BUILD / "series/to").write_text(recipients(mails))
    say(f"{mails[0].parent}/to says whom to send it; checkpatch, spdxcheck and codespell "
        + ("have complaints" if any(said) else "have nothing to say"))
    return 1 if any(said) else 0


def recipients(mails):
    """To whom these mails go, a line each."""
    return in_tree("perl", "scripts/get_maintainer.pl", "--norolestats", "--nogit", "--nogit-fallback", *mails).stdout


def misspelled(mail):
    """What codespell says of a mail's own lines. (From checkpatch it takes a minute for a large one.)"""
    own = [l for l in mail.read_text().splitlines() if not l.startswith(("-", " "))]
    p = subprocess.run(["/usr/bin/codespell", "-L", "ist", "-"], input="\n".join(own), text=True,
                       stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    return p.stdout


def objects_of(sources):
    return [f.rsplit(".", 1)[0] + ".o" for f in sources]


def forget(obj, objects):
    """They are to be compiled, whatever is there."""
    for o in objects:
        (obj / o).unlink(missing_ok=True)


def prepare(make, what):
    """What is generated is there before anything is compiled that includes it."""
    run(*make, *VERSION, what=f"preparing: {what}")


def compile_alone(make, obj, objects, what, log):
    """Compile just these objects; those that were not made. What make says is in the log."""
    forget(obj, objects)
    log.unlink(missing_ok=True)
    prepare(make, what)
    run(*make, *objects, what=f"compiling {what}", log=log)
    return [o for o in objects if not (obj / o).is_file()]


def make_args(src, obj, variant):
    """Arguments for make to compile single files, those of the decompressor among them."""
    boot = "arch/x86/boot"
    # It includes addresses of a kernel that was linked: any.
    (obj / boot / "compressed").mkdir(parents=True, exist_ok=True)
    shutil.copy(kernel.build(variant) / "obj" / boot / "voffset.h", obj / boot)
    return kernel.make_args(src, obj, variant, f"-I{boot}/compressed")


def warnings(src, obj, variant, sources):
    """Compile sources with more warnings and sparse: {"file: message"}, without line numbers."""
    objects = objects_of(sources)
    forget(obj, objects)
    # Not silent: the commands tell whether sparse was run.
    make = [a for a in make_args(src, obj, variant) if a != "-s"]
    prepare(make, "compiling with W=1")
    check = " ".join(packages.sparse_command(src))
    p = subprocess.run([*make, f"CHECK={check}", "--output-sync=target", "V=1", "W=1", "C=2", *objects],
                       text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    if p.returncode:
        errors = re.findall(r"^.*\berror: .*|^.*\*\*\* .*", p.stdout, re.M)
        raise LabError("\n".join(["compiling with W=1 failed:", *errors[:20]]))
    for f, o in zip(sources, objects):
        if not (obj / o).is_file():
            raise LabError(f"{f} was not compiled")
        if f.endswith(".c") and not re.search(rf"^\s*{re.escape(check)} .*{re.escape(f)}\b", p.stdout, re.M):
            raise LabError(f"sparse did not see {f}")
    found = re.findall(r"^(?:.*/)?((?:arch|drivers|include|kernel|mm)/\S+?):(?:\d+:)+ ((?:warning|error): .*)$",
                       p.stdout, re.M)
    return {f"{name}: {message}" for name, message in found}


def new_warnings(variant):
    """Warnings (W=1, sparse) the series adds in files it adds or changes."""
    source = tree.compose()
    home = kernel.build(variant)
    obj = home / "lint"
    kernel.seed(home / "obj", obj)
    kernel.configure(tree.TREE, obj, variant, wanted(tree.TREE, variant))
    sources = for_variant(files(".c"), variant)
    now = warnings(tree.TREE, obj, variant, sources)

    # What the base says of these files, of those it already has, does not change with the series.
    names = {w.split(":")[0] for w in now}
    # A header is some file's of its folder. The names of files may lack their beginning.
    folders = tuple(f"/{os.path.dirname(n)}" for n in names if n.endswith(".h"))

    def concerned(f):
        return f.endswith(tuple(names)) or f"/{os.path.dirname(f)}".endswith(folders)

    with lock("base"):
        src = BUILD / "base/tree"
        base = tree.worktree(src, "base")
        stamp = Stamp(home / "lint-base.txt")
        touched = [f for f in sources if (src / f).is_file() and concerned(f)]
        key = digest(base, *touched)
        before = stamp.path.read_text().splitlines() if stamp.path.is_file() else [""]
        if before[0] != key:
            say(f"{variant}: what the base says of the files we change")
            obj = home / "lint-base"
            kernel.configure(src, obj, variant, wanted(src, variant))
            before = [key, *sorted(warnings(src, obj, variant, touched) if touched else [])]
            stamp.set("\n".join(before))
    return sorted(now - set(before[1:])), source


def debian_config():
    """Compile the files of the series with Debian's own configuration and KEXEC_JUMP."""
    root = BUILD / "debian"
    obj = root / "obj"
    have = kernel.complete(tree.TREE, obj, "x86_64", kernel.debian_config())
    make = make_args(tree.TREE, obj, "x86_64")
    enabled = [f for f in for_variant(files((".c", ".S")), "x86_64")
               if (not f.endswith("kexec_jump/fault.c") or have.get("KEXEC_JUMP_DEBUG") == "y") and
               (not f.endswith("_test.c") or have.get("KEXEC_JUMP_KUNIT_TEST") == "y")]
    objects = objects_of(enabled)
    missing = compile_alone(make, obj, objects, "with Debian's configuration", root / "build.log")
    if missing:
        raise LabError(f"not compiled: {missing}")
    return objects


def without_feature(variant):
    """Compile what the series changes with the feature off: objects, and functions of ours they still call."""
    want = kernel.fragment_of("nojump")
    more = {"x86_64": ("64BIT", "SMP", "MEMORY_HOTPLUG", "KEXEC_FILE", "PCI", "IOMMU_SUPPORT", "CRYPTO", *SEV),
            "i386": ("X86_32", "HIGHMEM4G", "X86_UP_APIC", "X86_UP_IOAPIC")}
    want |= dict.fromkeys(more[variant], "y")
    obj, log = BUILD / "nojump" / variant, BUILD / "nojump" / f"{variant}.log"
    tree.compose()
    kernel.configure(tree.TREE, obj, variant, want)
    objects = objects_of(for_variant(files((".c", ".S"), owned=False), variant))
    missing = compile_alone(make_args(tree.TREE, obj, variant), obj, objects, "without KEXEC_JUMP", log)
    if missing:
        raise LabError(f"not compiled: {missing}")
    calls = run("nm", "--undefined-only", *objects, cwd=obj)
    return objects, sorted(set(re.findall(r"\bU (\w*kexec_jump\w*)", calls))), log.read_text()


def superh():
    """SuperH has a kexec jump of its own: it must go on building on our sequence."""
    tree.compose()
    obj = BUILD / "sh/obj"
    obj.mkdir(parents=True, exist_ok=True)
    make = ["make", "-s", "-C", tree.TREE, f"O={obj}", "ARCH=sh", "CROSS_COMPILE=sh4-linux-gnu-",
            f"-j{jobs()}"]
    want = {s: "y" for s in ("MMU", "CPU_SUBTYPE_SH7785", "SH_SH7785LCR", "BLOCK", "SWAP", "PM",
                             "HIBERNATION", "KEXEC", "KEXEC_JUMP")}
    fragment = obj / "lab.config"
    fragment.write_text(kernel.fragment(want))
    run(*make, f"KCONFIG_ALLCONFIG={fragment}", "allnoconfig")
    kernel.check_config((obj / ".config").read_text(), want)
    objects = ["kernel/kexec_jump/sequence.o", "kernel/kexec_jump/sysfs.o", "kernel/kexec.o",
               "kernel/kexec_core.o", "kernel/panic.o", "arch/sh/kernel/machine_kexec.o"]
    forget(obj, objects)
    run(*make, *objects, what="compiling for SuperH", log=obj / "build.log")
    return [o for o in objects if not (obj / o).is_file()]


def base_files(apt, source, version, series, more=()):
    """A folder with the files that the series changes, and more, of one version of a source package; and their names."""
    owned = {path for patch in series for path in patch.overlay}
    touched = {name for patch in series for name in patch.touched}
    names = sorted(touched - owned)
    home = BUILD / "versions" / re.sub(r"[^\w.+~-]", "_", version)
    return packages.source_files(apt, source, version, [*names, *more], home / "base"), names


def apply_to_version(apt, source, version, base=BASE, more=()):
    """Apply the series to one version of a source package; raises LabError naming the patch that does not."""
    series = tree.patches(base)
    folder, names = base_files(apt, source, version, series, more)
    scratch = folder.with_name("applied")
    shutil.rmtree(scratch, ignore_errors=True)
    shutil.copytree(folder, scratch)
    # git looks for a repository above, and would apply nothing inside it.
    env = {**os.environ, "GIT_CEILING_DIRECTORIES": str(folder.parent)}
    for patch in (p for p in series if p.has_diff):
        run("git", "apply", "--whitespace=nowarn", "-", cwd=scratch, env=env,
            input=patch.diff.encode(), what=f"{version}: {patch.name}")
    return sorted(n for n in names if (scratch / n).read_bytes() != (folder / n).read_bytes())


def newest():
    """The newest kernel source: (Apt, package, version, base), and a folder with what is looked at of it."""
    apt, source, version = packages.newest_source()
    base = source.rpartition("-")[2]
    with lock("newest"):
        folder, _ = base_files(apt, source, version, tree.patches(base), SELFTESTS)
    return (apt, source, version, base), folder
