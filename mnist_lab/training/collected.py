"""What the model makes of the test split."""

import logging
from collections.abc import Sequence
from typing import Any

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from mnist_lab.metrics.evaluation import Evaluation
from mnist_lab.system.processes import gathered

log = logging.getLogger(__name__)


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
