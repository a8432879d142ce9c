"""Random transforms of a whole batch at once, each image its own, on the batch's device."""

import math
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor
from torch.nn import functional

from mnist_lab.settings.ranges import LessThanOne, NotNegative, Ranged


class RandomAffine(Ranged):
    """Rotate, scale and shift each image by its own amount, drawn uniformly.

    Args:
        degrees: rotation, up to this angle either way.
        scale: size, by a factor between `1 - scale` and `1 + scale`.
        shift: translation, up to this many pixels either way, along each axis.
    """

    def __init__(
        self,
        degrees: Annotated[float, Interval(ge=0, le=180)] = 0.0,
        scale: LessThanOne = 0.0,
        shift: NotNegative = 0.0,
    ) -> None:
        self.degrees, self.scale, self.shift = degrees, scale, shift

    def __call__(self, images: Tensor) -> Tensor:
        """Transform `(N, C, H, W)` uint8 images; what comes in from outside is black."""
        count, _, height, width = images.shape
        angle, scale, right, down = torch.rand(4, count, device=images.device) * 2 - 1
        angle = angle * math.radians(self.degrees)
        cos, sin = torch.cos(angle), torch.sin(angle)
        zoom = 1 / (1 + scale * self.scale)
        # An output pixel's place in the input, in coordinates from -1 to 1 along each axis.
        turn = torch.stack(
            [
                torch.stack([cos, sin * (height / width)], 1),
                torch.stack([-sin * (width / height), cos], 1),
            ],
            1,
        ) * zoom.view(-1, 1, 1)
        offset = torch.stack([right / width, down / height], 1) * (2 * self.shift)
        # The shift comes last, so that it is what it says whatever the rotation and scale.
        theta = torch.cat([turn, -turn @ offset.unsqueeze(2)], 2)
        grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
        moved = functional.grid_sample(
            images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False
        )
        return moved.round_().to(torch.uint8)
