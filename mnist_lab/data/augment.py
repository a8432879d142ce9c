"""Random transforms of a whole batch at once, each image its own, on the batch's device."""

import functools
import math
from collections.abc import Callable
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor
from torch.nn import functional

from mnist_lab.settings.ranges import Count, LessThanOne, NotNegative, Positive, Ranged, Share


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
        return _sampled(
            images, functional.affine_grid(theta, list(images.shape), align_corners=False)
        )


class RandomElastic(Ranged):
    """Bend each image by a smooth random field of its own (elastic distortion).

    Simard, Steinkraus and Platt, "Best Practices for Convolutional Neural Networks Applied to
    Visual Document Analysis", ICDAR 2003: every pixel takes its value from where a vector points
    whose components are noise of -1..1, smoothed by a Gaussian, and multiplied.

    Args:
        alpha: the factor, in pixels; the paper's 34 moves a pixel by 1.4 on either axis (root mean
            square), 8 by 0.3.
        sigma: the Gaussian's deviation in pixels, four of which it reaches; outside is 0.
    """

    def __init__(self, alpha: NotNegative = 34.0, sigma: Positive = 4.0) -> None:
        self.alpha, self.sigma = alpha, sigma

    def __call__(self, images: Tensor) -> Tensor:
        """Bend `(N, C, H, W)` uint8 images; what comes in from outside is black."""
        count, _, height, width = images.shape
        right, down = self.field(count, height, width, images.device).unbind(1)
        columns = torch.arange(width, device=images.device)
        rows = torch.arange(height, device=images.device).unsqueeze(1)
        # In coordinates from -1 to 1 along each axis; written in place, which halves the time.
        grid = torch.empty(count, height, width, 2, device=images.device)
        torch.add((2 * columns + 1) / width - 1, right, alpha=2 / width, out=grid[..., 0])
        torch.add((2 * rows + 1) / height - 1, down, alpha=2 / height, out=grid[..., 1])
        return _sampled(images, grid)

    def field(self, count: int, height: int, width: int, device: torch.device) -> Tensor:
        """Random displacements `(N, 2, H, W)` in pixels, to the right and down."""
        # Smoothing sums up hundreds of the paper's uniform numbers, and cannot be told from that of
        # normal ones of the same deviation; of these as many are enough as the Gaussian lets pass.
        columns = _passed(height, self.sigma, device)
        rows = _passed(width, self.sigma, device)
        noise = torch.randn(count, 2, columns.shape[1], rows.shape[1], device=device)
        return columns @ (noise * (self.alpha / math.sqrt(3))) @ rows.T


class RandomFlip(Ranged):
    """Mirror some images, left to right.

    Args:
        share: of the images that are, one by one.
    """

    def __init__(self, share: Share = 0.5) -> None:
        self.share = share

    def __call__(self, images: Tensor) -> Tensor:
        """Mirror some of `(N, C, H, W)` uint8 images."""
        chosen = torch.rand(len(images), 1, 1, 1, device=images.device) < self.share
        return torch.where(chosen, images.flip(3), images)


class RandomErasing(Ranged):
    """Blacken a square in each image, at a random place (cutout).

    DeVries and Taylor, "Improved Regularization of Convolutional Neural Networks with Cutout",
    2017: the square's middle lies anywhere in the image, so that some of it may lie outside.

    Args:
        side: of the square, in pixels.
        share: of the images, that this is done to.
    """

    def __init__(self, side: Count = 8, share: Share = 0.5) -> None:
        self.side, self.share = side, share

    def __call__(self, images: Tensor) -> Tensor:
        """Blacken a part of `(N, C, H, W)` uint8 images."""
        count, _, height, width = images.shape
        hit, top, left = torch.rand(3, count, 1, device=images.device)
        rows = _within(height, top, self.side)
        columns = _within(width, left, self.side)
        erased = rows.unsqueeze(2) & columns.unsqueeze(1) & (hit < self.share).unsqueeze(2)
        return images.masked_fill(erased.unsqueeze(1), 0)


class Compose:
    """Transforms by name, one after another."""

    def __init__(self, **transforms: Callable[[Tensor], Tensor]) -> None:
        self.transforms = transforms

    def __call__(self, images: Tensor) -> Tensor:
        """Transform `(N, C, H, W)` uint8 images, in the order in which they were named."""
        for transform in self.transforms.values():
            images = transform(images)
        return images


class OneOf:
    """Transforms by name, one of which each image goes through, or none: all equally likely."""

    def __init__(self, **transforms: Callable[[Tensor], Tensor]) -> None:
        self.transforms = transforms

    def __call__(self, images: Tensor) -> Tensor:
        """Transform `(N, C, H, W)` uint8 images: as many by each as by the others."""
        order = torch.randperm(len(images), device=images.device)
        changed = images.clone()
        # An image's place is random and the shares are fixed: nobody waits for a count.
        shares = order.tensor_split(len(self.transforms) + 1)
        for places, transform in zip(shares[1:], self.transforms.values(), strict=True):
            if len(places):
                changed[places] = transform(images[places])
        return changed


class EachImage:
    """A transform that draws once a call, applied to each image by itself.

    torchvision's are such: given a batch, `torchvision.transforms.v2.RandomRotation` turns all of
    it by one angle. Image by image it takes twenty times as long as the transforms here, which draw
    for every image of a batch at once.
    """

    def __init__(self, transform: Callable[[Tensor], Tensor]) -> None:
        self.transform = transform

    def __call__(self, images: Tensor) -> Tensor:
        """Transform `(N, C, H, W)` uint8 images, each given as `(C, H, W)`."""
        return torch.stack([self.transform(image) for image in images])


def _sampled(images: Tensor, grid: Tensor) -> Tensor:
    """Images at the places `(N, H, W, 2)` of a grid, each in coordinates from -1 to 1."""
    moved = functional.grid_sample(
        images.float(), grid, mode="bilinear", padding_mode="zeros", align_corners=False
    )
    return moved.round_().to(torch.uint8)


@functools.lru_cache(maxsize=8)
def _passed(size: int, sigma: float, device: torch.device) -> Tensor:
    """What a Gaussian makes of noise along a line: its directions times what it leaves of them.

    Those of which it leaves less than a thousandth are left out: of 28 pixels, 10 of sigma 4 stay.
    """
    reach = round(4 * sigma)
    steps = torch.arange(size, dtype=torch.float64)
    distance = steps.view(-1, 1) - steps
    kernel = torch.exp(-(torch.arange(-reach, reach + 1) / sigma).square() / 2).sum()
    smoothing = torch.exp(-(distance / sigma).square() / 2) * (distance.abs() <= reach) / kernel
    directions, shares, _ = torch.linalg.svd(smoothing)
    kept = shares > shares[0] / 1000
    passed: Tensor = (directions * shares)[:, kept].float()
    return passed.to(device)


def _within(size: int, place: Tensor, side: int) -> Tensor:
    """Which pixels of a line `(N, size)` lie in a stretch whose middle is at `place` of 0..1."""
    start = (place * size).floor() - side // 2
    steps = torch.arange(size, device=place.device)
    return (steps >= start) & (steps < start + side)
