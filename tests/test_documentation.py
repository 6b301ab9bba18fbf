# SPDX-License-Identifier: GPL-2.0
"""The documentation builds without a warning, and what it lists is what there is."""
import re

import pytest

from kjlab import lint, tree
from kjlab.util import BASE, ROOT

PAGES = "Documentation/power/kexec-jump"
HERE = sorted(p.stem for p in (ROOT / PAGES).glob("*.rst"))
OTHERS = [name for name in HERE if name != "index"]


def page(name):
    return (ROOT / PAGES / name).read_text()


def table(text, after):
    """First words of the rows of the first table behind that text."""
    rows = re.search(r"^=+ =+\n(.*?)\n=+ =+$", text[text.index(after):], re.M | re.S)[1]
    return re.findall(r"^([\w-]+) ", rows, re.M)


def source(name):
    return (ROOT / name).read_text()


def test_pages():
    """Ours alone, which is quick; what is said in comments comes with them."""
    warnings, home = lint.documentation("power/kexec-jump")
    assert warnings == []
    html = {name: (home / f"{name}.html").read_text() for name in HERE}
    for name in OTHERS:
        assert f'href="{name}.html' in html["index"]
    taken = {"abi": ("At the top of its stack", "kexec_jump_checksum", "peer_message", "it is not locked down",
                     "640 KB", "KEXEC_LOAD_CONTINUE", "SEEK_HOLE", "CAP_SYS_RAWIO"),
             "porting": ("system_transition_mutex", "arch_kexec_jump_hold_cpus", "kexec_jump_resume",
                         "interrupt stack table", "kexec_jump_add_range", "register_kexec_jump_notifier"),
             "user": ("resets the PCI",)}
    for name, texts in taken.items():
        for text in texts:
            assert text in html[name], (name, text)


def test_taken_from_the_code():
    """What a page asks for is there. (On some bases, that a comment is missing is no reason for a warning.)"""
    asked = re.findall(r"^ *\.\. kernel-doc:: (\S+)\n +:(doc|identifiers|internal):(.*)$",
                       "".join(page(f"{name}.rst") for name in HERE), re.M)
    assert len(asked) == "".join(page(f"{name}.rst") for name in HERE).count(".. kernel-doc::")
    for name, what, which in asked:
        if what == "doc":
            assert f"\n * DOC: {which.strip()}\n" in source(name), (name, which)
        for function in which.split() if what == "identifiers" else ():
            assert re.search(rf"^ \* (?:struct )?{function} - ", source(name), re.M), (name, function)


def test_found_from_above():
    """The tree's pages about power management lead there, and so does the place of 2008."""
    tree.compose()
    index = (tree.TREE / "Documentation/power/index.rst").read_text()
    assert re.search(r"^    kexec-jump/index$", index, re.M)
    for name in OTHERS:
        assert f"{PAGES}/{name}.rst" in source("Documentation/kexec-jump.txt")


def test_kernel_doc():
    tree.compose()
    assert lint.kernel_doc() == ""


@pytest.mark.parametrize("name", ["kexec_load.2", "reboot.2"])
def test_text_for_man_pages(name):
    text, said = lint.manual(ROOT / PAGES / name)
    assert said == ""
    assert "KEXEC_PRESERVE_CONTEXT" in text


def test_errors():
    """Those of the page are those of the manual, but for one that kexec_load(2) and reboot(2) have anyway."""
    errors = table(page("abi.rst"), "\nErrors\n")
    manual = set()
    for name in "kexec_load.2", "reboot.2":
        section = re.search(r"^ERRORS\n(.*?)(?=^\S)", lint.manual(ROOT / PAGES / name)[0], re.M | re.S)[1]
        manual |= set(re.findall(r"\bE[A-Z]{2,}\b", section))
    assert set(errors) == manual | {"EPERM"} and len(errors) == len(set(errors))


def test_flags():
    """Those a program may use, as the tree's header has them."""
    tree.compose()
    header = (tree.TREE / "include/uapi/linux/kexec.h").read_text()
    text = lint.manual(ROOT / PAGES / "kexec_load.2")[0]
    for flag in re.findall(r"^#define (KEXEC_(?:LOAD_|NO_)\w+)", header, re.M):
        assert flag in text


def test_steps():
    """The table of steps is in the order of the code, behind the check before them."""
    steps = re.search(r"^static const struct step steps\[\] = \{(.*?)^\};", source("kernel/kexec_jump/sequence.c"),
                      re.M | re.S)[1]
    assert table(page("user.rst"), "\nWhat happens\n") == ["check", *re.findall(r'\{ "([\w-]+)"', steps)]


def test_files_of_sysfs():
    """Page, ABI and code have the same ones."""
    abi = re.findall(r"^What:\t+/sys/kernel/kexec_jump/(\w+)$",
                     source("Documentation/ABI/testing/sysfs-kernel-kexec_jump"), re.M)
    code = re.findall(r"^JUMP_ATTRIBUTE(?:_RW)?\((\w+),", source("kernel/kexec_jump/sysfs.c"), re.M)
    # The two of shared.c are not made by that macro.
    shared = source("kernel/kexec_jump/shared.c")
    code += re.findall(r"^static BIN_ATTR_(?:ADMIN_)?RW\((\w+),", shared, re.M) + re.findall(r" = __ATTR_RW_MODE\((\w+),", shared)
    assert sorted(abi) == sorted(code) == sorted(table(page("abi.rst"), "Documentation/ABI/testing"))


def test_kernel_parameters():
    """Each parameter of ours is where the tree describes them."""
    tree.compose()
    text = (tree.TREE / "Documentation/admin-guide/kernel-parameters.txt").read_text()
    abi = source("include/linux/kexec_jump_abi.h")
    found = set()
    for name in lint.files(".c", touched=False):
        for word in re.findall(r"^(?:early_param|__setup|core_param)\((\"?\w+)", source(name), re.M):
            found.add(word.strip('"') if '"' in word else re.search(rf"#define {word}\s+\"(\w+)\"", abi)[1])
    assert found == {"kexec_jump_back_entry", "kexec_jump_vmcore"}
    for word in found:
        assert re.search(rf"^\t{word}=", text, re.M), word
        assert word in page("abi.rst")


def test_references():
    """Every document that a file of ours or a patch names is there."""
    tree.compose()
    names = [n for n in tree.project_files() if (ROOT / n).is_file()]
    assert f"{PAGES}/user.rst" in names
    for name in names:
        if name.endswith(".diff") and not name.startswith(f"patches/{BASE}/"):
            continue
        # What a patch takes away or has around it is not ours.
        text = "\n".join(l for l in (ROOT / name).read_text(errors="replace").splitlines()
                         if not name.endswith((".patch", ".diff")) or l.startswith("+"))
        for document in re.findall(r"\bDocumentation/[\w./-]+\.(?:rst|txt|2)\b", text):
            assert (tree.TREE / document).is_file(), (name, document)
