# SPDX-License-Identifier: GPL-2.0
"""Compose the kernel tree: base source, then one commit per patch.

build/tree is a git repository. Its first commit (tag "base") is the base
source, every further commit is one file of patches/6.12: the diff in it, plus
the files it names in "Overlay:" lines, taken from this repository.

The commits are made in a scratch index, not in the work tree. Only at the end
does the work tree move from the old to the new result, so files that did not
change keep their times and "make" rebuilds little.
"""
import os
import re
import shutil
import tarfile

from . import packages
from .util import BUILD, IDENTITY, ROOT, LabError, Stamp, digest, lock, run, say

SOURCE = "linux-source-6.12"
TREE = BUILD / "tree"
SERIES = ROOT / "patches" / "6.12"
OWNED_DIRS = ("arch", "drivers", "include", "kernel", "Documentation", "tools")
EPOCH = 1760000000      # every commit's date is made from this: same input, same tree


def git(*args, tree=TREE, env=None, **kw):
    name, mail = IDENTITY
    # The user's own git settings (signing, hooks, whitespace) must not change the result.
    clean = {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1",
             "GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": mail,
             "GIT_COMMITTER_NAME": name, "GIT_COMMITTER_EMAIL": mail}
    return run("git", "-c", "gc.auto=0", "-C", tree, *args,
               env={**os.environ, **clean, **(env or {})}, **kw).strip()


def dates(n):
    when = f"{EPOCH + 60 * n} +0000"
    return {"GIT_AUTHOR_DATE": when, "GIT_COMMITTER_DATE": when}


# --- base ------------------------------------------------------------------

def base_source():
    """(what to unpack or copy, an id that changes when it does)."""
    src = os.environ.get("LINUX_SRC")
    if src:
        path = os.path.abspath(src)
        if os.path.isdir(path) and os.path.isfile(f"{path}/Kbuild"):
            stat = os.stat(f"{path}/Makefile")
        elif os.path.isfile(path):
            stat = os.stat(path)
        else:
            raise LabError(f"LINUX_SRC={src} is neither a kernel tree nor a tarball of one")
        return path, digest(path, str(stat.st_mtime_ns), str(stat.st_size))
    deb = packages.source_deb(SOURCE)
    return str(deb), deb.name


def unpack(source, into):
    into.mkdir(parents=True)
    if os.path.isdir(source):
        run("cp", "-a", "--reflink=auto", f"{source}/.", into)
        shutil.rmtree(into / ".git", ignore_errors=True)
        return
    if source.endswith(".deb"):
        scratch = into.parent / "deb"
        shutil.rmtree(scratch, ignore_errors=True)
        run("dpkg-deb", "-x", source, scratch)
        source = next((scratch / "usr/src").glob("linux-source-*.tar.*"))
    if not tarfile.is_tarfile(source):
        raise LabError(f"{source} is not a tarball")
    run("tar", "-C", into, "--strip-components=1", "-xf", source)
    shutil.rmtree(into.parent / "deb", ignore_errors=True)


def import_base():
    """Have the base source as the commit "base" of build/tree."""
    source, ident = base_source()
    stamp = Stamp(TREE / ".git/lab-base")
    if stamp.fresh(ident):
        return
    say(f"importing {os.path.basename(source)} (a minute or two, once)")
    fresh = BUILD / "tree.new"
    shutil.rmtree(fresh, ignore_errors=True)
    unpack(source, fresh)
    git("init", "-q", "-b", "kexec-jump", tree=fresh)
    # -f: the base is what the tarball holds, whatever its .gitignore files say.
    git("add", "-A", "-f", tree=fresh)
    version = run("make", "-s", "-C", fresh, "kernelversion").strip()
    git("commit", "-q", "-m", f"Linux {version}", tree=fresh, env=dates(0))
    git("tag", "base", tree=fresh)
    shutil.rmtree(TREE, ignore_errors=True)
    fresh.rename(TREE)
    git("update-index", "-q", "--refresh")
    stamp.set(ident)


# --- series ----------------------------------------------------------------

class Patch:
    """One file of patches/6.12: subject, body, overlay paths, diff."""

    def __init__(self, path):
        self.path, self.name = path, path.name
        text = path.read_text()
        head, sep, self.diff = text.partition("\n---\n")
        if not sep:
            # A mail without a diff may end right after the "---".
            head, sep, self.diff = text.rstrip("\n").rpartition("\n---")
            if not sep or self.diff:
                raise LabError(f"{self.name}: no line '---' between message and diff")
        subject = re.search(r"^Subject: *(?:\[PATCH[^]]*\] *)?(.+(?:\n[ \t].+)*)", head, re.M)
        if not subject:
            raise LabError(f"{self.name}: no line 'Subject: [PATCH] ...'")
        title = " ".join(subject.group(1).split())
        body = head[subject.end():].partition("\n\n")[2]
        self.overlay = re.findall(r"^Overlay: *(\S+) *$", body, re.M)
        body = re.sub(r"^Overlay:.*\n?", "", body + "\n", flags=re.M)
        body = re.sub(r"\n{3,}", "\n\n", body).strip()
        self.message = f"{title}\n\n{body}\n"
        self.has_diff = bool(re.search(r"^diff --git |^--- ", self.diff, re.M))


