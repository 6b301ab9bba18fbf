# SPDX-License-Identifier: GPL-2.0
"""kexec_load(2) of one image in several calls: KEXEC_LOAD_MORE, KEXEC_LOAD_CONTINUE."""
import base64
import errno
import random
import re

import pytest

from jumps import MB, Console, assemble, end_frames, free_kb, put_file, reboot, sysfs

AT, PAGE = 32 * MB, 4096
# What the program sums: DATA bytes of a file, zeros up to SIZE. Not all of whole pages.
SIZE, DATA = 2 * MB, 2 * MB - 300000
FIRST, MIDDLE, LAST, ONLY = 0x102, 0x302, 0x202, 0x2
ON_CRASH = 1
WRONG_ARCH = 20 << 16       # PowerPC


class Loader:
    """A guest that loads programs in as many calls as wanted, and what they say."""

    def __init__(self, boot, variant, tmp_path, size=SIZE, data=DATA):
        self.variant = variant
        console = Console(tmp_path)
        self.said = console.said
        self.g = g = boot(variant, smp=2, memory="256M", disks=False, net=False,
                          qemu_args=console.qemu_args)
        put_file(g, assemble(variant, "sum", AT, tmp_path, f"-DSUM_BYTES={size}")[1], "/tmp/prog")
        g.run(f"dd if=/dev/urandom of=/tmp/data bs={data} count=1 2>/dev/null").check()
        self.sum = self.calls(f"sum /tmp/data {size}")[0]
        self.said()

    def calls(self, *lines, program="kcalls"):
        """Make these calls in one process; what each came to."""
        text = "".join(line + "\n" for line in lines)
        parts = [base64.b64encode(text[i:i + 2400].encode()).decode() for i in range(0, len(text), 2400)]
        for part in parts[:-1]:
            self.g.run(f"echo {part} | base64 -d >>/tmp/script").check()
        out = self.g.run(f"touch /tmp/script; (cat /tmp/script; echo {parts[-1]} | base64 -d) | {program}; "
                         "rm -f /tmp/script").check().out
        return out.splitlines()

    def begin(self, *lines):
        """Make these calls in a process that waits after them, with its half-loaded image."""
        g = self.g
        g.run("rm -f /tmp/go /tmp/out").check()
        self.calls(*lines[:-1], "say WAITING", "wait /tmp/go", *lines[-1:], program="cat >/tmp/half")
        pid = int(g.run("kcalls </tmp/half >/tmp/out 2>&1 & echo $!").check().out)
        g.run("until grep -q WAITING /tmp/out; do usleep 50000; done")
        assert "errno" not in self.out()
        return pid

    def go(self):
        """Let it make the last of them; what that came to."""
        self.g.run("touch /tmp/go; while pidof kcalls >/dev/null; do usleep 50000; done").check()
        return self.out().splitlines()[-1]

    def out(self):
        return self.g.run("cat /tmp/out").out

    def check_program(self, times=2):
        """What is loaded is the program with all its data, and can be called."""
        self.said()
        assert reboot(self.g, times) == [0] * times
        assert self.said().split() == [self.sum] * times



def load(flags, *segments, entry=AT):
    return " ".join([f"load {flags:#x} {entry if flags in (LAST, ONLY) else 0:#x}", *segments])


def announced(start=AT, size=PAGE + SIZE):
    return f"{start:#x}:{size:#x}"


PROGRAM = f"{AT:#x}:{PAGE:#x}:/tmp/prog"


def data(first, last):
    """Segments, one for each run of pages of the data."""
    return f"{AT + PAGE + first * PAGE:#x}:{(last - first) * PAGE:#x}:/tmp/data:{first * PAGE}"


PAGES = (DATA + PAGE - 1) // PAGE
WHOLE = load(ONLY, PROGRAM, f"{AT + PAGE:#x}:{SIZE:#x}:/tmp/data")


@pytest.fixture
def loader(boot, variant, tmp_path):
    return Loader(boot, variant, tmp_path)


def refused(number):
    return f"errno={number} "


