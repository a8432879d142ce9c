"""What TensorBoard shows of a run, beside the scalars that the model logs itself."""

import logging
import math
import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from textwrap import indent
from typing import TYPE_CHECKING, Any

import lightning.pytorch as L
import numpy as np
import torch
import yaml
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import TensorBoardLogger
from torch import Tensor
from torch.nn import functional

from mnist_lab.data import DataModule
from mnist_lab.metrics.counts import METRICS
from mnist_lab.models import Classifier
from mnist_lab.reports import events
from mnist_lab.reports.projector import enlarged, seen, tiled, write_embedding
from mnist_lab.runs.result import Result
from mnist_lab.settings.ranges import Count, Ranged
from mnist_lab.training.attributes import attributes
from mnist_lab.training.ending import FinishedRun
from mnist_lab.training.hyperparameters import hyperparameters
from mnist_lab.training.outcome import images_trained

if TYPE_CHECKING:  # takes a while
    from torch.utils.tensorboard import SummaryWriter

log = logging.getLogger(__name__)

_NUMBERED = 20  # classes: the time of a matrix with its counts written in grows with their square
_SHOWN = 32  # images

# The same in all runs: charts that differ would stand beside each other.
_LAYOUT = {
    "train and validation": {  # as `Board` names them, or a logger of Lightning's
        quantity: ["Multiline", [f"^{quantity.title()}/(train|val)$", f"^(train|val)/{quantity}$"]]
        for quantity in ("loss", "accuracy")
    },
    "F1 of each class": {
        name: ["Multiline", [f"^{split}_f1/"]]
        for split, name in (("val", "validation"), ("test", "test"))
    },
}
# Of HParams: the tab shows the first ones without being asked.
_LEADING = ("test/accuracy", "val/accuracy", "test/loss", "val/loss")
_SCORES = tuple(dict.fromkeys([*_LEADING, *(f"test/{name}" for name in sorted(METRICS))]))


class Board(TensorBoardLogger):
    """Lightning's, for a page that opens on accuracy and loss.

    Metrics are called as `events.tag` has it. The number of the epoch is no curve.
    """

    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Write scalars of this step."""
        super().log_metrics({events.tag(k): v for k, v in metrics.items() if k != "epoch"}, step)


class Dashboard(Ranged, Callback):
    """Fills TensorBoard: numbers every epoch, pictures every few, what is final at the end.

    It needs no more than one of Lightning's `TensorBoardLogger` beside it. While training it
    writes images per second, F1 of each validated class, and the validation's confusion matrix.
    What is final it writes when the run has been tested.

    Args:
        pictures_every: epochs from one picture of the confusion matrix to the next; the first and
            the last epoch have one, too. A matrix of more than 20 classes has colours only.
    """

    told_last = True

    def __init__(self, pictures_every: Count = 5) -> None:
        self.pictures_every = pictures_every
        self._start = self._paused = 0.0
        self._batches = 0

    def _open(
        self, trainer: L.Trainer, model: L.LightningModule, data: L.LightningDataModule
    ) -> None:
        stored = Path(trainer.default_root_dir) / "config.yaml"
        if stored.exists():
            text = stored.read_text()
        else:  # a run from Python
            text = yaml.safe_dump(hyperparameters(data, model, trainer), sort_keys=False)
        for board in _boards(trainer):
            board.add_custom_scalars(_LAYOUT)
            board.add_text("configuration", indent(text, "    "), 0)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Within an epoch, where a run goes on there."""
        self._batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        self._start = time.perf_counter()

    def on_train_epoch_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        """Before a run's first step: the charts' layout, and the configuration as text."""
        if trainer.global_step == 0:
            self._open(trainer, pl_module, attributes(trainer).datamodule)
        self._batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        self._start = time.perf_counter()

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._paused = time.perf_counter()

    # At the evaluation's end: at its epoch's end the model has its counts only after callbacks.
    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.sanity_checking or not isinstance(pl_module, Classifier):
            return
        if "val" in pl_module.scores:  # else a subclass validates in a way of its own
            step, epoch = _step(trainer), trainer.current_epoch
            due = epoch % self.pictures_every == 0 or epoch + 1 == trainer.max_epochs
            classes = pl_module.classes or [str(k) for k in range(pl_module.num_classes)]
            for board in _boards(trainer):
                _add_f1(board, "val", pl_module.scores["val"].by_class["f1"], classes, step)
                if due:
                    picture = _confusion(pl_module.scores["val"].confusion, classes)
                    board.add_image("val/confusion", picture, step, dataformats="HWC")
        self._start += time.perf_counter() - self._paused  # not spent training

    def on_train_epoch_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        seconds = time.perf_counter() - self._start
        batches = trainer.fit_loop.epoch_loop.batch_progress.total.completed
        loader = trainer.train_dataloader
        now, before = (images_trained(loader, trainer, count) for count in (batches, self._batches))
        if now is not None and before is not None:
            for board in _boards(trainer):
                board.add_scalar("images_per_second", (now - before) / seconds, _step(trainer))

    def on_run_end(self, run: FinishedRun) -> None:
        """All that is final but `Figures`' pictures; nothing of a run that was not tested."""
        model, data, evaluation = run.model, run.data, run.evaluation
        if evaluation is None:
            return
        step = run.trainer.global_step  # a run that is continued from here drops it all
        labels, probabilities = evaluation.labels.numpy(), evaluation.probabilities.numpy()
        for board in _boards(run.trainer):
            _add_f1(board, "test", evaluation.scores.by_class["f1"], evaluation.classes, step)
            for index, name in enumerate(evaluation.classes):
                truth, given = labels == index, probabilities[:, index]
                board.add_pr_curve(f"test_pr/{name}", truth, given, step)
            if isinstance(data, DataModule) and isinstance(model, Classifier):
                board.add_image("inputs", _inputs(model, data), step)
                write_embedding(Path(board.log_dir), model, data, evaluation.predictions)
            _add_hyperparameters(board, hyperparameters(data, model, run.trainer), run.result, step)
            board.flush()
            log.info("Dashboard:    tensorboard --logdir %s", shlex.quote(str(run.folder)))


