"""What a run does: fit, test the best checkpoint once, and leave a folder that says so."""

import contextlib
import logging
import math
import shlex
import time
import traceback
import warnings
from collections.abc import Iterator, Mapping, MutableMapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import lightning.pytorch as L
import torch
from lightning.fabric.loggers.logger import Logger
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from lightning.pytorch.loggers import TensorBoardLogger
from omegaconf import OmegaConf
from torch.nn.modules.batchnorm import _BatchNorm

from mnist_lab import Diverged, LabError, command, config, parts, pictures, record, report
from mnist_lab import folder as run_folder
from mnist_lab.callbacks import Predictions
from mnist_lab.continuation import Beginning, LastCheckpoint, trained_epochs
from mnist_lab.dashboard import Dashboard
from mnist_lab.data import DataModule, Transform
from mnist_lab.described import described
from mnist_lab.lean import lean
from mnist_lab.models import Classifier, checkpoint
from mnist_lab.models.classifier import MakeOptimizer, MakeScheduler
from mnist_lab.record import Result

log = logging.getLogger(__name__)

_OF_A_RUN = ("config.yaml", "result.json", "checkpoints/last.ckpt")

# What `default_trainer` made each trainer from, and the callbacks that it had then.
_made: MutableMapping[L.Trainer, tuple[dict[str, Any], list[L.Callback]]] = WeakKeyDictionary()


@dataclass
class Settings:
    """The root of `conf/train.yaml`, as objects: which keys there are, and of which type."""

    seed: int
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


def precision(accelerator: str = "auto") -> Literal["32-true", "bf16-mixed"]:
    """bf16 where the accelerator computes with it natively, else 32 bits."""
    cuda = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    native = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"


