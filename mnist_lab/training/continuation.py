"""Callbacks by which a run survives: what checkpoints hold, when they are written, and stops."""

import logging
import random
import shlex
import signal
import threading
import time
from pathlib import Path
from types import FrameType
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
from lightning.pytorch.callbacks import Callback, Checkpoint, GradientAccumulationScheduler

from mnist_lab.settings.ranges import Count, Ranged
from mnist_lab.system.processes import gathered
from mnist_lab.training.attributes import attributes
from mnist_lab.training.stopping import looks_every

log = logging.getLogger(__name__)


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1)


class RandomState(Callback):
    """Every random generator's state, in each checkpoint and back again when a run continues.

    Of several processes each has its own, else they would all drop the same units. One that
    there was not when the checkpoint was written draws from a generator seeded anew.
    """

    def __init__(self) -> None:
        self._loaded: list[dict[str, Any]] = []

    def state_dict(self) -> dict[str, Any]:
        kind, keys, *rest = np.random.get_state()
        own = {
            "torch": torch.get_rng_state(),
            "cuda": torch.cuda.get_rng_state() if _on_cuda() else None,
            "numpy": (kind, np.asarray(keys).tolist(), *rest),
            "python": random.getstate(),
        }
        return {"processes": gathered(own)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict["processes"]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # Not when loaded: until here building the loop may draw numbers of its own.
        if trainer.global_rank < len(self._loaded):
            own = self._loaded[trainer.global_rank]
            torch.set_rng_state(own["torch"])
            if own["cuda"] is not None and _on_cuda():
                torch.cuda.set_rng_state(own["cuda"])  # of the device in use, whatever its number
            np.random.set_state(own["numpy"])
            random.setstate(own["python"])
        elif trainer.global_rank > 0:  # all of them began with the run's seed
            torch.manual_seed(torch.initial_seed() + trainer.global_step + trainer.global_rank)
        self._loaded = []


def _on_cuda() -> bool:
    cuda: Any = torch.cuda  # which gives this function no types
    return bool(cuda.is_initialized())


class LastCheckpoint(Ranged, Checkpoint):
    """`checkpoints/last.ckpt`: after every epoch, every N steps, and when a signal ends the run.

    SIGINT, SIGTERM and SIGUSR1 let the step finish, then exit with 128 + the signal's number;
    a second SIGINT doesn't wait. (SIGUSR2 belongs to cluster launchers.) Several processes agree
    every `log_every_n_steps` on whether one of them was told to end.
    """

    def __init__(self, folder: str, every_n_steps: Count | None = None) -> None:
        self.folder, self.every_n_steps = Path(folder), every_n_steps
        self.path = self.folder / "checkpoints" / "last.ckpt"
        self._signal: int | None = None
        self._ending = False  # with the epoch that has been saved
        self._step = 0
        self._handlers: dict[signal.Signals, Any] = {}
        self._start = 0.0
        self._trainer: L.Trainer | None = None
        self.earlier_seconds = 0.0
        """Spent fitting by earlier processes of this run, but for what they lost."""

    def state_dict(self) -> dict[str, Any]:
        seconds = self.earlier_seconds + time.perf_counter() - self._start
        return {"seconds": seconds, "stopped": getattr(self._trainer, "should_stop", False)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.earlier_seconds = state_dict["seconds"]
        # Told once, the Trainer stops when it may (`min_epochs`), whatever is measured meanwhile.
        if self._trainer is not None and state_dict.get("stopped"):  # not in earlier versions'
            self._trainer.should_stop = True

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._trainer = trainer
        if stage == "fit":
            self._start = time.perf_counter()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for callback in attributes(trainer).callbacks:
            if isinstance(callback, GradientAccumulationScheduler):  # waits for the next epoch
                together = callback.get_accumulate_grad_batches(trainer.current_epoch)
                trainer.accumulate_grad_batches = together
        self._step = trainer.global_step
        if self._step and not trainer.fit_loop.done:
            epoch = trainer.current_epoch + 1
            log.info("Goes on after step %d, in epoch %d.", self._step, epoch)
        # Only now, so that Lightning's own handlers, with which SIGTERM ends in success, are under.
        if threading.current_thread() is threading.main_thread():
            self._handlers = {s: signal.signal(s, self._note) for s in SIGNALS}

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._restore()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._restore()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self._ending:
            self._end(trainer)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._restore()
        if self._ending:
            self._end(trainer)

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        step = trainer.global_step
        if step == self._step:
            return  # gradients are accumulated still; a checkpoint doesn't hold them
        self._step = step
        if trainer.is_last_batch:
            return  # the epoch's end follows, after validation
        told = self._told_to_end(trainer)
        due = self.every_n_steps is not None and step % self.every_n_steps == 0
        if (due or told) and not trainer.fit_loop.done:  # else the epoch's end follows, too
            self._save(trainer)
            if told:
                self._end(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        # It ends only when the epoch's values have been logged, which they are after this.
        self._ending = self._told_to_end(trainer, now=True)
        self._save(trainer)

    def _told_to_end(self, trainer: L.Trainer, now: bool = False) -> bool:
        if trainer.world_size > 1:
            if not now and trainer.global_step % looks_every(trainer):
                return False  # else one would save, and wait for the others, who train on
            self._signal = max(gathered(self._signal or 0))
        return bool(self._signal)

    def _save(self, trainer: L.Trainer) -> None:
        if not attributes(trainer).fast_dev_run:
            trainer.save_checkpoint(self.path)

    def _end(self, trainer: L.Trainer) -> None:
        assert self._signal is not None
        name = signal.Signals(self._signal).name
        log.info("Stopped by %s after step %d.", name, trainer.global_step)
        command = f"python -m mnist_lab.train {shlex.quote(f'resume={self.folder}')}"
        known = (self.folder / "config.yaml").exists()
        log.info("Continue with: %s", command if known else "train(..., resume=True)")
        raise SystemExit(128 + self._signal)

    def _note(self, number: int, frame: FrameType | None) -> None:
        self._signal = number
        if number == signal.SIGINT:  # the next one ends the process, whatever it is doing
            signal.signal(signal.SIGINT, signal.SIG_DFL)

    def _restore(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}
