"""A run's best weights, and what they make of the test images."""

import logging
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback, ModelCheckpoint
from lightning.pytorch.utilities.model_helpers import is_overridden
from torch import Tensor

from mnist_lab.data import DataModule
from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.models import Classifier, checkpoint
from mnist_lab.system.processes import gathered
from mnist_lab.training.attributes import attributes
from mnist_lab.training.stopping import trained_epochs

log = logging.getLogger(__name__)


def load_best(model: L.LightningModule, trainer: L.Trainer) -> dict[str, Any]:
    """Put the best checkpoint's weights into the model; its epoch and metrics."""
    trainer.fit_loop.epoch_progress.current.completed = trained_epochs(trainer)
    callbacks = attributes(trainer).callbacks
    savers = [callback for callback in callbacks if isinstance(callback, ModelCheckpoint)]
    saver = next((saver for saver in savers if saver.monitor is not None), None)
    saver = saver or next(iter(savers), None)
    if saver is None or not saver.best_model_path:
        return {"epoch": trainer.current_epoch - 1, "metrics": dict(trainer.callback_metrics)}
    content = checkpoint.read(saver.best_model_path)
    model.load_state_dict(content["state_dict"])
    return {"epoch": content["epoch"], "metrics": content["mnist_lab"]["metrics"]}


def tested(
    data: L.LightningDataModule, model: L.LightningModule, trainer: L.Trainer
) -> Evaluation | None:
    """What the model makes of the test split, in its order; its own `test_step` logs, too.

    None, and a line says it, where a stranger's model gives no logits `(N, K)`.
    """
    predictions = _Predictions()
    attributes(trainer).callbacks.append(predictions)
    if not is_overridden("test_step", model):  # a stranger's; without one Lightning doesn't test
        setattr(model, "test_step", _nothing)  # noqa: B010  # no method: it isn't of the class
    trainer.test(model, datamodule=data, verbose=False)
    if not predictions.good:
        log.info("%s: its forward gives no logits (N, K) of images: there is no evaluation, and "
                 "nothing that is made of one.", type(model).__name__)  # fmt: skip
        return None
    return predictions.evaluation(data.classes if isinstance(data, DataModule) else None)


def _nothing(batch: Any, batch_idx: int) -> None:
    """A test step of a model whose logits are all that there is to know."""


class _Predictions(Callback):
    """Keeps what the model makes of the test split, in its order."""

    def __init__(self) -> None:
        self._logits: list[Tensor] = []
        self._labels: list[Tensor] = []
        self.good = True
        """Whether it makes logits, as one of ours always does."""

    def on_test_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        *args: Any,
    ) -> None:
        logits = outputs if isinstance(pl_module, Classifier) else pl_module(batch[0])
        self.good &= isinstance(logits, Tensor) and logits.ndim == 2
        if self.good:
            self._logits.append(logits)
            self._labels.append(batch[1])

    def on_test_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.world_size > 1 and self.good:
            self._logits, self._labels = _in_order(self._logits), _in_order(self._labels)

    def evaluation(self, classes: list[str] | None) -> Evaluation:
        """Of the images that have been tested; there must be some."""
        logits = torch.cat(self._logits).cpu().double()
        names = classes or [str(label) for label in range(logits.shape[1])]
        return Evaluation(logits.log_softmax(1), torch.cat(self._labels).cpu(), names)


def _in_order(own: list[Tensor]) -> list[Tensor]:
    """Whole batches of those that processes took every n-th image of, on the CPU."""
    batches = []
    for parts in zip(*gathered([batch.cpu() for batch in own]), strict=True):
        batch = parts[0].new_empty(sum(map(len, parts)), *parts[0].shape[1:])
        for rank, part in enumerate(parts):
            batch[rank :: len(parts)] = part
        batches.append(batch)
    return batches
