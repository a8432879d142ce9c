"""Corruptions of MNIST-C: noise, blur, geometry, intensity. `overlays` and `edges` have the others.

Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019 (arXiv:1906.02337), after
Hendrycks and Dietterich, "Benchmarking Neural Network Robustness to Common Corruptions and
Perturbations", ICLR 2019. Each takes uint8 images `(N, C, H, W)`, of a whole batch at once and on
its device, and gives as many back; what is random follows torch's generator, and all channels of an
image have the same, but for noise. A `severity` is a step of the code published with MNIST-C, and
the default is the one that its images were made with. What comes in from outside is black. What
these classes do otherwise than that code stands in each, and in docs/robustness.md.
"""

import math
from typing import Annotated

import torch
from annotated_types import Interval
from torch import Tensor
from torch.nn import functional

from mnist_lab.settings.ranges import Ranged

Severity = Annotated[int, Interval(ge=1, le=5)]


class ShotNoise(Ranged):
    """An image of few photons: each pixel is a Poisson number of them.

    Args:
        severity: a white pixel's photons, 60, 25, 12, 5 or 3.
    """

    def __init__(self, severity: Severity = 5) -> None:
        self.photons = (60, 25, 12, 5, 3)[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        expected = images.float() * (self.photons / 255)
        return as_bytes(torch.poisson(expected) * (255 / self.photons))


class ImpulseNoise(Ranged):
    """Salt and pepper: some pixels become white or black, either with the same probability.

    Args:
        severity: the share of pixels, 3, 6, 9, 17 or 27 %.
    """

    def __init__(self, severity: Severity = 4) -> None:
        self.share = (0.03, 0.06, 0.09, 0.17, 0.27)[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        drawn = torch.rand(images.shape, device=images.device)
        peppered = images.masked_fill(drawn < self.share / 2, 0)
        return peppered.masked_fill(drawn >= 1 - self.share / 2, 255)


class GlassBlur(Ranged):
    """Through frosted glass: smoothed, pixels swapped with others nearby, smoothed again.

    From the lower right to the upper left, pixel after pixel is swapped, with probability 1/2, with
    one that is up to `delta` rows and columns away; a pass after another. The published code
    smooths images of one channel along columns only, and swaps with pixels above and to the left
    only; here both go either way. At the border it is the nearest pixel inside.

    Args:
        severity: the Gaussian's deviation in pixels, `delta` and how many passes: 0.7, 1, 2; 0.9,
            2, 1; 1, 2, 3; 1.1, 3, 2; 1.5, 4, 2.
    """

    def __init__(self, severity: Severity = 1) -> None:
        steps = ((0.7, 1, 2), (0.9, 2, 1), (1.0, 2, 3), (1.1, 3, 2), (1.5, 4, 2))
        self.sigma, self.delta, self.passes = steps[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        smooth = smoothed(images.float(), self.sigma)
        for _ in range(self.passes):
            smooth = self.shuffled(smooth)
        return as_bytes(smoothed(smooth, self.sigma))

    def shuffled(self, images: Tensor) -> Tensor:
        """One pass over images `(N, C, H, W)`."""
        count, channels, height, width = images.shape
        places, device = height * width, images.device
        apart = torch.randint(-self.delta, self.delta + 1, (2, places, count), device=device)
        apart = apart * torch.randint(2, (places, count), device=device)
        at = torch.arange(places, device=device).unsqueeze(1)
        rows = (at // width + apart[0]).clamp(0, height - 1)
        columns = (at % width + apart[1]).clamp(0, width - 1)
        partners, every = rows * width + columns, torch.arange(count, device=device)
        pixels = images.permute(2, 3, 0, 1).reshape(places, count, channels).clone()
        # Where a pixel goes depends on the swaps before: one place after another, all images each.
        for place in range(places - 1, -1, -1):
            here = pixels[place].clone()
            pixels[place] = pixels[partners[place], every]
            pixels[partners[place], every] = here
        return pixels.view(height, width, count, channels).permute(2, 3, 0, 1)


class MotionBlur(Ranged):
    """Drawn out in a direction of its own, within 45 degrees of the horizontal.

    A pixel is a mean of those on one side of it, a pixel apart, weighted by half a Gaussian: so
    does ImageMagick, which the published code calls, whereby the digit moves, too, by some two
    pixels. That takes whole pixels along the way; here they are interpolated.

    Args:
        severity: how far, and the Gaussian's deviation, in pixels: 10, 3; 15, 5; 15, 8; 15, 12;
            20, 15.
    """

    def __init__(self, severity: Severity = 1) -> None:
        steps = ((10, 3), (15, 5), (15, 8), (15, 12), (20, 15))
        self.radius, self.sigma = steps[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        drawn = torch.rand(len(images), device=images.device)
        return self.along(images, (drawn * 2 - 1) * (math.pi / 4))

    def along(self, images: Tensor, angles: Tensor) -> Tensor:
        """Images drawn out in these directions `(N,)`, in radians from right to down."""
        away = torch.arange(self.radius + 1, device=images.device)
        weights = torch.exp(-(away / self.sigma).square() / 2)
        step = torch.stack([torch.cos(angles), torch.sin(angles)], 1)
        still = torch.eye(2, device=images.device).expand(len(images), 2, 2)
        total = images.float()
        for distance in range(1, self.radius + 1):
            total = total + weights[distance] * _warped(images.float(), still, distance * step)
        return as_bytes(total / weights.sum())


class Shear(Ranged):
    """Slanted to the left or right: rows move by their distance from the middle, times a factor.

    The published code's rows are 8 % farther apart, too, by how scikit-image understood a shear.

    Args:
        severity: the factor, 0.2, 0.4, 0.6, 0.8 or 1.
    """

    def __init__(self, severity: Severity = 2) -> None:
        self.factor = (0.2, 0.4, 0.6, 0.8, 1.0)[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        matrix = torch.eye(2, device=images.device).repeat(len(images), 1, 1)
        matrix[:, 0, 1] = self.factor * _signs(len(images), images.device)
        return as_bytes(_warped(images.float(), matrix))


class Scale(Ranged):
    """Made smaller around the middle.

    Args:
        severity: to 0.9, 0.8, 0.7, 0.6 or 0.5 of the size.
    """

    def __init__(self, severity: Severity = 3) -> None:
        self.factor = (0.9, 0.8, 0.7, 0.6, 0.5)[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        matrix = torch.eye(2, device=images.device).expand(len(images), 2, 2) / self.factor
        return as_bytes(_warped(images.float(), matrix))


class Rotate(Ranged):
    """Turned to the left or right around the middle.

    Args:
        severity: by 0.2, 0.4, 0.6, 0.8 or 1 radian.
    """

    def __init__(self, severity: Severity = 2) -> None:
        self.angle = (0.2, 0.4, 0.6, 0.8, 1.0)[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        angles = self.angle * _signs(len(images), images.device)
        cos, sin = torch.cos(angles), torch.sin(angles)
        matrix = torch.stack([torch.stack([cos, -sin], 1), torch.stack([sin, cos], 1)], 1)
        return as_bytes(_warped(images.float(), matrix))


class Translate(Ranged):
    """Moved to the left or right, and up or down.

    Args:
        severity: by this many pixels along each axis.
    """

    def __init__(self, severity: Severity = 3) -> None:
        self.pixels = severity

    def __call__(self, images: Tensor) -> Tensor:
        still = torch.eye(2, device=images.device).expand(len(images), 2, 2)
        signs = _signs(2 * len(images), images.device).view(-1, 2)
        return as_bytes(_warped(images.float(), still, self.pixels * signs))


class Brightness(Ranged):
    """Brighter by the same amount everywhere, white at most.

    Args:
        severity: by 0.1, 0.2, 0.3, 0.4 or 0.5 of white; of 127.5 half a grey level is rounded up.
    """

    def __init__(self, severity: Severity = 5) -> None:
        self.levels = (26, 51, 77, 102, 128)[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        return images + images.bitwise_not().clamp(max=self.levels)


class Stripe:
    """Inverted in a quarter of the columns on the left and on the right: of 28, in 7 each."""

    def __call__(self, images: Tensor) -> Tensor:
        width = images.shape[3]
        columns = torch.arange(width, device=images.device)
        outside = (columns < width // 4) | (columns >= width - width // 4)
        return torch.where(outside, images.bitwise_not(), images)


def smoothed(images: Tensor, sigma: float) -> Tensor:
    """Float images smoothed by a Gaussian of this deviation, of which four are taken.

    Beyond the border it is the nearest pixel inside.
    """
    rows = _gaussian(images.shape[-2], sigma, images.device)
    columns = _gaussian(images.shape[-1], sigma, images.device)
    return rows @ images @ columns.T


def _gaussian(size: int, sigma: float, device: torch.device) -> Tensor:
    """The matrix `(size, size)` that smooths a line of pixels."""
    reach = int(4 * sigma + 0.5)
    steps = torch.arange(-reach, reach + 1)
    kernel = torch.exp(-(steps / sigma).square() / 2)
    taken = (torch.arange(size).unsqueeze(1) + steps).clamp(0, size - 1)
    matrix = torch.zeros(size, size).scatter_add_(1, taken, kernel.expand(size, -1))
    return (matrix / kernel.sum()).to(device)


def _warped(images: Tensor, matrix: Tensor, offset: Tensor | None = None) -> Tensor:
    """Float images whose pixels are taken from elsewhere, interpolated between four.

    Args:
        matrix: `(N, 2, 2)`; a pixel at a place from the middle, x and y in pixels, is taken from
            `matrix @ place + offset`.
        offset: `(N, 2)`.
    """
    height, width = images.shape[-2:]
    size = torch.tensor([width, height], dtype=torch.float32, device=images.device)
    if offset is None:
        offset = torch.zeros(len(images), 2, device=images.device)
    # In coordinates from -1 to 1 along each axis.
    theta = torch.cat([matrix * size / size.view(2, 1), (offset * 2 / size).unsqueeze(2)], 2)
    grid = functional.affine_grid(theta, list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, padding_mode="zeros", align_corners=False)


def _signs(count: int, device: torch.device) -> Tensor:
    """1 or -1, either with the same probability."""
    return torch.randint(2, (count,), device=device) * 2.0 - 1


def as_bytes(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)
