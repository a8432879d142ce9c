"""Networks that are accurate for their size."""

from collections.abc import Sequence
from typing import Literal, Unpack

import torch
from torch import nn

from mnist_lab.models.classifier import Classifier, Shared
from mnist_lab.settings.ranges import Count, Share

_KERNEL = 3  # pixels a side


class CompactNet(Classifier):
    """3x3 convolutions without padding on images halved early, batch-normalised before the ReLU.

    Blocks are parted by 2x2 max pooling. Without padding no kernel sees a made-up border, and maps
    shrink as they would by more pooling. Pooling comes before the normalisation, which then has a
    quarter of the values to see.

    Args:
        stem: channels of the first convolution.
        early: how that halves the sides: `stride`, 5x5 by steps of two; `unshuffle`, 3x3 on
            squares of 2x2 pixels made one pixel of four channels (space to depth); `pool`, 3x3
            followed by max pooling, with the fewest weights and more to compute; or `none`: 3x3,
            and the first block works on all pixels.
        widths: for each block the channels of its convolutions.
        separable: each convolution is one 3x3 kernel a channel, then a 1x1 mixture of channels
            (Howard et al., "MobileNets", 2017), about an eighth of the weights.
        tied: all convolutions that leave the same number of channels as it is have the same
            weights, and a normalisation each.
        head: what the last layer sees: the `average` of each channel's map, or all of it (`flat`).
        dropout: of what the last layer sees.
    """

    def __init__(
        self,
        stem: Count = 24,
        early: Literal["stride", "unshuffle", "pool", "none"] = "stride",
        widths: Sequence[Sequence[Count]] = ((48, 48), (96,)),
        separable: bool = False,
        tied: bool = False,
        head: Literal["average", "flat"] = "average",
        dropout: Share = 0.0,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        channels, size = self.hparams["in_channels"], self.image_size
        if early == "stride":
            layers: list[nn.Module] = [nn.Conv2d(channels, stem, 5, stride=2, bias=False)]
            size = (size - 5) // 2 + 1
        elif early == "unshuffle":
            if size % 2:
                raise ValueError(f"early=unshuffle: image_size={size} is odd")
            layers = [nn.PixelUnshuffle(2), nn.Conv2d(4 * channels, stem, _KERNEL, bias=False)]
            size = size // 2 - _KERNEL + 1
        else:
            layers = [nn.Conv2d(channels, stem, _KERNEL, bias=False)]
            size = size - _KERNEL + 1
            if early == "pool":
                layers.append(nn.MaxPool2d(2))
                size //= 2
        layers += [nn.BatchNorm2d(stem), nn.ReLU()]
        channels = stem
        one: dict[int, list[nn.Module]] = {}  # for each number of channels that it leaves
        for index, block in enumerate(widths):
            for place, width in enumerate(block):
                if size < _KERNEL:
                    raise ValueError(f"image_size={self.image_size} is too small for these blocks")
                if tied and width == channels and width in one:
                    layers += one[width]
                else:
                    convolution = _convolution(channels, width, separable)
                    layers += convolution
                    if width == channels:
                        one[width] = convolution
                channels, size = width, size - _KERNEL + 1
                if place == len(block) - 1 and index < len(widths) - 1:
                    layers.append(nn.MaxPool2d(2))
                    size //= 2
                layers += [nn.BatchNorm2d(width), nn.ReLU()]
        if head == "average":
            layers.append(nn.AdaptiveAvgPool2d(1))
            size = 1
        layers.append(nn.Flatten())
        if dropout:
            layers.append(nn.Dropout(dropout))
        network = nn.Sequential(*layers, nn.Linear(channels * size**2, self.num_classes))
        # As in `ConvNet`: less time a step on a CPU than with the default format.
        self.network = network.to(memory_format=torch.channels_last)


def _convolution(channels: int, width: int, separable: bool) -> list[nn.Module]:
    """Without biases, which the batch normalisation that follows would undo."""
    if not separable:
        return [nn.Conv2d(channels, width, _KERNEL, bias=False)]
    return [
        nn.Conv2d(channels, channels, _KERNEL, groups=channels, bias=False),
        nn.Conv2d(channels, width, 1, bias=False),
    ]
