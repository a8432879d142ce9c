"""Figures of many runs: arrays in, matplotlib figures out; knows this package's `Figure` alone.

A group has one colour and one marker in all of them, those of its place among the groups. What a
figure shows is laid out for a width in inches: `WIDE` for a page, `NARROW` for a phone.
"""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from mnist_lab.reports.figures.style import Figure, ink_on, shortened, width_of

WIDE, NARROW = 9.2, 3.4

# Okabe and Ito's, without the yellow that white paper swallows, and five more.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
           "#6A3D9A", "#8C6D31", "#882255", "#7F7F7F", "#A6BE3C")  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TEXT, _SMALL = 10.0, 9.0  # points
_LINE = 0.19  # inches from one line of text to the next
_LABELS = 7  # lines that are told apart at their ends

Ends = tuple[float, float] | None
Points = Sequence[tuple[int, int, ArrayLike]]
"""Of groups: the place of a value, the group's place, its single values."""


def groups(
    names: Sequence[str],
    values: Sequence[ArrayLike],
    intervals: Sequence[Ends],
    label: str,
    title: str = "",
    width: float = WIDE,
) -> Figure:
    """Single values as dots, mean and interval beside them; a row a group, the first on top."""
    above = width < 6  # names stand above their rows
    told = [_wrapped(name, width - 0.3 if above else 0.42 * width) for name in _numbered(names)]
    lines = np.array([name.count("\n") + 1 for name in told])
    heights = (lines + 1.2 if above else np.maximum(lines, 1.3) + 0.3) * _LINE
    figure = Figure(figsize=(width, 0.75 + heights.sum()), layout="constrained")
    axes = figure.add_subplot()
    tops = np.cumsum(heights) - heights
    places = tops + (lines * _LINE + 0.06 if above else heights / 2)
    for index, (place, each, ends) in enumerate(zip(places, values, intervals, strict=True)):
        sample, color = np.asarray(each, dtype=float), color_of(index)
        axes.plot(sample, np.full(len(sample), place), "o", ms=5, alpha=0.45, color=color, mew=0)
        _mean(axes, sample.mean(), place, ends, index, across=True)
    if above:
        for name, top in zip(told, tops, strict=True):
            axes.text(0, top, name, va="top", size=TEXT, transform=axes.get_yaxis_transform())
    axes.set_yticks(places, [""] * len(told) if above else told)
    axes.tick_params(axis="y", length=0)
    axes.set_ylim(heights.sum(), -0.05)
    axes.xaxis.set_major_locator(MaxNLocator(5 if above else 9))
    _plain(axes, "x")
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    figure.suptitle(_wrapped(title, width - 0.2), x=0.01, ha="left", fontsize=TEXT)
    return figure


