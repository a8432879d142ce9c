"""The sides: ours as users run it, the bare loop, the way of the templates, the known recipe."""

import contextlib
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import torch
from hydra import compose, initialize_config_dir
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, Subset
from torchmetrics.classification import MulticlassAccuracy
from torchvision import datasets, transforms

from mnist_lab.cli.names import register_resolvers
from mnist_lab.data import DataModule
from mnist_lab.data.loader import TensorLoader
from mnist_lab.models import Classifier
from mnist_lab.models.checkpoint import CheckpointIO
from mnist_lab.reports.dashboard import Dashboard
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF, in_folder, to_plain
from mnist_lab.training.handover import HandOver
from mnist_lab.training.overhead import lean

register_resolvers()
_NO_STOPPING = "trainer.callbacks.early_stopping=null"  # there is nothing to go by


def settings(folder: Path, *overrides: str) -> dict[str, Any]:
    """What the command would build from these settings."""
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose("train", [f"folder={folder}", "model.name=model", *overrides])
    return in_folder(to_plain(cfg), folder)


class EpochSeconds(L.Callback):
    """From an epoch's first step to the end of all that follows its last, logging included."""

    def on_train_epoch_start(self, *args: Any) -> None:
        self.start = time.perf_counter()

    def on_train_end(self, *args: Any) -> None:
        self.seconds = time.perf_counter() - self.start


class Ours:
    """An epoch of `python -m mnist_lab.train` with these settings, on data that is kept."""

    def __init__(self, folder: Path, *overrides: str, data: DataModule | None = None) -> None:
        self.folder = folder
        self.overrides = ("data.val_size=0", "trainer.max_epochs=1", _NO_STOPPING, *overrides)
        self.data: DataModule = data or signatures.build(settings(folder, *self.overrides))["data"]
        self.data.tensors("train")

    def __call__(self) -> float:
        built = signatures.build(settings(self.folder, *self.overrides))
        trainer: L.Trainer = built["trainer"]
        trainer.callbacks += [HandOver(), clock := EpochSeconds()]
        trainer.strategy.checkpoint_io = CheckpointIO()
        lean(trainer)
        trainer.fit(built["model"], datamodule=self.data)
        return clock.seconds


class Bare:
    """The loop that one writes by hand: float images in memory, nothing recorded."""

    def __init__(self, ours: Ours) -> None:
        model: Classifier = signatures.build(settings(ours.folder, *ours.overrides))["model"]
        images, self.labels = ours.data.tensors("train")
        with torch.no_grad():
            self.images = torch.cat([model.preprocess(part) for part in images.split(1000)])
        self.batch_size = ours.data.batch_size
        device = self.labels.device
        self.network = model.network.to(device, memory_format=torch.contiguous_format)
        self.optimizer = model._make_optimizer(self.network.parameters())

    def __call__(self) -> None:
        self.network.train()
        order = torch.randperm(len(self.labels), device=self.labels.device)
        for chosen in order.split(self.batch_size):
            loss = functional.cross_entropy(self.network(self.images[chosen]), self.labels[chosen])
            self.optimizer.zero_grad()
            loss.backward()
            self.optimizer.step()
        if self.labels.is_cuda:
            torch.cuda.synchronize()


class Template(L.LightningModule):
    """A network as the templates train it: metrics called and logged at every step."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network, self.accuracy = network, MulticlassAccuracy(10, average="micro")

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = functional.cross_entropy(logits, labels)
        self.log("train/loss", loss, on_step=True, on_epoch=True, prog_bar=True)
        self.accuracy(logits, labels)
        self.log("train/accuracy", self.accuracy, on_step=True, on_epoch=True, prog_bar=True)
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


class Floor:
    """An epoch of the bare loop's network under a Trainer that does nothing else."""

    def __init__(self, bare: Bare) -> None:
        self.model = Template(bare.network)
        self.model.training_step = self._step
        self.model.configure_optimizers = lambda: bare.optimizer
        self.loader = TensorLoader(bare.images, bare.labels, bare.batch_size, shuffle=True)

    def _step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> Tensor:
        return functional.cross_entropy(self.model.network(batch[0]), batch[1])

    def __call__(self) -> None:
        trainer = L.Trainer(max_epochs=1, barebones=True, accelerator="cpu")
        trainer.fit(self.model, self.loader)