def test_same_image(loader):
    """Loaded in 1, 3 and 40 calls, announced or not, the image is the same."""
    rng = random.Random(3)
    assert loader.calls(WHOLE) == ["ok"]
    loader.check_program()

    half = PAGES // 2
    assert loader.calls(load(FIRST, announced()),
                        load(MIDDLE, PROGRAM, data(0, half)),
                        load(LAST, data(half, PAGES))) == ["ok"] * 3
    loader.check_program()

    # Announced in pieces, filled in any order; many more than 16 segments.
    cuts = sorted(rng.sample(range(1, PAGES), 149))
    pieces = [data(a, b) for a, b in zip([0, *cuts], [*cuts, PAGES])] + [PROGRAM]
    rng.shuffle(pieces)
    calls = [load(FIRST, *(announced(AT + i * PAGE * 32, PAGE * 32) for i in range(16))),
             load(MIDDLE, announced(AT + 16 * PAGE * 32, PAGE + SIZE - 16 * PAGE * 32))]
    calls += [load(MIDDLE, *pieces[i * 4:i * 4 + 4]) for i in range(37)]
    calls += [load(MIDDLE, *pieces[148:])]
    assert len(calls) == 40
    assert loader.calls(*calls, load(LAST)) == ["ok"] * 41
    loader.check_program()

    # Nothing announced: the window grows with each call.
    assert loader.calls(load(FIRST, PROGRAM), load(LAST, data(0, PAGES),
                        announced(AT + PAGE + PAGES * PAGE, SIZE - PAGES * PAGE))) == ["ok"] * 2
    loader.check_program()

    # Where loads are counted, calls are not.
    loader.g.run("echo 1 >/proc/sys/kernel/kexec_load_limit_reboot").check()
    assert loader.calls(load(FIRST, announced()), load(MIDDLE, PROGRAM), load(LAST, data(0, PAGES))) == ["ok"] * 3
    assert loader.calls(load(FIRST, announced()))[0].startswith(refused(errno.EPERM))
    loader.check_program()


