"""The figures of a table of runs, drawn."""

import csv
import io
import math
from collections.abc import Iterator, Sequence
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mnist_lab import statistics
from mnist_lab.comparison import answers, figures
from mnist_lab.comparison.tables import Group, Table, natural

MAX_HISTORY_BYTES = 1 << 26


class Picture(NamedTuple):
    """A figure as PNG, by the name of its file."""

    name: str
    caption: str
    png: bytes


def draw(table: Table, shown: Sequence[Group]) -> tuple[list[Picture], list[str]]:
    """The figures of a table's first groups; which runs' curves are missing, and why."""
    curves, missing = _histories(table, shown)
    return list(_pictures(table, shown, curves)), missing


def _histories(
    table: Table, groups: Sequence[Group]
) -> tuple[list[tuple[Group, NDArray[np.float64]]], list[str]]:
    """The validation metric by epoch `(runs, epochs)`, NaN beyond a run's end; what is missing."""
    found, missing = [], []
    split = "val" if table.ranked else "train"
    for group in groups:
        rows = []
        for run in group.runs:
            path = run.folder / "metrics.csv"
            try:
                if path.stat().st_size > MAX_HISTORY_BYTES:
                    raise ValueError("larger than any history")
                with open(path, newline="", encoding="utf-8") as file:
                    column = [row[f"{split}/{table.quantity}"] for row in csv.DictReader(file)]
                if not column:
                    raise ValueError("holds no epochs")
                rows.append([float(cell) if cell else math.nan for cell in column])
            except KeyError as error:
                missing.append(f"Not among the curves: {path}: has no {error.args[0]}.")
            except (OSError, ValueError, TypeError, csv.Error) as error:
                missing.append(f"Not among the curves: {path}: {error}.")
        if rows:
            cells = np.full((len(rows), max(map(len, rows))), math.nan)
            for index, row in enumerate(rows):
                cells[index, : len(row)] = row
            found.append((group, cells))
    return found, missing


def _pictures(
    table: Table, shown: Sequence[Group], curves: Sequence[tuple[Group, NDArray[np.float64]]]
) -> Iterator[Picture]:
    percent = answers.is_fraction(table.quantity)
    scale, unit = (100, " (%)") if percent else (1, "")
    split = "test" if table.split == "test" else "validation"
    label = f"{split} {table.quantity}{unit}"
    names = {id(group): f"{rank}. {group.name}" for rank, group in enumerate(shown, 1)}
    values = [scale * group.scores for group in shown]
    ends = [statistics.t_interval(each) for each in values]
    yield _picture(
        "groups",
        f"{label}: single runs, mean, 95 % interval over seeds",
        figures.groups([*names.values()], values, ends, label),
    )
    if len(table.settings) > 1:
        yield _picture(
            "settings",
            "by setting: single runs; lines join groups that differ in this setting alone",
            figures.settings(_panels(table, shown, scale), label),
        )
    if curves:
        split = "validation" if table.ranked else "training"
        yield _picture(
            "curves",
            f"{split} {table.quantity} by epoch: mean and 95 % interval over seeds",
            figures.curves(
                [names[id(group)] for group, _ in curves],
                [scale * each for _, each in curves],
                [_band(scale * each) for _, each in curves],
                f"{split} {table.quantity}{unit}",
            ),
        )
    yield _picture(
        "costs",
        f"{label} against time and size",
        figures.costs(
            [*names.values()],
            [float(each.mean()) for each in values],
            ends,
            [float(np.mean([run.seconds for run in group.runs])) for group in shown],
            [group.runs[0].parameters for group in shown],
            label,
        ),
    )
    if table.split == "test":
        yield _picture(
            "recalls",
            "mean recall of each class",
            figures.recalls(
                [*names.values()],
                shown[0].runs[0].classes,
                [100 * np.mean([run.recalls for run in group.runs], axis=0) for group in shown],
            ),
        )


def _picture(name: str, caption: str, figure: Figure) -> Picture:
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=150)
    return Picture(name, caption, file.getvalue())


def _band(
    history: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if len(history) < 2:
        return None
    ends = [statistics.t_interval(epoch) for epoch in history.T]
    low, high = np.array(ends, dtype=float).T
    return low, high


def _panels(
    table: Table, shown: Sequence[Group], scale: int
) -> dict[str, tuple[list[str], dict[str, list[tuple[int, NDArray[np.float64]]]]]]:
    panels = {}
    for place, setting in enumerate(table.settings):
        with_it = [(group, group.values[place]) for group in shown]
        values = sorted({value for _, value in with_it if value is not None}, key=natural)
        series: dict[str, list[tuple[int, NDArray[np.float64]]]] = {}
        for group, value in with_it:
            if value is not None:
                others = zip(table.settings, group.values, strict=True)
                common = [f"{s.name}={v}" for s, v in others if s is not setting and v is not None]
                points = series.setdefault(" ".join(common), [])
                points.append((values.index(value), scale * group.scores))
        panels[setting.name] = values, {k: sorted(v, key=itemgetter(0)) for k, v in series.items()}
    return panels
