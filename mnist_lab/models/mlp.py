"""Fully connected networks."""

from collections.abc import Sequence
from typing import Unpack

from torch import nn

from mnist_lab.models.classifier import Classifier, Shared
from mnist_lab.models.layers import Activation, Norm, dense
from mnist_lab.settings.ranges import Count, Share


class MLP(Classifier):
    """Hidden layers of the given sizes over all pixels.

    Args:
        hidden: units of each hidden layer.
        dropout: of each hidden layer's outputs.
    """

    def __init__(
        self,
        hidden: Sequence[Count] = (784, 128),
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: Share = 0.0,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        inputs = self.hparams["in_channels"] * self.image_size**2
        head = dense(inputs, hidden, self.num_classes, activation, norm, dropout)
        self.network = nn.Sequential(nn.Flatten(), *head)
