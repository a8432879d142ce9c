"""What a run does: fit, test the best checkpoint once, and leave a folder that says so."""

import contextlib
import logging
import time
import traceback
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L

from mnist_lab import Diverged, LabError, Pruned
from mnist_lab.runs.result import Result, git
from mnist_lab.system.log import ConsoleHandler
from mnist_lab.training.attributes import attributes
from mnist_lab.training.beginning import begin, refuse_a_run_in
from mnist_lab.training.checks import check
from mnist_lab.training.ending import FinishedRun, loggers_told, tell_callbacks
from mnist_lab.training.handover import Facts
from mnist_lab.training.hyperparameters import tell_loggers
from mnist_lab.training.outcome import result_of, result_table
from mnist_lab.training.teachers import load_teachers
from mnist_lab.training.testing import load_best, tested

log = logging.getLogger(__name__)

_LOGGERS = ("lightning.pytorch.loggers.", "lightning.fabric.loggers.")


def train(
    data: L.LightningDataModule,
    model: L.LightningModule,
    trainer: L.Trainer,
    *,
    init_from: str | Path | None = None,
    resume: bool = False,
    test: bool = True,
    trust: Sequence[str] = (),
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
        trust: packages of yours whose classes the checkpoints of `model.distil` may name.
        plain: the configuration that the arguments were built from, for `config.yaml`; without
            it, it is read off them, as far as plain values say it.
        started: `time.perf_counter()` at what counts as the run's start; now, unless given.

    Returns:
        What `result.json` holds; with `fast_dev_run` there is no such file. If a callback gave the
        run up, by raising `Pruned`, its status says so, and nothing was tested.

    Raises:
        Diverged: the loss is no longer finite; `result.json` says so.
        LabError: data or a checkpoint cannot be had, or doesn't fit; the folder is another run's.
        OSError: the folder cannot be written to; the last checkpoint is as it was.
    """
    started = time.perf_counter() if started is None else started
    folder = Path(trainer.default_root_dir)
    quick = attributes(trainer).fast_dev_run
    commit = git()  # of what runs, whatever is committed meanwhile
    test = test and Facts.of(data).tests
    check(data, model, trainer, test)
    last = folder / "checkpoints" / "last.ckpt"
    resumed = last if resume and last.exists() else None
    if not resume:
        refuse_a_run_in(folder)
    load_teachers(data, model, trust)
    _be_heard()
    config_hash = begin(data, model, trainer, plain, resumed, init_from, test)

    seconds: dict[str, float] = {}
    ended = partial(result_of, data, model, trainer, seconds, started, config_hash, commit)
    with loggers_told(trainer):
        try:
            with _timed(seconds, "fit"), _misconfigured():
                trainer.fit(model, datamodule=data, ckpt_path=resumed, weights_only=True)
        except Diverged as error:
            result = ended("diverged", reason=str(error))
            if trainer.is_global_zero:
                result.write(folder)
            raise
        except Pruned as error:
            log.info("Pruned: %s", error)
            result = ended("pruned", reason=str(error))
            if trainer.is_global_zero:
                result.write(folder)
            return result
        best = load_best(model, trainer)
        evaluation = None
        if test:
            with _timed(seconds, "test"), _misconfigured():
                evaluation = tested(data, model, trainer)
        result = ended("completed", best=best, tested=evaluation)
        if trainer.is_global_zero:
            log.info("%s", result_table(result))
            if not quick:
                log.info("Ended by:     %s", result.ended_by)
                log.info("Run's folder: %s", folder)
                tell_loggers(trainer, result=result)
                tell_callbacks(FinishedRun(folder, trainer, model, data, evaluation, result))
                result.write(folder)
        return result


def _be_heard() -> None:
    """From Python, where nobody has set logging up, what a run says goes to standard output."""
    package = logging.getLogger("mnist_lab")
    if not (logging.root.handlers or package.handlers):
        package.addHandler(ConsoleHandler())
        package.setLevel(logging.INFO)


@contextlib.contextmanager
def _timed(seconds: dict[str, float], phase: str) -> Iterator[None]:
    start = time.perf_counter()
    try:
        yield
    finally:
        seconds[phase] = time.perf_counter() - start


@contextlib.contextmanager
def _misconfigured() -> Iterator[None]:
    """What Lightning finds only when it sees model and data is the user's, too."""
    try:
        yield
    except (LabError, OSError):
        raise
    except Exception as error:  # any that Lightning raises, of whatever type
        places = [
            (frame.f_globals["__name__"], frame.f_code.co_qualname)
            for frame, _ in traceback.walk_tb(error.__traceback__)
        ]
        while places[-1][1].endswith("__getattr__"):  # of a model that lacks something
            places.pop()
        module, name = places[-1]
        for outer, called in places:  # what a logger calls to log elsewhere is the logger's, too
            if outer.startswith(_LOGGERS) and "<locals>" not in called:  # no decorator
                module, name = outer, called
                break
        if not module.startswith(("lightning.", "torch.optim.")):
            raise
        named = module.startswith(("lightning.pytorch.callbacks.", *_LOGGERS))
        raise LabError(f"{name.partition('.')[0] if named else 'trainer'}: {error}") from error
