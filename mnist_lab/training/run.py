"""What a run does: fit, test the best checkpoint once, and leave a folder that says so."""

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning.pytorch as L
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger

from mnist_lab import Diverged, LabError
from mnist_lab.data import DataModule, Transform
from mnist_lab.models import Classifier, checkpoint
from mnist_lab.models.classifier import MakeOptimizer, MakeScheduler
from mnist_lab.models.summary import layer_table
from mnist_lab.runs import folder as run_folder
from mnist_lab.runs.described import described
from mnist_lab.runs.result import Result, Seconds, git
from mnist_lab.settings import signatures
from mnist_lab.settings.identity import fingerprint
from mnist_lab.settings.ranges import Seed
from mnist_lab.system.log import ConsoleHandler
from mnist_lab.training import outcome
from mnist_lab.training.checks import (
    _check,
    prepare_to_continue,
)
from mnist_lab.training.collected import Predictions
from mnist_lab.training.continuation import Beginning, LastCheckpoint
from mnist_lab.training.ending import FinishedRun, tell_callbacks
from mnist_lab.training.overhead import lean
from mnist_lab.training.stopping import trained_epochs
from mnist_lab.training.trainer import built_from

log = logging.getLogger(__name__)


_OF_A_RUN = ("config.yaml", "result.json", "checkpoints/last.ckpt")


@dataclass
class Settings:
    """The root of `conf/train.yaml`, as objects: which keys there are, and of which type."""

    seed: Seed
    monitor: str
    mode: Literal["min", "max"]
    folder: str
    init_from: str | None
    resume: str | None
    trust: list[str]
    checkpoint_every_n_steps: int | None
    augment: Transform | None  # before `data` and `model`, which repeat them: errors name these
    optimizer: MakeOptimizer
    scheduler: MakeScheduler
    data: DataModule
    model: Classifier
    trainer: L.Trainer
    sweep: str | None = None  # not in the folders of earlier versions
    test: bool = True


def train(
    data: DataModule,
    model: Classifier,
    trainer: L.Trainer,
    *,
    init_from: str | Path | None = None,
    resume: bool = False,
    test: bool = True,
    plain: dict[str, Any] | None = None,
    started: float | None = None,
) -> Result:
    """Fit, test the best checkpoint once, and leave everything in `trainer.default_root_dir`.

    The best checkpoint is that of the trainer's first `ModelCheckpoint` that monitors something;
    without a validation split it is the last one, and there is no early stopping.

    Args:
        init_from: a checkpoint whose weights to start from.
        resume: continue from the folder's `checkpoints/last.ckpt`, if there is one; without it
            a folder that holds a run is refused.
        test: without, no test image is looked at; callbacks are told of a run without evaluation.
        plain: the configuration that the arguments were built from, for `config.yaml`; without
            it, it is read off them, as far as plain values say it.
        started: `time.perf_counter()` at what counts as the run's start; now, unless given.

    Returns:
        What `result.json` holds; with `fast_dev_run` there is no such file.

    Raises:
        Diverged: the loss is no longer finite; `result.json` says so.
        LabError: data or a checkpoint cannot be had, or doesn't fit; the folder is another run's.
        OSError: the folder cannot be written to; the last checkpoint is as it was.
    """
    started = time.perf_counter() if started is None else started
    folder = Path(trainer.default_root_dir)
    quick: bool = trainer.fast_dev_run  # type: ignore[attr-defined]  # set by the Trainer
    commit = git()  # of what runs, whatever is committed meanwhile
    _check(data, model, trainer, test)
    if not resume and any((folder / name).exists() for name in _OF_A_RUN):
        raise LabError(
            f"{folder}: holds a run; give another folder, or resume=True to go on with it"
        )
    _be_heard()
    writer = trainer.strategy._checkpoint_io or checkpoint.CheckpointIO()
    assert isinstance(writer, checkpoint.CheckpointIO)  # others are refused
    writer.folder = folder.absolute()
    trainer.strategy.checkpoint_io = writer
    last = folder / "checkpoints" / "last.ckpt"
    resumed = last if resume and last.exists() else None
    done = checkpoint.step_to_continue_from(resumed, model) if resumed is not None else 0
    if plain is None and not quick:
        continued = resumed is not None
        plain = _read_off(folder, data, model, trainer, continued, init_from, test)
    incidental = data.source.incidental
    config_hash = None if plain is None else fingerprint(plain, incidental)
    if resumed is not None:
        prepare_to_continue(trainer)
    elif init_from is not None:
        checkpoint.init_from(model, init_from)
    folder.mkdir(parents=True, exist_ok=True)
    _append_to_dashboard(trainer, done)
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the Trainer
    if plain is not None and not quick:
        callbacks.append(Beginning(folder, plain))
    callbacks.sort(key=lambda each: isinstance(each, LastCheckpoint))  # it holds the others' states
    log.info("%s", layer_table(model))
    data.prepare_data()
    if not data.has_validation or trainer.limit_val_batches == 0:
        _train_without_validation(trainer)

    spent: dict[str, float | None] = {"data": None, "fit": None, "test": None}
    start = time.perf_counter()
    try:
        lean(trainer, model)
        with _misconfigured():
            trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
    except Diverged as error:
        spent |= {"data": data.seconds, "fit": _seconds(trainer, start)}
        spent["total"] = time.perf_counter() - started
        result = outcome.result_of(
            "diverged", data, model, trainer, Seconds(**spent), config_hash, commit
        )
        if trainer.is_global_zero:
            result.model_copy(update={"reason": str(error)}).write(folder)
        raise
    spent["fit"] = _seconds(trainer, start)
    trainer.fit_loop.epoch_progress.current.completed = trained_epochs(trainer)
    best = _load_best(model, trainer)
    found = None
    if test:
        predictions = Predictions()
        trainer.callbacks.append(predictions)  # type: ignore[attr-defined]  # likewise
        test_start = time.perf_counter()
        with _misconfigured():
            trainer.test(model, datamodule=data, verbose=False)
        spent["test"] = time.perf_counter() - test_start
        found = predictions.evaluation(data.classes)
    spent |= {"data": data.seconds, "total": time.perf_counter() - started}
    result = outcome.result_of(
        "completed", data, model, trainer, Seconds(**spent), config_hash, commit, best, found
    )
    if trainer.is_global_zero:
        log.info("%s", outcome.result_table(result))
        if not quick:
            log.info("Ended by:     %s", result.ended_by)
            log.info("Run's folder: %s", folder)
            tell_callbacks(FinishedRun(folder, trainer, model, data, found, result))
            result.write(folder)
    return result


