"""Figures of many runs: arrays in, matplotlib figures out; knows this package's `Figure` alone.

A group has one colour and one marker in all of them, those of its place among the groups. What a
figure shows is laid out for a width in inches: `WIDE` for a page, `NARROW` for a phone.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from mnist_lab.comparison import marks
from mnist_lab.comparison.marks import Shown
from mnist_lab.reports.figures.style import Figure, ink_on, shortened, width_of

WIDE, NARROW = 9.2, 3.4

_LABELS = 7  # lines that are told apart at their ends


class Panel(NamedTuple):
    """How the values of one setting do.

    Attributes:
        values: as they are shown, in the order in which they stand side by side.
        numbers: how many of them, the first, are numbers.
        series: groups that differ in this setting alone, by what they have in common; of each
            group the place of its value among `values`, and its own among the groups.
    """

    values: Sequence[str]
    numbers: int
    series: Mapping[str, Sequence[tuple[int, int]]]


def groups(shown: Shown, width: float = WIDE) -> Figure:
    """Single values as dots, mean and interval beside them; a row a group, the first on top."""
    above = width < 6  # names stand above their rows
    room = width - 0.3 if above else 0.42 * width
    names = [marks.wrapped(name, room) for name in marks.numbered(shown.names)]
    lines = np.array([name.count("\n") + 1 for name in names])
    heights = (lines + 1.2 if above else np.maximum(lines, 1.3) + 0.3) * marks.LINE
    figure = Figure(figsize=(width, 0.75 + heights.sum()), layout="constrained")
    axes = figure.add_subplot()
    tops = np.cumsum(heights) - heights
    places = tops + (lines * marks.LINE + 0.06 if above else heights / 2)
    for group, (place, values) in enumerate(zip(places, shown.values, strict=True)):
        runs = np.asarray(values, dtype=float)
        axes.plot(runs, np.full(len(runs), place), "o", ms=5, alpha=0.45,
                  color=marks.color_of(group), mew=0)  # fmt: skip
        marks.mean(axes, shown, group, place, across=True)
    if above:
        for name, top in zip(names, tops, strict=True):
            axes.text(0, top, name, va="top", size=marks.TEXT, transform=axes.get_yaxis_transform())
    axes.set_yticks(places, [""] * len(names) if above else names)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(heights.sum(), -0.05)
    axes.xaxis.set_major_locator(MaxNLocator(5 if above else 9))
    marks.plain(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(shown.label)
    figure.suptitle(marks.wrapped(shown.title, width - 0.2), x=0.01, ha="left", fontsize=marks.TEXT)
    return figure


def settings(shown: Shown, panels: Mapping[str, Panel], width: float = WIDE) -> Figure:
    """A panel a setting, in which each group's single values and mean stand above its value.

    Lines join groups that differ in this setting alone, along values that have an order.
    """
    columns = min(len(panels), 3 if width > 6 else 1)
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(width, 3.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (setting, panel) in zip(grid.flat, panels.items(), strict=False):
        _panel(axes, shown, panel, width / columns)
        axes.set_title(marks.wrapped(setting, width / columns - 0.6), fontsize=marks.TEXT)
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    figure.supylabel(shown.label, fontsize=marks.TEXT)
    marks.legend(figure, shown)
    return figure


def _panel(axes: Axes, shown: Shown, panel: Panel, inches: float) -> None:
    marks.plain(axes, "y")
    values, numbers, series = panel
    ends: list[tuple[float, str]] = []
    beside = np.linspace(-0.28, 0.28, len(series)) if len(series) > 1 else np.zeros(1)
    for aside, (common, points) in zip(beside, series.items(), strict=True):
        means = []
        for value, group in points:
            runs = np.asarray(shown.values[group], dtype=float)
            place = value if value < numbers else value + aside
            spread = np.linspace(-0.06, 0.06, len(runs)) if len(runs) > 1 else np.zeros(1)
            color = marks.color_of(group)
            axes.plot(place + spread, runs, "o", ms=4, alpha=0.4, color=color, mew=0)
            axes.plot([place], [runs.mean()], marks.marker_of(group), ms=6, color=color,
                      mec="white", mew=0.6, zorder=4)  # fmt: skip
            means += [(value, runs.mean())] if value < numbers else []
        if len(means) > 1:
            axes.plot(*zip(*means, strict=True), color="#9AA0A6", lw=1.2, zorder=3)
            ends += [(means[-1][1], common)] if means[-1][0] == numbers - 1 else []
    beyond = 0.5
    if 1 < len(ends) <= _LABELS and any(common for _, common in ends):
        names = [(mean, marks.wrapped(common, 0.36 * inches)) for mean, common in ends]
        share = (width_of([name for _, name in names], marks.SMALL) + 0.1) / (inches - 0.5)
        beyond = 0.3 + share * (numbers - 0.2) / (1 - share)
        marks.beside(axes, names, numbers - 1 + 0.12)
    axes.set_xlim(-0.5, len(values) - 1 + (beyond if numbers == len(values) else 0.5))
    short, room = shortened(values, 24), 0.8 * inches / len(values)
    ticks = [marks.wrapped(value, room) for value in short]
    if len(ticks) <= 6 and width_of(ticks, marks.TEXT) <= room:
        axes.set_xticks(range(len(ticks)), ticks)
    elif room > 1.4 * marks.LINE:
        axes.set_xticks(range(len(short)), short, rotation=40, rotation_mode="anchor", ha="right")
    else:  # at a slant, lines of text would touch
        axes.set_xticks(range(len(short)), short, rotation=90)
    axes.tick_params(axis="x", length=0)


def curves(
    shown: Shown,
    histories: Sequence[NDArray[np.float64] | None],
    bands: Sequence[NDArray[np.float64] | None],
    label: str,
    width: float = WIDE,
) -> Figure:
    """Means by epoch with bands; a group's `(runs, epochs)` as far as all of its runs went.

    The axis counts epochs from 1. NaN marks the epochs that a run didn't reach; of a group
    without a history there is no curve.

    Args:
        bands: of each group lower and upper ends, `(2, epochs)`.
    """
    figure = Figure(figsize=(width, 3.8 if width > 6 else 3.0), layout="constrained")
    axes = figure.add_subplot()
    for group, (history, band) in enumerate(zip(histories, bands, strict=True)):
        if history is None:
            continue
        color = marks.color_of(group)
        whole = np.isfinite(history).all(0)
        epochs = np.flatnonzero(whole) + 1
        alone: dict[str, Any] = (
            {"marker": marks.marker_of(group), "ms": 4} if len(epochs) == 1 else {}
        )
        axes.plot(epochs, history[:, whole].mean(0), color=color, lw=1.8, **alone)
        if band is not None:
            alpha = 0.14 if len(shown.names) < 7 else 0.07
            axes.fill_between(epochs, *(end[whole] for end in band), color=color, alpha=alpha, lw=0)
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(10 if width > 6 else 5, integer=True))
    marks.plain(axes, "both")
    marks.legend(figure, shown, [history is not None for history in histories], line=True)
    return figure


def costs(
    shown: Shown, seconds: Sequence[float], parameters: Sequence[float], width: float = WIDE
) -> Figure:
    """Mean and interval against seconds of training and against parameters."""
    wide = width > 6
    figure = Figure(figsize=(width, 3.5 if wide else 5.6), layout="constrained")
    panels = figure.subplots(*((1, 2) if wide else (2, 1)), sharey=True)
    plain = FuncFormatter(lambda x, _: f"{x:,.10g}")
    for axes, costs, unit, formatter in (
        (panels[0], seconds, "seconds of training", plain),
        (panels[1], parameters, "parameters", EngFormatter(sep="")),
    ):
        for group, cost in enumerate(costs):
            marks.mean(axes, shown, group, cost)
        if min(costs) > 0 and max(costs) > 5 * min(costs):
            axes.set_xscale("log")
            subs = (1, 2, 5) if max(costs) < 20 * min(costs) else (1,)
            axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.margins(x=0.15)
            axes.xaxis.set_major_locator(MaxNLocator(5 if wide else 4))
        axes.xaxis.set_major_formatter(formatter)
        axes.set_xlabel(unit)
        marks.plain(axes, "both")
    figure.supylabel(shown.label, fontsize=marks.TEXT)
    marks.legend(figure, shown)
    return figure


def recalls(shown: Shown, classes: Sequence[str], values: ArrayLike, width: float = WIDE) -> Figure:
    """Mean recalls in percent `(groups, classes)`: a column a group under its number, in which
    colour shows what is missed; a row a class. Columns that don't fit stand below the others."""
    missed = 100 - np.asarray(values, dtype=float).T
    rows = shortened(classes, 40 if width > 6 else 14)
    left = width_of(rows, marks.TEXT) + 0.5
    narrowest = width_of(["100.0"], marks.SMALL) + 0.06
    blocks = -(-len(shown.names) // max(1, int((width - left - 0.1) / narrowest)))
    columns = -(-len(shown.names) // blocks)
    cell = min(0.9, (width - left - 0.1) / columns)
    figure = Figure(figsize=(width, (0.65 + 0.27 * len(rows)) * blocks), layout="constrained")
    for block, axes in enumerate(figure.subplots(blocks, squeeze=False).flat):
        first, last = block * columns, min(len(shown.names), (block + 1) * columns)
        image = axes.imshow(missed[:, first:last], cmap="Oranges", aspect="auto", vmin=0,
                            vmax=np.nanmax(missed, initial=0))  # fmt: skip
        for row, column in np.ndindex(len(rows), last - first):
            cells = missed[row, first + column : first + column + 1]
            there = bool(np.isfinite(cells[0]))
            axes.text(column, row, f"{100 - cells[0]:.1f}" if there else "-", ha="center",
                      va="center", size=marks.SMALL,
                      color=ink_on(image.to_rgba(cells)[0]) if there else "black")  # fmt: skip
        axes.set_xlim(-0.5, max(columns, (width - left) / cell) - 0.5)
        axes.set_xticks(range(last - first), map(str, range(first + 1, last + 1)), weight="bold")
        axes.set_yticks(range(len(rows)), rows, parse_math=False)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.set_ylabel("class", size=marks.TEXT)
    marks.legend(figure, replace(shown, names=marks.numbered(shown.names), order=()))
    return figure
