"""LeNet-5 and its descendants."""

from collections.abc import Sequence
from typing import Literal, Unpack

from torch import nn

from mnist_lab.models.classifier import Classifier, Shared
from mnist_lab.models.layers import ACTIVATIONS, Activation, dense, max_pooled
from mnist_lab.settings.ranges import Count


class LeNet(Classifier):
    """5x5 convolutions, the first two followed by pooling, then fully connected layers.

    As built by default it is LeNet-5 (LeCun et al., "Gradient-Based Learning Applied to Document
    Recognition", 1998) in its usual modern form: every map of one layer sees all of the layer
    before, pooling has no weights, and the output is linear. 61,706 parameters.

    Args:
        widths: maps of each convolution; the third one is the original's C5.
        hidden: units of the fully connected hidden layers.
        pool: how 2x2 pixels become one.
    """

    def __init__(
        self,
        widths: Sequence[Count] = (6, 16, 120),
        hidden: Sequence[Count] = (84,),
        activation: Activation = "tanh",
        pool: Literal["average", "max"] = "average",
        **shared: Unpack[Shared],
    ) -> None:
        shared.setdefault("image_size", 32)
        super().__init__(**shared)
        channels, size = self.hparams["in_channels"], self.image_size
        layers: list[nn.Module] = []
        for index, width in enumerate(widths):
            layers += [nn.Conv2d(channels, width, 5), ACTIVATIONS[activation]()]
            channels, size = width, size - 4
            if index < 2:
                averaged = [*layers, nn.AvgPool2d(2)]
                layers = averaged if pool == "average" else max_pooled(layers, 2)
                size //= 2
            if size < 1:
                raise ValueError(
                    f"image_size={self.image_size} is too small for {len(widths)} convolutions"
                )
        head = dense(channels * size**2, hidden, self.num_classes, activation)
        self.network = nn.Sequential(*layers, nn.Flatten(), *head)
