"""A trained network as commands take it: on a device, with the names of its classes."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch

from mnist_lab import FileOrSettingError, models
from mnist_lab.models import CheckpointError, Classifier


class Trained(NamedTuple):
    """A network, and what its checkpoint says that it was trained on."""

    model: Classifier
    classes: list[str]
    """In the order of their labels; numbers, unless the checkpoint says their names."""
    data: dict[str, Any] | None
    """As `DataModule.description` gave it; None of a network that was trained on none."""


def load(checkpoint: str, device: str = "auto", trust: Sequence[str] = ()) -> Trained:
    """The network of a checkpoint or run's folder; `auto` is a GPU where there is one.

    Raises:
        CheckpointError: the file cannot be read.
        FileOrSettingError: there is no such device.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        model = models.load(checkpoint, device, trust)
    except (RuntimeError, AssertionError) as error:  # what torch makes of a device's name
        raise FileOrSettingError(f"device={device}: {str(error).splitlines()[0]}") from error
    data = models.read(checkpoint)["mnist_lab"].get("data")
    if data is None:
        return Trained(model, [str(label) for label in range(model.num_classes)], None)
    classes = data.get("classes") if isinstance(data, dict) else None
    if isinstance(classes, list) and len(classes) == model.num_classes:
        return Trained(model, [str(name) for name in classes], data)
    raise CheckpointError(f"{checkpoint}: its classes have no names that fit")
