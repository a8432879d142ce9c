"""Networks for the tests of exports."""

import pytest
import torch
from lightning.pytorch import seed_everything
from torch import nn

from mnist_lab.data import DataModule, Digits
from mnist_lab.export.handed import Handed
from mnist_lab.models import LeNet
from mnist_lab.settings.changes import choices
from mnist_lab.settings.conf import make
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer
from tests.commands.runs import NOT_DRAWN

# Of those that are not slow there is each kind of layer.
MODELS = [
    pytest.param(name, marks=[] if name in ("lenet", "speed_cnn") else pytest.mark.slow)
    for name in sorted(choices("model"))
]


def train(folder):
    """A run's folder: LeNet on the bundled digits, for an epoch."""
    data = DataModule(Digits(), val_size=200, seed=3)
    seed_everything(3, verbose=False)
    trainer = default_trainer(folder, max_epochs=1, accelerator="cpu", callbacks=NOT_DRAWN)
    run.train(data, LeNet(), trainer)
    return folder


def network(name, shape=(1, 28, 28), **settings):
    """A network of `conf/model/NAME.yaml` to hand over, normalised, not trained."""
    torch.manual_seed(0)
    model = make(f"model/{name}", **settings)
    model.mean.fill_(0.13)
    model.std.fill_(0.31)
    for layer in model.modules():
        if isinstance(layer, nn.BatchNorm1d | nn.BatchNorm2d):
            layer.running_mean.normal_(std=0.1)
            layer.running_var.uniform_(0.5, 2)
    classes = [str(label) for label in range(model.num_classes)]
    return Handed(name, model.eval(), classes, shape, None, _facts(name, classes))


def _facts(name, classes):
    return {"model": name, "dataset": "digits", "classes": classes, "parameters": 1,
            "checkpoint_sha256": ""}  # fmt: skip


@torch.no_grad()
def logits(network, images):
    return network.model(images).numpy()
