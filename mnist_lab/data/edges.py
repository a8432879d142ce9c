"""The corruption of MNIST-C that leaves edges alone.

Mu and Gilmer, "MNIST-C: A Robustness Benchmark for Computer Vision", 2019 (arXiv:1906.02337); like
those in `corruptions`.
"""

import torch
from torch import Tensor
from torch.nn import functional

from mnist_lab import LabError
from mnist_lab.data.corruptions import smoothed


class CannyEdges:
    """Nothing but edges, white on black.

    Canny, "A Computational Approach to Edge Detection", IEEE Transactions on Pattern Analysis and
    Machine Intelligence 8, 1986, with the deviation (1 pixel) and thresholds (0.1 and 0.2 of a
    Sobel filter's answers to an image of 0..1) that scikit-image takes if none are given, as the
    published code does: smoothed, an edge is where the gradient is larger than one step before it
    and not smaller than one step behind, and at least the lower threshold; and of those connected
    by such, corners too, at least one reaches the upper one. The border counts as what is inside.
    """

    sigma, low, high = 1.0, 0.1, 0.2

    def __call__(self, images: Tensor) -> Tensor:
        """Draw the edges of images of one channel.

        Raises:
            LabError: they have several.
        """
        if images.shape[1] != 1:
            raise LabError(
                "canny_edges is defined on grey images alone: these have "
                f"{images.shape[1]} channels"
            )
        right, down = _gradients(smoothed(images.float() / 255, self.sigma))
        size = torch.hypot(right, down)
        # To the next pixel along the axis that the gradient follows more: there lies what a step
        # takes one to, between two pixels.
        step = torch.cat([right, down], 1) / torch.maximum(right.abs(), down.abs()).clamp(min=1e-12)
        before, behind = _beside(size, -step), _beside(size, step)
        # Of two that are equally large, as beside a line between pixels, one is kept: which must
        # not hang on the last bit of an interpolation.
        nearly = 1e-4
        thin = (size > before + nearly) & (size >= behind - nearly)
        weak, edges = thin & (size >= self.low), thin & (size >= self.high)
        while True:
            grown = weak & (functional.max_pool2d(edges.float(), 3, 1, 1) > 0)
            if torch.equal(grown, edges):
                return edges.to(torch.uint8) * 255
            edges = grown


def _gradients(images: Tensor) -> tuple[Tensor, Tensor]:
    """To the right and down, by Sobel's filters; the border is repeated."""
    across = torch.tensor([-1.0, 0.0, 1.0], device=images.device)
    along = torch.tensor([1.0, 2.0, 1.0], device=images.device)
    filters = torch.stack([torch.outer(along, across), torch.outer(across, along)]).unsqueeze(1)
    padded = functional.pad(images, [1] * 4, mode="replicate")
    gradients = functional.conv2d(padded, filters)
    return gradients[:, :1], gradients[:, 1:]


def _beside(values: Tensor, steps: Tensor) -> Tensor:
    """Values `(N, 1, H, W)` at steps `(N, 2, H, W)`, right and down, from each pixel."""
    height, width = values.shape[-2:]
    x = torch.arange(width, device=values.device) + 0.5 + steps[:, 0]
    y = torch.arange(height, device=values.device).unsqueeze(1) + 0.5 + steps[:, 1]
    grid = torch.stack([x * (2 / width) - 1, y * (2 / height) - 1], 3)
    return functional.grid_sample(values, grid, padding_mode="border", align_corners=False)
