"""How well a score tells a network's own images from foreign ones."""

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike


class Detection(NamedTuple):
    """What a score that is high for a network's own images is worth.

    Hendrycks and Gimpel, "A Baseline for Detecting Misclassified and Out-of-Distribution Examples
    in Neural Networks", ICLR 2017.
    """

    auroc: float
    """Area under the ROC curve: how often an own image has a higher score than a foreign one; where
    both have the same, half counts."""
    false_positive_rate: float
    """The share of foreign images that pass for own where 95 % of these do, or just more."""


def detection(own: ArrayLike, foreign: ArrayLike) -> Detection:
    """Of the scores of own images `(N,)` and of foreign ones `(M,)`."""
    positives, negatives = np.asarray(own), np.sort(np.asarray(foreign))
    below = np.searchsorted(negatives, positives, "left")
    not_above = np.searchsorted(negatives, positives, "right")
    auroc = float((below + not_above).mean() / (2 * len(negatives)))
    passing = -(-95 * len(positives) // 100)
    least = np.sort(positives)[-passing]
    return Detection(auroc, float((negatives >= least).mean()))
