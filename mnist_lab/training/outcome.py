"""What is told of a run's end: the content of its result."""

import logging
import platform
from collections.abc import Mapping
from typing import Any, Literal

import lightning
import lightning.pytorch as L
import torch
from rich.table import Table

import mnist_lab
from mnist_lab.data import DataModule
from mnist_lab.data.loader import batch_bounds
from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.models import Classifier
from mnist_lab.models.summary import table_text
from mnist_lab.runs.result import ClassScores, Commit, Result, Seconds
from mnist_lab.training.stopping import ended_by

log = logging.getLogger(__name__)


def result_of(
    status: Literal["completed", "diverged"],
    data: DataModule,
    model: Classifier,
    trainer: L.Trainer,
    seconds: Seconds,
    config_hash: str | None = None,
    commit: Commit | None = None,
    best: Mapping[str, Any] | None = None,
    tested: Evaluation | None = None,
) -> Result:
    """The content of `result.json`.

    Args:
        status: `completed` or `diverged`; without a `best` there are no metrics.
        commit: of the code that ran, as `git` tells it.
        best: epoch and metrics of the checkpoint that counts.
        tested: what it made of the test images, if it was shown them.
    """
    expected = [f"{split}/{name}" for split in ("val", "test") for name in model.metrics]
    metrics: dict[str, Any] = dict.fromkeys(expected)
    for split, logged in (
        ("val", best["metrics"] if best is not None else {}),
        ("test", trainer.callback_metrics if tested is not None else {}),
    ):
        metrics |= {key: value for key, value in logged.items() if key.startswith(f"{split}/")}
    per_class = None
    if tested is not None:
        per_class = {k: ClassScores.model_validate(v) for k, v in tested.per_class.items()}
    fit = seconds.fit or 0
    return Result(
        status=status,
        metrics={k: None if v is None else shortest(v) for k, v in metrics.items()},
        per_class=per_class,
        best_epoch=best["epoch"] if best is not None else None,
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        ended_by=ended_by(trainer) if status == "completed" else None,
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=seconds,
        images_per_second=_images_trained(data, trainer) / fit if fit else None,
        seed=data.seed,
        dataset=data.source.name,
        model=model.name,
        device=_device(trainer),
        precision=str(trainer.precision),
        config_hash=config_hash,
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "mnist_lab": mnist_lab.__version__,
        },
        git=commit,
    )


def result_table(result: Result) -> str:
    """What a user wants to know of a result, for the console."""
    table = Table("metric", "value")
    for name, value in result.metrics.items():
        table.add_row(name, _number(value, ".4f"))
    assert result.best_epoch is not None  # of a run that was completed
    table.add_row("best epoch", f"{result.best_epoch + 1} of {result.epochs}")
    table.add_row("fit", f"{_number(result.seconds.fit, '.1f')} s")
    table.add_row("images per second", _number(result.images_per_second, ",.0f"))
    return f"{result.model} on {result.dataset}\n{table_text(table)}"


def _images_trained(data: DataModule, trainer: L.Trainer) -> int:
    """How many images have been trained on, by earlier processes of a continued run, too."""
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    bounds = batch_bounds(len(data.tensors("train")[1]), data.batch_size, trainer.world_size)
    per_epoch = int(trainer.num_training_batches)
    bounds += [bounds[-1]] * (per_epoch + 1 - len(bounds))  # a loader of one's own merges nothing
    return batches // per_epoch * bounds[per_epoch] + bounds[batches % per_epoch]


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
