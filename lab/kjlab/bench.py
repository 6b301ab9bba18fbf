# SPDX-License-Identifier: GPL-2.0
"""How long kexec jump takes, with the series and with the unpatched base: lab/bench.

Hibernation with kjump is compared with swsusp: bench_image.py. The exchange of pages is
measured on the machine itself: bench_exchange.py. How much of a window need not be
exchanged: bench_claim.py.

Everything is measured twice. By wall time, which depends on the machine and on
what else it does. And with QEMU's -icount, where one instruction takes one
nanosecond of the guest's time and waiting for a timer takes no wall time: that
number is the same on every machine. Nothing here passes or fails: what the
base does not survive is reported as what happened instead of a number.
"""
import contextlib
import json
import re
import sys
import time

from . import bench_exchange, bench_image, initramfs, kernel
from .guest import UNBIND_AHCI, Guest, GuestError, tsctime_ms
from .util import BUILD, say

ICOUNT = "shift=0,sleep=off"
LOADS_MB = (32, 64, 128, 200)
CONTENT_MB = 128
LARGE_MB, LARGE_RAM_MB = (512, 1024, 2048, 4096), 7168
WINDOWS_MB = (32, 512)
# What the host needs beside a guest's memory.
HOST_REST_MB = 3072
CALLS = 10
SERIES = 100
SWITCHES = 4
# The base's loader is quadratic: minutes for a large window.
PATIENCE = 300
# What the guest types to have a program of one instruction, ret, and to have it called.
RET = "printf '\\303' > /tmp/ret; "
FLAT = (RET +
        "kload -e 0x2000000 -s 0x2000000:0x1000:/tmp/ret")


# What the guest types in the peer to be able to go back.
WAY_BACK = "kexec --load-jump-back-helper --entry=$(sed 's/.*kexec_jump_back_entry=//' /proc/cmdline)"
# To jump several times, or to another peer.
PLANNED = "sh -c 'echo \"{}\" >/sys/kernel/kexec_jump/peer; exec kjreboot'"


def guest_memory_mb(variant):
    """The most that a guest can have on this host now."""
    with open("/proc/meminfo") as f:
        most = (int(re.search(r"MemAvailable:\s+(\d+)", f.read())[1]) >> 10) - HOST_REST_MB
    # Without PAE, and with little of it directly mapped, i386 ends earlier.
    return min(most, 2048) if variant == "i386" else most


class Failed(Exception):
    """A measurement gave no number; says what happened."""

    said = ""       # what the guest printed before


