"""What all figures of groups share: a group's colour, marker and name, and the legend of them."""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from numpy.typing import ArrayLike

from mnist_lab.reports.figures.style import Figure, width_of

# Okabe and Ito's, without the yellow that white paper swallows, and five more.
_COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000",
           "#6A3D9A", "#8C6D31", "#882255", "#7F7F7F", "#A6BE3C")  # fmt: skip
_MARKERS = ("o", "s", "^", "D", "v", "P", "X")
TEXT, SMALL = 10.0, 9.0  # points
LINE = 0.19  # inches from one line of text to the next

Ends = tuple[float, float] | None


@dataclass(frozen=True)
class Shown:
    """The groups of a figure.

    Attributes:
        values: of each group's runs, what `label` says.
        intervals: of their means, where there are any.
        title: of the legend: what the names are values of.
        order: of the groups in a legend, theirs unless given.
    """

    names: Sequence[str]
    values: Sequence[ArrayLike]
    intervals: Sequence[Ends]
    label: str
    title: str = ""
    order: Sequence[int] = ()


def color_of(group: int) -> str:
    """The colour of the group at this place, in all figures of a page."""
    return _COLORS[group % len(_COLORS)]


def marker_of(group: int) -> str:
    """Its marker, which tells apart what has the same colour."""
    return _MARKERS[(group + group // len(_COLORS)) % len(_MARKERS)]


def mean(axes: Axes, shown: Shown, group: int, place: float, across: bool = False) -> None:
    """Draw a mean with its interval, upright at x = place or lying at y = place."""
    mean, ends = float(np.asarray(shown.values[group]).mean()), shown.intervals[group]
    error = None if ends is None else [[mean - ends[0]], [ends[1] - mean]]
    x, y = (mean, place) if across else (place, mean)
    bars: dict[str, Any] = {"xerr" if across else "yerr": error}
    axes.errorbar(x, y, fmt=marker_of(group), ms=7, color=color_of(group), mec="white", mew=0.8,
                  capsize=3, lw=1.4, **bars)  # fmt: skip


def plain(axes: Axes, grid: Literal["x", "y", "both"]) -> None:
    """Leave faint lines behind what is drawn, and no frame above it and on its right."""
    axes.grid(axis=grid, alpha=0.3)
    axes.set_axisbelow(True)
    axes.spines[["top", "right"]].set_visible(False)


def beside(axes: Axes, names: Sequence[tuple[float, str]], x: float) -> None:
    """Write names at these heights or, where they would overlap, as near as there is room."""
    low, high = axes.get_ylim()
    line = (high - low) * LINE / 2.4  # inches of a panel, about
    names = sorted(names)
    heights = np.array([line * (name.count("\n") + 1.1) for _, name in names])
    places = np.clip([mean for mean, _ in names], low + line, high - line)
    gaps = (heights[1:] + heights[:-1]) / 2
    for _ in range(100):  # neighbours that overlap give way to both sides
        over = np.maximum(0, gaps - np.diff(places))
        if not over.any():
            break
        places[1:] += over / 2
        places[:-1] -= over / 2
    for place, (_, name) in zip(places, names, strict=True):
        axes.text(x, place, name, va="center", size=SMALL, color="#3C4043")


def legend(
    figure: Figure, shown: Shown, drawn: Sequence[bool] | None = None, line: bool = False
) -> None:
    """Write the names of the groups that are drawn below all panels, for which the figure grows."""
    width, height = figure.get_size_inches()
    handle = 0.35
    order = shown.order or range(len(shown.names))
    groups = [group for group in order if drawn is None or drawn[group]]
    widest = min(width_of(shown.names, TEXT), width - 0.2 - handle)
    columns = min(len(shown.names), max(1, int((width - 0.1) / (widest + handle + 0.3))))
    names = [wrapped(shown.names[group], width - 0.2 - handle) for group in groups]
    rows = -(-len(names) // columns)
    by_row = [max(name.count("\n") + 1 for name in names[row::rows]) for row in range(rows)]
    heading = wrapped(shown.title, width - 0.2)
    lines = sum(by_row) + (heading.count("\n") + 1.2 if heading else 0)
    figure.set_size_inches(width, height + LINE * 1.08 * lines + 0.2)
    style: dict[str, Any] = {"ls": "-", "lw": 1.8} if line else {"ls": "none", "ms": 7}
    handles = [
        Line2D([], [], color=color_of(group), marker=None if line else marker_of(group), **style)
        for group in groups
    ]
    figure.legend(handles, names, loc="outside lower left", ncols=columns, frameon=False,
                  fontsize=TEXT, title=heading or None, title_fontsize=TEXT, alignment="left",
                  handlelength=1.2, handletextpad=0.6, labelspacing=0.3,
                  columnspacing=1.5)  # fmt: skip


def numbered(names: Sequence[str]) -> list[str]:
    """The names with their places, by which tables and sentences call them."""
    return [f"{number}. {name}" for number, name in enumerate(names, 1)]


def wrapped(name: str, inches: float) -> str:
    """In lines of that width; a dollar is no formula."""
    share = min(1.0, inches / max(0.01, width_of([name], TEXT)))
    lines = textwrap.wrap(name, max(8, int(len(name) * share)), break_on_hyphens=False)
    return "\n".join(lines).replace("$", r"\$")