def test_growth(boot, variant, tmp_path):
    """A window that grows over pages in which an earlier part of it waits."""
    size, step = 16 * MB, 512
    loader = Loader(boot, variant, tmp_path, size, size)
    g = loader.g
    # Of this memory every second page is free: what is loaded is all over the place.
    g.run("frames 100 77 /tmp/frames").check()
    calls = [load(FIRST, announced(size=PAGE + size)), load(MIDDLE, PROGRAM)]
    calls += [load(MIDDLE, data(first, first + step)) for first in range(0, size // PAGE, step)]
    # Far above it is what was free. What has content is backed in that call.
    calls += [load(MIDDLE, announced(at + PAGE, 8 * MB - PAGE), f"{at:#x}:{PAGE}:/tmp/data")
              for at in range(168 * MB, 240 * MB, 8 * MB)]
    assert loader.calls(*calls, load(LAST)) == ["ok"] * (len(calls) + 1)
    loader.check_program(3)
    # What A has in the same memory is not touched.
    end_frames(g)


def test_wrong_calls(loader):
    """Calls that are wrong are refused; an unfinished load is lost, what was loaded is not."""
    g = loader.g
    assert loader.calls(WHOLE) == ["ok"]
    g.run("dd if=/dev/zero of=/tmp/used bs=1M count=64 2>/dev/null").check()
    begin = load(FIRST, announced())

    def fails(number, says, *lines):
        g.run("dmesg -c >/dev/null").check()
        results = loader.calls(*lines)
        assert results[:-1] == ["ok"] * (len(lines) - 1), results
        assert results[-1].startswith(refused(number)), (lines[-1], results[-1])
        told = g.run("dmesg").out
        assert re.search("kexec_jump: .*" + says, told), told

    stale = "no unfinished load of this process"
    fails(errno.ESTALE, stale, load(LAST))
    fails(errno.ESTALE, stale, load(MIDDLE, PROGRAM))
    fails(errno.ESTALE, stale, begin, load(LAST, PROGRAM), load(LAST))
    assert loader.calls(WHOLE) == ["ok"]
    # In the middle call, and in the last one.
    top = 0xfffff000 if loader.variant == "i386" else 0xfffffffffffff000
    for flags in MIDDLE, LAST:
        fails(errno.EINVAL, "overlaps", begin, load(flags, announced(AT + PAGE, PAGE)))
        fails(errno.EINVAL, "overlaps", begin,
              load(flags, f"{AT + PAGE + SIZE - PAGE:#x}:{2 * PAGE}:/tmp/data"))
        fails(errno.EINVAL, "overlaps", begin, load(flags, PROGRAM, data(0, 2), data(1, 3)))
        fails(errno.EADDRNOTAVAIL, "not page aligned", begin, load(flags, f"{AT + 16}:{PAGE}:/tmp/prog"))
        fails(errno.EADDRNOTAVAIL, "not page aligned", begin, load(flags, f"{AT}:{PAGE + 1}:/tmp/prog"))
        fails(errno.EADDRNOTAVAIL, "no system RAM at", begin, load(flags, announced(1024 * MB, PAGE)))
        fails(errno.EADDRNOTAVAIL, "beyond|no system RAM", begin, load(flags, announced(top, 2 * PAGE)))
        fails(errno.ENOMEM, "does not fit", begin, load(flags, announced(AT + 4 * MB, 200 * MB)))
    # The entry counts when all is there.
    fails(errno.ENOEXEC, "no preserved kernel there", begin, load(LAST, PROGRAM, entry=AT - PAGE))
    # Flags that make no sense.
    for flags in 0x100, 0x200, 0x300:
        fails(errno.EINVAL, "only an image that preserves the context", load(flags, PROGRAM))
    fails(errno.EINVAL, "crash kernel", load(FIRST | ON_CRASH, PROGRAM))

    # Of these the system call itself says all there is to say.
    for bad, number in ((load(MIDDLE, *(data(i, i + 1) for i in range(17))), errno.EINVAL),
                        (load(MIDDLE | WRONG_ARCH, PROGRAM), errno.EINVAL),
                        (load(MIDDLE, f"{AT:#x}:{PAGE}:!"), errno.EFAULT)):
        results = loader.calls(begin, bad, load(LAST))
        assert results[1].startswith(refused(number)), results
        assert results[2].startswith(refused(errno.ESTALE)), results
    assert loader.calls(load(FIRST, PROGRAM), program="asuser kcalls")[0].startswith(refused(errno.EPERM))
    loader.check_program()


def test_owner(loader):
    """An unfinished load belongs to a process: nobody else goes on with it or outlives it."""
    g = loader.g
    assert loader.calls(WHOLE) == ["ok"]
    loader.check_program()
    big = 48 * MB
    half = (load(FIRST, announced(64 * MB, big), announced()), load(MIDDLE, PROGRAM, data(0, 9)))
    before = free_kb(g)

    def check_free():
        """All of the unfinished load has been freed, nothing of the finished one."""
        assert free_kb(g) > before - big // 2048
        assert g.run("dmesg | tail -40 | grep -c 'kexec_jump: load abandoned'").out != "0"
        loader.check_program()

    # Killed, and ended in the regular way.
    pid = loader.begin(*half, load(LAST))
    assert free_kb(g) < before - big // 2048
    # Meanwhile what is loaded can be used.
    loader.check_program()
    g.run(f"kill -9 {pid}; while [ -d /proc/{pid} ]; do usleep 50000; done").check()
    check_free()
    assert loader.calls(*half) == ["ok"] * 2
    check_free()
    # Another program in its place.
    pid = loader.begin(*half, "exec /bin/sleep 1000")
    g.run("touch /tmp/go; while pidof kcalls >/dev/null; do usleep 50000; done").check()
    assert "sleep" in g.run(f"cat /proc/{pid}/cmdline").out
    check_free()
    g.run(f"kill {pid}").check()

    # A child has memory of its own, and nothing to continue in it.
    assert loader.calls(*half, "child", load(LAST))[-1].startswith(refused(errno.ESTALE))
    check_free()
    # Another one is not let in between, and the first one ends well.
    loader.begin(load(FIRST, announced()), load(MIDDLE, PROGRAM, data(0, 9)), load(LAST, data(9, PAGES)))
    assert loader.calls(load(FIRST, announced()))[0].startswith(refused(errno.EBUSY))
    assert loader.calls(load(LAST))[0].startswith(refused(errno.ESTALE))
    assert loader.go() == "ok"
    loader.check_program()
    # A load in one call, or unloading, takes the place of an unfinished one.
    for other in WHOLE, "load 0 0":
        loader.begin(*half, load(LAST))
        assert loader.calls(other) == ["ok"]
        assert loader.go().startswith(refused(errno.ESTALE))
    assert int(sysfs(g, "image_entry"), 0) == 0
    # Who begins again has changed his mind.
    assert loader.calls(*half, *half[:1], load(MIDDLE, PROGRAM, data(0, PAGES)), load(LAST)) == ["ok"] * 5
    loader.check_program()