class Session:
    """A kernel and a way to measure. Starts another guest when one was lost."""

    def __init__(self, variant, which, icount):
        self.variant, self.which, self.icount = variant, which, icount
        self.guest = None
        self.results = {}       # row: ms, or the text of what went wrong
        self.steps = {}         # row: [(step, ms in, ms out)]
        self.notes = {}         # row: what else is worth a word

    def fresh(self, **machine):
        """A guest that was just started."""
        self.close()
        home = BUILD / ("base" if self.which == "base" else "") / self.variant
        self.guest = g = Guest(self.variant, parallel=True, kernel=home / "bzImage", start=False,
                               icount=ICOUNT if self.icount else None,
                               label=f"bench-{self.variant}-{self.which}", **machine)
        g.home = home           # where boot.img is, with this kernel in it
        g.start()
        return g

    def close(self):
        if self.guest:
            self.guest.close()
        self.guest = None

    def run(self, cmd):
        """Run a command in the guest; Failed if the guest does not survive it."""
        try:
            result = self.guest.run(cmd, PATIENCE)
        except GuestError:
            said = self.guest.shell.before
            self.lost(PATIENCE, said.decode(errors="replace") if said else "")
        if result.rc:
            said = [l.strip() for l in result.out.splitlines() if not l.startswith("tsc=")]
            raise Failed((said or [f"exit {result.rc}"])[-1])
        return result.out

    def jump(self, cmd, to):
        try:
            self.guest.jump(cmd, to, 180)
        except GuestError:
            self.lost(180)

    def lost(self, patience, said=""):
        with contextlib.suppress(Exception):
            self.guest.qemu.wait(1)
        trouble = self.guest.trouble()
        ended = self.guest.qemu.poll() is not None
        self.guest.save_artefacts()
        self.close()
        failed = Failed(("the machine resets" if ended else f"hangs ({patience} s)")
                        + (f"; the log has \"{plain(trouble[0])}\"" if trouble else ""))
        failed.said = said
        raise failed

    def ms(self, out):
        """Milliseconds of each tsctime in the output."""
        return tsctime_ms(out, 1000000 if self.icount else None)

    def note_steps(self, row):
        if self.which == "series":
            rows = [l.split() for l in self.run("cat /sys/kernel/kexec_jump/steps").splitlines()]
            self.steps[row] = [(r[0], int(r[1]) / 1000, int(r[2]) / 1000) for r in rows]

    def exchanged(self, row):
        """Note what of the window must be exchanged."""
        if self.which == "series":
            self.notes[row] = self.run("dmesg | sed -n 's/.*loaded: entry [^,]*, //p' | tail -n 1").strip()

    @contextlib.contextmanager
    def rows(self, *names):
        """What these rows are if the measurement fails before it has set them."""
        try:
            yield
            after = self.guest.trouble() if self.guest else []
            if after:
                raise Failed(f"the log has \"{plain(after[0])}\"")
        except Failed as e:
            for name in names:
                self.results.setdefault(name, str(e))
            # Its memory may be damaged: the next measurement gets a new one.
            self.close()


def plain(line):
    """A kernel message without its time stamp."""
    return re.sub(r"^\[[^\]]*\]\s*", "", line)[:70]


def best_of(session, cmd, undo):
    """The shortest of up to three times; one that takes long is not repeated."""
    times = []
    while len(times) < (1 if session.icount else 3) and sum(times) < 3000:
        times += session.ms(session.run(cmd))
        session.run(undo)
    return min(times)


def measure_loads(s):
    for mb in LOADS_MB:
        name = f"load {mb} MB, kload"
        with s.rows(name):
            if not s.guest:
                s.fresh()
            s.results[name] = best_of(
                s, f"tsctime kload -e 0x2000000 -s 0x2000000:{mb << 20}", "kload -u")
    for mb in LOADS_MB:
        name = f"load {mb} MB, stock kexec"
        with s.rows(name):
            if not s.guest:
                s.fresh()
            s.results[name] = best_of(s, "tsctime " + stock_load(s, mb), "kexec -u")


def measure_content(s):
    """Loading, compared with a plain copy of the same; and a window of more than half of the memory."""
    copy, load = f"copy {CONTENT_MB} MB in tmpfs", f"load {CONTENT_MB} MB of content, kload"
    with s.rows(copy, load):
        s.fresh(memory="1G", append="nokaslr")
        s.run(f"mount -o remount,size=80% /tmp; dd if=/dev/urandom of=/tmp/data bs=1M count={CONTENT_MB} 2>/dev/null")
        s.results[copy] = best_of(s, "tsctime dd if=/tmp/data of=/tmp/copy bs=1M", "rm /tmp/copy")
        s.results[load] = best_of(s, f"tsctime kload -e 0x8000000 -s 0x8000000:{CONTENT_MB << 20}:/tmp/data", "kload -u")
    if s.icount or guest_memory_mb(s.variant) < LARGE_RAM_MB:
        return
    for mb in LARGE_MB:
        name = f"load {mb} MB, kload, {LARGE_RAM_MB} MB of RAM"
        with s.rows(name):
            if mb == LARGE_MB[0] or not s.guest:
                s.fresh(memory=f"{LARGE_RAM_MB}M", append="nokaslr")
            s.results[name] = best_of(s, f"tsctime kload -e 0x100000000 -s 0x100000000:{mb << 20}", "kload -u")
            s.exchanged(name)


def stock_load(s, mb):
    return ("kexec --load-preserve-context /boot/bzImage --mem-min=0x100000 "
            f"--mem-max={(mb + 1 << 20) - 1:#x} --initrd=/boot/initramfs.img "
            f"--append='{s.guest.peer_line('B')}'")


