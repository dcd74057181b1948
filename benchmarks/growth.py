"""Measures how time and memory grow with the work: images, their size, parts, batch, replicas.

Each piece of work of `growth_works.py` runs in a process of its own, from its smallest size to its
largest. Time is that of the processor, summed over its cores, the least of some rounds: other
processes then matter little. Memory is the most that the process had while it worked, beyond what
it had before (Linux counts it). The exponents are slopes over the logarithms of the work: 1 is
twice the cost for twice the work, 0 a cost that does not depend on it.
"""

import concurrent.futures
import contextlib
import ctypes
import dataclasses
import gc
import io
import json
import multiprocessing
import pathlib
import tempfile
import time

import numpy as np

from benchmarks import lists
from benchmarks.growth_works import WORKS
from patchvae_tf import extras
from patchvae_tf.command_line import console
from patchvae_tf.errors import InputError, RunError
from patchvae_tf.settings import Settings, setting

USAGE = "python -m benchmarks.growth [--only=embed,...] [--most=100000] [--picture=growth.png]"

_MEGABYTE = 2**20
_ENOUGH_SECONDS = 0.3  # of the processor: quick work is repeated until it took that long


def _memory(field):
    """Bytes of a field of `/proc/self/status`: VmRSS now, VmHWM at most since `_forget_peak`."""
    lines = pathlib.Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{field}:"))
    return 1024 * int(line.split()[1])


def _forget_peak():
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    pathlib.Path("/proc/self/clear_refs").write_text("5")


def measured(run, rounds):
    """Time and memory of some work.

    Args:
        run: function without arguments.
        rounds: int, after the first, which traces graphs; the quickest counts.

    Returns:
        dict: `seconds` of the processor, `peak_megabytes` beyond what there was before.
    """
    _forget_peak()
    before = _memory("VmRSS")
    start = time.process_time()
    run()
    best = time.process_time() - start
    for _ in range(rounds):
        count, start = 0, time.process_time()
        while not count or time.process_time() - start < _ENOUGH_SECONDS:
            run()
            count += 1
        best = min(best, (time.process_time() - start) / count)
    return {
        "seconds": best,
        "peak_megabytes": max(0.0, (_memory("VmHWM") - before) / _MEGABYTE),
    }


