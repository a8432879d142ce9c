"""Fully connected networks."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Unpack

from torch import nn

from mnist_lab.models.classifier import Classifier, Shared
from mnist_lab.models.layers import Activation, Norm, check_sizes, dense


class MLP(Classifier):
    """Hidden layers of the given sizes over all pixels.

    Args:
        hidden: units of each hidden layer.
        dropout: of each hidden layer's outputs.
    """

    def __init__(
        self,
        hidden: Sequence[int] = (784, 128),
        activation: Activation = "relu",
        norm: Norm = "none",
        dropout: float = 0.0,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        check_sizes(hidden=hidden)
        channels = self.hparams["in_channels"]
        sizes = [channels * self.image_size**2, *hidden]
        layers: list[nn.Module] = [nn.Flatten()]
        for inputs, outputs in pairwise(sizes):
            layers += dense(inputs, outputs, activation, norm, dropout)
        self.network = nn.Sequential(*layers, nn.Linear(sizes[-1], self.num_classes))