def quieten() -> None:
    """Lightning's announcements (hardware, products) and what it deprecates in itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The number of training batches .* log_every_n_steps")
    warnings.filterwarnings("ignore", "The `srun` command is available")
    # Of several processes' values, which have been put together already.
    warnings.filterwarnings("ignore", r"It is recommended to use .*sync_dist=True")


def default_trainer(
    folder: str | Path,
    *,
    monitor: str = "val/accuracy",
    mode: Literal["min", "max"] | None = None,
    **settings: Any,
) -> L.Trainer:
    """The trainer of `conf/trainer/default.yaml`, with these of its settings changed.

    Callbacks and loggers come as a dictionary by name, `callbacks={"rate": LearningRateMonitor()}`,
    and stand beside the others (or in the place of the one of that name, with None for none);
    a list replaces all of them.

    Args:
        mode: whether less or more of `monitor` is better: its name says it, but for that of a
            metric of one's own.

    Raises:
        ConfigError: a setting that Lightning's Trainer doesn't have, or a value that doesn't fit.
    """
    quieten()
    default = OmegaConf.load(Path(config.CONF) / "trainer" / "default.yaml")
    better = config.mode_of(monitor, mode)
    root = {"monitor": monitor, "mode": better, "checkpoint_every_n_steps": None}
    cfg = OmegaConf.create({**root, "trainer": default}, flags={"allow_objects": True})
    for key, value in settings.items():
        OmegaConf.update(cfg, f"trainer.{key}", value, merge=isinstance(value, Mapping))
    root = config.to_plain(cfg)
    plain = config.in_folder(root, Path(folder))
    config.check(plain["trainer"], L.Trainer, "trainer.")
    built: L.Trainer = config.build(plain)["trainer"]
    _made[built] = root, [*built.callbacks]  # type: ignore[attr-defined]  # set by the Trainer
    return built


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
        test: without, no test image is looked at, and `result.json` is all that is left.
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
    commit = record.git()  # of what runs, whatever is committed meanwhile
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
    config_hash = None if plain is None else config.fingerprint(plain, incidental)
    if resumed is not None:
        parts.prepare_to_continue(trainer)
    elif init_from is not None:
        checkpoint.init_from(model, init_from)
    folder.mkdir(parents=True, exist_ok=True)
    _append_to_dashboard(trainer, done)
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the Trainer
    if plain is not None and not quick:
        callbacks.append(Beginning(folder, plain))
    callbacks.sort(key=lambda each: isinstance(each, LastCheckpoint))  # it holds the others' states
    dashboard = next((each for each in callbacks if isinstance(each, Dashboard)), None)
    log.info("%s", record.layer_table(model))
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
        result = record.result_of("diverged", data, model, trainer, spent, config_hash, commit)
        if trainer.is_global_zero:
            record.write_result(folder, {**result, "reason": str(error)})
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
    if found is not None and not quick and trainer.is_global_zero:
        drawn = pictures.of_run(model, data, trainer, found, best["epoch"])
        pictures.save(folder / "figures", drawn)
    spent |= {"data": data.seconds, "total": time.perf_counter() - started}
    result = record.result_of(
        "completed", data, model, trainer, spent, config_hash, commit, best, found
    )
    if trainer.is_global_zero:
        if found is not None and not quick:
            record.write_tables(folder, found)
            if dashboard is not None:
                dashboard.close(trainer, model, data, found, result)
            report.write_report(folder, result)
        if not quick:
            record.write_result(folder, result)
        log.info("%s", record.result_table(result))
        if not quick:
            log.info("Ended by:     %s", result["ended_by"])
            log.info("Run's folder: %s", folder)
            log.info("Report:       %s", folder / "report.html")
            log.info("Dashboard:    tensorboard --logdir %s", shlex.quote(str(folder)))
    return result


def _be_heard() -> None:
    """From Python, where nobody has set logging up, what a run says goes to standard output."""
    package = logging.getLogger("mnist_lab")
    if not (logging.root.handlers or package.handlers):
        package.addHandler(command.ConsoleHandler())
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
            raise config.ConfigError("the run that is continued has none")
        root, callbacks = _made.get(trainer, (None, None))
        if root is None:
            raise config.ConfigError("the trainer is not of run.default_trainer")
        if trainer.callbacks != callbacks:  # type: ignore[attr-defined]  # set by the Trainer
            raise config.ConfigError("trainer: its callbacks were changed since it was made")
        begun_with = None if init_from is None else str(init_from)
        root = {**root, "init_from": begun_with, "test": test}
        seed = known["seed"] if continued and known is not None else None
        plain = described(data, model, root, seed)
    except config.ConfigError as error:
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


def _check(data: DataModule, model: Classifier, trainer: L.Trainer, test: bool) -> None:
    """What none of them can know alone."""
    parts.check_data(data)
    parts.check_model(model)
    parts.check_callbacks(trainer)
    if len(data.classes) != model.num_classes:
        raise LabError(
            f"model.num_classes={model.num_classes}: {data.source.name} has {len(data.classes)}"
        )
    epochs = trainer.max_epochs
    if epochs == 0 or (epochs == -1 and trainer.max_steps == -1):
        raise LabError(f"trainer.max_epochs={epochs}: must be at least 1")
    for name in ("limit_train_batches", "max_steps"):
        if getattr(trainer, name) == 0:
            raise LabError(f"trainer.{name}=0: nothing would be trained")
    for name in ("accumulate_grad_batches", "check_val_every_n_epoch", "val_check_interval"):
        value = getattr(trainer, name)
        if isinstance(value, int | float) and value <= 0:
            raise LabError(f"trainer.{name}={value}: must be positive")
    if str(trainer.precision) in ("16-true", "bf16-true"):
        mixed = str(trainer.precision).replace("true", "mixed")
        raise LabError(f"trainer.precision={trainer.precision}: sums would stall; {mixed} has none")
    if test and trainer.limit_test_batches == 0:
        raise LabError("trainer.limit_test_batches=0: it is test=false that leaves the test out")
    size = data.source.sizes.get("test")
    if test and size is not None and isinstance(trainer.limit_test_batches, float):
        batches = math.ceil(size / data.eval_batch_size)
        if int(trainer.limit_test_batches * batches) == 0:
            raise LabError(
                f"trainer.limit_test_batches={trainer.limit_test_batches}: nothing of {batches} "
                "test batches; test=false leaves the test out"
            )
    if data.batch_size == 1 and any(isinstance(m, _BatchNorm) for m in model.modules()):
        raise LabError("data.batch_size=1: batch normalisation needs two images at least")
    known = [f"val/{name}" for name in model.metrics]
    callbacks: list[L.Callback] = trainer.callbacks  # type: ignore[attr-defined]  # set by the Trainer
    for callback in callbacks:
        if isinstance(callback, ModelCheckpoint | EarlyStopping):
            monitor = callback.monitor
            if monitor is not None and monitor not in known:
                raise LabError(f"monitor={monitor}: no such metric{config.hint(monitor, known)}")
            if monitor is not None:
                config.mode_of(monitor, callback.mode)


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
