"""Test images that travel along with a network: confident mistakes, and what it gets right."""

from typing import NamedTuple

import torch
from torch import Tensor

from mnist_lab import LabError
from mnist_lab.data import DataModule
from mnist_lab.export.handed import Handed
from mnist_lab.models.checkpoint import picture_form
from mnist_lab.settings.conf import make
from mnist_lab.settings.roles import Role, keys
from mnist_lab.settings.signatures import ConfigError

_MISTAKES = 0.4  # of them at most; the rest shows what it gets right


class Samples(NamedTuple):
    """Images `(N, C, H, W)` uint8, their labels `(N,)`, and a sentence on what they are."""

    images: Tensor
    labels: Tensor
    told: str


def samples(network: Handed, count: int) -> Samples:
    """Images of the test split: mistakes, the most confident first, then right ones by turns.

    Raises:
        LabError: the checkpoint's dataset cannot be had.
    """
    images, labels = dataset(network).tensors("test")
    with network.model.judging():
        parts = [
            (network.model(part) / network.temperature).softmax(1)
            for part in torch.split(images, 500)
        ]
    confidence, guesses = torch.cat(parts).max(1)
    wrong = (guesses != labels).nonzero().flatten()
    wrong = wrong[confidence[wrong].argsort(descending=True, stable=True)]
    mistakes = wrong[: int(_MISTAKES * count)]
    right = (guesses == labels).nonzero().flatten()
    turns = torch.zeros(len(labels), dtype=torch.int64)
    for label in range(len(network.classes)):  # the first of each class, the second of each, ...
        of_class = right[labels[right] == label]
        turns[of_class] = torch.arange(len(of_class))
    others = right[turns[right].argsort(stable=True)][: count - len(mistakes)]
    kept = torch.cat([mistakes, others])
    told = (
        f"{len(kept)} of {len(labels):,} test images: {len(mistakes)} of the {len(wrong):,} that "
        f"{network.facts['model']} gets wrong, the most confident first, and some that it gets "
        "right. Click one, and edit it on the sheet."
    )
    return Samples(images[kept], labels[kept], told)


def dataset(network: Handed) -> DataModule:
    """The network's own, as its checkpoint describes it."""
    without = "images=0 makes a page without test images"
    data = network.data or {}
    division = [key.removeprefix("data.") for key in keys(Role.SPLIT)]
    settings = {key: data[key] for key in division if key in data}
    settings |= {"root": data["root"]} if data.get("root") is not None else {}
    source = {**({"test_size": data.get("test_size")}), **picture_form(data, network.checkpoint)}
    settings["source"] = {name: value for name, value in source.items() if value is not None}
    try:
        made = make(f"data/{data.get('name')}", **settings)
    except ConfigError as error:
        raise LabError(
            f"checkpoint={network.checkpoint}: its dataset {data.get('name')} cannot be made: "
            f"{error}; {without}"
        ) from error
    assert isinstance(made, DataModule)
    if made.classes != network.classes:
        raise LabError(
            f"checkpoint={network.checkpoint}: its dataset {data.get('name')} has other classes "
            f"now; {without}"
        )
    return made