def settings(
    panels: Mapping[str, tuple[Sequence[str], int, Mapping[str, Points]]],
    names: Sequence[str],
    label: str,
    order: Sequence[int] = (),
    title: str = "",
    width: float = WIDE,
) -> Figure:
    """A panel a setting, in which each group's single values and mean stand above its value.

    Lines join groups that differ in this setting alone, along values that have an order.

    Args:
        panels: by setting: its values; how many of them, the first, are numbers; series of groups
            that differ in this setting alone, by what they have in common.
        order: of the groups in the legend, theirs unless given; in other figures likewise.
    """
    columns = min(len(panels), 3 if width > 6 else 1)
    rows = -(-len(panels) // columns)
    inches = width / columns
    figure = Figure(figsize=(width, 3.3 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (setting, (values, numbers, series)) in zip(grid.flat, panels.items(), strict=False):
        _plain(axes, "y")
        ends: list[tuple[float, str]] = []
        beside = np.linspace(-0.28, 0.28, len(series)) if len(series) > 1 else np.zeros(1)
        for aside, (common, points) in zip(beside, series.items(), strict=True):
            means = []
            for value, group, each in points:
                sample = np.asarray(each, dtype=float)
                place = value if value < numbers else value + aside
                spread = np.linspace(-0.06, 0.06, len(sample)) if len(sample) > 1 else np.zeros(1)
                axes.plot(place + spread, sample, "o", ms=4, alpha=0.4, color=color_of(group),
                          mew=0)  # fmt: skip
                axes.plot([place], [sample.mean()], _marker(group), ms=6, color=color_of(group),
                          mec="white", mew=0.6, zorder=4)  # fmt: skip
                means += [(value, sample.mean())] if value < numbers else []
            if len(means) > 1:
                axes.plot(*zip(*means, strict=True), color="#9AA0A6", lw=1.2, zorder=3)
                ends += [(means[-1][1], common)] if means[-1][0] == numbers - 1 else []
        room = 0.5
        if 1 < len(ends) <= _LABELS and any(common for _, common in ends):
            told = [(mean, _wrapped(common, 0.36 * inches)) for mean, common in ends]
            widest = width_of([text for _, text in told], _SMALL)
            share = (widest + 0.1) / (inches - 0.5)
            room = 0.3 + share * (numbers - 0.2) / (1 - share)
            _beside(axes, told, numbers - 1 + 0.12)
        axes.set_xlim(-0.5, len(values) - 1 + (room if numbers == len(values) else 0.5))
        ticks = [_wrapped(value, 0.8 * inches / len(values)) for value in shortened(values, 24)]
        steep = len(ticks) > 6 or width_of(ticks, TEXT) > 0.8 * inches / len(values)
        axes.set_xticks(range(len(ticks)), shortened(values, 24) if steep else ticks,
                        rotation=40 if steep else 0, rotation_mode="anchor" if steep else None,
                        ha="right" if steep else "center")  # fmt: skip
        axes.set_title(_wrapped(setting, inches - 0.6), fontsize=TEXT)
        axes.tick_params(axis="x", length=0)
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    figure.supylabel(label, fontsize=TEXT)
    _legend(figure, names, order, title)
    return figure


def curves(
    names: Sequence[str],
    histories: Sequence[NDArray[np.float64] | None],
    bands: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]] | None],
    label: str,
    order: Sequence[int] = (),
    title: str = "",
    width: float = WIDE,
) -> Figure:
    """Means by epoch with bands; a group's `(runs, epochs)` as far as all of its runs went.

    The axis counts epochs from 1. NaN marks the epochs that a run didn't reach; of a group
    without a history there is no curve.
    """
    figure = Figure(figsize=(width, 3.8 if width > 6 else 3.0), layout="constrained")
    axes = figure.add_subplot()
    for group, (each, band) in enumerate(zip(histories, bands, strict=True)):
        if each is None:
            continue
        color = color_of(group)
        whole = np.isfinite(each).all(0)
        epochs = np.flatnonzero(whole) + 1
        alone: dict[str, Any] = {"marker": _marker(group), "ms": 4} if len(epochs) == 1 else {}
        axes.plot(epochs, each[:, whole].mean(0), color=color, lw=1.8, **alone)
        if band is not None:
            low, high = (side[whole] for side in band)
            axes.fill_between(
                epochs, low, high, color=color, alpha=0.14 if len(names) < 7 else 0.07, lw=0
            )
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(10 if width > 6 else 5, integer=True))
    _plain(axes, "both")
    shown = [group for group in order or range(len(names)) if histories[group] is not None]
    _legend(figure, names, shown, title, line=True)
    return figure


def costs(
    names: Sequence[str],
    means: Sequence[float],
    intervals: Sequence[Ends],
    seconds: Sequence[float],
    parameters: Sequence[float],
    label: str,
    order: Sequence[int] = (),
    title: str = "",
    width: float = WIDE,
) -> Figure:
    """Mean and interval against seconds of training and against parameters."""
    wide = width > 6
    figure = Figure(figsize=(width, 3.5 if wide else 5.6), layout="constrained")
    panels = figure.subplots(*((1, 2) if wide else (2, 1)), sharey=True)
    for axes, costs, unit in zip(
        panels, (seconds, parameters), ("seconds of training", "parameters"), strict=True
    ):
        for group, (mean, cost, ends) in enumerate(zip(means, costs, intervals, strict=True)):
            _mean(axes, mean, cost, ends, group)
        if min(costs) > 0 and max(costs) > 5 * min(costs):
            axes.set_xscale("log")
            subs = (1, 2, 5) if max(costs) < 20 * min(costs) else (1,)
            axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.margins(x=0.15)
            axes.xaxis.set_major_locator(MaxNLocator(5 if wide else 4))
        plain = FuncFormatter(lambda x, _: f"{x:,.10g}")
        axes.xaxis.set_major_formatter(plain if costs is seconds else EngFormatter(sep=""))
        axes.set_xlabel(unit)
        _plain(axes, "both")
    figure.supylabel(label, fontsize=TEXT)
    _legend(figure, names, order, title)
    return figure


