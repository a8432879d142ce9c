"""What callbacks and loggers are told of a run's end."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L

from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.runs.result import Result
from mnist_lab.training.attributes import attributes


@dataclass(frozen=True)
class FinishedRun:
    """A run whose best weights have been found and tested; `result.json` is written after this.

    Attributes:
        folder: the run's.
        trainer: which fitted and tested; its `loggers` are still open.
        model: with the weights that were tested.
        evaluation: of the test images, in their order; None where none were looked at.
        result: what `result.json` will hold.
    """

    folder: Path
    trainer: L.Trainer
    model: L.LightningModule
    data: L.LightningDataModule
    evaluation: Evaluation | None
    result: Result


def tell_callbacks(run: FinishedRun) -> None:
    """Call `on_run_end(run)` of every callback that has it, in the order of the trainer's.

    Those with `told_last = True`, which gather what the others left in the run's folder, come
    after all others.
    """
    callbacks = attributes(run.trainer).callbacks
    for callback in sorted(callbacks, key=lambda callback: getattr(callback, "told_last", False)):
        if hasattr(callback, "on_run_end"):
            callback.on_run_end(run)


@contextlib.contextmanager
def loggers_told(trainer: L.Trainer) -> Iterator[None]:
    """Around a run; however it ends, call `on_run_closed()` of every logger that has it.

    By then `result.json` has been written, or there will be none.
    """
    try:
        yield
    finally:
        for logger in trainer.loggers:
            if hasattr(logger, "on_run_closed"):
                logger.on_run_closed()