class TimedDashboard(Dashboard):
    """Knows how long it has taken."""

    seconds = 0.0


def _timed(name: str) -> Callable[..., None]:
    method = getattr(Dashboard, name)

    def call(self: TimedDashboard, *arguments: Any) -> None:
        start = time.perf_counter()
        method(self, *arguments)
        self.seconds += time.perf_counter() - start

    return call


for _name in vars(Dashboard):
    if _name in ("open", "close") or _name.startswith("on_"):
        setattr(TimedDashboard, _name, _timed(_name))


class Templates:
    """An epoch the way of the templates, with torchvision's MNIST and its best worker count."""

    def __init__(self, ours: Ours, count: int) -> None:
        model: Classifier = signatures.build(settings(ours.folder, *ours.overrides))["model"]
        steps = [transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
        if model.image_size != 28:
            steps.insert(0, transforms.Resize(model.image_size))
        folder = ours.folder.parent / "torchvision"
        raw = folder / "MNIST" / "raw"
        shutil.copytree(ours.data.root / ours.data.source.name, raw, dirs_exist_ok=True)
        images = datasets.MNIST(folder, transform=transforms.Compose(steps))
        self.images = Subset(images, range(count))
        self.network, self.batch_size = model.network, ours.data.batch_size
        self.folder = ours.folder.parent / "template"
        self.device = "gpu" if ours.data.device == "cuda" else "cpu"
        self.workers = min((0, 1, 2), key=self._epoch)

    def __call__(self) -> float:
        return self._epoch(self.workers)

    def _epoch(self, workers: int) -> float:
        loader = DataLoader(
            self.images,
            self.batch_size,
            shuffle=True,
            num_workers=workers,
            pin_memory=self.device == "gpu",
        )
        clock = EpochSeconds()
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stdout(nowhere):  # its bar
            trainer = L.Trainer(
                accelerator=self.device,
                devices=1,
                max_epochs=1,
                default_root_dir=self.folder,
                callbacks=[clock],
                enable_model_summary=False,
            )
            trainer.fit(Template(self.network), loader)
        return clock.seconds


def known_recipe(data: DataModule) -> Callable[[], None]:
    """The fastest known way to 99 %: one epoch in fixed order, and the test, tensors ready."""
    device = data.tensors("train")[1].device
    (images, labels), (tests, truths) = (
        ((x.float() / 255 - 0.1307) / 0.3081, y) for x, y in map(data.tensors, ("train", "test"))
    )

    def once() -> None:
        network = nn.Sequential(
            *(nn.Conv2d(1, 24, 5), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Conv2d(24, 32, 3), nn.MaxPool2d(2), nn.ReLU()),
            *(nn.Flatten(), nn.Linear(800, 256), nn.ReLU(), nn.Linear(256, 10)),
        ).to(device)
        assert sum(p.numel() for p in network.parameters()) == 215_194
        optimizer = torch.optim.Adam(network.parameters(), lr=0.01, betas=(0.7, 0.9))
        steps = -(-len(labels) // 256)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=steps)
        for x, y in zip(images.split(256), labels.split(256), strict=True):
            optimizer.zero_grad()
            functional.cross_entropy(network(x), y).backward()
            optimizer.step()
            schedule.step()
        with torch.no_grad():
            guesses = torch.cat([network.eval()(x).argmax(1) for x in tests.split(1000)])
        assert (guesses == truths).float().mean() > 0.985

    return once