def _boards(trainer: L.Trainer) -> Iterator["SummaryWriter"]:
    if trainer.is_global_zero:
        for logger in trainer.loggers:
            if isinstance(logger, TensorBoardLogger):
                yield logger.experiment


def _step(trainer: L.Trainer) -> int:
    """That of the epoch's own scalars."""
    return max(0, trainer.global_step - 1)


def _add_f1(
    board: "SummaryWriter", split: str, values: Tensor, classes: Sequence[str], step: int
) -> None:
    for name, value in zip(classes, values.tolist(), strict=True):
        if not math.isnan(value):  # a class that is neither there nor predicted
            board.add_scalar(f"{split}_f1/{name}", value, step)


def _confusion(counts: Tensor, classes: list[str]) -> np.ndarray[Any, np.dtype[np.uint8]]:
    """Counts `(K, K)` as a picture `(H, W, 3)`; without numbers, dark is the row's share."""
    if len(classes) > _NUMBERED:
        shares = counts / counts.sum(1, keepdim=True).clamp(min=1)
        grey = (255 * (1 - shares.sqrt())).round().to(torch.uint8)  # few are seen, too
        large = enlarged(grey[None, None], 600)[0, 0]
        return large.unsqueeze(2).expand(-1, -1, 3).numpy()
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    from mnist_lab.reports import figures

    canvas: Any = FigureCanvasAgg(figures.confusion_matrix(counts, classes))  # untyped
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3]


def _inputs(model: Classifier, data: DataModule) -> Tensor:
    """Some training images as a picture `(3, H, W)`; with augmentation, on the right of it once
    more as it left them."""
    images = data.tensors("train")[0][:_SHOWN]
    panels = [seen(model, images)]
    if data.augment is not None:
        devices = [images.device] if images.is_cuda else []
        with torch.random.fork_rng(devices):  # whoever goes on is left the same random numbers
            panels.append(seen(model, data.augment(images)))
    gap = 2
    sheets = [tiled(enlarged(panel, 64), 8, gap) for panel in panels]
    return torch.cat([functional.pad(panel, (10 * gap, 0), value=255) for panel in sheets], 2)


def _add_hyperparameters(
    board: "SummaryWriter", given: Mapping[str, Any], result: Result, step: int
) -> None:
    """A row of the HParams tab, in which the columns of metrics are the same for all runs.

    Lightning's and torch's own ways leave out the column of what a run doesn't have, and the tab
    takes its columns from any one run.
    """
    from torch.utils.tensorboard import summary as summaries

    values = {f"final/{key.replace('/', '_')}": result.metrics[key] for key in _SCORES}
    assert result.best_epoch is not None  # of a run that was completed
    values["final/best_epoch"] = result.best_epoch + 1  # as people count; in files from 0
    values["final/parameters"] = result.parameters
    values["final/images_per_second"] = result.images_per_second
    values["final/fit_seconds"] = result.seconds.fit
    for name, value in values.items():
        if value is not None:
            board.add_scalar(name, value, step)
    made: Any = summaries  # which gives this function no types
    for summary in made.hparams(dict(given), values):
        events.add(board, summary, step)
