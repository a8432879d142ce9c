"""How good predictions of labelled images are."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from mnist_lab.metrics.calibration import brier_score, calibration
from mnist_lab.metrics.counts import MEANS, Scores
from mnist_lab.metrics.selective import RiskCoverage, risk_coverage
from mnist_lab.metrics.significance import Interval, wilson


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
    def scores(self) -> Scores:
        """Every metric that is counted."""
        count = len(self.classes)
        pairs = self.labels * count + self.predictions
        confusion = torch.bincount(pairs, minlength=count**2).view(count, count)
        return Scores(
            confusion, {name: of(self.log_probabilities, self.labels) for name, of in MEANS.items()}
        )

    @property
    def accuracy(self) -> float:
        return int(self.scores.confusion.trace()) / len(self.labels)

    @property
    def interval(self) -> Interval:
        """Wilson's, of the accuracy, with 95 % confidence: how far another sample would differ."""
        return wilson(int(self.scores.confusion.trace()), len(self.labels))

    @property
    def calibration_error(self) -> float:
        """Expected calibration error in 15 bins, see `calibration`."""
        return calibration(self.probabilities, self.labels).error

    @property
    def brier_score(self) -> float:
        """Mean squared distance from the truth, see `calibration.brier_score`."""
        return brier_score(self.probabilities, self.labels)

    @property
    def risk_coverage(self) -> RiskCoverage:
        """What of the mistakes is left where the least sure predictions aren't made."""
        return risk_coverage(self.probabilities, self.labels)

    @property
    def metrics(self) -> dict[str, float]:
        """Every metric as one number, the accuracy first."""
        means = {name: shortest(value) for name, value in self.scores.means.items()}
        return {
            "accuracy": means.pop("accuracy"),
            **means,
            "calibration_error": shortest(self.calibration_error),
            "brier_score": shortest(self.brier_score),
        }

    @property
    def per_class(self) -> dict[str, dict[str, float | None]]:
        """Precision, recall, f1 and support by the class's name.

        None of one that occurs neither as truth nor as prediction.
        """
        columns = {name: values.tolist() for name, values in self.scores.by_class.items()}
        support = self.scores.confusion.sum(1).tolist()
        return {
            name: {
                **{metric: _known(values[index]) for metric, values in columns.items()},
                "support": support[index],
            }
            for index, name in enumerate(self.classes)
        }

    def tempered(self, temperature: float) -> "Evaluation":
        """The same at another temperature: logits, of which these are one form, divided by it."""
        return replace(
            self, log_probabilities=(self.log_probabilities / temperature).log_softmax(1)
        )

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