def _be_heard() -> None:
    """From Python, where nobody has set logging up, what a run says goes to standard output."""
    package = logging.getLogger("mnist_lab")
    if not (logging.root.handlers or package.handlers):
        package.addHandler(ConsoleHandler())
        package.setLevel(logging.INFO)


def _read_off(
    folder: Path,
    data: DataModule,
    model: Classifier,
    trainer: L.Trainer,
    continued: bool,
    init_from: str | Path | None,
    test: bool,
) -> dict[str, Any] | None:
    """For `config.yaml`; None, and a line says why, where plain values cannot say it all."""
    known = run_folder.read_config(folder) if (folder / "config.yaml").exists() else None
    try:
        if continued and known is None:
            raise signatures.ConfigError("the run that is continued has none")
        root, callbacks = built_from.get(trainer, (None, None))
        if root is None:
            raise signatures.ConfigError("the trainer is not of run.default_trainer")
        if trainer.callbacks != callbacks:  # type: ignore[attr-defined]  # set by the Trainer
            raise signatures.ConfigError("trainer: its callbacks were changed since it was made")
        begun_with = None if init_from is None else str(init_from)
        root = {**root, "init_from": begun_with, "test": test}
        seed = known["seed"] if continued and known is not None else None
        plain = described(data, model, root, seed)
    except signatures.ConfigError as error:
        if known is not None:
            raise LabError(f"{folder}: its config.yaml would no longer be true: {error}") from error
        log.info("No config.yaml, the run can be continued from Python only: %s", error)
        return None
    if known is None:
        return plain
    epochs = {"max_epochs": known["trainer"].get("max_epochs")}
    as_long = {**plain, "trainer": {**plain["trainer"], **epochs}}
    run_folder.refuse_others(folder, as_long, data.source.incidental)
    return run_folder.continued(folder, {"trainer.max_epochs": plain["trainer"]["max_epochs"]})


@contextlib.contextmanager
def _misconfigured() -> Iterator[None]:
    """What Lightning finds only when it sees model and data is the user's, too."""
    try:
        yield
    except (LabError, OSError):
        raise
    except Exception as error:  # any that Lightning raises, of whatever type
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        while frames[-1].f_code.co_name == "__getattr__":  # of a model that lacks something
            frames.pop()
        owners = [frame.f_locals.get("self") for frame in frames]
        logger = next((owner for owner in owners if isinstance(owner, Logger)), None)
        foreign = logger is not None and type(logger).__module__.startswith("lightning.")
        theirs = ("lightning.", "torch.optim.")
        if not (foreign or frames[-1].f_globals["__name__"].startswith(theirs)):
            raise
        owner = logger if foreign else owners[-1]
        part = type(owner).__name__ if isinstance(owner, L.Callback | Logger) else "trainer"
        raise LabError(f"{part}: {' '.join(str(error).split())}") from error


def _append_to_dashboard(trainer: L.Trainer, step: int) -> None:
    """Have TensorBoard drop what a killed process logged there after its last checkpoint."""
    for logger in trainer.loggers:
        if isinstance(logger, TensorBoardLogger):
            logger._kwargs["purge_step"] = step


def _train_without_validation(trainer: L.Trainer) -> None:
    log.info("No validation split: no early stopping, and the last checkpoint is the best.")
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the Trainer
    kept = [each for each in callbacks if not isinstance(each, EarlyStopping)]
    trainer.callbacks = kept  # type: ignore[attr-defined]  # set by the Trainer
    trainer.limit_val_batches = 0
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint):
            callback.monitor = None


def _seconds(trainer: L.Trainer, start: float) -> float:
    """Spent in `Trainer.fit`, in earlier processes of a continued run, too."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the Trainer
    earlier = sum(c.earlier_seconds for c in callbacks if isinstance(c, LastCheckpoint))
    return time.perf_counter() - start + earlier


def _load_best(model: Classifier, trainer: L.Trainer) -> dict[str, Any]:
    """Put the best checkpoint's weights into the model; its epoch and metrics."""
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the Trainer
    savers = [each for each in callbacks if isinstance(each, ModelCheckpoint)]
    saver = next((each for each in savers if each.monitor is not None), None)
    saver = saver or next(iter(savers), None)
    if saver is None or not saver.best_model_path:
        return {"epoch": trainer.current_epoch - 1, "metrics": dict(trainer.callback_metrics)}
    content = checkpoint.read(saver.best_model_path)
    model.load_state_dict(content["state_dict"])
    return {"epoch": content["epoch"], "metrics": content["mnist_lab"]["metrics"]}
