"""What a finished run leaves beside its checkpoints: result, predictions, tables."""

import contextlib
import csv
import io
import json
import logging
import platform
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import lightning
import lightning.pytorch as L
import torch
from rich.console import Console
from rich.table import Table
from torch import nn

import mnist_lab
from mnist_lab import predictions
from mnist_lab.continuation import ended_by
from mnist_lab.data import DataModule
from mnist_lab.data.loader import batch_bounds
from mnist_lab.evaluation import Evaluation
from mnist_lab.files import whole
from mnist_lab.models import Classifier
from mnist_lab.models.classifier import shortest

log = logging.getLogger(__name__)
Result = dict[str, Any]


def result_of(
    status: str,
    data: DataModule,
    model: Classifier,
    trainer: L.Trainer,
    seconds: Mapping[str, float | None],
    config_hash: str | None = None,
    commit: Mapping[str, str | bool] | None = None,
    best: Mapping[str, Any] | None = None,
    tested: Evaluation | None = None,
) -> Result:
    """The content of `result.json`.

    Args:
        status: `completed` or `diverged`; without a `best` there are no metrics.
        seconds: by phase: `data`, `fit`, `test`, `total`.
        commit: of the code that ran, as `git` tells it.
        best: epoch and metrics of the checkpoint that counts.
        tested: what it made of the test images, if it was shown them.
    """
    expected = [f"{split}/{name}" for split in ("val", "test") for name in model.metrics]
    found: dict[str, Any] = dict.fromkeys(expected)
    for split, logged in (
        ("val", best["metrics"] if best is not None else {}),
        ("test", trainer.callback_metrics if tested is not None else {}),
    ):
        found |= {key: value for key, value in logged.items() if key.startswith(f"{split}/")}
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    bounds = batch_bounds(len(data.tensors("train")[1]), data.batch_size, trainer.world_size)
    per_epoch = int(trainer.num_training_batches)
    bounds += [bounds[-1]] * (per_epoch + 1 - len(bounds))  # a loader of one's own merges nothing
    images = batches // per_epoch * bounds[per_epoch] + bounds[batches % per_epoch]
    fit = seconds["fit"] or 0
    return {
        "status": status,
        "metrics": {
            key: None if value is None else shortest(value) for key, value in found.items()
        },
        "per_class": tested.per_class if tested is not None else None,
        "best_epoch": best["epoch"] if best is not None else None,
        "epochs": trainer.current_epoch,
        "steps": trainer.global_step,
        "ended_by": ended_by(trainer) if status == "completed" else None,
        "parameters": sum(p.numel() for p in model.parameters() if p.requires_grad),
        "seconds": dict(seconds),
        "images_per_second": images / fit if fit else None,
        "seed": data.seed,
        "dataset": data.source.name,
        "model": model.name,
        "device": _device(trainer),
        "precision": str(trainer.precision),
        "config_hash": config_hash,
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "mnist_lab": mnist_lab.__version__,
        },
        "git": commit,
    }


def write_result(folder: Path, result: Result) -> None:
    """`result.json`, last and whole: it says that the run is finished."""
    with whole(folder / "result.json") as file:
        json.dump(result, file, indent=2)
        file.write("\n")


def write_tables(folder: Path, found: Evaluation) -> None:
    """`predictions.csv`, a row an image in the order of its split, and `per_class.csv`."""
    indices = {"index": range(len(found.labels))}
    table = predictions.table(indices, found.probabilities, found.classes, found.labels)
    with whole(folder / "predictions.csv", "wb") as file:
        table.write_csv(file)
    with whole(folder / "per_class.csv", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["class", "precision", "recall", "f1", "support"])
        for name, values in found.per_class.items():
            writer.writerow([name, *values.values()])
        writer.writerow(["macro", *found.macro.values(), len(found.labels)])


def result_table(result: Result) -> str:
    """What a user wants to know of a result, for the console."""
    table = Table("metric", "value")
    for name, value in result["metrics"].items():
        table.add_row(name, "-" if value is None else f"{value:.4f}")
    table.add_row("best epoch", f"{result['best_epoch'] + 1} of {result['epochs']}")
    table.add_row("fit", f"{result['seconds']['fit']:.1f} s")
    table.add_row("images per second", f"{result['images_per_second']:,.0f}")
    return f"{result['model']} on {result['dataset']}\n{_text(table)}"


def layer_table(model: Classifier) -> str:
    """Every layer with its output shape for a batch of one, its parameters, and the totals."""
    table = Table("layer", "output shape", "parameters")
    outputs: list[int] = []

    def row(layer: nn.Module, inputs: Any, output: Any) -> None:
        count = sum(p.numel() for p in layer.parameters())
        while isinstance(output, tuple | list):  # of a recurrent layer, or attention
            output = output[0]
        table.add_row(type(layer).__name__, str(list(output.shape)), f"{count:,}")
        outputs.append(output.numel())

    layers = [m for m in model.network.modules() if not list(m.children())]
    with contextlib.ExitStack() as stack:
        for layer in layers:
            stack.enter_context(layer.register_forward_hook(row))
        stack.enter_context(model.judging())
        model(model.example_input_array)
    total = sum(p.numel() for p in model.parameters())
    table.add_section()
    table.add_row("total", "", f"{total:,}")
    memory = f"{total * 4 / 2**20:.2f} MiB of weights, {sum(outputs) * 4 / 2**10:.0f} KiB"
    return f"{model.name}\n{_text(table)}\n{memory} of outputs per image"


def _text(table: Table) -> str:
    text = io.StringIO()  # not the terminal, which would be given escapes, and so would train.log
    Console(file=text, width=100, force_terminal=False, force_jupyter=False).print(table)
    return text.getvalue().rstrip()


def _device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def git() -> dict[str, str | bool] | None:
    """Commit and cleanness of the checkout that the package lies in; None for an installed one."""
    package = Path(__file__).resolve().parent

    def told(*args: str) -> str:
        command = ["git", "-C", str(package), *args]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    try:
        if Path(told("rev-parse", "--show-toplevel")) != package.parent:
            return None
        return {"commit": told("rev-parse", "HEAD"), "dirty": bool(told("status", "--porcelain"))}
    except (OSError, subprocess.CalledProcessError):  # no git here, or no repository
        return None
