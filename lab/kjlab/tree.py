# SPDX-License-Identifier: GPL-2.0
"""Compose the kernel tree: base source, then one commit per patch.

build/tree is a git repository. Its first commit (tag "base") is the base
source, every further commit is one file of patches/: the diff in it, plus
the files it names in "Overlay:" lines, taken from this repository.

The diffs there are those for the default base. Where another base needs
another diff, patches/<base>/ has it, in a file of the same name but for the
ending .diff; what few files differ between bases are in patches/<base>/files.

The commits are made in a scratch index, not in the work tree. Only at the end
does the work tree move from the old to the new result, so files that did not
change keep their times and "make" rebuilds little.
"""
import os
import re
import shutil
import tarfile

from . import packages
from .util import BASE, BUILD, DEFAULT_BASE, IDENTITY, ROOT, SHARED, LabError, Stamp, digest, lock, run, say

SOURCE = f"linux-source-{BASE}"
TREE = BUILD / "tree"
SERIES = ROOT / "patches"
COVER = SERIES / "cover-letter.txt"
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

def number(base):
    return tuple(map(int, base.split(".")))


def known_bases():
    """Those the series was made for, oldest first."""
    found = {p.name for p in SERIES.iterdir() if re.fullmatch(r"\d+\.\d+", p.name)}
    return sorted(found | {DEFAULT_BASE}, key=number)


def other_bases():
    """Those of them that are not the one at work, and of which there is a source."""
    for base in known_bases():
        if base != BASE:
            if packages.is_there(f"linux-source-{base}"):
                yield base
            else:
                say(f"the series is for {base}, too, but nobody offers its source any more: not tried")


def base_folder(base=BASE):
    """What is special to a base; to the last known one before it, if it is not known itself."""
    before = [b for b in known_bases() if number(b) <= number(base)] or known_bases()[:1]
    return SERIES / before[-1]


def overlay_file(path):
    """The file of this repository that goes to that path of the tree, or None."""
    found = [p for p in (ROOT / path, base_folder() / "files" / path) if p.is_file()]
    if len(found) > 1:
        raise LabError(f"{path}: is there for all bases, and in {base_folder().relative_to(ROOT)}/files")
    return found[0] if found else None


class Patch:
    """One file of patches/: subject, body, overlay paths, diff (one that `folder` has instead, if it does)."""

    def __init__(self, path, folder=None):
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
        self.diff_path, self.diff_line = path, text.count("\n", 0, len(text) - len(self.diff))
        if folder and (own := folder / f"{path.stem}.diff").is_file():
            self.diff_path, self.diff_line, self.diff = own, 0, own.read_text()
        self.has_diff = bool(re.search(r"^diff --git |^--- ", self.diff, re.M))
        self.touched = re.findall(r"^\+\+\+ b/(\S+)", self.diff, re.M)

    def hunk(self, name, line):
        """The line, in the file the diff is in, of the hunk for that line of a file of the tree."""
        where = None
        for n, text in enumerate(self.diff.splitlines(), self.diff_line + 1):
            if m := re.match(r"--- (?:a/)?(\S+)", text):
                where = m[1]
            elif where == name and text.startswith(f"@@ -{line},"):
                return n
        return None


def patches(base=BASE):
    found, folder = sorted(SERIES.glob("*.patch")), base_folder(base)
    if strays := {p.stem for p in folder.glob("*.diff")} - {p.stem for p in found}:
        raise LabError(f"{folder.relative_to(ROOT)} has diffs of no patch: {' '.join(sorted(strays))}")
    return [Patch(p, folder) for p in found]


def project_files(*args):
    """What git ls-files says of this repository; of a plain copy of it, every file."""
    if not (ROOT / ".git").exists():
        return [str(p.relative_to(ROOT)) for d in OWNED_DIRS for p in (ROOT / d).rglob("*")]
    # Whoever owns the checkout: root may work in a user's.
    return run("git", "-c", "safe.directory=*", "-C", ROOT, "ls-files", "-z", *args).split("\0")


