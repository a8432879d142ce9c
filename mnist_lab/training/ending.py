"""What callbacks and loggers are told of a run's end."""

import contextlib
import logging
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback

from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.models import checkpoint
from mnist_lab.runs.result import Result
from mnist_lab.system import processes
from mnist_lab.training.attributes import attributes
from mnist_lab.training.handover import HandOver
from mnist_lab.training.testing import tested

log = logging.getLogger(__name__)


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


def artefacts(trainer: L.Trainer) -> dict[str, Callback]:
    """Callbacks that can do their work later, too, by what they `leave` in the run's folder."""
    callbacks = attributes(trainer).callbacks
    return {each.leaves: each for each in callbacks if hasattr(each, "leaves")}


def draw_later(folder: Path, trainer: L.Trainer) -> None:
    """Spare the run its artefacts; what is left of a shorter run's is no longer true, and goes."""
    for name, callback in artefacts(trainer).items():
        attributes(trainer).callbacks.remove(callback)
        path = folder / name
        if processes.rank() == 0:
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def draw_now(
    folder: Path,
    result: Result,
    data: L.LightningDataModule,
    model: L.LightningModule,
    trainer: L.Trainer,
) -> None:
    """Make the artefacts that a finished run lacks, of what its best checkpoint makes of the tests.

    Raises:
        LabError: data or the checkpoint cannot be had.
    """
    spared = artefacts(trainer)
    if all((folder / name).exists() for name in spared):
        return
    log.info("Draws what it was spared: %s", ", ".join(spared))
    model.load_state_dict(checkpoint.read(folder)["state_dict"])
    callbacks, loggers = attributes(trainer).callbacks, trainer.loggers
    attributes(trainer).callbacks = [HandOver()]
    trainer.loggers = []  # which have been told
    evaluation = tested(data, model, trainer)
    attributes(trainer).callbacks, trainer.loggers = [*spared.values()], loggers
    if trainer.is_global_zero:
        tell_callbacks(FinishedRun(folder, trainer, model, data, evaluation, result))
    attributes(trainer).callbacks = callbacks
    for logger in loggers:
        logger.finalize("success")


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
