"""Whether confidence is what it says, and the temperature that brings it nearer."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from mnist_lab import LabError

_PRECISION = 1e-9  # of a temperature, relative


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


def brier_score(probabilities: ArrayLike, labels: ArrayLike) -> float:
    """Mean squared distance of the classes' probabilities from the truth, between 0 and 2.

    Brier, "Verification of Forecasts Expressed in Terms of Probability", Monthly Weather Review 78,
    1950.

    Args:
        probabilities: `(N, K)`.
        labels: `(N,)`.
    """
    distances = np.asarray(probabilities, dtype=np.float64).copy()
    distances[np.arange(len(distances)), np.asarray(labels)] -= 1
    return float(np.square(distances).sum(1).mean())


def fitted_temperature(logits: ArrayLike, labels: ArrayLike) -> float:
    """The T with which the probabilities `softmax(logits / T)` have the smallest loss.

    Guo et al., see `calibration`. The loss is convex in 1 / T, so its slope is 0 in one place.

    Args:
        logits: `(N, K)`; log-probabilities are logits, too.
        labels: `(N,)`.

    Raises:
        LabError: there is no such T: the loss falls as long as T does, or as long as it grows.
    """
    values = np.asarray(logits, dtype=np.float64)
    values = values - values.max(1, keepdims=True)
    true = values[np.arange(len(values)), np.asarray(labels)]

    def slope(inverse: float) -> float:
        """Of the loss, by 1 / T."""
        shares = special.softmax(inverse * values, axis=1)
        return float(((shares * values).sum(1) - true).mean())

    if not true.any():
        raise LabError(
            f"no temperature is the best: all {len(values)} predictions are right, and the lower "
            "it is, the smaller the loss"
        )
    if slope(0.0) >= 0:
        raise LabError(
            "no temperature is the best: predictions are no better than chance, and the higher it "
            "is, the smaller the loss"
        )
    low = high = 1.0
    while slope(low) > 0:
        low /= 2
    while slope(high) < 0:
        high *= 2
    while high - low > _PRECISION * high:
        middle = (low + high) / 2
        low, high = (low, middle) if slope(middle) > 0 else (middle, high)
    return 2 / (low + high)
