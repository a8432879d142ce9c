"""How good predictions of labelled images are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from mnist_lab import FileOrSettingError
from mnist_lab.metrics.counts import by_class, macro_means
from mnist_lab.metrics.significance import Interval, wilson


class EvaluationError(FileOrSettingError):
    """Networks, images and labels that don't go together."""


@dataclass(frozen=True, eq=False)
class Evaluation:
    """Predictions beside the truth.

    Attributes:
        log_probabilities: `(N, K)`: their logarithms keep a loss finite that a probability of
            zero would make infinite.
        labels: `(N,)` int64.
        classes: the K names, in the order of the labels.
    """

    log_probabilities: Tensor
    labels: Tensor
    classes: Sequence[str]

    @property
    def probabilities(self) -> Tensor:
        """`(N, K)`."""
        return self.log_probabilities.exp()

    @cached_property
    def predictions(self) -> Tensor:
        """The most probable class of each image, `(N,)` int64."""
        return self.log_probabilities.argmax(1)

    @cached_property
    def confusion(self) -> Tensor:
        """Counts `(K, K)`; rows are the truth, columns the prediction."""
        count = len(self.classes)
        pairs = self.labels * count + self.predictions
        return torch.bincount(pairs, minlength=count**2).view(count, count)

    @property
    def accuracy(self) -> float:
        return int(self.confusion.trace()) / len(self.labels)

    @property
    def interval(self) -> Interval:
        """Wilson's, of the accuracy, with 95 % confidence: how far another sample would differ."""
        return wilson(int(self.confusion.trace()), len(self.labels))

    @property
    def loss(self) -> float:
        """Mean cross-entropy."""
        return float(functional.nll_loss(self.log_probabilities, self.labels))

    @property
    def scores(self) -> dict[str, Tensor]:
        """Precision, recall and f1 `(K,)` by class; NaN for one that occurs nowhere."""
        return by_class(self.confusion)

    @property
    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Precision, recall, f1 and support by the class's name; None as `scores` has NaN."""
        columns = {key: values.tolist() for key, values in self.scores.items()}
        support = self.confusion.sum(1).tolist()
        return {
            name: {
                **{key: _known(values[index]) for key, values in columns.items()},
                "support": support[index],
            }
            for index, name in enumerate(self.classes)
        }

    @property
    def macro(self) -> dict[str, float]:
        """Precision, recall and f1: means over the classes that occur, each counting the same."""
        return {key: shortest(value) for key, value in macro_means(self.scores).items()}

    @property
    def calibration_error(self) -> float:
        """Expected calibration error in 15 bins, see `figures.calibration`."""
        from mnist_lab.metrics.calibration import calibration

        return calibration(self.probabilities, self.labels).error

    def without(self, indices: Sequence[int]) -> "Evaluation":
        """The same but for these images."""
        kept = torch.ones(len(self.labels), dtype=torch.bool)
        kept[list(indices)] = False
        return replace(
            self, log_probabilities=self.log_probabilities[kept], labels=self.labels[kept]
        )


def _known(value: float) -> float | None:
    return None if math.isnan(value) else shortest(value)


def shortest(value: Tensor | float) -> float:
    """A 32-bit number as the shortest decimal that means it: 0.9527778, not 0.9527778029441833."""
    return float(str(np.float32(float(value))))
