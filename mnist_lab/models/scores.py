"""How good the predictions of an evaluated split are, by torchmetrics."""

from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional
from torchmetrics import MetricCollection, SumMetric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MulticlassPrecision,
    MulticlassRecall,
)


class Scored(NamedTuple):
    """Of all images of a split, in all processes."""

    means: dict[str, Tensor]
    """Loss and accuracy, and precision, recall and f1, in which each class counts the same."""
    per_class: dict[str, Tensor]
    """Precision, recall and f1 `(K,)`, on the CPU."""
    confusion: Tensor
    """Counts `(K, K)`, on the CPU; rows are the truth."""


class Scores(nn.Module):
    """Counts up over batches, where the batches are."""

    def __init__(self, classes: int) -> None:
        super().__init__()
        # Would they validate their arguments, or look for NaN in a loss, the host would wait for a
        # GPU at every batch.
        self._counts = MetricCollection(
            {
                "accuracy": MulticlassAccuracy(classes, average="micro", validate_args=False),
                "precision": MulticlassPrecision(classes, average="none", validate_args=False),
                "recall": MulticlassRecall(classes, average="none", validate_args=False),
                "f1": MulticlassF1Score(classes, average="none", validate_args=False),
                "confusion": MulticlassConfusionMatrix(classes, validate_args=False),
            },
            compute_groups=[["precision", "recall", "f1"], ["accuracy"], ["confusion"]],
        )
        self._loss = SumMetric(nan_strategy="disable")

    def update(self, logits: Tensor, labels: Tensor) -> None:
        """Take in a batch: logits `(N, K)` and labels `(N,)`."""
        self._counts.update(logits.argmax(1), labels)
        self._loss.update(functional.cross_entropy(logits, labels, reduction="sum"))

    def compute(self) -> Scored:
        """What the batches come to; then counting begins anew."""
        values = self._counts.compute()
        confusion = values.pop("confusion").cpu()
        loss = self._loss.compute() / confusion.sum()
        self._counts.reset()
        self._loss.reset()
        means = {"loss": loss, **{name: value.mean() for name, value in values.items()}}
        return Scored(means, {k: v.cpu() for k, v in values.items() if v.ndim}, confusion)
