"""Connected ink on a page, and how likely it is a digit's."""

from dataclasses import dataclass

import numpy as np

from mnist_lab.data.idx import Mask
from mnist_lab.data.ink import Pixels, ink_on

AROUND = np.ones((3, 3))  # a pixel's eight neighbours
ALL_AROUND = 0.6  # of strokes, blurred ones too, it is more; of an edge, dark on one side, less

Box = tuple[slice, slice]


@dataclass(frozen=True)
class Shape:
    """Connected ink, and how likely it is a digit's: the greater `score`, the more."""

    label: int
    box: Box
    size: int
    depth: float
    thickness: float
    score: float = 0.0


def shape_of(label: int, box: Box, labels: np.ndarray, ink: Pixels) -> Shape:
    """The ink of a label, without a score."""
    mask = labels[box] == label
    depth = float(np.median(ink[box][mask]))
    return Shape(label, box, max(mask.shape), depth, thickness_of(mask))


def likeness(shape: Shape, labels: np.ndarray, grey: Pixels) -> float:
    """A score of ink alone: the darker, and the sharper its edge, the greater.

    All around, a stroke's edge is as high as the stroke is dark; a shadow's isn't.
    """
    from scipy import ndimage

    reach = 2 * int(np.clip(shape.thickness / 2, 1, shape.size / 8)) + 1
    around = grown(shape.box, reach, labels.shape)
    inside, local = labels[around] == shape.label, grey[around]
    rim = inside & ~ndimage.binary_erosion(inside, AROUND, border_value=1)
    high, low = ndimage.maximum_filter(local, reach), ndimage.minimum_filter(local, reach)
    edge = ink_on(high, low)
    sharpness = float((edge[rim] / shape.depth).clip(0, 1).mean()) if rim.any() else 0.0
    return sharpness**4 * shape.depth / (shape.depth + 0.15)


def beside(shape: Shape, labels: np.ndarray, grey: Pixels) -> float:
    """How much of its depth the ink differs by, at least, from most of what lies close beside it.

    Of a digit's strokes it is all, also where a table shows behind some; of a shadow's or a table's
    edge, which is as dark on its other side, little.
    """
    from scipy import ndimage

    reach = int(np.clip(shape.thickness / 2, 2, max(2, shape.size / 12)))
    around = grown(shape.box, reach, labels.shape)
    inside, local = labels[around] == shape.label, grey[around]
    ring = ndimage.distance_transform_cdt(~inside, "chessboard") == reach
    ink = ndimage.minimum_filter(np.where(inside, local, np.inf), 4 * reach + 1)
    beside = (ink_on(local[ring], ink[ring]) / shape.depth).clip(0, 1)
    return float(np.percentile(beside, 30)) if beside.size else 1.0  # a tight crop


def of_the_border(mask: Mask, box: Box, page: tuple[int, ...]) -> bool:
    """Whether it lies along a border, or goes from one to the other and isn't the whole page."""
    ends = [(side.start == 0, side.stop == n) for side, n in zip(box, page, strict=True)]
    sides = zip((mask[0], mask[-1], mask[:, 0], mask[:, -1]), (*ends[0], *ends[1]), strict=True)
    along = max((int(side.sum()) for side, at_border in sides if at_border), default=0)
    filled = all(m > 0.9 * n for m, n in zip(mask.shape, page, strict=True))
    line = along and min(mask.shape) < 0.1 * max(mask.shape)  # one that begins at the border
    across = (all(ends[0]) or all(ends[1])) and not filled
    return bool(line or across or along > 0.5 * max(mask.shape))


def goes_on(box: Box, ink: Pixels, depth: float) -> bool:
    """Whether it is a piece of a band that crosses the page, as the dark of a book's fold does."""
    if box[0].stop - box[0].start < box[1].stop - box[1].start:
        box, ink = box[::-1], ink.T
    rows, columns = box
    narrow = columns.stop - columns.start < 0.45 * (rows.stop - rows.start)
    beyond = np.delete(ink[:, columns].mean(1), rows)
    return narrow and bool(beyond.size) and float(np.median(beyond)) > 0.3 * depth


def thickness_of(mask: Mask) -> float:
    from scipy import ndimage

    # On the average, a pixel in a band lies a quarter of its width from the edge.
    return 4 * float(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask].mean()) - 1


def grown(box: Box, by: int, page: tuple[int, ...]) -> Box:
    rows, columns = (
        slice(max(0, side.start - by), min(n, side.stop + by))
        for side, n in zip(box, page, strict=True)
    )
    return rows, columns
