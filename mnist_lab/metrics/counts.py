"""What predictions of labelled images come to: every metric that is counted of a split.

A new one is a line in `MEANS` or `BY_CLASS`, and one in `settings.roles.MODES` that says whether
less or more of it is better. It is then logged of validation and test, can be monitored, and stands
in results, tables, reports and TensorBoard.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import Metric, MetricCollection, SumMetric
from torchmetrics.classification import MulticlassConfusionMatrix

MEANS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "loss": lambda logits, labels: functional.cross_entropy(logits, labels, reduction="sum"),
}
"""Means over images, by what a batch's logits `(N, K)` and labels `(N,)` add to their sum.

Log-probabilities are logits, too.
"""

BY_CLASS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "precision": lambda hits, predicted, there: hits / predicted.clamp(min=1),
    "recall": lambda hits, predicted, there: hits / there.clamp(min=1),
    "f1": lambda hits, predicted, there: 2 * hits / (predicted + there).clamp(min=1),
}
"""Values `(K,)` by how many images of each class were recognised, were predicted, and there are."""


@dataclass(frozen=True, eq=False)
class Scores:
    """How good predictions are.

    Attributes:
        confusion: counts `(K, K)`, on the CPU; rows are the truth.
        sums: over all images, by the names in `MEANS`.
    """

    confusion: Tensor
    sums: dict[str, Tensor]

    @cached_property
    def by_class(self) -> dict[str, Tensor]:
        """Values `(K,)` of each metric in `BY_CLASS`.

        A class that is never predicted, or never right, has 0, as in scikit-learn; one that occurs
        neither as truth nor as prediction has NaN: nothing can be said of it.
        """
        hits = self.confusion.diagonal().double()
        predicted, there = self.confusion.sum(0), self.confusion.sum(1)
        absent = predicted + there == 0
        return {
            name: metric(hits, predicted, there).masked_fill(absent, torch.nan)
            for name, metric in BY_CLASS.items()
        }

    @cached_property
    def means(self) -> dict[str, Tensor]:
        """Every metric as one number.

        Those by class are means over the classes that occur, each counting the same ("macro").
        """
        count = self.confusion.sum()
        return {
            **{name: total / count for name, total in self.sums.items()},
            "accuracy": self.confusion.trace() / count,
            **{name: values.nanmean().float() for name, values in self.by_class.items()},
        }


METRICS = (*MEANS, "accuracy", *BY_CLASS)
"""The names of all of them."""


class Counter(nn.Module):
    """Counts up over batches, where the batches are."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        # Would they validate their arguments, or look for NaN in a loss, the host would wait for a
        # GPU at every batch.
        self._confusion = MulticlassConfusionMatrix(classes, validate_args=False)
        sums: dict[str, Metric | MetricCollection] = {
            name: SumMetric(nan_strategy="disable") for name in MEANS
        }
        self._sums = MetricCollection(sums, compute_groups=False)  # no two of them are the same

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits `(N, K)` and labels `(N,)`."""
        self._confusion.update(logits.argmax(1), labels)
        for name, metric in MEANS.items():
            self._sums[name].update(metric(logits, labels))

    def compute(self) -> Scores:
        """What the batches of all processes come to; then counting begins anew."""
        confusion = self._confusion.compute().cpu()
        sums = self._sums.compute()
        self._confusion.reset()
        self._sums.reset()
        return Scores(confusion, {name: sums[name] for name in MEANS})
