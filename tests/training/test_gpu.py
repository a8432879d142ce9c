"""What only a machine with CUDA can show; elsewhere these are not collected."""

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import Callback

from mnist_lab.models import ConvNet
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer

pytestmark = pytest.mark.gpu


class NoWaiting(Callback):
    """Has CUDA raise where an operation between two steps makes the host wait for the device."""

    def on_train_batch_start(self, trainer: L.Trainer, *args) -> None:
        if trainer.fit_loop.batch_idx == 1:  # the first batch waits for the epoch's order
            torch.cuda.set_sync_debug_mode("error")

    def on_train_batch_end(self, trainer: L.Trainer, *args) -> None:
        if trainer.is_last_batch:
            torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("compiled", [False, True])
def test_no_step_waits_for_the_device(compiled, digits, tmp_path):
    trainer = default_trainer(tmp_path, max_epochs=3, log_every_n_steps=10**6)
    trainer.callbacks.append(NoWaiting())
    try:
        result = run.train(digits, ConvNet(compile=compiled), trainer)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert digits.tensors("train")[0].is_cuda
    assert result.metrics["test/accuracy"] > 0.9
