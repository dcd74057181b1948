"""A table of results as Markdown, JSON and a chart, from the records of its trainings."""

import itertools
import json
import pathlib
import statistics
import typing

from patchvae_tf import runs
from patchvae_tf.errors import RunError
from patchvae_tf.table.config import COLUMNS, PAPER_ORDER, ROWS, TableConfig, TableTraining

_PATHS = ("data_dir", "weights")  # say where this machine keeps things, and nothing of the result


def write(config: TableConfig, jobs: list, failures: dict, folder: pathlib.Path) -> dict:
    """Writes `table.json` and `table.md`.

    Args:
        config: TableConfig.
        jobs: list of `table_config.Job`s, done or not.
        failures: dict Job -> str, the reason.
        folder: pathlib.Path.

    Returns:
        dict as `collect` returns it.
    """
    report = collect(config, jobs, failures)
    runs.write_json(folder / "table.json", report)
    with runs.replaced_when_whole(folder / "table.md") as temporary:
        temporary.write_text(markdown(report), encoding="utf-8", errors="backslashreplace")
    return report


def incomplete(failures: dict) -> RunError:
    """The error of a table with failed trainings."""
    first = next(iter(failures))
    return RunError(
        f"{len(failures)} trainings failed, the first: {first} ({failures[first]}). The table has "
        "the others; the same command tries these again."
    )


def collect(
    config: TableConfig, jobs: list[TableTraining], failures: dict[TableTraining, str]
) -> dict:
    """What is known by now, as plain values.

    Returns:
        dict: `settings`; `machine`, dict of `device`, `dtype_policy`, `versions`, and `data`, dict
        of `classes`, `test_images`, of the trainings done; `rows`: dict row -> dict of `label` and
        `columns`: dict column -> dict of `top1`, `top5`: dicts of `mean`, `spread` (the standard
        deviation over seeds; None of one seed) and `values` by seed, in [0, 1]; of `failed`, the
        reasons by seed; and of `missing`, how many are still to come.
    """
    settings = {name: v for name, v in config.to_json().items() if name not in _PATHS}
    report: dict[str, typing.Any] = {
        "settings": settings,
        "machine": None,
        "data": None,
        "rows": {},
    }
    for job in jobs:
        row = report["rows"].setdefault(job.row, {"label": ROWS[job.row].label, "columns": {}})
        if job.freeze is None:
            continue
        cell = row["columns"].setdefault(
            job.freeze, {"top1": {}, "top5": {}, "failed": {}, "missing": 0}
        )
        path = job.folder / "result.json"
        if path.exists():
            result = json.loads(path.read_text(encoding="utf-8"))
            for name in ("top1", "top5"):
                cell[name][str(job.seed)] = result[f"test_{name}"]
            report["machine"] = {key: result[key] for key in ("device", "dtype_policy", "versions")}
            report["data"] = {key: result[key] for key in ("classes", "test_images")}
        elif job in failures:
            cell["failed"][str(job.seed)] = failures[job]
        else:
            cell["missing"] += 1
    for row in report["rows"].values():
        for cell in row["columns"].values():
            for name in ("top1", "top5"):
                cell[name] = _mean_and_spread(cell[name])
    return report


def _mean_and_spread(by_seed):
    values = list(by_seed.values())
    return {
        "mean": statistics.fmean(values) if values else None,
        "spread": statistics.stdev(values) if len(values) > 1 else None,
        "values": by_seed,
    }


def markdown(report: dict) -> str:
    """The table, what it was made with, and whether the paper's order holds."""
    lines = [
        f"| φ | {' | '.join(f'{name} frozen' for name in COLUMNS.values())} |",
        "|---" * (len(COLUMNS) + 1) + "|",
    ]
    for row in report["rows"].values():
        cells = [_cell(row["columns"].get(column)) for column in COLUMNS]
        lines.append(f"| {row['label']} | {' | '.join(cells)} |")
    return "\n".join([*lines, "", _made_with(report), "", order(report), *_failures(report), ""])


