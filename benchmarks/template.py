"""`python -m benchmarks.template FOLDER`: two epochs of LeNet as one writes them from a template.

FOLDER is torchvision's, with MNIST in it. Images are PIL's, through torchvision's transforms and a
DataLoader; accuracy is torchmetrics', by step; loggers write CSV and TensorBoard; Rich has the bar.
"""

import sys
import tempfile

import lightning.pytorch as L
import torch
from lightning.pytorch.callbacks import ModelCheckpoint, RichProgressBar
from lightning.pytorch.loggers import CSVLogger, TensorBoardLogger
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.data import DataLoader, random_split
from torchmetrics.classification import MulticlassAccuracy
from torchvision import datasets, transforms


class Template(L.LightningModule):
    """LeNet, its optimizer and its metrics in one class."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Sequential(
            *(nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2)),
            *(nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2)),
            *(nn.Flatten(), nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh()),
            nn.Linear(84, 10),
        )
        self.accuracy = nn.ModuleDict({f"{x}_": MulticlassAccuracy(10) for x in ("train", "val")})

    def _step(self, batch: tuple[Tensor, Tensor], split: str) -> Tensor:
        images, labels = batch
        logits = self.network(images)
        loss = functional.cross_entropy(logits, labels)
        metric = self.accuracy[f"{split}_"]
        metric(logits, labels)
        self.log(f"{split}/loss", loss, on_step=split == "train", on_epoch=True, prog_bar=True)
        self.log(f"{split}/acc", metric, on_step=split == "train", on_epoch=True, prog_bar=True)
        return loss

    def training_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return self._step(batch, "train")

    def validation_step(self, batch: tuple[Tensor, Tensor], index: int) -> Tensor:
        return self._step(batch, "val")

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.Adam(self.parameters(), lr=1e-3)


def main() -> None:
    seen = transforms.Compose(
        [transforms.Resize(32), transforms.ToTensor(), transforms.Normalize((0.1307,), (0.3081,))]
    )
    train, val = random_split(datasets.MNIST(sys.argv[1], transform=seen), [55_000, 5_000])
    with tempfile.TemporaryDirectory() as folder:
        trainer = L.Trainer(
            max_epochs=2,
            accelerator="cpu",
            default_root_dir=folder,
            logger=[CSVLogger(folder), TensorBoardLogger(folder)],
            callbacks=[RichProgressBar(), ModelCheckpoint(monitor="val/acc", mode="max")],
        )
        trainer.fit(Template(), DataLoader(train, 64, shuffle=True), DataLoader(val, 64))


if __name__ == "__main__":
    main()