def rows_of(name, most, rounds):
    """A row a size of one piece of work; the largest sizes, which are slow, run once."""
    rows = []
    work = WORKS[name]
    sizes = [size for size in work.sizes if size <= most]
    if work.axis == "images":  # what is imported and traced once is no cost of an image
        sizes.insert(0, sizes[0])
    for number, size in enumerate(sizes):
        with (
            tempfile.TemporaryDirectory() as folder,
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            run = work.ready(size, pathlib.Path(folder))
            found = measured(run, 0 if size >= 100_000 else rounds)
            del run
        if number or size not in sizes[1:]:
            rows.append({"work": name, "axis": work.axis, "size": size, **found})
    return rows


def exponent(amounts, costs):
    """Slope of log(cost) over log(amount), by least squares; None where a cost is 0."""
    if len(costs) < 2 or min(costs) <= 0:
        return None
    return float(np.polyfit(np.log(amounts), np.log(costs), 1)[0])


def exponents(rows):
    """Of one work's rows: dict of the exponents of time and memory, over all and at the end."""
    amounts = [WORKS[rows[0]["work"]].amount(row["size"]) for row in rows]
    found = {}
    for key in ("seconds", "peak_megabytes"):
        costs = [row[key] for row in rows]
        found[key] = exponent(amounts, costs)
        found[f"last_{key}"] = exponent(amounts[-2:], costs[-2:])
    return found


def by_work(rows):
    """Name of a work -> its rows, in order."""
    found = {}
    for row in rows:
        found.setdefault(row["work"], []).append(row)
    return found


def table(rows):
    """The rows as a Markdown table: cost at both ends, and the exponents.

    Where images grow in number the time is that of one image.
    """
    lines = [
        "| work | from, to | time | exponent (at the end) | memory | exponent (at the end) |",
        "|---|---|---|---|---|---|",
    ]
    for name, own in by_work(rows).items():
        found = {
            key: "-" if value is None else f"{value:.2f}" for key, value in exponents(own).items()
        }
        ends = own[0], own[-1]
        count = [row["size"] if row["axis"] == "images" else 1 for row in ends]
        times = " → ".join(_seconds(row["seconds"] / n) for row, n in zip(ends, count, strict=True))
        peaks = " → ".join(f"{row['peak_megabytes']:,.0f}" for row in ends)
        sizes = " → ".join(f"{row['size']:,}" for row in ends)
        lines.append(
            f"| {name} | {sizes} {own[0]['axis']} "
            f"| {times} | {found['seconds']} ({found['last_seconds']}) | {peaks} MB "
            f"| {found['peak_megabytes']} ({found['last_peak_megabytes']}) |"
        )
    return "\n".join(lines)


def _seconds(value):
    """A short time in words."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if value * factor >= 1:
            return f"{value * factor:.3g} {unit}"
    return f"{value * 1e9:.3g} ns"


def figure(rows):
    """Time above, memory below, a column an axis: a matplotlib `Figure`."""
    from matplotlib.figure import Figure
    from matplotlib.ticker import NullFormatter

    axes_names = list(dict.fromkeys(work.axis for work in WORKS.values()))
    axes_names = [name for name in axes_names if any(row["axis"] == name for row in rows)]
    drawn = Figure(figsize=(3.1 * len(axes_names), 7.4), dpi=110, layout="constrained")
    panels = drawn.subplots(2, len(axes_names), squeeze=False)
    for column, axis in enumerate(axes_names):
        works = by_work(row for row in rows if row["axis"] == axis)
        for panel, key in zip(panels[:, column], ("seconds", "peak_megabytes"), strict=True):
            for number, (name, own) in enumerate(works.items()):
                slope = exponents(own)[key]
                panel.loglog(
                    [row["size"] for row in own],
                    [max(row[key], 1e-4 if key == "seconds" else 0.1) for row in own],
                    marker="os^Dv<>PX*"[number % 10],
                    markersize=4,
                    color=f"C{number % 10}",
                    label=f"{name} ({'-' if slope is None else f'{slope:.2f}'})",
                )
            sizes = sorted({row["size"] for own in works.values() for row in own})
            if axis != "images":
                panel.set_xticks(sizes, [f"{size:,}" for size in sizes])
            panel.xaxis.set_minor_formatter(NullFormatter())
            panel.yaxis.set_minor_formatter(NullFormatter())
            panel.set_xlabel(axis)
            panel.grid(color="#e0e0e0")
            panel.spines[["top", "right"]].set_visible(False)
            panel.legend(frameon=False, fontsize=6.5, loc="lower left", bbox_to_anchor=(0, 1))
    panels[0, 0].set_ylabel("processor seconds (exponent)")
    panels[1, 0].set_ylabel("most memory, MB (exponent)")
    return drawn


def _measured_apart(name, most, rounds):
    """`rows_of`, from a process of its own."""
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as process:
        try:
            return process.submit(rows_of, name, most, rounds).result()
        except concurrent.futures.BrokenExecutor:
            raise RunError(
                f"the process of {name!r} was ended: if memory was short, give a smaller --most."
            ) from None


@dataclasses.dataclass(frozen=True)
class GrowthConfig(Settings):
    """Settings of `python -m benchmarks.growth`."""

    only: str | None = setting(
        None, "Work", "works to measure, by name, with commas between (default: all)"
    )
    most: int = setting(10**9, "Work", "the largest size of any axis", minimum=1)
    rounds: int = setting(2, "Measurement", "after the first; the quickest counts", minimum=1)
    output: str = setting("results/growth/growth.jsonl", "Output", "file of a row a size, in JSON")
    picture: str = setting("docs/growth.png", "Output", "file of the picture")

    def check(self):
        """Raises InputError for a work that is none, or has no size so small."""
        for name in self.names():
            if min(WORKS[name].sizes) > self.most:
                raise InputError(
                    f"most must be at least {min(WORKS[name].sizes)}, the smallest size of "
                    f"{name!r}. Received: {self.most}"
                )

    def names(self):
        """The works asked for."""
        return lists.words("only", self.only, WORKS)


def main(stop_request, config):
    """Measures, writes the rows, draws the picture and prints the table."""
    del stop_request
    extras.require("report", "the picture")
    output = pathlib.Path(config.output)
    output.parent.mkdir(parents=True, exist_ok=True)
    kept = output.read_text().splitlines() if output.exists() else []
    rows = [row for row in map(json.loads, kept) if row["work"] in WORKS]
    for name in config.names():
        others = [row for row in rows if row["work"] != name]
        rows = others + _measured_apart(name, config.most, config.rounds)
        print(f"{name}: {rows[-1]}", flush=True)
        rows.sort(key=lambda row: list(WORKS).index(row["work"]))
        output.write_text("".join(json.dumps(row) + "\n" for row in rows))
    figure(rows).savefig(config.picture)
    print(table(rows))


if __name__ == "__main__":
    console.run(main, USAGE, GrowthConfig)
