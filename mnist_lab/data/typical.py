"""What training images look like, and what would make others look like them."""

from typing import NamedTuple

import torch
from torch import Tensor


class Typical(NamedTuple):
    """What is known of training images.

    Attributes:
        means: the mean image of each class, `(K, C, H, W)` uint8.
        distance: of an image to the nearest of them, mean and standard deviation.
        peak: the brightest pixel.
    """

    means: Tensor
    distance: tuple[float, float]
    peak: int

    @classmethod
    def of(cls, images: Tensor, labels: Tensor, classes: int) -> "Typical":
        """Of training images `(N, C, H, W)` uint8 and their labels."""
        sums = torch.zeros(classes, *images.shape[1:], device=images.device)
        counts = torch.bincount(labels, minlength=classes)
        for part, of_part in zip(torch.split(images, 1000), torch.split(labels, 1000), strict=True):
            sums.index_add_(0, of_part, part.float())  # whole numbers: exact in any order
        means = (sums / counts.clamp(min=1).view(-1, 1, 1, 1)).round().byte()
        distances = torch.cat(
            [nearest(part, means[counts > 0]) for part in torch.split(images[:5000], 1000)]
        )
        distance = float(distances.mean()), float(distances.std(correction=0))
        return cls(means[counts > 0].cpu(), distance, int(images.max()))


def nearest(images: Tensor, means: Tensor) -> Tensor:
    """Euclidean distance `(N,)` to the nearest of some images, of pixels from 0 to 1."""
    return torch.cdist(images.flatten(1) / 255, means.flatten(1) / 255).amin(1)
