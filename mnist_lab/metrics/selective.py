"""How many mistakes are left where a network may say that it doesn't know."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_ROUNDING = 1e-9  # of a risk, which is a whole number of mistakes divided by that of images


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The share of mistakes among the images that a network is surest of, by how many these are.

    Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", NeurIPS 2017.

    Attributes:
        confidence: `(N,)`, falling.
        risk: `(N,)`: the share of mistakes among the first 1, 2, ..., N images in that order. Of
            equally sure ones each counts as their mean does: they have no order.
    """

    confidence: NDArray[np.float64]
    risk: NDArray[np.float64]

    @property
    def area(self) -> float:
        """Below the curve of risk by coverage (AURC): the mean risk."""
        return float(self.risk.mean())

    def accuracy(self, percent: int) -> float:
        """Of the surest images, so many in a hundred of all; a part of an image is a whole one."""
        count = -(-percent * len(self.risk) // 100)
        return float(1 - self.risk[count - 1])

    def threshold(self, accuracy: float) -> float | None:
        """The lowest confidence such that of images with at least it this share is right.

        None where there is no such confidence.
        """
        last = np.append(self.confidence[1:] < self.confidence[:-1], True)  # of equally sure ones
        (fitting,) = np.nonzero(last & (self.risk <= 1 - accuracy + _ROUNDING))
        return float(self.confidence[fitting[-1]]) if len(fitting) else None


def risk_coverage(probabilities: ArrayLike, labels: ArrayLike) -> RiskCoverage:
    """Of predictions, the surest first.

    Args:
        probabilities: `(N, K)`; the largest of each row is its confidence.
        labels: `(N,)`.
    """
    shares = np.asarray(probabilities, dtype=np.float64)
    mistakes = shares.argmax(1) != np.asarray(labels)
    rising, group, counts = np.unique(shares.max(1), return_inverse=True, return_counts=True)
    mean = np.bincount(group, mistakes) / counts
    falling = slice(None, None, -1)
    errors = np.repeat(mean[falling], counts[falling])
    risk = errors.cumsum() / np.arange(1, len(errors) + 1)
    return RiskCoverage(np.repeat(rising[falling], counts[falling]), risk)
