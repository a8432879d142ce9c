"""From a picture's colours to ink alone, and from a digit's ink to its form."""

from typing import NamedTuple

import numpy as np

from mnist_lab.data.idx import Bytes, Mask
from mnist_lab.data.ink import Pixels, background, form, greyscale, ink_is_light, ink_on
from mnist_lab.data.lines import without_lines


class Page(NamedTuple):
    """What is written on a page, whatever its colours and light.

    Attributes:
        grey: the page `(H, W)` from 0 to 255, where ink is dark.
        ink: how much darker it is than the paper, without lines that cross the page.
        floor: the least ink that is no noise.
    """

    grey: Pixels
    ink: Pixels
    floor: float


def page_of(pixels: Pixels, enlarged: bool) -> Page:
    """The ink in pixels `(H, W, C)` from 0 to 255; `enlarged`, each becomes two by two."""
    from scipy import ndimage

    grey = greyscale(pixels)
    # Smoothed, there is less noise.
    grey = grey.repeat(2, 0).repeat(2, 1) if enlarged else ndimage.gaussian_filter(grey, 0.7)
    window = max(3, round(0.3 * min(grey.shape)) | 1)  # no stroke is wider
    if ink_is_light(grey, window):
        grey = 255 - grey
    ink = ink_on(background(grey, window), grey)
    usual = np.median(ink)
    noise = 1.4826 * float(np.median(np.abs(ink - usual)))  # its deviation, were it normal
    floor = max(0.06, 4 * noise)
    return Page(grey, without_lines((ink - usual).clip(0), floor), floor)


def mnist_form(ink: Pixels, where: Mask, thickness: float, contrast: float = 1) -> Bytes:
    """A digit `(28, 28)` as MNIST has it: its strokes full, and what lies around them empty.

    Args:
        ink: of the page, or of a part of it.
        where: which of it is the digit, with all that is darker than its fringes.
        thickness: of its strokes, in pixels.
        contrast: by which edges become steeper, where the camera has blurred them.
    """
    from scipy import ndimage

    near = ndimage.binary_dilation(where, iterations=1 + round(thickness / 2))
    box = ndimage.find_objects(near.astype(int))[0]
    ink, where = np.where(near, ink, 0)[box], where[box]
    reach = max(np.ptp(np.nonzero(where), axis=1)) / 5
    strokes = np.where(ink > np.percentile(ink[where], 98) / 2, ink, 0)
    nearby, squares = (
        ndimage.gaussian_filter(x, reach, mode="constant", truncate=3)
        for x in (strokes, strokes**2)
    )
    ink *= nearby / (squares + 1e-6)
    fringed, _ = ndimage.label(ink > 0.1)  # less is paper, and what JPEG leaves around lines
    ink[~np.isin(fringed, np.unique(fringed[where & (ink > 0.1)]))] = 0
    ink[ink < 0.1] = 0
    ink = (ink - 0.5) * contrast + 0.5
    return form(np.asarray(ink.clip(0, 1), np.float32))
