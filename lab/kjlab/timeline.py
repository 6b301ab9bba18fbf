# SPDX-License-Identifier: GPL-2.0
"""Where the time of a jump goes: each step, and each device that takes its time, as a drawing.

The kernel says it: the trace event kexec_jump_step, and device_pm_callback_start and _end
around each callback of a driver. Device callbacks that run side by side (asynchronous ones)
each have a bar of their own.
"""
import contextlib
import re

from .util import LabError

TRACING = "/sys/kernel/tracing"
EVENTS = ("kexec_jump/kexec_jump_step", "power/device_pm_callback_start", "power/device_pm_callback_end")
# A device has a bar if one of its callbacks takes as much of the whole.
THRESHOLD = 0.01
# But no more than so many devices, those that take longest.
DEVICES_MAX = 24


class Bar:
    """A piece of time: what (a step, or a device), from when to when in ms, and whether it leads back."""

    def __init__(self, what, device, start, end, back):
        self.what, self.device, self.start, self.end, self.back = what, device, start, end, back

    @property
    def ms(self):
        return self.end - self.start


def record(g, jump):
    """What the kernel of guest g traces while jump() is called."""
    g.run(f"cd {TRACING} && echo 16384 >buffer_size_kb && echo >trace; "
          + "; ".join(f"echo 1 >events/{e}/enable" for e in EVENTS)).check()
    try:
        jump()
        return g.run(f"cat {TRACING}/trace", timeout=300).check().out
    finally:
        g.run("; ".join(f"echo 0 >{TRACING}/events/{e}/enable" for e in EVENTS))


def bars(trace):
    """[Bar] of a trace, in order of their beginnings; time begins with the first one."""
    open_bars, found, back, first = {}, [], False, None
    for line in trace.splitlines():
        m = re.match(r".* (\d+\.\d+): (kexec_jump_step|device_pm_callback_\w+): (.*)", line)
        if not m:
            continue
        now, event, text = float(m[1]) * 1000, m[2], m[3]
        first = now if first is None else first
        if event == "kexec_jump_step":
            what, direction, edge, _ = text.split()
            back, key, begins = direction == "leave", ("step", what), edge == "begin"
        else:
            # "e1000 0000:00:03.0, parent: pci0000:00, bus [freeze]"; "e1000 0000:00:03.0, err=0"
            what = text.split(",")[0]
            key, begins = ("device", what), event.endswith("start")
        if begins:
            open_bars[key] = (now, back)
        elif key in open_bars:
            start, was_back = open_bars.pop(key)
            found.append(Bar(what, key[0] == "device", start - first, now - first, was_back))
    if not found:
        raise LabError("nothing was traced")
    return sorted(found, key=lambda b: b.start)


def chosen(all_bars):
    """Lanes from top to bottom: the steps in their order, then the devices that take longest; {name: [Bar]}."""
    lanes = {}
    for bar in all_bars:
        lanes.setdefault((bar.device, bar.what), []).append(bar)
    whole = max(b.end for b in all_bars)
    devices = [k for k, found in lanes.items() if k[0] and max(b.ms for b in found) >= THRESHOLD * whole]
    devices = sorted(devices, key=lambda k: -max(b.ms for b in lanes[k]))[:DEVICES_MAX]
    devices.sort(key=lambda k: lanes[k][0].start)
    return {k: lanes[k] for k in [k for k in lanes if not k[0]] + devices}


def drivers_share(all_bars):
    """What part of the steps' time somebody's device callback was at work."""
    steps = [b for b in all_bars if not b.device]
    spans, total = sorted((b.start, b.end) for b in all_bars if b.device), 0.0
    covered_to = float("-inf")
    for start, end in spans:
        total += max(0.0, end - max(start, covered_to))
        covered_to = max(covered_to, end)
    return total / sum(b.ms for b in steps)


@contextlib.contextmanager
def drawing(path, width, height):
    """Axes to draw on; then it is an SVG file."""
    import matplotlib       # lab/bench alone has it
    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "kexec jump"      # the same drawing is the same file
    from matplotlib import pyplot
    figure, axes = pyplot.subplots(figsize=(width, height), layout="constrained")
    yield axes
    figure.savefig(path, metadata={"Date": None})
    pyplot.close(figure)


def draw(all_bars, title, path):
    """Write an SVG file."""
    lanes = chosen(all_bars)
    with drawing(path, 10, 0.9 + 0.22 * len(lanes)) as axes:
        for y, ((device, _), found) in enumerate(lanes.items()):
            for back in False, True:
                # What takes next to nothing is seen, too.
                spans = [(b.start, max(b.ms, 0.15)) for b in found if b.back == back]
                axes.broken_barh(spans, (y - 0.35, 0.7), hatch="///" if back else None, edgecolor="white", linewidth=0.2,
                                 facecolor=("tab:orange" if device else "tab:blue"))
        jump = [b.start for b in all_bars if not b.device and b.back]
        if jump:
            axes.axvline(min(jump), color="black", linewidth=0.8, linestyle=":")
        axes.set_yticks(range(len(lanes)), [what for _, what in lanes], fontsize=8)
        axes.invert_yaxis()
        axes.set_xlabel("ms; blue: steps, orange: devices in them; hatched: coming back; dotted: the jump")
        axes.set_title(title, fontsize=10)
        axes.margins(x=0.01, y=0.01)


def curves(title, x_label, y_label, series, path):
    """Write an SVG file with a line for each of series: {name: {x: y}}."""
    with drawing(path, 7, 4) as axes:
        for name, points in series.items():
            if points:
                axes.plot(list(points), list(points.values()), marker="o", label=name)
        axes.set(title=title, xlabel=x_label, ylabel=y_label)
        axes.set_ylim(bottom=0)
        axes.legend(fontsize=8)
        axes.grid(alpha=0.3)
