"""Whether confidence is what it says."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray


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
    shares = np.asarray(probabilities, dtype=np.float64)
    confidence, hits = shares.max(1), shares.argmax(1) == np.asarray(labels)
    index = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    counts = np.bincount(index, minlength=bins)
    # Sums over empty bins are 0, and so is what they add to the error.
    sure = np.bincount(index, confidence, bins)
    right = np.bincount(index, hits, bins)
    error = np.abs(sure - right).sum() / max(1, len(index))
    filled = np.where(counts, counts, np.nan)
    return Calibration(sure / filled, right / filled, counts, float(error))
