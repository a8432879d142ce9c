"""What an attack makes of networks: accuracy under it, and images that changed their mind."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.models import Classifier, ensemble
from mnist_lab.models.attacks import PGD
from mnist_lab.reports.page import described, number, percent
from mnist_lab.settings.signatures import ConfigError

if TYPE_CHECKING:  # takes a while
    from mnist_lab.reports.figures.style import Figure

_SHOWN = 16  # images that changed the networks' mind, two rows of them


def judge(
    models: Sequence[Classifier],
    attack: object,
    images: Tensor,
    clean: Evaluation,
    *,
    seed: int,
    tta: int,
    batch_size: int,
) -> tuple[dict[str, Any], "Figure"]:
    """Numbers of `evaluation.json`, accuracies as fractions, and a figure.

    Args:
        clean: what the networks make of the images as they are.
        seed: as `ensemble.attacked` takes it, and the rest.

    Raises:
        ConfigError: something else than an attack was described.
    """
    if not isinstance(attack, PGD):
        raise ConfigError(f"attack._target_: a {type(attack).__name__} is no attack (PGD)")
    portions = {"tta": tta, "batch_size": batch_size}
    changed = ensemble.attacked(models, images, clean.labels, attack, seed=seed, **portions)
    under = ensemble.evaluate(models, changed, clean.labels, clean.classes, **portions)
    deceived = (clean.predictions == clean.labels) & (under.predictions != clean.labels)
    numbers = {
        "accuracy": shortest(under.accuracy),
        "accuracy_interval": [shortest(bound) for bound in under.interval],
        "loss": under.metrics["loss"],
        "recognised": int((clean.predictions == clean.labels).sum()),
        "deceived": int(deceived.sum()),
    }
    return numbers, _figure(images, changed, deceived, under)


def _figure(images: Tensor, changed: Tensor, deceived: Tensor, under: Evaluation) -> "Figure":
    """Some of the images that were recognised and no longer are, from all over the split."""
    from mnist_lab.reports import figures

    places = deceived.nonzero().squeeze(1)
    few = places[torch.linspace(0, max(0, len(places) - 1), min(_SHOWN, len(places))).long()]
    there = few.to(images.device)
    return figures.attacked(
        _as_bytes(images[there]).cpu(),
        _as_bytes(changed[there]).cpu(),
        under.labels[few],
        under.probabilities[few],
        under.classes,
    )


def _as_bytes(images: Tensor) -> Tensor:
    return (images * 255).round().to(torch.uint8) if images.is_floating_point() else images


def rows(numbers: Mapping[str, Any]) -> list[list[str]]:
    """Head and row of the table of an evaluation's `attacked`."""
    low, high = numbers["accuracy_interval"]
    return [
        ["attack", "accuracy", "95 % interval", "loss", "recognised no longer"],
        [
            described(numbers["attack"]),
            number(numbers["accuracy"]),
            f"{low:.4f} to {high:.4f}",
            number(numbers["loss"]),
            f"{numbers['deceived']:,} of {numbers['recognised']:,}",
        ],
    ]


def told(numbers: Mapping[str, Any]) -> str:
    """The accuracy under attack in a line."""
    low, high = numbers["accuracy_interval"]
    return (
        f"Under {described(numbers['attack'])}: accuracy {percent(numbers['accuracy'])} "
        f"({100 * low:.2f} to {percent(high)}); {numbers['recognised']:,} images are recognised "
        f"without it, {numbers['deceived']:,} of these no longer when they are attacked."
    )
