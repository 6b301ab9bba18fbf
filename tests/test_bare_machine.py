# SPDX-License-Identifier: GPL-2.0
"""The lab's commands need nothing but Debian 12: as root, with sudo, and who has neither is told what to do."""
import re

import pexpect
import pytest

from kjlab import bare

COMMANDS = ("demo", "check", "bench", "soak", "debian")
IMPORTING = "lab: importing linux-source-6.12"


@pytest.fixture
def machine(request):
    with bare.Machine(have_source=getattr(request, "param", True)) as m:
        yield m


def gets_there(machine, user, command):
    rc, said = machine.run(user, f"lab/{command}", until=IMPORTING)
    assert rc is None, said[-3000:]
    assert "Traceback" not in said
    return said


# The first one downloads the kernel source too: the release's main archive has none.
@pytest.mark.parametrize("machine,user,command", [
    (False, "root", "demo"), (True, "passwordless", "check")], indirect=["machine"])
def test_installs_what_it_needs(machine, user, command):
    said = gets_there(machine, user, command)
    assert "lab: installing packages" in said
    # Once more: nothing is left to be done.
    again = gets_there(machine, user, command)
    assert "installing" not in again and "downloading" not in again


def test_a_user_without_sudo_is_told(machine):
    before = machine.run("root", "dpkg-query -W")
    told = {}
    for command in COMMANDS:
        rc, said = machine.run("user", f"lab/{command} --help")
        assert rc == 0 and said.startswith(f"lab/{command}")
        rc, said = machine.run("user", f"lab/{command}")
        assert rc == 1, said
        assert "Traceback" not in said
        (needed,) = re.findall(r"^lab: these packages are missing: (.*)$", said, re.M)
        assert {"python3", "python3-pexpect", "qemu-system-x86", "liblz4-dev"} <= set(needed.split())
        assert ("python3-pytest" in needed.split()) == (command in ("check", "soak"))
        # All of it before anything is measured.
        assert ("python3-matplotlib" in needed.split()) == (command == "bench")
        told[command] = said.splitlines()[-1]
        assert told[command] == f"  apt-get update && apt-get install -y --no-remove --no-install-recommends {needed}"
    assert machine.run("root", "dpkg-query -W") == before
    # And what they are told is right.
    rc, said = machine.run("root", told["bench"])
    assert rc == 0, said[-3000:]
    assert "installing" not in gets_there(machine, "user", "bench")


def test_sudo_with_a_password(machine):
    """On a terminal sudo asks for it; elsewhere it cannot."""
    rc, said = machine.run("admin", "lab/demo")
    assert rc == 1 and "these packages are missing" in said
    argv = machine.argv("admin", "lab/demo")
    shell = pexpect.spawn(argv[0], argv[1:], timeout=60, encoding="utf-8")
    try:
        shell.expect("lab: packages will be installed: .*python3-pexpect")
        shell.expect("password for admin:")
        shell.sendline(bare.PASSWORD)
        shell.expect("lab: installing packages .*python3-pexpect")
    finally:
        shell.close(force=True)