def calls(s, names, number, pause="", command="kjreboot"):
    """Call what is loaded `number` times, or run another command; the time of call n is the row names[n]."""
    failed = None
    try:
        out = s.run(f"for i in $(seq {number}); do tsctime {command} || break; {pause}done")
    except Failed as e:
        out, failed = e.said, e
    times = s.ms(out)
    for n, name in names.items():
        if n <= len(times):
            s.results[name] = times[n - 1]
    if failed:
        raise failed
    if "errno" in out:
        raise Failed(re.findall(r".*errno.*", out)[0])
    return times


def numbered(title):
    return {n: f"{title}, call {n}" for n in (1, 2, CALLS)}


def measure_flat(s):
    ahci, no_ahci = numbered("flat program"), numbered("flat program, AHCI unbound")
    paused = "flat program, 1 s after the last call"
    with s.rows(*ahci.values(), paused):
        s.fresh()
        s.run(FLAT)
        s.run("sleep 2")
        calls(s, ahci, CALLS)
        s.note_steps(ahci[CALLS])
        s.run("sleep 1")
        calls(s, {2: paused}, 2, "sleep 1; ")
        s.note_steps(paused)
    series = f"flat program, one of {SERIES} in a row"
    with s.rows(series):
        if s.which == "base":
            raise Failed("each of its calls is a call of its own")
        s.run("sleep 1")
        s.results[series] = s.ms(s.run(f"tsctime {PLANNED.format(f'*{SERIES}')}"))[0] / SERIES
        s.note_steps(series)
    with s.rows(*no_ahci.values()):
        if not s.guest:
            s.fresh()
            s.run(FLAT)
        s.run(UNBIND_AHCI)
        s.run("sleep 2")
        calls(s, no_ahci, CALLS)
        s.note_steps(no_ahci[CALLS])


def measure_windows(s):
    """What a call takes does not depend on the window; and what is left of it if devices stay at work."""
    for mb in WINDOWS_MB:
        name = f"flat program, AHCI unbound, window of {mb} MB"
        with s.rows(name):
            # Where the kernel is not itself.
            s.fresh(memory="1536M", append="nokaslr")
            s.run(f"{RET}kload -e 0x8000000 -s 0x8000000:{mb << 20}:/tmp/ret")
            s.exchanged(name)
            s.run(UNBIND_AHCI)
            s.run("sleep 2")
            # Devices take more or less; what is looked for is there each time.
            s.results[name] = min(calls(s, {}, SWITCHES)[1:])
            s.note_steps(name)
    name = "flat program, devices at work"
    with s.rows(name):
        if s.which == "base":
            raise Failed("it has no such calls")
        s.fresh()
        # Where the kernel can do without the memory.
        s.run(f"{RET}for at in $(seq 4 20); do "
              "kload -f 0x402 -e $((at << 24)) -s $((at << 24)):0x1000:/tmp/ret && break; done")
        calls(s, {CALLS: name}, CALLS)


def measure_switch(s):
    boots = "jump to a second kernel that boots"
    ahci, no_ahci = "second kernel and back", "second kernel and back, AHCI unbound"
    with s.rows(boots, ahci, no_ahci):
        s.fresh()
        s.run(stock_load(s, 95))
        start = time.monotonic()
        s.jump("kexec -e -x", "B")
        # With -icount, wall time says nothing, and the guest's clock is a new one.
        s.results[boots] = "-" if s.icount else (time.monotonic() - start) * 1000
        s.run(WAY_BACK)
        for name, prepare in ((ahci, "sleep 1"), (no_ahci, UNBIND_AHCI)):
            s.run(prepare)
            # B returns at once, as often as it is jumped to, and stays at the end.
            s.jump(f"for i in $(seq {SWITCHES}); do kjreboot; done >/dev/null", "A")
            s.run(prepare)
            s.results[name] = min(calls(s, {}, SWITCHES - 1)[1:])
            s.note_steps(name)
            s.jump("kjreboot >/dev/null", "B")


