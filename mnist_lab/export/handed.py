"""A trained network that is to leave: from its images' shape to what is told of it."""

import hashlib
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.export import Dim, ExportedProgram

from mnist_lab import LabError
from mnist_lab.metrics.significance import wilson
from mnist_lab.models import Classifier
from mnist_lab.models.checkpoint import file_of
from mnist_lab.runs.result import Result
from mnist_lab.runs.trained import Trained, load_all


class Handed(NamedTuple):
    """A network on the CPU, and what those who get it should know.

    Attributes:
        checkpoint: as it was named.
        shape: of one image, `(C, H, W)`, as it was trained on them.
        data: as its checkpoint describes it.
        facts: plain values: model, dataset, classes, test accuracy, parameters, seed, commit, ...
        temperature: by which logits are divided where probabilities are made of them.
    """

    checkpoint: str
    model: Classifier
    classes: list[str]
    shape: tuple[int, int, int]
    data: dict[str, Any] | None
    facts: dict[str, Any]
    temperature: float = 1.0


def handed(
    checkpoints: Sequence[str], trust: Sequence[str] = (), temperature: float = 1.0
) -> list[Handed]:
    """The networks of runs' folders or checkpoints, which have the same classes.

    Raises:
        LabError: a file cannot be read, or their classes differ.
    """
    return [_handed(network, temperature) for network in load_all(checkpoints, "cpu", trust)]


def _handed(network: Trained, temperature: float) -> Handed:
    model = network.model
    shape = (len(model.mean), 28, 28)
    if network.typical is not None:
        _, channels, height, width = network.typical.means.shape
        shape = (channels, height, width)
    path = file_of(network.path)
    result = Result.read(path.parent.parent) if path.parent.name == "checkpoints" else None
    facts = {
        "model": model.name,
        "dataset": (network.data or {}).get("name"),
        "classes": network.classes,
        "parameters": sum(p.numel() for p in model.parameters()),
        "temperature": temperature,
        "checkpoint_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        **(_of_run(result, path.name == "best.ckpt") if result else {}),
    }
    return Handed(network.path, model, network.classes, shape, network.data, facts, temperature)


def _of_run(result: Result, best: bool) -> dict[str, Any]:
    """What a run says of its network; of the best epoch's also how it did on the test split."""
    facts: dict[str, Any] = {
        "model": result.model,
        "seed": result.seed,
        "commit": result.git.commit if result.git else None,
        "versions": result.versions,
    }
    accuracy = result.metrics.get("test/accuracy")
    if best and accuracy is not None and result.per_class:
        count = sum(scores.support for scores in result.per_class.values())
        interval = wilson(round(accuracy * count), count)
        facts |= {
            "test_accuracy": accuracy,
            "test_accuracy_interval": list(interval),
            "test_images": count,
        }
    return facts


def program_of(network: Handed) -> ExportedProgram:
    """From uint8 images `(N, C, H, W)` to logits `(N, K)` for any N, preprocessing included.

    Raises:
        LabError: what the network does depends on its input, so it has no graph.
    """
    example = torch.zeros(2, *network.shape, dtype=torch.uint8)  # of one, N would be taken for 1
    with tracing(network):
        program = torch.export.export(
            network.model, (example,), dynamic_shapes=({0: Dim("batch")},), strict=False
        )
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # paths of this machine
    return program


@contextmanager
def tracing(network: Handed) -> Iterator[None]:
    """Around `torch.export.export`, whose many kinds of errors say that there is no graph."""
    model = network.model
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except Exception as error:  # whatever torch makes of code that it cannot trace
        reason = str(error).strip().splitlines() or [type(error).__name__]
        raise LabError(
            f"checkpoint={network.checkpoint}: {model.name} cannot be exported: {reason[0]}"
        ) from error


class Shown(nn.Module):
    """What a network is shown of uint8 images, by products of matrices alone.

    It is `Classifier.preprocess`, whose interpolation other programs calculate in another order.
    From 28 to 32 pixels all weights are exact, and so are these sums; from 28 to 20 a pixel in
    thousands is rounded to the other grey level.

    Attributes:
        rows, columns: `(image_size, H)` and `(image_size, W)`; none where nothing is resized.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, network: Handed) -> None:
        super().__init__()
        model, (_, height, width) = network.model, network.shape
        middle, resize = model.image_size // 2, (height, width) != (model.image_size,) * 2
        rows = torch.eye(height).view(height, 1, height, 1).expand(-1, -1, -1, width)
        columns = torch.eye(width).view(width, 1, 1, width).expand(-1, -1, height, -1)
        with torch.no_grad():
            self.rows = model.resized(rows)[:, 0, :, middle].T if resize else None
            self.columns = model.resized(columns)[:, 0, middle].T if resize else None
        scaled = model.normalize != "none"
        self.register_buffer("mean", model.mean if scaled else torch.zeros_like(model.mean))
        self.register_buffer("std", model.std if scaled else torch.ones_like(model.std))

    def forward(self, images: Tensor) -> Tensor:
        pixels = images.float()
        if self.rows is not None and self.columns is not None:
            pixels = (self.rows @ pixels @ self.columns.T).round()
        return (pixels / 255 - self.mean) / self.std


def check_shown(network: Handed, shown: Shown) -> None:
    """Refuse a model whose own `forward` or `preprocess` does something else.

    Raises:
        LabError: its logits differ from those of its network and `Shown`.
    """
    generator = torch.Generator().manual_seed(0)
    shape = (8, *network.shape)
    images = torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator)
    with network.model.judging():
        logits, expected = network.model.network(shown(images)), network.model(images)
    if not torch.allclose(logits, expected, rtol=1e-3, atol=1e-3):
        raise LabError(
            f"checkpoint={network.checkpoint}: {network.model.name} has a forward or preprocess of "
            "its own; .pt2 takes it along"
        )
