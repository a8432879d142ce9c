"""A model and data as somebody writes them who has never heard of mnist_lab."""

import lightning.pytorch as L
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Bars(L.LightningDataModule):
    """Images with a bright row: which third it lies in is the class."""

    def __init__(self, batch_size: int = 20, floats: bool = False, tested: bool = True) -> None:
        super().__init__()
        self.batch_size = batch_size
        self.floats = floats
        if not tested:
            self.test_dataloader = super().test_dataloader

    def setup(self, stage: str) -> None:
        generator = torch.Generator().manual_seed(0)
        rows = torch.randint(0, 27, (300,), generator=generator)
        images = torch.randint(0, 60, (300, 1, 28, 28), generator=generator, dtype=torch.uint8)
        images[torch.arange(300), 0, rows] = 200
        if self.floats:
            images = images.float() / 255
        labels = rows // 9
        self.train = TensorDataset(images[:200], labels[:200])
        self.val = TensorDataset(images[200:250], labels[200:250])
        self.test = TensorDataset(images[250:], labels[250:])

    def train_dataloader(self):
        return DataLoader(self.train, self.batch_size, shuffle=True)

    def val_dataloader(self):
        return DataLoader(self.val, self.batch_size)

    def test_dataloader(self):
        return DataLoader(self.test, self.batch_size)


class Net(L.LightningModule):
    """A hidden layer, and a loss that it calls as it likes."""

    def __init__(self, width: int = 16, classes: int = 10) -> None:
        super().__init__()
        self.width = width
        self.classes = classes
        self.layers = nn.Sequential(
            nn.Flatten(), nn.Linear(784, width), nn.ReLU(), nn.Linear(width, classes)
        )

    def forward(self, images):
        return self.layers(images)

    def training_step(self, batch, batch_idx):
        images, labels = batch
        loss = nn.functional.cross_entropy(self(images), labels)
        self.log("train_loss", loss)
        return loss

    def validation_step(self, batch, batch_idx):
        images, labels = batch
        self.log("val_loss", nn.functional.cross_entropy(self(images), labels))

    def configure_optimizers(self):
        return torch.optim.Adam(self.parameters(), lr=3e-3)


class Mute(Net):
    """Whose forward gives something else than logits."""

    def forward(self, images):
        return {"logits": self.layers(images)}

    def training_step(self, batch, batch_idx):
        images, labels = batch
        return nn.functional.cross_entropy(self(images)["logits"], labels)

    validation_step = L.LightningModule.validation_step
