"""What one or several networks make of images, and images that deceive them."""

import contextlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from mnist_lab import LabError
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.models import Classifier
from mnist_lab.models.attacks import PGD, as_floats
from mnist_lab.settings.ranges import Count, Seed, ranged

_FARTHEST = 2  # pixels, of a shift
_REACH = range(-_FARTHEST, _FARTHEST + 1)
# The image as it is, then moved (right, down) by ever more.
SHIFTS = sorted(
    ((x, y) for y in _REACH for x in _REACH), key=lambda s: (math.hypot(*s), s[1], s[0])
)


@ranged
def evaluate(
    models: Classifier | Sequence[Classifier],
    images: Tensor,
    labels: Tensor,
    classes: Sequence[str],
    *,
    tta: int = 1,
    batch_size: Count = 1000,
) -> Evaluation:
    """Have the networks, each in eval mode on its device, judge images `(N, C, H, W)`.

    Args:
        models: of several the mean probability counts (an ensemble).
        classes: the names of the K classes.
        tta: test-time augmentation: the mean over the image and `tta - 1` copies moved by one or
            two pixels, the nearest first (`SHIFTS`); what comes in from outside is black.

    Raises:
        LabError: no images, other classes or channels than a network has, too many shifts,
            or outputs that are no numbers.
    """
    members = [models] if isinstance(models, Classifier) else list(models)
    if not members or not len(images) or len(images) != len(labels):
        raise LabError(
            f"{len(members)} networks, {len(images)} images and {len(labels)} labels: too few"
        )
    if not 1 <= tta <= len(SHIFTS):
        raise LabError(f"tta must lie between 1 and {len(SHIFTS)}, not {tta}")
    for model in members:
        if model.num_classes != len(classes):
            raise LabError(
                f"{model.name} knows {model.num_classes} classes, the data have {len(classes)}"
            )
        channels = model.hparams["in_channels"]
        if images.shape[1] != channels:
            raise LabError(
                f"{model.name} takes {channels} channels, the images have {images.shape[1]}"
            )
    found = outputs(members, images, tta=tta, batch_size=batch_size)
    return Evaluation(found.log_probabilities, labels.cpu(), list(classes))


class Outputs(NamedTuple):
    """What networks say of N images, in float64.

    Attributes:
        log_probabilities: `(N, K)`, of the mean probability over networks and shifts.
        energies: `(N,)`, the mean logarithm of the sum of `exp(logit)`. That is what softmax
            leaves out: of a single output the logits are the log-probabilities plus this. Its
            negative is called the energy (Liu et al., "Energy-based Out-of-distribution
            Detection", NeurIPS 2020).
    """

    log_probabilities: Tensor
    energies: Tensor


def outputs(
    models: Sequence[Classifier], images: Tensor, *, tta: int = 1, batch_size: int = 1000
) -> Outputs:
    """Likewise of images that need no labels, of a form that `evaluate` takes.

    Raises:
        LabError: outputs are no numbers.
    """
    with contextlib.ExitStack() as stack:
        for model in models:
            stack.enter_context(model.judging())
        parts = [_judged(models, part, SHIFTS[:tta]) for part in torch.split(images, batch_size)]
    found = Outputs(*map(torch.cat, zip(*parts, strict=True)))
    if not bool(found.log_probabilities.isfinite().all()):
        raise LabError("a network's outputs are not finite numbers")
    return found


@ranged
def attacked(
    models: Classifier | Sequence[Classifier],
    images: Tensor,
    labels: Tensor,
    attack: PGD,
    *,
    seed: Seed = 0,
    tta: int = 1,
    batch_size: Count = 1000,
) -> Tensor:
    """The worst that an attack makes of images `(N, C, H, W)`: floats from 0 to 1.

    It is aimed at what `evaluate` would judge by, all networks and shifts together.

    Args:
        seed: what is random of each portion of `batch_size` images begins with it anew, so that
            more restarts are those of fewer, and others.
    """
    members = [models] if isinstance(models, Classifier) else list(models)
    device = members[0].device

    def judged(images: Tensor) -> Tensor:
        return _judged(members, images, SHIFTS[:tta]).log_probabilities

    found = []
    with contextlib.ExitStack() as stack:
        stack.enter_context(torch.random.fork_rng())
        for model in members:
            stack.enter_context(model.judging())
        parts = torch.split(images, batch_size), torch.split(labels, batch_size)
        for part, truth in zip(*parts, strict=True):
            torch.manual_seed(seed)
            found.append(attack.worst(judged, as_floats(part.to(device)), truth.to(device)))
    return torch.cat(found).to(images.device)


def _judged(
    members: Sequence[Classifier], images: Tensor, shifts: Sequence[tuple[int, int]]
) -> Outputs:
    """Those of a batch."""
    height, width = images.shape[-2:]
    wide = functional.pad(images, [_FARTHEST] * 4)
    logits = []
    for right, down in shifts:
        top, left = _FARTHEST - down, _FARTHEST - right
        moved = wide[..., top : top + height, left : left + width]
        logits += [model(moved.to(model.device)).cpu().double() for model in members]
    judgements = torch.stack(logits)
    return Outputs(
        judgements.log_softmax(2).logsumexp(0) - math.log(len(judgements)),
        judgements.logsumexp(2).mean(0),
    )
