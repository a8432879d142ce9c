"""Figures of many runs: arrays in, matplotlib figures out; knows this package's `Figure` alone."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import EngFormatter, FuncFormatter, LogLocator, MaxNLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from mnist_lab.figures.style import Figure

# Okabe and Ito's, without the yellow that white paper swallows.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_STYLES = ("-", "--", ":", "-.")
_WIDTH = 7.5
_LINE = 34  # characters of a name in a line; three lines at most

Ends = tuple[float, float] | None


def groups(
    names: Sequence[str], values: Sequence[ArrayLike], intervals: Sequence[Ends], label: str
) -> Figure:
    """Single values as dots, mean and interval beside them; a row a group, the first on top."""
    told = [_wrapped(name) for name in names]
    heights = np.array([0.28 + 0.17 * name.count("\n") for name in told]) + 0.14
    figure = Figure(figsize=(_WIDTH, 1.0 + heights.sum()), layout="constrained")
    axes = figure.add_subplot()
    places = np.cumsum(heights) - heights / 2
    for index, (place, each, ends) in enumerate(zip(places, values, intervals, strict=True)):
        sample, color = np.asarray(each, dtype=float), _color(index)
        axes.plot(sample, np.full(len(sample), place), "o", ms=5, alpha=0.45, color=color, mew=0)
        _mean(axes, sample.mean(), place, ends, color, across=True)
    axes.set_yticks(places, told)
    axes.set_ylim(heights.sum(), 0)
    axes.set_xlabel(label)
    axes.grid(axis="x", alpha=0.3)
    return figure


def settings(
    panels: Mapping[str, tuple[Sequence[str], Mapping[str, Sequence[tuple[int, ArrayLike]]]]],
    label: str,
) -> Figure:
    """A panel a setting: single values above each value of it, and lines through their means.

    Args:
        panels: by setting, its values, and series of (place of the value, single values): groups
            that differ in this setting alone, by what they have in common.
    """
    columns = min(3, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(_WIDTH, 0.4 + 3.4 * rows), layout="constrained")
    grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
    for axes, (name, (values, series)) in zip(grid.flat, panels.items(), strict=False):
        told = len(series) <= len(_COLORS)
        for index, (common, points) in enumerate(series.items()):
            color = _color(index) if told else _color(0)
            for place, each in points:
                sample = np.asarray(each, dtype=float)
                spread = np.linspace(-0.1, 0.1, len(sample)) if len(sample) > 1 else np.zeros(1)
                axes.plot(place + spread, sample, "o", ms=4, alpha=0.4, color=color, mew=0)
            means = [(place, np.asarray(each, dtype=float).mean()) for place, each in points]
            axes.plot(*zip(*means, strict=True), color=color if told else "grey", lw=1.5,
                      alpha=1 if told else 0.5, marker="D", ms=4, zorder=3,
                      label=_wrapped(common, 60 // columns))  # fmt: skip
        ticks = [_wrapped(value, 18) for value in values]
        steep = len(ticks) > 6 or max(map(len, ticks)) * len(ticks) > 100 / columns
        axes.set_xticks(range(len(ticks)), ticks, rotation=40 if steep else 0,
                        ha="right" if steep else "center")  # fmt: skip
        axes.set_xlim(-0.5, len(ticks) - 0.5)
        axes.set_title(_wrapped(name, 60 // columns), fontsize=10)
        axes.grid(axis="y", alpha=0.3)
        if told and len(series) > 1:
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3 if steep else -0.1),
                        ncols=1, fontsize=8, frameon=False)  # fmt: skip
    for axes in list(grid.flat)[len(panels) :]:
        axes.remove()
    figure.supylabel(label, fontsize=10)
    return figure


def curves(
    names: Sequence[str],
    histories: Sequence[NDArray[np.float64]],
    bands: Sequence[tuple[NDArray[np.float64], NDArray[np.float64]] | None],
    label: str,
) -> Figure:
    """Means by epoch with bands; a group's `(runs, epochs)` as far as all of its runs went.

    The axis counts epochs from 1. NaN marks the epochs that a run didn't reach.
    """
    figure, (axes,) = _with_legend(names, 4.6, 1)
    for index, (each, band) in enumerate(zip(histories, bands, strict=True)):
        color, style = _color(index), _STYLES[index // len(_COLORS) % len(_STYLES)]
        whole = np.isfinite(each).all(0)
        epochs = np.flatnonzero(whole) + 1
        means = each[:, whole].mean(0)
        alone: dict[str, Any] = {"marker": _marker(index), "ms": 4} if len(epochs) == 1 else {}
        axes.plot(epochs, means, color=color, ls=style, lw=1.8, **alone)
        if band is not None:
            low, high = (side[whole] for side in band)
            axes.fill_between(
                epochs, low, high, color=color, alpha=0.14 if len(names) < 7 else 0.07, lw=0
            )
    axes.set(xlabel="epoch", ylabel=label)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    handles = [
        axes.plot([], [], color=_color(i), ls=_STYLES[i // len(_COLORS) % len(_STYLES)])[0]
        for i in range(len(names))
    ]
    _legend(figure, handles, names)
    return figure


def costs(
    names: Sequence[str],
    means: Sequence[float],
    intervals: Sequence[Ends],
    seconds: Sequence[float],
    parameters: Sequence[float],
    label: str,
) -> Figure:
    """Mean and interval against seconds of training and against parameters."""
    figure, panels = _with_legend(names, 4.0, 2)
    for axes, costs, unit in zip(
        panels, (seconds, parameters), ("seconds of training", "parameters"), strict=True
    ):
        handles = [
            _mean(axes, mean, cost, ends, _color(index), _marker(index))
            for index, (mean, cost, ends) in enumerate(zip(means, costs, intervals, strict=True))
        ]
        if min(costs) > 0 and max(costs) > 5 * min(costs):
            axes.set_xscale("log")
            subs = (1, 2, 5) if max(costs) < 20 * min(costs) else (1,)
            axes.xaxis.set_major_locator(LogLocator(subs=subs, numticks=5))
            axes.xaxis.set_minor_formatter(NullFormatter())
        else:
            axes.margins(x=0.15)
            axes.xaxis.set_major_locator(MaxNLocator(5))
        plain = FuncFormatter(lambda x, _: f"{x:,.10g}")
        axes.xaxis.set_major_formatter(plain if costs is seconds else EngFormatter(sep=""))
        axes.set_xlabel(unit)
    panels[0].set_ylabel(label)
    _legend(figure, handles, names)
    return figure


def recalls(names: Sequence[str], classes: Sequence[str], values: ArrayLike) -> Figure:
    """Mean recalls in percent `(groups, classes)`, as a table whose colour shows what is missed."""
    matrix = np.asarray(values, dtype=float)
    told = [_wrapped(name) for name in names]
    height = 1.1 + sum(0.32 + 0.17 * name.count("\n") for name in told)
    shown = [_wrapped(name, 12) for name in classes]
    figure = Figure(figsize=(max(_WIDTH, 3 + 0.62 * len(classes)), height), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(100 - matrix, cmap="Oranges", vmin=0, aspect="auto")
    top = max(1e-9, float((100 - matrix).max()))
    for row, column in np.ndindex(*matrix.shape):
        dark = 100 - matrix[row, column] > 0.6 * top
        axes.text(column, row, f"{matrix[row, column]:.1f}", ha="center", va="center", fontsize=8,
                  color="white" if dark else "black")  # fmt: skip
    long = max(map(len, shown)) > 5
    axes.set_xticks(range(len(shown)), shown, rotation=40 if long else 0,
                    ha="right" if long else "center")  # fmt: skip
    axes.set_yticks(range(len(told)), told)
    axes.set_xlabel("class (recall in %)")
    return figure


def _mean(
    axes: Axes,
    mean: float,
    place: float,
    ends: Ends,
    color: str,
    marker: str = "D",
    across: bool = False,
) -> Any:
    """A mean with its interval, upright at x = place or lying at y = place."""
    error = None if ends is None else [[mean - ends[0]], [ends[1] - mean]]
    x, y = (mean, place) if across else (place, mean)
    bars: dict[str, Any] = {"xerr" if across else "yerr": error}
    return axes.errorbar(x, y, fmt=marker, ms=7, color=color, mec="white", mew=0.8, capsize=3,
                         lw=1.4, **bars)  # fmt: skip


def _with_legend(names: Sequence[str], height: float, panels: int) -> tuple[Figure, list[Axes]]:
    """A figure with room for the names below its panels, which share their y axis."""
    lines = max(_wrapped(name).count("\n") + 1 for name in names)
    room = 0.19 * lines * -(-len(names) // _legend_columns(names)) + 0.3
    figure = Figure(figsize=(_WIDTH, height + room), layout="constrained")
    grid = figure.subplots(1, panels, sharey=True, squeeze=False)
    for axes in grid.flat:
        axes.grid(alpha=0.3)
    return figure, list(grid.flat)


def _legend_columns(names: Sequence[str]) -> int:
    return 4 if max(map(len, names)) < 14 else 3 if max(map(len, names)) < 22 else 2


def _legend(figure: Figure, handles: Sequence[Any], names: Sequence[str]) -> None:
    figure.legend(
        handles,
        [_wrapped(name) for name in names],
        loc="outside lower center",
        ncols=min(len(names), _legend_columns(names)),
        frameon=False,
        fontsize=9,
    )


def _color(index: int) -> str:
    return _COLORS[index % len(_COLORS)]


def _marker(index: int) -> str:
    return _MARKERS[(index + index // len(_COLORS)) % len(_MARKERS)]


def _wrapped(name: str, line: int = _LINE) -> str:
    """In three lines at most; a dollar is no formula."""
    told = textwrap.wrap(name, line, max_lines=3, placeholder=" …", break_on_hyphens=False)
    return "\n".join(told or [""]).replace("$", r"\$")
