"""How good the predictions of an evaluated split are."""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import SumMetric
from torchmetrics.classification import MulticlassConfusionMatrix


class Scored(NamedTuple):
    """Of all images of a split, in all processes."""

    means: dict[str, Tensor]
    """Loss and accuracy, and precision, recall and f1 as `macro_means` has them."""
    per_class: dict[str, Tensor]
    """Precision, recall and f1 `(K,)`, on the CPU, as `by_class` has them."""
    confusion: Tensor
    """Counts `(K, K)`, on the CPU; rows are the truth."""


class Scores(nn.Module):
    """Counts up over batches, where the batches are."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        # Would they validate their arguments, or look for NaN in a loss, the host would wait for a
        # GPU at every batch.
        self._confusion = MulticlassConfusionMatrix(classes, validate_args=False)
        self._loss = SumMetric(nan_strategy="disable")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits `(N, K)` and labels `(N,)`."""
        self._confusion.update(logits.argmax(1), labels)
        self._loss.update(functional.cross_entropy(logits, labels, reduction="sum"))

    def compute(self) -> Scored:
        """What the batches come to; then counting begins anew."""
        confusion = self._confusion.compute().cpu()
        means = {
            "loss": self._loss.compute() / confusion.sum(),
            "accuracy": confusion.trace() / confusion.sum(),
        }
        self._confusion.reset()
        self._loss.reset()
        per_class = by_class(confusion)
        means |= {name: value.float() for name, value in macro_means(per_class).items()}
        return Scored(means, per_class, confusion)


def by_class(confusion: Tensor) -> dict[str, Tensor]:
    """Precision, recall and f1 `(K,)` of counts `(K, K)` whose rows are the truth.

    A class that is never predicted, or never right, has 0, as in scikit-learn; one that occurs
    neither as truth nor as prediction has NaN: nothing can be said of it.
    """
    hits = confusion.diagonal().double()
    given, there = confusion.sum(0), confusion.sum(1)
    absent = given + there == 0
    found = {
        "precision": hits / given.clamp(min=1),
        "recall": hits / there.clamp(min=1),
        "f1": 2 * hits / (given + there).clamp(min=1),
    }
    return {name: values.masked_fill(absent, torch.nan) for name, values in found.items()}


def macro_means(per_class: dict[str, Tensor]) -> dict[str, Tensor]:
    """Means over the classes that occur, each counting the same."""
    return {name: values.nanmean() for name, values in per_class.items()}
