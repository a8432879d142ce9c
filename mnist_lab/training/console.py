"""What the console shows of training."""

import logging
import sys
import time
from typing import Any

import lightning.pytorch as L
from lightning.pytorch.callbacks import ProgressBar

from mnist_lab.models import Classifier
from mnist_lab.settings.ranges import Positive, Ranged

log = logging.getLogger(__name__)


class Console(Ranged, ProgressBar):
    """One line per epoch; on a terminal a bar with loss and accuracy of the epoch so far, too."""

    def __init__(self, refresh_seconds: Positive = 0.2) -> None:
        super().__init__()
        self.refresh_seconds = refresh_seconds
        self._enabled = True
        self._bar: Any = None
        self._due = self._epoch_start = 0.0
        self._pending: int | None = None
        self._validated = False  # in the pending epoch; the values of an earlier one stay around

    def disable(self) -> None:
        self._enabled = False

    def enable(self) -> None:
        self._enabled = True

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._epoch_start = time.perf_counter()
        if not (self._enabled and trainer.is_global_zero and sys.stdout.isatty()):
            return
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

        self._bar = Progress(
            "{task.description}",
            BarColumn(),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
            "{task.fields[values]}",
            transient=True,
        )
        self._bar.add_task("", values="")
        self._bar.start()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._report(trainer)
        self._epoch_start = time.perf_counter()
        if self._bar is not None:
            self._bar.reset(
                self._bar.task_ids[0],
                total=int(trainer.num_training_batches),
                description=f"epoch {trainer.current_epoch + 1}/{trainer.max_epochs}",
            )

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        self._pending = trainer.current_epoch
        if self._bar is None or time.perf_counter() < self._due:
            return
        self._due = time.perf_counter() + self.refresh_seconds
        done = trainer.fit_loop.batch_idx + 1
        values = ""
        if isinstance(pl_module, Classifier):
            loss, accuracy = pl_module.running()  # reads from the device: only when it is shown
            values = f"loss {loss:.4f}  accuracy {accuracy:.2%}"
        self._bar.update(self._bar.task_ids[0], completed=done, values=values)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._validated = True

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._seconds = time.perf_counter() - self._epoch_start

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._report(trainer)
        self._stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def _report(self, trainer: L.Trainer) -> None:
        # Called once the epoch's values are complete: the model logs its own after our hook.
        if self._pending is None or not trainer.is_global_zero:
            return
        values = {**trainer.callback_metrics}
        parts = [f"epoch {self._pending + 1}/{trainer.max_epochs}"]
        for split in ("train", "val") if self._validated else ("train",):
            if f"{split}/loss" in values and f"{split}/accuracy" in values:
                loss, accuracy = values[f"{split}/loss"], values[f"{split}/accuracy"]
                parts.append(f"{split} loss {loss:.4f} acc {accuracy:.2%}")
        if not isinstance(trainer.lightning_module, Classifier):  # by the names that it gave
            parts += [f"{name} {value:.4f}" for name, value in values.items()]
        log.info("%s", "  ".join([*parts, f"{self._seconds:.1f} s"]))
        self._pending, self._validated = None, False

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
