"""Checkpoints that tests begin with."""

from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import ModelCheckpoint

from mnist_lab import LabError
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import Classifier, load
from mnist_lab.training.handover import HandOver


def small_digits() -> DataModule:
    return DataModule(Digits(), val_size=200, train_size=100, batch_size=50)


def save(model: Classifier, folder: Path, **settings) -> Path:
    """Fit for two steps with what a run uses to keep its best weights; the checkpoint."""
    best = ModelCheckpoint(folder / "checkpoints", "best", enable_version_counter=False)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[best, HandOver()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(model, small_digits())
    return Path(best.best_model_path)


def changed(saved: Path, folder: Path, **parts) -> Path:
    """A copy of the checkpoint with other parts."""
    path = folder / "changed.ckpt"
    torch.save(torch.load(saved, weights_only=True) | parts, path)
    return path


def refused(path: Path, named: Path | None = None) -> str:
    """What the error says, which begins with the path."""
    with pytest.raises(LabError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{named or path}: ")
    return str(caught.value).removeprefix(f"{named or path}: ")
