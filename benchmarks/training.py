"""One epoch of training: ours as users run it, beside a bare loop and the way of templates."""

import time
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra import compose, initialize_config_dir
from torch.nn import functional

from benchmarks.harness import Ratio, compare
from mnist_lab import config, run
from mnist_lab.data import DataModule
from mnist_lab.lean import lean
from mnist_lab.models import Classifier

SMALL_MLP = ["model=mlp", "model.hidden=[64,128,64]", "model.norm=after", "model.dropout=0"]


def configured(folder: Path, *overrides: str) -> dict[str, Any]:
    """What the command would build from these settings."""
    with initialize_config_dir(config.CONF, version_base="1.3"):
        cfg = compose("train", [f"folder={folder}", "model.name=model", *overrides])
    return config.in_folder(config.to_plain(cfg), folder)


class EpochSeconds(L.Callback):
    """From an epoch's first step to the end of all that follows its last, logging included."""

    def on_train_epoch_start(self, *args: Any) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, *args: Any) -> None:
        self.seconds = time.perf_counter() - self.start


class Ours:
    """An epoch of `python -m mnist_lab.train` with these settings, on data that is kept."""

    def __init__(self, folder: Path, *overrides: str) -> None:
        self.folder, self.overrides = folder, overrides
        self.data: DataModule = config.build(configured(folder, *overrides))["data"]
        self.data.tensors("train")

    def __call__(self) -> float:
        built = config.build(configured(self.folder, *self.overrides, "trainer.max_epochs=1"))
        clock = EpochSeconds()
        trainer: L.Trainer = built["trainer"]
        trainer.callbacks.append(clock)  # type: ignore[attr-defined]
        trainer.limit_test_batches = 0
        trainer.strategy.checkpoint_io = run.checkpoint.CheckpointIO()
        lean(trainer, built["model"])
        trainer.fit(built["model"], datamodule=self.data)
        return clock.seconds


class Bare:
    """The loop that one writes by hand: float images in memory, shuffled, nothing recorded."""

    def __init__(self, ours: Ours, memory_format: torch.memory_format = torch.contiguous_format):
        built = config.build(configured(ours.folder, *ours.overrides))
        model: Classifier = built["model"]
        images, self.labels = ours.data.tensors("train")
        with torch.no_grad():
            self.images = torch.cat([model.preprocess(part) for part in images.split(1000)])
        self.batch_size = ours.data.batch_size
        self.network = model.network.to(memory_format=memory_format)
        self.optimizer = built["model"]._make_optimizer(self.network.parameters())

    def __call__(self) -> None:
        self.network.train()
        for chosen in torch.randperm(len(self.labels)).split(self.batch_size):
            loss = functional.cross_entropy(self.network(self.images[chosen]), self.labels[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()


def against_bare(folder: Path) -> list[Ratio]:
    whole = ["data.val_size=0", "trainer.callbacks.early_stopping=null"]
    rows = []
    for batch_size, limit in ((32, 1.20), (128, 1.08), (512, 1.03)):
        ours = Ours(folder, "model=lenet", f"data.batch_size={batch_size}", *whole)
        what = f"an epoch of LeNet, batch {batch_size}"
        rows.append(compare(what, ours, "bare loop", Bare(ours), limit))
    ours = Ours(folder, *SMALL_MLP, "data.batch_size=64", *whole)
    rows.append(compare("an epoch of a small MLP, batch 64", ours, "bare loop", Bare(ours), 1.25))
    ours = Ours(folder, "model=bn_cnn", "data.batch_size=128", *whole)
    rows.append(
        compare(
            "an epoch of bn_cnn, batch 128", ours, "bare loop, default format", Bare(ours), 0.75
        )
    )
    return rows
