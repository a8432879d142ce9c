"""Corruptions of MNIST-C that lay something over an image: fog, spatter, lines.

Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019 (arXiv:1906.02337); like
those in `corruptions`.
"""

import torch
from torch import Tensor

from mnist_lab.data.corruptions import Severity, as_bytes, smoothed
from mnist_lab.settings.ranges import Ranged

_SHARE = 16  # images that look into the same fog


class Fog(Ranged):
    """Fog over the image: a plasma fractal is added, and all of it made darker to fit.

    The fractal is that of Fournier, Fussell and Carpenter, "Computer Rendering of Stochastic
    Models", Communications of the ACM 25, 1982 (diamond-square), on a map of 256 x 256 whose
    borders meet, of values from 0 to 1. Up to 16 images look into the same map, each at a random
    place: the published code makes a map for each image, and shows its upper left corner alone.

    Args:
        severity: how thick (times the brightest pixel's white), and by how much finer detail is
            fainter: 1.5, 2; 2, 2; 2.5, 1.7; 2.5, 1.5; 3, 1.4. Of half the distance the fractal's
            noise is the square of the latter smaller.
    """

    def __init__(self, severity: Severity = 5) -> None:
        steps = ((1.5, 2.0), (2.0, 2.0), (2.5, 1.7), (2.5, 1.5), (3.0, 1.4))
        self.thickness, self.decay = steps[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        count, _, height, width = images.shape
        size = max(256, 1 << (max(height, width) - 1).bit_length())
        maps = plasma(-(-count // _SHARE), size, self.decay, images.device)
        top, left = torch.randint(size, (2, count, 1), device=images.device)
        rows = (top + torch.arange(height, device=images.device)) % size
        columns = (left + torch.arange(width, device=images.device)) % size
        which = torch.arange(count, device=images.device) // _SHARE
        fog = maps[which.view(-1, 1, 1), rows.unsqueeze(2), columns.unsqueeze(1)].unsqueeze(1)
        bright = images.float() / 255
        brightest = bright.amax((1, 2, 3), keepdim=True)
        faded = (bright + self.thickness * fog) * brightest / (brightest + self.thickness)
        return as_bytes(faded * 255)


def plasma(count: int, size: int, decay: float, device: torch.device) -> Tensor:
    """Plasma fractals `(count, size, size)` of values from 0 to 1; `size` is a power of two.

    Between points that are known, at ever smaller distances, the mean of the four around it and
    noise, which is divided by the square of `decay` when the distance is halved.
    """
    maps = torch.zeros(count, 1, 1, device=device)
    noise = 1.0
    while maps.shape[1] < size:
        known = maps.shape[1]
        finer = torch.zeros(count, 2 * known, 2 * known, device=device)
        # Corners of squares, which meet around the border; middles of squares; of their sides.
        corners, right, below = maps, maps.roll(-1, 2), maps.roll(-1, 1)
        middles = _noisy((corners + right + below + right.roll(-1, 1)) / 4, noise)
        finer[:, ::2, ::2], finer[:, 1::2, 1::2] = corners, middles
        finer[:, ::2, 1::2] = _noisy((corners + right + middles + middles.roll(1, 1)) / 4, noise)
        finer[:, 1::2, ::2] = _noisy((corners + below + middles + middles.roll(1, 2)) / 4, noise)
        maps, noise = finer, noise / decay**2
    maps = maps - maps.amin((1, 2), keepdim=True)
    return maps / maps.amax((1, 2), keepdim=True)


def _noisy(values: Tensor, noise: float) -> Tensor:
    return values + noise * (2 * torch.rand_like(values) - 1)


class Spatter(Ranged):
    """Specks of dark grey mud, a quarter of white, that hide what is below them.

    Where smoothed noise exceeds a threshold; of these places, smoothed, what is at least 0.8 covers
    the image by that share.

    Args:
        severity: mean and deviation of normal noise, the deviation in pixels of the Gaussian that
            smooths it, the threshold, and the deviation of the second Gaussian: 0.65, 0.3, 4,
            0.69, 0.6; 0.65, 0.3, 3, 0.68, 0.6; 0.65, 0.3, 2, 0.68, 0.5; 0.65, 0.3, 1, 0.65, 1.5;
            0.67, 0.4, 1, 0.65, 1.5.
    """

    mud = 63.0

    def __init__(self, severity: Severity = 4) -> None:
        steps = (
            (0.65, 0.3, 4.0, 0.69, 0.6),
            (0.65, 0.3, 3.0, 0.68, 0.6),
            (0.65, 0.3, 2.0, 0.68, 0.5),
            (0.65, 0.3, 1.0, 0.65, 1.5),
            (0.67, 0.4, 1.0, 0.65, 1.5),
        )
        self.mean, self.deviation, self.grain, self.threshold, self.edge = steps[severity - 1]

    def __call__(self, images: Tensor) -> Tensor:
        count, _, height, width = images.shape
        noise = torch.randn(count, 1, height, width, device=images.device)
        return self.over(images, self.mean + self.deviation * noise)

    def over(self, images: Tensor, noise: Tensor) -> Tensor:
        """Specks where noise `(N, 1, H, W)` has them, over the images."""
        wet = (smoothed(noise, self.grain) > self.threshold).float()
        cover = smoothed(wet, self.edge)
        cover = cover * (cover >= 0.8)
        return as_bytes(images * (1 - cover) + self.mud * cover)


class DottedLine:
    """A dotted line from side to side, from any row to any other: two columns of it in four."""

    def __call__(self, images: Tensor) -> Tensor:
        count, _, height, width = images.shape
        begin, end = torch.rand(2, count, 1, device=images.device) * (height - 1)
        columns = torch.arange(width, device=images.device)
        line = begin + (end - begin) * columns / max(1, width - 1)
        return drawn(images, line, columns // 2 % 2 == 1)


class Zigzag:
    """A zigzag from side to side, along a line that begins at any row and ends within five of it.

    Up and down by two pixels, a tooth in eight columns, two columns away from the sides. The
    published code turns the teeth with the line; here they stand upright.
    """

    def __call__(self, images: Tensor) -> Tensor:
        count, _, height, width = images.shape
        begin, apart = torch.rand(2, count, 1, device=images.device)
        columns = torch.arange(width, device=images.device)
        along = columns - 2
        line = begin * (height - 1) + (apart * 10 - 5) * along / max(1, width - 5)
        teeth = ((along - 2) % 8 - 4).abs() - 2
        return drawn(images, line + teeth, (along >= 0) & (columns < width - 2))


def drawn(images: Tensor, heights: Tensor, there: Tensor) -> Tensor:
    """Images with a white line over them, that is soft at its edges.

    It is white in its middle, and black from one and a half pixels above and below it on: between
    these it falls as the published code's does, as `1 + log(1 - distance / 2.3)`.

    Args:
        heights: the row in each column, `(N, W)`.
        there: in which columns it is drawn, `(W,)`.
    """
    rows = torch.arange(images.shape[2], device=images.device).view(-1, 1)
    distance = (rows - heights.unsqueeze(1)).abs()
    line = (1 + torch.log((1 - distance / 2.3).clamp(min=1e-6))).clamp(min=0) * there
    return as_bytes(images + 255 * line.unsqueeze(1))
