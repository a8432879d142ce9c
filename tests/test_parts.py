"""Models that somebody else wrote: what is wrong with one is told in a line."""

import lightning.pytorch as L
import pytest
import torch
from torch import nn

from mnist_lab import LabError, run
from mnist_lab.models import Classifier, LeNet
from mnist_lab.parts import check_model


def of(network, **settings):
    """A Classifier whose constructor makes this of it."""

    class Mine(Classifier):
        def __init__(self):
            super().__init__(**settings)
            if network is not None:
                self.network = network

    return Mine()


@pytest.mark.parametrize(
    ("model", "told"),
    [
        (of(None), "Mine: its constructor must set self.network, from images to logits"),
        (
            of(nn.Sequential(nn.Conv2d(1, 4, 5), nn.ReLU(), nn.Flatten(), nn.Linear(100, 10))),
            "Mine: network.3 (Linear) takes in_features=100, and is given 2304, as [1, 2304]",
        ),
        (
            of(nn.Sequential(nn.Conv2d(3, 4, 5), nn.Flatten(), nn.Linear(2304, 10))),
            "Mine: network.0 (Conv2d) takes in_channels=3, and is given 1, as [1, 1, 28, 28]",
        ),
        (
            of(nn.Sequential(nn.Sequential(nn.Conv2d(1, 4, 5), nn.BatchNorm2d(8)), nn.Flatten())),
            "Mine: network.0.1 (BatchNorm2d) takes num_features=8, and is given 4, "
            "as [1, 4, 24, 24]",
        ),
        (
            of(nn.Sequential(nn.Flatten(), nn.MaxPool2d(2), nn.Linear(784, 10))),
            "Mine: network.1 (MaxPool2d) cannot take [1, 784]: ",
        ),
        (
            of(nn.Sequential(nn.Flatten(), nn.Linear(784, 9))),
            "Mine: of one image its network makes [1, 9]; logits are [1, 10], a number a class",
        ),
        (
            of(nn.Conv2d(1, 10, 28)),
            "Mine: of one image its network makes [1, 10, 1, 1]; logits are [1, 10]",
        ),
        (
            of(nn.LSTM(28, 10)),
            "Mine: network (LSTM) cannot take [1, 1, 28, 28]: ",
        ),
        (
            L.LightningModule(),
            "LightningModule: must be a Classifier, as those of mnist_lab.models",
        ),
    ],
)
def test_what_does_not_fit_is_named_with_both_sizes(model, told, digits, tmp_path):
    trainer = run.default_trainer(tmp_path / "run", accelerator="cpu")
    with pytest.raises(LabError) as caught:
        run.train(digits, model, trainer)
    assert str(caught.value).startswith(told)
    assert len(str(caught.value).splitlines()) == 1
    assert not (tmp_path / "run").exists()


def test_a_model_that_fits_is_as_it_was():
    model = LeNet().train()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    check_model(model)
    assert model.training
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert not any(layer._forward_hooks or layer._forward_pre_hooks for layer in model.modules())
