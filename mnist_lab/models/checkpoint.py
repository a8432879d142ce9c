"""Reading a checkpoint that nobody vouches for."""

import importlib
import pickle
from pathlib import Path
from typing import Any

import torch

from mnist_lab import LabError
from mnist_lab.models.classifier import Classifier


class CheckpointError(LabError):
    """A checkpoint that isn't there, isn't one, or doesn't fit."""


def read(path: str | Path) -> dict[str, Any]:
    """A checkpoint's content, on the CPU; a run's folder stands for its best checkpoint.

    Nothing in the file is executed (`weights_only=True`).

    Raises:
        CheckpointError: no file, or no checkpoint of this package.
    """
    path = Path(path)
    if path.is_dir():
        path = path / "checkpoints" / "best.ckpt"
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(f"{path}: there is no such file") from None
    except (OSError, RuntimeError, EOFError, KeyError, pickle.UnpicklingError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise CheckpointError(f"{path}: not a readable checkpoint: {reason}") from error
    if not isinstance(content, dict) or "mnist_lab" not in content:
        raise CheckpointError(f"{path}: not a checkpoint of mnist_lab")
    return content


def load(path: str | Path, device: str | torch.device = "cpu") -> Classifier:
    """The model in a checkpoint, ready to predict: in eval mode, on `device`.

    Raises:
        CheckpointError: the file cannot be read, or its weights don't fit its own settings.
    """
    content = read(path)
    model = _class(content["mnist_lab"]["class"], path)(**content["hyper_parameters"])
    try:
        model.load_state_dict(content["state_dict"])
    except RuntimeError as error:
        raise CheckpointError(f"{path}: {error}") from error
    return model.to(device).eval()


def init_from(model: Classifier, path: str | Path) -> None:
    """Copy a checkpoint's weights into the model.

    The last layer stays as it is where the number of classes differs; normalisation stays the
    model's own, which is that of the data it will be trained on.

    Raises:
        CheckpointError: the file cannot be read, or is of another architecture.
    """
    try:
        weights = read(path)["state_dict"]
    except CheckpointError as error:
        raise CheckpointError(f"init_from={error}") from error
    own = model.state_dict()
    last = [name for name in own if name.startswith("network.")][-2:]
    for name in ["mean", "std", *last]:
        if name in weights and (name in ("mean", "std") or weights[name].shape != own[name].shape):
            weights[name] = own[name]
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:])
        raise CheckpointError(f"init_from={path}: {reason}") from error


def _class(dotted: str, path: str | Path) -> type[Classifier]:
    module, _, name = dotted.rpartition(".")
    if module.split(".")[:2] != ["mnist_lab", "models"]:
        raise CheckpointError(f"{path}: its class {dotted} is not of mnist_lab.models")
    found = getattr(importlib.import_module(module), name, None)
    if not (isinstance(found, type) and issubclass(found, Classifier)):
        raise CheckpointError(f"{path}: its class {dotted} is not a Classifier")
    return found