def patches():
    return [Patch(p) for p in sorted(SERIES.glob("*.patch"))]


def project_files(*args):
    """What git ls-files says of this repository; of a plain copy of it, every file."""
    if not (ROOT / ".git").exists():
        return [str(p.relative_to(ROOT)) for d in OWNED_DIRS for p in (ROOT / d).rglob("*")]
    # Whoever owns the checkout: root may work in a user's.
    return run("git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z", *args).split("\0")


def owned_files():
    """Files of this repository that go into the tree (what git would commit or has)."""
    found = project_files("--cached", "--others", "--exclude-standard", "--", *OWNED_DIRS)
    return sorted(f for f in found if (ROOT / f).is_file())


def check_ownership(series, owned):
    by = {}
    for patch in series:
        for path in patch.overlay:
            if path in by:
                raise LabError(f"{path}: named by both {by[path]} and {patch.name}")
            if not (ROOT / path).is_file():
                raise LabError(f"{patch.name}: Overlay: {path}: no such file")
            by[path] = patch.name
    orphans = [f for f in owned if f not in by]
    # A file that is not even committed yet is work in progress.
    tracked = set(project_files())
    if fresh := [f for f in orphans if f not in tracked]:
        say("not in the tree, no patch has an 'Overlay:' line for: " + " ".join(fresh))
    orphans = [f for f in orphans if f in tracked]
    if orphans:
        raise LabError("no patch in patches/6.12 has an 'Overlay:' line for:\n  "
                       + "\n  ".join(orphans))


def commit(patch, parent, n, env):
    """Make the commit for one patch on top of `parent`; the scratch index is at `parent`."""
    if patch.has_diff:
        try:
            git("apply", "--cached", "--whitespace=nowarn", "-", env=env,
                input=patch.diff.encode())
        except LabError as e:
            why = "\n".join(l for l in str(e).splitlines() if l.startswith("error:"))
            raise LabError(f"{patch.name} does not apply:\n{why or e}") from None
    for path in patch.overlay:
        blob = git("hash-object", "-w", "--", ROOT / path)
        mode = "100755" if os.access(ROOT / path, os.X_OK) else "100644"
        git("update-index", "--add", "--cacheinfo", f"{mode},{blob},{path}", env=env)
    tree = git("write-tree", env=env)
    if tree == git("rev-parse", f"{parent}^{{tree}}"):
        raise LabError(f"{patch.name} changes nothing")
    return git("commit-tree", tree, "-p", parent, "-F", "-", env={**env, **dates(n)},
               input=patch.message.encode())


def dirty():
    """Files edited by hand in build/tree."""
    return git("diff", "--name-only", "HEAD").splitlines() if TREE.is_dir() else []


def compose(force=False):
    """Bring build/tree to base + series. Returns the id of the resulting source."""
    with lock("tree"):
        import_base()
        series, owned = patches(), owned_files()
        check_ownership(series, owned)
        want = digest(git("rev-parse", "base"), *(p.path for p in series),
                      *(x for f in owned for x in (f, ROOT / f, str(os.access(ROOT / f, os.X_OK)))))
        stamp = Stamp(TREE / ".git/lab-series")
        if stamp.fresh(want) and not force:
            return source_id()
        edited = dirty()
        if edited and not force:
            raise LabError("build/tree has edits that composing would throw away:\n  "
                           + "\n  ".join(edited[:20])
                           + "\nput them into the project, or use: lab/lab tree --force")
        index = TREE / ".git/lab-index"
        index.unlink(missing_ok=True)
        env = {"GIT_INDEX_FILE": str(index)}
        head = git("rev-parse", "base")
        git("read-tree", head, env=env)
        for n, patch in enumerate(series, 1):
            head = commit(patch, head, n, env)
        git("reset", "-q", "--hard", head)
        stamp.set(want)
        say(f"build/tree: base + {len(series)} patches")
        return source_id()


def source_id():
    """Identifies the source in build/tree, hand edits included."""
    ident = git("rev-parse", "HEAD^{tree}")
    return digest(ident, git("diff", "HEAD")) if dirty() else ident


def worktree(path, commitish):
    """A second checkout of the tree, at `commitish`, keeping the times of unchanged files."""
    if not (path / ".git").exists():
        git("worktree", "prune")
        git("worktree", "add", "-q", "--detach", "-f", path, commitish)
    git("reset", "-q", "--hard", commitish, tree=path)
    return git("rev-parse", "HEAD^{tree}", tree=path)


def write_series():
    compose()
    out, stamp, head = BUILD / "series", Stamp(BUILD / ".lab-series"), git("rev-parse", "HEAD")
    with lock("series"):
        # Not while another test reads them.
        if not (out.is_dir() and stamp.fresh(head)):
            stamp.clear()
            shutil.rmtree(out, ignore_errors=True)
            git("format-patch", "-q", "--zero-commit", "-o", out, "base..HEAD")
            stamp.set(head)
        files = sorted(out.glob("*.patch")) if out.is_dir() else []
    say(f"{len(files)} patches in {out}")
    return files
