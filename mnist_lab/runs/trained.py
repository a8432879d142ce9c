"""A trained network as commands take it: on a device, with the names of its classes."""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from mnist_lab import LabError
from mnist_lab.data.typical import Typical
from mnist_lab.models import Classifier
from mnist_lab.models.checkpoint import model_of, read


class Trained(NamedTuple):
    """A network, and what its checkpoint says that it was trained on."""

    model: Classifier
    classes: list[str]
    """In the order of their labels; numbers, unless the checkpoint says their names."""
    data: dict[str, Any] | None
    """As `DataModule.description` gave it; None of a network that was trained on none."""
    typical: Typical | None
    """What its training images look like; None where the checkpoint doesn't say it."""
    path: str = ""
    """The checkpoint, or its run's folder."""


def load(checkpoint: str, device: str = "auto", trust: Sequence[str] = ()) -> Trained:
    """The network of a checkpoint or run's folder; `auto` is a GPU where there is one.

    Raises:
        LabError: the file cannot be read, or there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    content = read(checkpoint)
    try:
        model = model_of(content, checkpoint, device, trust)
    except (RuntimeError, AssertionError) as error:  # what torch makes of a device's name
        raise LabError(f"device={device}: {str(error).splitlines()[0]}") from error
    about = content["mnist_lab"]
    data, typical = about.get("data"), about.get("typical")
    if typical is not None:
        typical = _typical(typical, f"{checkpoint}: its training images", model)
    if data is None:
        labels = [str(label) for label in range(model.num_classes)]
        return Trained(model, labels, None, typical, checkpoint)
    classes = data.get("classes") if isinstance(data, dict) else None
    if isinstance(classes, list) and len(classes) == model.num_classes:
        return Trained(model, [str(name) for name in classes], data, typical, checkpoint)
    raise LabError(f"{checkpoint}: its classes have no names that fit")


def load_all(
    checkpoints: Sequence[str], device: str = "auto", trust: Sequence[str] = ()
) -> list[Trained]:
    """Networks that judge images together: of the same classes.

    Raises:
        LabError: as `load`, or their classes differ.
    """
    if not checkpoints:
        raise LabError("checkpoint=[]: name at least one")
    members = [load(checkpoint, device, trust) for checkpoint in checkpoints]
    for member in members:
        refuse_other_classes(f"checkpoint={member.path}", member.classes, members[0])
    return members


def refuse_other_classes(what: str, classes: Sequence[str], network: Trained) -> None:
    """Refuse data or a checkpoint (`what`) that has other classes than the network."""
    if list(classes) != network.classes:
        theirs, its = (
            ", ".join(names[:12]) + ", ..." * (len(names) > 12)
            for names in (classes, network.classes)
        )
        raise LabError(f"{what}: has the classes {theirs}; {network.path} has {its}")


def _typical(stored: Any, what: str, model: Classifier) -> Typical:
    """As `DataModule.typical` gave it, from a file that nobody vouches for."""
    try:
        found = Typical(**stored)
        low, deviation = map(float, found.distance)
        means, peak = found.means, int(found.peak)
        good = means.dtype == torch.uint8 and means.ndim == 4 and len(means) <= model.num_classes
        good &= means.shape[1] == len(model.mean) and min(means.shape) > 0
        good &= math.isfinite(low + deviation) and 0 < peak < 256
        good &= means.untyped_storage().nbytes() >= means.numel()
    except (AttributeError, OverflowError, RuntimeError, TypeError, ValueError) as error:
        raise LabError(f"{what} are not described: {error}") from error
    if not good:
        raise LabError(f"{what} are not described")
    return Typical(means, (low, deviation), peak)
