"""The figures of a table of runs, drawn."""

import io
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure

from mnist_lab.comparison import panels
from mnist_lab.comparison.answers import is_fraction
from mnist_lab.comparison.groups import Table
from mnist_lab.comparison.histories import Curve
from mnist_lab.comparison.marks import Shown
from mnist_lab.comparison.panels import Panel
from mnist_lab.comparison.varied import Values, natural
from mnist_lab.metrics.significance import t_interval

DPI = 150
_SEPARATOR = " \u00b7 "


class Picture(NamedTuple):
    """A figure as PNG, by the name of its file; once more for a narrow screen."""

    name: str
    caption: str
    png: bytes
    narrow: bytes


def draw(table: Table, curves: Sequence[Curve | None]) -> list[Picture]:
    """The figures of a table's first groups, with these curves of theirs."""
    pictures = []
    for name, caption, drawn in drawings(table, curves):
        contents = []
        for width in (panels.WIDE, panels.NARROW):
            file = io.BytesIO()
            drawn(width=width).savefig(file, format="png", dpi=DPI)
            contents.append(file.getvalue())
        pictures.append(Picture(name, caption, *contents))
    return pictures


def drawings(
    table: Table, curves: Sequence[Curve | None]
) -> Iterator[tuple[str, str, Callable[..., Figure]]]:
    """Name and caption of each figure, and what draws it for a width in inches."""
    groups = shown(table)
    counted = f"{table.groups[0].counted}s"
    runs = "runs" if counted == "seeds" else counted
    yield (
        "groups",
        f"{groups.label}: single {runs}, mean, 95 % interval over {counted}",
        partial(panels.groups, groups),
    )
    if len(table.settings) > 1:
        yield (
            "settings",
            f"by setting: single {runs} and means; lines join groups that differ in this number "
            "alone",
            partial(panels.settings, groups, _panels(table)),
        )
    if any(curve is not None for curve in curves):
        metric = f"{'validation' if table.ranked else 'training'} {table.quantity}"
        scale, unit = _unit(table)
        scaled = [None if curve is None else scale * curve.values for curve in curves]
        bands = [None if curve is None or curve.band is None else scale * curve.band
                 for curve in curves]  # fmt: skip
        yield (
            "curves",
            f"{metric} by epoch: mean and 95 % interval over {counted}",
            partial(panels.curves, groups, scaled, bands, metric + unit),
        )
    seconds = [float(np.mean([run.seconds for run in group.runs])) for group in table.shown]
    parameters = [group.runs[0].parameters for group in table.shown]
    yield (
        "costs",
        f"{groups.label} against time and size",
        partial(panels.costs, groups, seconds, parameters),
    )
    if table.split == "test":
        recalls = [100 * np.mean([run.recalls for run in group.runs], axis=0)
                   for group in table.shown]  # fmt: skip
        yield (
            "recalls",
            "mean recall of each class (%)",
            partial(panels.recalls, groups, table.groups[0].runs[0].classes, recalls),
        )


def _unit(table: Table) -> tuple[int, str]:
    return (100, " (%)") if is_fraction(table.quantity) else (1, "")


def shown(table: Table) -> Shown:
    """A table's first groups as figures show them: by their values alone, unless two are alike."""
    names = [_SEPARATOR.join(value or "-" for value in group.values) for group in table.shown]
    title = _SEPARATOR.join(setting.name for setting in table.settings)
    if not table.settings or len(set(names)) < len(names):
        names, title = [group.name for group in table.shown], ""
    scale, unit = _unit(table)
    values = [scale * group.scores for group in table.shown]
    return Shown(
        names,
        values,
        intervals=[
            t_interval(each, group.folds) for each, group in zip(values, table.shown, strict=True)
        ],
        label=f"{'test' if table.split == 'test' else 'validation'} {table.quantity}{unit}",
        title=title,
        # In legends groups stand by their values, not by rank.
        order=sorted(range(len(names)), key=lambda i: [*map(natural, table.shown[i].values)]),
    )


def _panels(table: Table) -> dict[str, Panel]:
    """A panel a setting; values without an order stand by their letters, after numbers."""
    panels = {}
    for place, setting in enumerate(table.settings):
        present = {group.values[place] for group in table.shown}
        values = sorted((value for value in present if value is not None), key=natural)
        series: dict[Values, list[tuple[int, int]]] = defaultdict(list)
        for index, group in enumerate(table.shown):
            value = group.values[place]
            if value is not None:
                common = group.values[:place] + group.values[place + 1 :]
                series[common].append((values.index(value), index))
        others = [other.name for other in table.settings if other is not setting]
        prefix = f"{others[0]}=" if len(others) == 1 else ""
        panels[setting.name] = Panel(
            values,
            sum(not natural(value)[0] for value in values),
            {prefix + _SEPARATOR.join(value or "-" for value in common): sorted(series[common])
             for common in sorted(series, key=lambda values: [*map(natural, values)])},
        )  # fmt: skip
    return panels
