"""What ends a fit before its last epoch."""

import math
from collections.abc import Mapping
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.callbacks import EarlyStopping as LightningEarlyStopping
from torch import Tensor

from mnist_lab import Diverged
from mnist_lab.system.processes import gathered
from mnist_lab.training.attributes import attributes


class EarlyStopping(LightningEarlyStopping):
    """As Lightning's, but a run killed after it had stopped doesn't train on when continued."""

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.wait_count >= self.patience:
            trainer.should_stop = True


def trained_epochs(trainer: L.Trainer) -> int:
    """How many epochs there were, the last one included."""
    loop: Any = trainer.fit_loop  # declared as any loop, and always one of epochs
    # Where all had been trained before, Lightning's `current_epoch` doesn't count the last.
    return int(loop.epoch_progress.current.processed)


def ended_by(trainer: L.Trainer) -> str:
    """What ended a fit, in words."""
    epochs = trained_epochs(trainer)
    if trainer.global_step == trainer.max_steps:
        return f"trainer.max_steps={trainer.max_steps}"
    if epochs == trainer.max_epochs:
        return f"trainer.max_epochs={epochs}"
    for callback in attributes(trainer).callbacks:
        if isinstance(callback, LightningEarlyStopping) and callback.stopping_reason_message:
            reason = callback.stopping_reason_message.removesuffix(" Signaling Trainer to stop.")
            reason = reason.removeprefix("Monitored metric ").rstrip(".")
            return f"early stopping after epoch {epochs}: {reason}"
    return f"a callback after epoch {epochs}"


def looks_every(trainer: L.Trainer) -> int:
    """Steps from one look at what makes the device or other processes wait to the next.

    As often as a step is logged; where none is (0), every 50.
    """
    return attributes(trainer).log_every_n_steps or 50


class Divergence(Callback):
    """Ends a run whose loss is not finite, before a checkpoint of it is written.

    A process alone on a CPU looks at every step; elsewhere, where looking would make the device
    or other processes wait, it is every `log_every_n_steps`-th and the epoch's last.
    """

    _loss: Tensor | None = None

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, outputs: Any, *args: Any
    ) -> None:
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if not isinstance(loss, Tensor):
            return  # a subclass's step that has skipped the batch, or that optimizes by itself
        self._loss = loss.detach()
        alone = self._loss.device.type == "cpu" and trainer.world_size == 1
        if alone or trainer.global_step % looks_every(trainer) == 0:
            self._look(trainer)

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._look(trainer)

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._look(trainer)

    def _look(self, trainer: L.Trainer) -> None:
        if self._loss is None:
            return
        loss = self._loss.item()
        if trainer.world_size > 1:
            loss = sum(gathered(loss))  # so that they all end at the same step
        if math.isfinite(loss):
            return
        rate = trainer.optimizers[0].param_groups[0]["lr"]
        raise Diverged(
            f"the training loss is {loss} at step {trainer.global_step}, "
            f"learning rate {float(rate):g}"
        )
