"""Whether confidence is what it says."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike

from mnist_lab.metrics.calibration import calibration
from mnist_lab.reports.figures.style import BLUE, MUTED, ORANGE, SMALL, Figure, restrained


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Figure:
    """Accuracy by confidence, and how many images there are of each; see `calibration`."""
    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    _diagram(above, below, "reliability: expected", probabilities, labels, bins)
    _legend(figure, above)
    return figure


def recalibrated(
    before: ArrayLike,
    after: ArrayLike,
    labels: ArrayLike,
    temperature: float,
    bins: int = 15,
) -> Figure:
    """The same of probabilities `(N, K)` before and after they were brought to a temperature."""
    figure = Figure(figsize=(9.0, 5.4), layout="constrained")
    (left, right), (below_left, below_right) = figure.subplots(
        2, 2, sharex=True, height_ratios=[3, 1]
    )
    _diagram(left, below_left, "temperature 1:", before, labels, bins)
    _diagram(right, below_right, f"temperature {temperature:.3f}:", after, labels, bins)
    _legend(figure, left)
    for axes in (right, below_right):
        axes.set_ylabel("")
    return figure


def _diagram(
    above: Axes, below: Axes, title: str, probabilities: ArrayLike, labels: ArrayLike, bins: int
) -> None:
    """Accuracy by confidence above, the number of images below."""
    measured = calibration(probabilities, labels, bins)
    width, centre = 1 / bins, (np.arange(bins) + 0.5) / bins
    restrained(above, f"{title} calibration error {100 * measured.error:.2f} %")
    restrained(below)
    filled = measured.counts > 0
    accuracy, gap = measured.accuracy[filled], (measured.confidence - measured.accuracy)[filled]
    place = centre[filled]
    above.bar(place, accuracy, 0.92 * width, color=BLUE, label="accuracy")
    above.bar(
        place,
        gap,
        0.92 * width,
        bottom=accuracy,
        color="none",
        edgecolor=ORANGE,
        hatch="////",
        lw=1.2,
        label="gap to confidence",
    )
    above.plot([0, 1], [0, 1], ls=(0, (3, 2)), lw=1, color=MUTED, label="perfectly calibrated")
    above.set(ylim=(0, 1.02), xlim=(0, 1), ylabel="accuracy")
    below.bar(place, measured.counts[filled], 0.92 * width, color=MUTED)
    below.set(yscale="log", xlabel="confidence", ylabel="images")
    below.minorticks_off()
    below.set_ylim(0.8, 2 * max(1, measured.counts.max()))
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter(PercentFormatter(1, 0, " %"))
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))


def _legend(figure: Figure, axes: Axes) -> None:
    handles, names = axes.get_legend_handles_labels()
    figure.legend(
        handles, names, fontsize=SMALL, frameon=False, loc="outside lower center", ncols=3
    )