def owned_files():
    """Files of this repository that go into the tree (what git would commit or has)."""
    found = project_files("--cached", "--others", "--exclude-standard", "--", *OWNED_DIRS)
    special = base_folder() / "files"
    return sorted([*(f for f in found if (ROOT / f).is_file()),
                   *(str(p.relative_to(special)) for p in special.rglob("*") if p.is_file())])


def check_ownership(series, owned):
    by = {}
    for patch in series:
        for path in patch.overlay:
            if path in by:
                raise LabError(f"{path}: named by both {by[path]} and {patch.name}")
            if not overlay_file(path):
                raise LabError(f"{patch.name}: Overlay: {path}: no such file")
            by[path] = patch.name
    orphans = [f for f in owned if f not in by]
    # A file that is not even committed yet is work in progress.
    special = f"{base_folder().relative_to(ROOT)}/files/"
    tracked = {f.removeprefix(special) for f in project_files()}
    if fresh := [f for f in orphans if f not in tracked]:
        say("not in the tree, no patch has an 'Overlay:' line for: " + " ".join(fresh))
    orphans = [f for f in orphans if f in tracked]
    if orphans:
        raise LabError("no patch has an 'Overlay:' line for:\n  "
                       + "\n  ".join(orphans))


def does_not_apply(patch, said):
    """What a user can do about a patch of which git said this."""
    text = [f"{patch.name} does not apply to {git('log', '-1', '--format=%s', 'base')}:"]
    for name, line in re.findall(r"^error: patch failed: (\S+):(\d+)$", said, re.M):
        at = patch.hunk(name, line)
        where = os.path.relpath(patch.diff_path, ROOT)
        text.append(f"  the hunk for {name}:{line}" + (f", {where}:{at}" if at else ""))
    if len(text) == 1:
        text += [f"  {l}" for l in said.splitlines() if l.startswith("error:")] or [said]
    others = [f"BASE={b}" for b in known_bases() if b != BASE]
    if os.environ.get("LINUX_SRC"):
        text.append(f"LINUX_SRC was taken for a {BASE}; what else it may be: {', '.join(others)}")
    elif others:
        text.append(f"The last base that worked: {others[-1]}")
    return "\n".join(text)


def commit(patch, parent, n, env):
    """Make the commit for one patch on top of `parent`; the scratch index is at `parent`."""
    if patch.has_diff:
        try:
            git("apply", "--cached", "--whitespace=nowarn", "-", env=env,
                input=patch.diff.encode())
        except LabError as e:
            raise LabError(does_not_apply(patch, str(e))) from None
    for path in patch.overlay:
        file = overlay_file(path)
        blob = git("hash-object", "-w", "--", file)
        mode = "100755" if os.access(file, os.X_OK) else "100644"
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
        want = digest(git("rev-parse", "base"), *(x for p in series for x in (p.path, p.diff)),
                      *(x for f in owned for file in [overlay_file(f)]
                        for x in (f, file, str(os.access(file, os.X_OK)))))
        stamp = Stamp(TREE / ".git/lab-series")
        if stamp.fresh(want) and not force:
            return source_id()
        edited = dirty()
        if edited and not force:
            raise LabError(f"{TREE.relative_to(SHARED.parent)} has edits that composing would throw away:\n  "
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
        say(f"{TREE.relative_to(SHARED.parent)}: base + {len(series)} patches")
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
    """Have the series as mails, the cover letter first. Returns those with patches."""
    compose()
    out, stamp = BUILD / "series", Stamp(BUILD / ".lab-series")
    key = digest(git("rev-parse", "HEAD"), COVER)
    with lock("series"):
        # Not while another test reads them.
        if not (out.is_dir() and stamp.fresh(key)):
            stamp.clear()
            shutil.rmtree(out, ignore_errors=True)
            git("format-patch", "-q", "--zero-commit", "--cover-letter", "-o", out, "base..HEAD")
            (letter,) = out.glob("0000-*")
            subject, _, text = COVER.read_text().partition("\n\n")
            letter.write_text(letter.read_text().replace("*** SUBJECT HERE ***", subject)
                              .replace("*** BLURB HERE ***", text.rstrip("\n")))
            stamp.set(key)
        files = sorted(out.glob("*.patch"))[1:]
    say(f"{len(files)} patches and a cover letter in {out}")
    return files