def measure_peers(s):
    """Of two peers, to the other one and back: four jumps, by way of A."""
    name = "from one peer to another and back"
    with s.rows(name):
        if s.which == "base":
            raise Failed("it has one peer")
        s.fresh(memory="1G")
        for peer in "red", "green":
            s.run(f"kjump load --name={peer} --append='lab.name={peer} lab.mount=0'")
        s.jump("kjump switch red", "red")
        s.run(WAY_BACK)
        s.jump("kjump switch green", "green")
        s.run(WAY_BACK)
        s.jump(f"for i in $(seq {SWITCHES + 1}); do {PLANNED.format('red')}; done >/dev/null", "red")
        s.results[name] = min(calls(s, {}, SWITCHES, command=PLANNED.format("green"))[1:])


def measure(variant, which, icount):
    s = Session(variant, which, icount)
    began = time.monotonic()
    try:
        for part in (measure_loads, measure_content, measure_flat, measure_windows, measure_switch,
                     measure_peers):
            say(f"{variant}, {which}{', counting instructions' if icount else ''}: "
                + part.__name__.replace("measure_", ""))
            part(s)
    finally:
        s.close()
    say(f"{variant}, {which}: {time.monotonic() - began:.0f} s")
    return s


def cell(value):
    return f"{value:.1f}" if isinstance(value, float) else "-" if value in ("-", None) else "x"


def table(variant, runs):
    """runs: {(which, icount): Session}"""
    columns = [c for c in (("base", False), ("series", False), ("base", True), ("series", True))
               if c in runs]
    names = list(runs[columns[-1]].results) if columns else []
    head = {("base", False): "base ms", ("series", False): "series ms",
            ("base", True): "base Mi", ("series", True): "series Mi"}
    print(f"\n== {variant}: wall time in ms; Mi: millions of instructions, "
          "where waiting 1 ms counts as one million ==")
    width = max(len(n) for n in names)
    line = f"{'':{width}}"
    for i in (False, True):
        for which in ("base", "series"):
            if (which, i) in runs:
                line += f" {head[which, i]:>10}"
        if ("base", i) in runs and ("series", i) in runs:
            line += f" {'ratio':>6}"
    print(line)
    for name in names:
        line = f"{name:{width}}"
        for i in (False, True):
            got = [runs[w, i].results.get(name) if (w, i) in runs else None
                   for w in ("base", "series")]
            line += "".join(f" {cell(v):>10}" for w, v in zip(("base", "series"), got)
                            if (w, i) in runs)
            if ("base", i) in runs and ("series", i) in runs:
                ok = all(isinstance(v, float) for v in got)
                line += f" {f'{got[1] / got[0]:.3f}' if ok else '-':>6}"
        print(line)
    failed = {}
    for (which, icount), s in runs.items():
        for name, value in s.results.items():
            if isinstance(value, str) and value != "-":
                failed.setdefault((which, value), {}).setdefault(name, []).append(icount)
    if failed:
        print("x: no number, because")
        for (which, why), rows in failed.items():
            print(f"   {which}: {why}")
            print(f"      in: {'; '.join(rows)}")
    for icount in (False, True):
        if ("series", icount) not in runs:
            continue
        print(f"\n{variant}, series: each step going in / coming back, "
              + ("in Mi" if icount else "in ms"))
        steps = runs["series", icount].steps
        if not steps:
            print("   no jump succeeded")
            continue
        notes = runs["series", icount].notes
        for name, rows in steps.items():
            print(f"   {name}:" + (f" {notes[name]}" if name in notes else ""))
            print("      " + ", ".join(f"{n} {a:.1f}/{b:.1f}" for n, a, b in rows
                                       if a >= 0.05 or b >= 0.05))
    sys.stdout.flush()


