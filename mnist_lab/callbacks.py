"""What happens during a run beside training: console, history, predictions."""

import csv
import logging
import math
import sys
import time
from argparse import Namespace
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from lightning.fabric.loggers.logger import Logger as AnyLogger  # LitLogger is one, and no other
from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.callbacks import Callback, ProgressBar
from lightning.pytorch.loggers import Logger
from torch import Tensor

from mnist_lab.evaluation import Evaluation
from mnist_lab.files import whole
from mnist_lab.models import Classifier
from mnist_lab.models.classifier import shortest
from mnist_lab.processes import gathered

log = logging.getLogger(__name__)


def as_list(**named: Callback | AnyLogger | None) -> list[Callback | AnyLogger]:
    """The values of a dictionary by name, without those that were set to null."""
    return [value for value in named.values() if value is not None]


class Console(ProgressBar):
    """One line per epoch; on a terminal a bar with loss and accuracy of the epoch so far, too."""

    def __init__(self, refresh_seconds: float = 0.2) -> None:
        super().__init__()
        if refresh_seconds <= 0:
            raise ValueError(f"refresh_seconds must be positive, not {refresh_seconds}")
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
        assert isinstance(pl_module, Classifier)
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
        values = trainer.callback_metrics
        parts = [f"epoch {self._pending + 1}/{trainer.max_epochs}"]
        for split in ("train", "val") if self._validated else ("train",):
            if f"{split}/loss" in values:
                loss, accuracy = values[f"{split}/loss"], values[f"{split}/accuracy"]
                parts.append(f"{split} loss {loss:.4f} acc {accuracy:.2%}")
        log.info("%s", "  ".join([*parts, f"{self._seconds:.1f} s"]))
        self._pending, self._validated = None, False

    def _stop(self) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


class History(Logger):
    """`metrics.csv`: every value that is logged once per epoch, one row an epoch.

    What a callback logs past the model (`LearningRateMonitor`, say) comes without an epoch: the
    last of each such value stands in the row of the epoch that is logged next.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: dict[int, dict[str, float]] | None = None
        self._waiting: dict[str, float] = {}  # for their epoch

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """Nothing: they stand in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {
            key: shortest(value)
            for key, value in metrics.items()
            if key != "epoch" and not key.endswith("_step") and not key.startswith("test/")
        }
        if "epoch" not in metrics:
            self._waiting.update(values)
            return
        if not values:
            return
        values, self._waiting = self._waiting | values, {}
        epoch = int(metrics["epoch"])
        if self._rows is None:  # a continued run's earlier epochs; one begun again is overwritten
            self._rows = self._read()
        self._rows.setdefault(epoch, {}).update(values)
        names = sorted({name for row in self._rows.values() for name in row})
        with whole(self.path, newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *names], restval="")
            writer.writeheader()
            for number, row in sorted(self._rows.items()):
                writer.writerow({"epoch": number, **row})

    def series(self) -> dict[str, list[float]]:
        """Each quantity's values from the first epoch on; NaN where there is none."""
        rows = self._read() if self._rows is None else self._rows
        names = {name for row in rows.values() for name in row}
        epochs = range(max(rows, default=-1) + 1)
        return {name: [rows.get(e, {}).get(name, math.nan) for e in epochs] for name in names}

    def _read(self) -> dict[int, dict[str, float]]:
        if not self.path.exists():
            return {}
        with open(self.path, newline="") as file:
            return {
                int(row.pop("epoch")): {key: float(value) for key, value in row.items() if value}
                for row in csv.DictReader(file)
            }


class Predictions(Callback):
    """Keeps what the model makes of the test split, in its order."""

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        *args: Any,
    ) -> None:
        self._logits.append(outputs)
        self._labels.append(batch[1])

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.world_size > 1:
            self._logits, self._labels = _in_order(self._logits), _in_order(self._labels)

    def evaluation(self, classes: Sequence[str]) -> Evaluation:
        """Of the images that have been tested; there must be some."""
        logits = torch.cat(self._logits).cpu().double()
        return Evaluation(logits.log_softmax(1), torch.cat(self._labels).cpu(), classes)


def _in_order(own: list[Tensor]) -> list[Tensor]:
    """Whole batches of those that processes took every n-th image of, on the CPU."""
    batches = []
    for parts in zip(*gathered([batch.cpu() for batch in own]), strict=True):
        batch = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
        for rank, part in enumerate(parts):
            batch[rank :: len(parts)] = part
        batches.append(batch)
    return batches