def recalls(
    names: Sequence[str],
    classes: Sequence[str],
    values: ArrayLike,
    title: str = "",
    width: float = WIDE,
) -> Figure:
    """Mean recalls in percent `(groups, classes)`: a column a group under its number, in which
    colour shows what is missed; a row a class. Columns that don't fit stand below the others."""
    missed = 100 - np.asarray(values, dtype=float).T
    shown = shortened(classes, 40 if width > 6 else 14)
    left = width_of(shown, TEXT) + 0.5
    narrowest = width_of(["100.0"], _SMALL) + 0.06
    blocks = -(-len(names) // max(1, int((width - left - 0.1) / narrowest)))
    columns = -(-len(names) // blocks)
    cell = min(0.9, (width - left - 0.1) / columns)
    figure = Figure(figsize=(width, (0.65 + 0.27 * len(shown)) * blocks), layout="constrained")
    for block, axes in enumerate(figure.subplots(blocks, squeeze=False).flat):
        first, last = block * columns, min(len(names), (block + 1) * columns)
        image = axes.imshow(missed[:, first:last], cmap="Oranges", aspect="auto", vmin=0,
                            vmax=np.nanmax(missed, initial=0))  # fmt: skip
        for row, column in np.ndindex(len(shown), last - first):
            cells = missed[row, first + column : first + column + 1]
            there = bool(np.isfinite(cells[0]))
            axes.text(column, row, f"{100 - cells[0]:.1f}" if there else "-", ha="center",
                      va="center", size=_SMALL,
                      color=ink_on(image.to_rgba(cells)[0]) if there else "black")  # fmt: skip
        axes.set_xlim(-0.5, max(columns, (width - left) / cell) - 0.5)
        axes.set_xticks(range(last - first), map(str, range(first + 1, last + 1)), weight="bold")
        axes.set_yticks(range(len(shown)), shown, parse_math=False)
        axes.tick_params(length=0, labeltop=True, labelbottom=False)
        axes.spines[:].set_visible(False)
        axes.set_ylabel("class", size=TEXT)
    _legend(figure, _numbered(names), (), title)
    return figure


def color_of(group: int) -> str:
    """The colour of the group at this place, in all figures of a page."""
    return _COLORS[group % len(_COLORS)]


def _marker(group: int) -> str:
    return _MARKERS[(group + group // len(_COLORS)) % len(_MARKERS)]


def _mean(
    axes: Axes, mean: float, place: float, ends: Ends, group: int, across: bool = False
) -> None:
    """A mean with its interval, upright at x = place or lying at y = place."""
    error = None if ends is None else [[mean - ends[0]], [ends[1] - mean]]
    x, y = (mean, place) if across else (place, mean)
    bars: dict[str, Any] = {"xerr" if across else "yerr": error}
    axes.errorbar(x, y, fmt=_marker(group), ms=7, color=color_of(group), mec="white", mew=0.8,
                  capsize=3, lw=1.4, **bars)  # fmt: skip


def _plain(axes: Axes, grid: Literal["x", "y", "both"]) -> None:
    axes.grid(axis=grid, alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def _beside(axes: Axes, told: Sequence[tuple[float, str]], x: float) -> None:
    """Texts at these heights or, where they would overlap, as near to them as there is room."""
    low, high = axes.get_ylim()
    line = (high - low) * _LINE / 2.4  # inches of a panel, about
    heights = np.array([line * (text.count("\n") + 1.1) for _, text in told])
    order = np.argsort([mean for mean, _ in told])
    places = np.clip([told[index][0] for index in order], low + line, high - line)
    needed = heights[order]
    gaps = (needed[1:] + needed[:-1]) / 2
    for _ in range(100):  # neighbours that overlap give way to both sides
        over = np.maximum(0, gaps - np.diff(places))
        if not over.any():
            break
        places[1:] += over / 2
        places[:-1] -= over / 2
    for index, place in zip(order, places, strict=True):
        axes.text(x, place, told[index][1], va="center", size=_SMALL, color="#3C4043")


def _legend(
    figure: Figure,
    names: Sequence[str],
    order: Sequence[int],
    title: str,
    line: bool = False,
) -> None:
    """The groups' names below all panels, for which the figure grows."""
    width, height = figure.get_size_inches()
    handle = 0.35
    widest = min(width_of(names, TEXT), width - 0.2 - handle)
    columns = min(len(names), max(1, int((width - 0.1) / (widest + handle + 0.3))))
    chosen = order or range(len(names))
    told = [_wrapped(names[group], width - 0.2 - handle) for group in chosen]
    rows = -(-len(told) // columns)
    by_row = [max(text.count("\n") + 1 for text in told[row::rows]) for row in range(rows)]
    heading = _wrapped(title, width - 0.2)
    lines = sum(by_row) + (heading.count("\n") + 1.2 if title else 0)
    figure.set_size_inches(width, height + _LINE * 1.08 * lines + 0.2)
    style: dict[str, Any] = {"ls": "-", "lw": 1.8} if line else {"ls": "none", "ms": 7}
    handles = [
        Line2D([], [], color=color_of(group), marker=None if line else _marker(group), **style)
        for group in chosen
    ]
    figure.legend(
        handles,
        told,
        loc="outside lower left",
        ncols=columns,
        frameon=False,
        fontsize=TEXT,
        title=heading or None,
        title_fontsize=TEXT,
        alignment="left",
        handlelength=1.2,
        handletextpad=0.6,
        labelspacing=0.3,
        columnspacing=1.5,
    )


def _numbered(names: Sequence[str]) -> list[str]:
    return [f"{number}. {name}" for number, name in enumerate(names, 1)]


def _wrapped(name: str, inches: float) -> str:
    """In lines of that width; a dollar is no formula."""
    share = min(1.0, inches / max(0.01, width_of([name], TEXT)))
    lines = textwrap.wrap(name, max(8, int(len(name) * share)), break_on_hyphens=False)
    return "\n".join(lines).replace("$", r"\$")
