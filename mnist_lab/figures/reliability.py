"""Whether confidence is what it says."""

from typing import NamedTuple

import numpy as np
from matplotlib.ticker import PercentFormatter, StrMethodFormatter
from numpy.typing import ArrayLike, NDArray

from mnist_lab.figures.style import BLUE, MUTED, ORANGE, SMALL, Figure, restrained


class Calibration(NamedTuple):
    """Confidence held against accuracy, in bins of equal width."""

    confidence: NDArray[np.float64]
    """Mean confidence of each bin's images, NaN where there are none."""
    accuracy: NDArray[np.float64]
    """Share of them that are right, NaN likewise."""
    counts: NDArray[np.int64]
    error: float
    """Expected calibration error: mean distance of the two, weighted by count."""


def calibration(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Calibration:
    """Expected calibration error with its bins, `(lower, upper]`.

    Guo et al., "On Calibration of Modern Neural Networks", ICML 2017.

    Args:
        probabilities: `(N, K)`; the largest of each row is its confidence.
        labels: `(N,)`.
    """
    given = np.asarray(probabilities, dtype=np.float64)
    confidence, hits = given.max(1), given.argmax(1) == np.asarray(labels)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    # Sums over empty bins are 0, and so is what they add to the error.
    sure = np.bincount(index, confidence, bins)
    right = np.bincount(index, hits, bins)
    error = np.abs(sure - right).sum() / max(1, len(index))
    filled = np.where(counts, counts, np.nan)
    return Calibration(sure / filled, right / filled, counts, float(error))


def reliability(probabilities: ArrayLike, labels: ArrayLike, bins: int = 15) -> Figure:
    """Accuracy by confidence, and how many images there are of each; see `calibration`."""
    found = calibration(probabilities, labels, bins)
    width, centre = 1 / bins, (np.arange(bins) + 0.5) / bins
    figure = Figure(figsize=(5.4, 5.4), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    restrained(above, f"reliability: expected calibration error {100 * found.error:.2f} %")
    restrained(below)
    filled = found.counts > 0
    accuracy, gap = found.accuracy[filled], (found.confidence - found.accuracy)[filled]
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
    figure.legend(fontsize=SMALL, frameon=False, loc="outside lower center", ncols=3)
    below.bar(place, found.counts[filled], 0.92 * width, color=MUTED)
    below.set(yscale="log", xlabel="confidence", ylabel="images")
    below.minorticks_off()
    below.set_ylim(0.8, 2 * max(1, found.counts.max()))
    for axis in (above.yaxis, below.xaxis):
        axis.set_major_formatter(PercentFormatter(1, 0, " %"))
    below.yaxis.set_major_formatter(StrMethodFormatter("{x:,.0f}"))
    return figure
