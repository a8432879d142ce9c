"""What is told of a run's end: the content of its result."""

import logging
import platform
import time
from collections.abc import Mapping
from typing import Any

import lightning
import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import WeightAveraging
from rich.table import Table

import mnist_lab
from mnist_lab.data import DataModule, TensorLoader
from mnist_lab.data.loader import batch_bounds
from mnist_lab.metrics.evaluation import Evaluation, shortest
from mnist_lab.models import Classifier
from mnist_lab.models.summary import table_text
from mnist_lab.runs.result import ClassScores, Commit, Result, Seconds, Status
from mnist_lab.training.attributes import attributes
from mnist_lab.training.continuation import LastCheckpoint
from mnist_lab.training.handover import Facts, name_of
from mnist_lab.training.stopping import ended_by

log = logging.getLogger(__name__)


def result_of(
    data: L.LightningDataModule,
    model: L.LightningModule,
    trainer: L.Trainer,
    seconds: Mapping[str, float],
    started: float,
    config_hash: str | None,
    commit: Commit | None,
    status: Status,
    best: Mapping[str, Any] | None = None,
    tested: Evaluation | None = None,
    reason: str | None = None,
) -> Result:
    """The content of `result.json`.

    Args:
        seconds: that `fit` and `test` took in this process.
        started: `time.perf_counter()` when the run began.
        commit: of the code that ran, as `git` tells it.
        status: without a `best` there are no metrics, whatever it is.
        best: epoch and metrics of the checkpoint that counts.
        tested: what it made of the test images, if it was shown them.
        reason: of a run that was not completed.
    """
    facts = Facts.of(data)
    callbacks = attributes(trainer).callbacks
    averaged = any(isinstance(callback, WeightAveraging) for callback in callbacks)
    earlier = sum(c.earlier_seconds for c in callbacks if isinstance(c, LastCheckpoint))
    fit = seconds["fit"] + earlier
    batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
    images = images_trained(data.train_dataloader(), trainer, batches)
    per_class = None
    if tested is not None:
        per_class = {k: ClassScores.model_validate(v) for k, v in tested.per_class.items()}
    of_failure = {} if reason is None else {"reason": reason}
    return Result(
        status=status,
        metrics=_metrics(model, trainer, best, tested),
        per_class=per_class,
        best_epoch=best["epoch"] if best is not None else None,
        epochs=trainer.current_epoch,
        steps=trainer.global_step,
        ended_by=ended_by(trainer) if status == "completed" else None,
        weights="averaged" if averaged else "trained",
        parameters=sum(p.numel() for p in model.parameters() if p.requires_grad),
        seconds=Seconds(
            data=data.seconds if isinstance(data, DataModule) else None,
            fit=fit,
            test=seconds.get("test"),
            total=time.perf_counter() - started,
        ),
        images_per_second=images / fit if images is not None and fit else None,
        seed=facts.seed,
        dataset=facts.name,
        model=name_of(model),
        device=_device(trainer),
        precision=str(trainer.precision),
        threads=torch.get_num_threads(),
        config_hash=config_hash,
        versions={
            "python": platform.python_version(),
            "torch": torch.__version__,
            "lightning": lightning.__version__,
            "mnist_lab": mnist_lab.__version__,
        },
        git=commit,
        **of_failure,
    )


def _metrics(
    model: L.LightningModule,
    trainer: L.Trainer,
    best: Mapping[str, Any] | None,
    tested: Evaluation | None,
) -> dict[str, float | None]:
    """What a `Classifier` logs, and else what there is of validation and test.

    Of a stranger's model the test is told as of ours, beside what the model itself has logged.
    """
    names = model.metrics if isinstance(model, Classifier) else Classifier.metrics
    values: dict[str, Any] = {
        f"{split}/{name}": None for split in ("val", "test") for name in names
    }
    logged = dict(best["metrics"]) if best is not None else {}
    values |= {key: value for key, value in logged.items() if key.startswith("val")}
    if tested is not None:
        if not isinstance(model, Classifier):
            values |= {f"test/{name}": value for name, value in tested.scores.means.items()}
        logged = trainer.callback_metrics
        values |= {key: value for key, value in logged.items() if key.startswith("test")}
    return {key: None if value is None else shortest(value) for key, value in values.items()}


def images_trained(loader: Any, trainer: L.Trainer, batches: int) -> float | None:
    """How many images so many batches of a fit are; None where their loader has no such number."""
    per_epoch = int(trainer.num_training_batches)
    if isinstance(loader, TensorLoader):
        bounds = batch_bounds(len(loader.labels), loader.batch_size, loader.world_size)
        return batches // per_epoch * bounds[per_epoch] + bounds[batches % per_epoch]
    try:
        return batches / len(loader) * len(loader.dataset)
    except (AttributeError, TypeError):
        return None


def result_table(result: Result) -> str:
    """What a user wants to know of a result, for the console."""
    table = Table("metric", "value")
    for name, value in result.metrics.items():
        table.add_row(name, _number(value, ".4f"))
    assert result.best_epoch is not None  # of a run that was completed
    table.add_row("best epoch", f"{result.best_epoch + 1} of {result.epochs}")
    if result.weights == "averaged":
        table.add_row("weights", "averaged")
    table.add_row("fit", f"{_number(result.seconds.fit, '.1f')} s")
    table.add_row("images per second", _number(result.images_per_second, ",.0f"))
    return f"{result.model} on {result.dataset}\n{table_text(table)}"


def _number(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _device(trainer: L.Trainer) -> str:
    device = trainer.strategy.root_device
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
