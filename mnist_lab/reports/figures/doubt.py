"""Whether a network knows when it doesn't: what it is less sure of, and foreign images."""

from collections.abc import Mapping
from itertools import cycle

import numpy as np
from matplotlib.ticker import PercentFormatter
from numpy.typing import ArrayLike

from mnist_lab.reports.figures.style import (
    BLUE,
    GREEN,
    MUTED,
    ORANGE,
    SMALL,
    VERMILLION,
    Figure,
    restrained,
)

_BINS = 40


def risk_coverage(risk: ArrayLike, area: float) -> Figure:
    """The share of mistakes `(N,)` among the 1, 2, ..., N surest predictions."""
    shares = np.asarray(risk, dtype=float)
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    restrained(axes, f"risk by coverage: area {area:.2g}")
    coverage = np.arange(1, len(shares) + 1) / len(shares)
    axes.plot(coverage, shares, color=BLUE, lw=1.5)
    axes.axhline(shares[-1], color=MUTED, ls=(0, (3, 2)), lw=1)
    axes.set(xlim=(0, 1), ylim=(0, 1.08 * max(shares.max(), 0.001)))
    axes.set(xlabel="images that are answered, the surest first", ylabel="mistakes among them")
    axes.xaxis.set_major_formatter(PercentFormatter(1, 0, " %"))
    axes.yaxis.set_major_formatter(PercentFormatter(1, None, " %"))
    return figure


def foreign(scores: Mapping[str, Mapping[str, ArrayLike]]) -> Figure:
    """How often each score has which value, for a network's own images and for foreign ones.

    Args:
        scores: by the score's name and the dataset's, of which the first is the network's own.
    """
    figure = Figure(figsize=(9.0, 3.4), layout="constrained")
    panels = figure.subplots(1, len(scores), squeeze=False)[0]
    for axes, (name, by_dataset) in zip(panels, scores.items(), strict=True):
        restrained(axes, name, grid="x")
        values = {dataset: np.asarray(each, dtype=float) for dataset, each in by_dataset.items()}
        edges = np.histogram_bin_edges(np.concatenate(list(values.values())), _BINS)
        for place, ((dataset, each), color) in enumerate(
            zip(values.items(), cycle((BLUE, ORANGE, GREEN, VERMILLION)), strict=False)
        ):
            heights = np.histogram(each, edges)[0] / len(each)
            axes.stairs(heights, edges, color=color, lw=1.3, label=dataset, fill=not place,
                        alpha=1 if place else 0.45)  # fmt: skip
        axes.set(ylim=(0, None), xlim=(edges[0], edges[-1]))
        axes.yaxis.set_major_formatter(PercentFormatter(1, None, " %"))
    panels[0].set_ylabel("images of the dataset")
    handles, names = panels[0].get_legend_handles_labels()
    figure.legend(
        handles, names, fontsize=SMALL, frameon=False, loc="outside lower center", ncols=4
    )
    return figure
