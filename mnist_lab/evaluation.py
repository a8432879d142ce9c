"""What classifiers make of labelled images, and how good that is."""

import contextlib
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
from torch import Tensor
from torch.nn import functional

from mnist_lab import FileOrSettingError
from mnist_lab.models import Classifier
from mnist_lab.models.classifier import shortest
from mnist_lab.models.scores import by_class, macro_means
from mnist_lab.statistics import Interval, wilson

_FARTHEST = 2  # pixels, of a shift
_REACH = range(-_FARTHEST, _FARTHEST + 1)
# The image as it is, then moved (right, down) by ever more.
SHIFTS = sorted(
    ((x, y) for y in _REACH for x in _REACH), key=lambda s: (math.hypot(*s), s[1], s[0])
)


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
        from mnist_lab.figures import calibration

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


def evaluate(
    models: Classifier | Sequence[Classifier],
    images: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    tta: int = 1,
    batch_size: int = 1000,
) -> Evaluation:
    """Have the networks, each in eval mode on its device, judge images `(N, C, H, W)`.

    Args:
        models: of several the mean probability counts (an ensemble).
        classes: the names of the K classes.
        tta: test-time augmentation: the mean over the image and `tta - 1` copies moved by one or
            two pixels, the nearest first (`SHIFTS`); what comes in from outside is black.

    Raises:
        EvaluationError: no images, other classes or channels than a network has, too many shifts,
            or outputs that are no numbers.
    """
    members = [models] if isinstance(models, Classifier) else list(models)
    if not members or not len(images) or len(images) != len(labels):
        raise EvaluationError(
            f"{len(members)} networks, {len(images)} images and {len(labels)} labels: too few"
        )
    if not 1 <= tta <= len(SHIFTS):
        raise EvaluationError(f"tta must lie between 1 and {len(SHIFTS)}, not {tta}")
    if batch_size < 1:
        raise EvaluationError(f"batch_size must be at least 1, not {batch_size}")
    for model in members:
        if model.num_classes != len(classes):
            raise EvaluationError(
                f"{model.name} knows {model.num_classes} classes, the data have {len(classes)}"
            )
        channels = model.hparams["in_channels"]
        if images.shape[1] != channels:
            raise EvaluationError(
                f"{model.name} takes {channels} channels, the images have {images.shape[1]}"
            )
    with contextlib.ExitStack() as stack:
        for model in members:
            stack.enter_context(model.judging())
        found = torch.cat(
            [_judged(members, part, SHIFTS[:tta]) for part in torch.split(images, batch_size)]
        )
    if not bool(found.isfinite().all()):
        raise EvaluationError("a network's outputs are not finite numbers")
    return Evaluation(found, labels.cpu(), list(classes))


def _judged(
    members: Sequence[Classifier], images: Tensor, shifts: Sequence[tuple[int, int]]
) -> Tensor:
    """Log-probabilities `(N, K)` of the mean over networks and shifts."""
    height, width = images.shape[-2:]
    wide = functional.pad(images, [_FARTHEST] * 4)
    each = []
    for right, down in shifts:
        top, left = _FARTHEST - down, _FARTHEST - right
        moved = wide[..., top : top + height, left : left + width]
        each += [model(moved.to(model.device)).cpu().double().log_softmax(1) for model in members]
    return torch.stack(each).logsumexp(0) - math.log(len(each))
