"""Residual networks for small images in colour."""

from collections.abc import Sequence
from typing import Unpack

import torch
from torch import Tensor, nn
from torch.nn import functional

from mnist_lab.models.classifier import Classifier, Shared
from mnist_lab.settings.ranges import Count


class ResNet(Classifier):
    """He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, section 4.2.

    A 3x3 convolution, stages of residual blocks, each stage after the first on half the pixels a
    side, the average of each channel's map, and a linear layer. Three stages of three blocks are
    the paper's ResNet-20, but that shortcuts to more channels are 1x1 convolutions (its option B)
    where there they have no weights.

    Args:
        widths: channels of the stages.
        blocks: residual blocks of each, of two convolutions.
    """

    def __init__(
        self,
        widths: Sequence[Count] = (16, 32, 64),
        blocks: Count = 3,
        **shared: Unpack[Shared],
    ) -> None:
        super().__init__(**shared)
        channels = self.hparams["in_channels"]
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 3, padding=1, bias=False),
            nn.BatchNorm2d(widths[0]),
            nn.ReLU(),
        ]
        channels = widths[0]
        for stage, width in enumerate(widths):
            for place in range(blocks):
                layers.append(_Block(channels, width, 2 if stage and not place else 1))
                channels = width
        layers += [nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(channels, self.num_classes)]
        # As in `ConvNet`: less time a step on a CPU than with the default format.
        self.network = nn.Sequential(*layers).to(memory_format=torch.channels_last)


class _Block(nn.Module):
    """Two 3x3 convolutions, whose result is added to what came in."""

    def __init__(self, channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, width, 3, stride=stride, padding=1, bias=False)
        self.first_norm = nn.BatchNorm2d(width)
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.second_norm = nn.BatchNorm2d(width)
        self.shortcut: nn.Module = nn.Identity()
        if stride > 1 or width != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels, width, 1, stride=stride, bias=False), nn.BatchNorm2d(width)
            )

    def forward(self, images: Tensor) -> Tensor:
        changed = functional.relu(self.first_norm(self.first(images)))
        return functional.relu(self.second_norm(self.second(changed)) + self.shortcut(images))