def _cell(cell):
    if cell is None:
        return ""
    top1 = cell["top1"]
    if top1["mean"] is None:
        return "failed" if cell["failed"] else "…"
    spread = "" if top1["spread"] is None else f" ± {100 * top1['spread']:.1f}"
    marks = " (some failed)" if cell["failed"] else " (more to come)" if cell["missing"] else ""
    return f"{100 * top1['mean']:.1f}{spread}{marks}"


def _made_with(report):
    settings, data, machine = report["settings"], report["data"], report["machine"]
    if data is None:
        return "Nothing is trained yet."
    labels = settings["labels_per_class"]
    return (
        f"Top-1 on the {data['test_images']:,} test images of {settings['dataset']}, "
        f"{data['classes']} classes, in percent: mean ± standard deviation over "
        f"{_counted(settings['seeds'], 'seed')}. Models without labels: "
        f"{_counted(settings['epochs'], 'epoch')}; classifiers: "
        f"{_counted(settings['transfer_epochs'], 'epoch')}, "
        f"{'all labels' if labels is None else f'{labels} labels a class'}. "
        f"{machine['device']}, {machine['dtype_policy']}."
    )


def _counted(number, noun):
    if number is None:
        return f"the default number of {noun}s"
    return f"{number} {noun}" + ("" if number == 1 else "s")


def order(report: dict) -> str:
    """One sentence: the paper's order at Conv1-5, and what the means say."""
    rows = report["rows"]
    means = {}
    for key in PAPER_ORDER:
        cell = rows.get(key, {"columns": {}})["columns"].get("conv1-5")
        if cell is None or cell["top1"]["mean"] is None:
            return "Whether the paper's order at Conv1-5 holds cannot be said yet."
        means[key] = cell["top1"]["mean"]
    claimed = " > ".join(ROWS[key].label for key in PAPER_ORDER)
    found = " > ".join(
        f"{ROWS[key].label} {100 * means[key]:.1f}"
        for key in sorted(means, key=means.__getitem__, reverse=True)
    )
    values = list(means.values())
    holds = all(better > worse for better, worse in itertools.pairwise(values))
    verdict = "holds here" if holds else "does not hold here"
    return f"The paper's order at Conv1-5, {claimed}, {verdict}: {found}."


def _failures(report):
    reasons = [
        f"- {row['label']}, {COLUMNS[column]} frozen, seed {seed}: {reason}"
        for row in report["rows"].values()
        for column, cell in row["columns"].items()
        for seed, reason in cell["failed"].items()
    ]
    return ["", "Failed:", "", *reasons] if reasons else []


def draw(report: dict, path: pathlib.Path) -> None:
    """Writes a chart as PNG: a bar for each cell, its spread as a whisker."""
    from matplotlib.figure import Figure  # takes a second to import

    labels = [row["label"] for row in report["rows"].values()]
    figure = Figure(figsize=(1.5 + 1.1 * len(labels), 4.0), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(COLUMNS)
    for number, (column, name) in enumerate(COLUMNS.items()):
        bars = [
            (place + (number - 1) * width, cell["top1"])
            for place, row in enumerate(report["rows"].values())
            if (cell := row["columns"].get(column)) and cell["top1"]["mean"] is not None
        ]
        axes.bar(
            [place for place, _ in bars],
            [100 * top1["mean"] for _, top1 in bars],
            width,
            yerr=[100 * (top1["spread"] or 0.0) for _, top1 in bars],
            capsize=2,
            label=f"{name} frozen",
        )
    axes.set_xticks(range(len(labels)), [label.replace(" ", "\n", 1) for label in labels])
    axes.set_ylabel("top-1, %")
    axes.set_title(f"{report['settings']['dataset']}: what each φ is worth to a classifier")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False, ncols=len(COLUMNS), loc="upper center", bbox_to_anchor=(0.5, -0.15))
    with runs.replaced_when_whole(path) as temporary:
        figure.savefig(temporary, format="png", dpi=110)
