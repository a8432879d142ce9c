"""The figures of a table of runs, drawn."""

import csv
import io
import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from operator import itemgetter
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from mnist_lab.comparison import answers, panels
from mnist_lab.comparison.columns import Group, Table, natural
from mnist_lab.metrics import significance

MAX_HISTORY_BYTES = 1 << 26
DPI = 150
_SEPARATOR = " \u00b7 "


class Picture(NamedTuple):
    """A figure as PNG, by the name of its file; once more for a narrow screen."""

    name: str
    caption: str
    png: bytes
    narrow: bytes


def draw(table: Table, shown: Sequence[Group]) -> tuple[list[Picture], list[str]]:
    """The figures of a table's first groups; which runs' curves are missing, and why."""
    histories, missing = _histories(table, shown)
    return [_picture(*each) for each in drawings(table, shown, histories)], missing


def _histories(
    table: Table, groups: Sequence[Group]
) -> tuple[list[NDArray[np.float64] | None], list[str]]:
    """Each group's metric by epoch `(runs, epochs)`, NaN beyond a run's end; what is missing."""
    found: list[NDArray[np.float64] | None] = []
    missing = []
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
        cells = np.full((len(rows), max(map(len, rows), default=0)), math.nan)
        for index, row in enumerate(rows):
            cells[index, : len(row)] = row
        found.append(cells if rows else None)
    return found, missing


def drawings(
    table: Table, shown: Sequence[Group], histories: Sequence[NDArray[np.float64] | None]
) -> Iterator[tuple[str, str, Callable[..., Figure]]]:
    """Name and caption of each figure, and what draws it for a width in inches."""
    percent = answers.is_fraction(table.quantity)
    scale, unit = (100, " (%)") if percent else (1, "")
    split = "test" if table.split == "test" else "validation"
    label = f"{split} {table.quantity}{unit}"
    names, title = _labels(table, shown)
    # In legends groups stand by their values, not by rank.
    order = sorted(range(len(shown)), key=lambda i: [*map(natural, shown[i].values)])
    values = [scale * group.scores for group in shown]
    ends = [significance.t_interval(each) for each in values]
    yield (
        "groups",
        f"{label}: single runs, mean, 95 % interval over seeds",
        partial(panels.groups, names, values, ends, label, title),
    )
    if len(table.settings) > 1:
        yield (
            "settings",
            "by setting: single runs and means; lines join groups that differ in this number alone",
            partial(panels.settings, _panels(table, shown, scale), names, label, order, title),
        )
    scaled = [None if each is None else scale * each for each in histories]
    if any(each is not None for each in scaled):
        split = "validation" if table.ranked else "training"
        yield (
            "curves",
            f"{split} {table.quantity} by epoch: mean and 95 % interval over seeds",
            partial(
                panels.curves,
                names,
                scaled,
                [None if each is None else _band(each) for each in scaled],
                f"{split} {table.quantity}{unit}",
                order,
                title,
            ),
        )
    yield (
        "costs",
        f"{label} against time and size",
        partial(
            panels.costs,
            names,
            [float(each.mean()) for each in values],
            ends,
            [float(np.mean([run.seconds for run in group.runs])) for group in shown],
            [group.runs[0].parameters for group in shown],
            label,
            order,
            title,
        ),
    )
    if table.split == "test":
        yield (
            "recalls",
            "mean recall of each class (%)",
            partial(
                panels.recalls,
                names,
                shown[0].runs[0].classes,
                [100 * np.mean([run.recalls for run in group.runs], axis=0) for group in shown],
                title,
            ),
        )


def _labels(table: Table, shown: Sequence[Group]) -> tuple[list[str], str]:
    """The groups by their values alone, and above them, once, what these are values of."""
    labels = [_SEPARATOR.join(value or "-" for value in group.values) for group in shown]
    if not table.settings or len(set(labels)) < len(labels):
        return [group.name for group in shown], ""
    return labels, _SEPARATOR.join(setting.name for setting in table.settings)


def _picture(name: str, caption: str, drawn: Callable[..., Figure]) -> Picture:
    contents = []
    for width in (panels.WIDE, panels.NARROW):
        file = io.BytesIO()
        drawn(width=width).savefig(file, format="png", dpi=DPI)
        contents.append(file.getvalue())
    return Picture(name, caption, *contents)


def _band(
    history: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    if len(history) < 2:
        return None
    ends = [significance.t_interval(epoch) for epoch in history.T]
    low, high = np.array(ends, dtype=float).T
    return low, high


def _panels(
    table: Table, shown: Sequence[Group], scale: int
) -> dict[str, tuple[list[str], int, dict[str, list[tuple[int, int, NDArray[np.float64]]]]]]:
    panels = {}
    for place, setting in enumerate(table.settings):
        found = {group.values[place] for group in shown} - {None}
        values = sorted((value for value in found if value is not None), key=natural)
        numbers = sum(not natural(value)[0] for value in values)
        series: dict[tuple[str | None, ...], list[tuple[int, int, NDArray[np.float64]]]] = {}
        common: dict[tuple[str | None, ...], str] = {}
        others = [each.name for each in table.settings if each is not setting]
        for index, group in enumerate(shown):
            value = group.values[place]
            if value is not None:
                key = group.values[:place] + group.values[place + 1 :]
                parts = [each or "-" for each in key]
                parts = [f"{others[0]}={parts[0]}"] if len(others) == 1 else parts
                common[key] = _SEPARATOR.join(parts)
                points = series.setdefault(key, [])
                points.append((values.index(value), index, scale * group.scores))
        told = {
            common[key]: sorted(series[key], key=itemgetter(0))
            for key in sorted(series, key=lambda each: [*map(natural, each)])
        }
        panels[setting.name] = values, numbers, told
    return panels