def goals(variant, runs):
    """What is to be small beside something else of the same run: as ratios, with what is asked for."""
    window = "flat program, AHCI unbound, window of {} MB"
    asked = [(window.format(WINDOWS_MB[-1]), window.format(WINDOWS_MB[0]), "at most 1.1"),
             (f"load {CONTENT_MB} MB of content, kload", f"copy {CONTENT_MB} MB in tmpfs", "at most 3"),
             ("flat program, devices at work", f"flat program, call {CALLS}", "at most 0.01"),
             (f"flat program, one of {SERIES} in a row", f"flat program, call {CALLS}", "less than 1")]
    shown = [i for i in (False, True) if ("series", i) in runs]
    print(f"\n== {variant}, series: ratios, of " + " and of ".join("Mi" if i else "ms" for i in shown) + " ==")
    for what, than, limit in asked:
        ratios = []
        for i in shown:
            a, b = (runs["series", i].results.get(row) for row in (what, than))
            ok = isinstance(a, float) and isinstance(b, float)
            ratios.append(f"{a / b:8.3f}" if ok else f"{'-':>8}")
        print(f"{' '.join(ratios)}  {limit:12}  {what} : {than}")


def prepare(variant, base):
    kernel.build(variant)
    initramfs.build(variant)
    if base:
        home = kernel.build_base(variant)
        initramfs.boot_disk(home, initramfs.boot_files(variant, home / "bzImage"), home / "boot.img")


def measure_jumps(variant, options):
    """Everything but hibernation, printed; what goes into bench.json."""
    runs = {}
    for icount in (False,) if options.no_icount else (False, True):
        for which in ("series",) if options.no_base else ("base", "series"):
            runs[which, icount] = measure(variant, which, icount)
    table(variant, runs)
    goals(variant, runs)
    return {f"{w}{'-icount' if i else ''}": {"results": s.results, "steps": s.steps}
            for (w, i), s in runs.items()}


def draw_timelines(variant):
    """What a jump to a second kernel, and back, is made of, with all devices there are."""
    from . import timeline
    s = Session(variant, "series", False)
    try:
        g = s.fresh()
        s.run(stock_load(s, 95))
        s.jump("kexec -e -x", "B")
        s.run(WAY_BACK)
        # B returns at once.
        s.jump("for i in 1 2; do kjreboot; done >/dev/null", "A")
        s.run("sleep 2")
        found = timeline.bars(timeline.record(g, lambda: s.run("kjreboot >/dev/null; true")))
    finally:
        s.close()
    path = BUILD / f"timeline-{variant}.svg"
    share = timeline.drivers_share(found)
    timeline.draw(found, f"A jump to another kernel and back ({variant}, in QEMU); "
                  f"device callbacks are at work in {share:.0%} of it", path)
    print(f"\n{variant}: device callbacks are at work in {share:.0%} of the time of all steps: "
          f"{path.relative_to(BUILD.parent)}")
    return share


def main(variants, options):
    """Measure `options.only` (None: everything), each hibernation `options.runs` times."""
    def wanted(part):
        return options.only in (None, part)

    for v in variants:
        prepare(v, not options.no_base and wanted("jumps"))
    data = {}
    for v in variants:
        data[v] = {}
        if wanted("jumps"):
            data[v] |= measure_jumps(v, options)
        if wanted("exchange"):
            data[v]["exchange"] = found = bench_exchange.measure(v, 2 + options.runs)
            bench_exchange.table(v, found)
        if wanted("timeline"):
            data[v]["devices' share"] = draw_timelines(v)
        if wanted("hibernation"):
            data[v]["hibernation"] = found = bench_image.measure(v, options.runs)
            bench_image.table(v, found)
        if wanted("claim"):
            from . import bench_claim
            data[v]["claim"] = found = bench_claim.measure(v)
            bench_claim.table(v, found)
        if wanted("growth"):
            from . import bench_growth
            data[v]["growth"] = found = bench_growth.measure(v)
            bench_growth.table(v, found)
            bench_growth.draw(v, found)
        (BUILD / "bench.json").write_text(json.dumps(data, indent=1) + "\n")
    print(f"\nall numbers are in {(BUILD / 'bench.json').relative_to(BUILD.parent)}")
    return 0
