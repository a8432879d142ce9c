"""Which of the ink in a photograph is the digit; frames, shadows' edges, tables, blots are not."""

from dataclasses import dataclass

import numpy as np

from mnist_lab.data.idx import Mask
from mnist_lab.data.ink import Pixels, ink_on

_AROUND = np.ones((3, 3))  # a pixel's eight neighbours
_ALL_AROUND = 0.6  # of strokes, blurred ones too, it is more; of an edge, dark on one side, less
_LEAST = 0.1  # a score, below which no digit stands out
_RIVAL = 0.5  # of the best score, from which another shape may be a digit, too

Box = tuple[slice, slice]


@dataclass(frozen=True)
class _Shape:
    """Connected ink, and how likely it is a digit's: the greater `score`, the more."""

    label: int
    box: Box
    size: int
    depth: float
    thickness: float
    score: float


def find_digit(grey: Pixels, ink: Pixels, floor: float) -> tuple[Mask, float, bool]:
    """Where the digit is `(H, W)`, how thick its strokes are, in pixels, and whether it is alone.

    At rising levels the ink falls into more and more parts; the part that looks most like a digit
    at any level is it, with what lies close to it at that level.

    Args:
        grey: the page, where ink is dark.
        ink: how much darker it is than the paper.
        floor: the least that is no noise.

    Raises:
        ValueError: nothing looks like one.
    """
    from scipy import ndimage

    best, best_labels, best_shapes = None, None, []
    level, deepest = floor, 0.8 * float(ink.max())
    while level < deepest:
        labels, _ = ndimage.label(ink > level, _AROUND)
        shapes = _shapes(labels, grey, ink)
        for shape in shapes:
            likely = shape.score > (1.1 * best.score if best else _LEAST)
            if likely and not any(_frames(shape, inner) for inner in shapes):
                best, best_labels, best_shapes = shape, labels, shapes
        level *= 1.5
    if best is None or best_labels is None or _beside(best, best_labels, grey) < _ALL_AROUND:
        raise ValueError("a picture in which no digit stands out")
    where = _with_parts(best, best_labels, ink)
    alone = not any(_rivals(shape, best, best_labels, where, grey) for shape in best_shapes)
    return where, best.thickness, alone


def _shapes(labels: np.ndarray, grey: Pixels, ink: Pixels) -> list[_Shape]:
    from scipy import ndimage

    least = max(6, 0.04 * min(labels.shape))
    return [
        _shape(label, box, labels, grey, ink)
        for label, box in enumerate(ndimage.find_objects(labels), 1)
        if max(side.stop - side.start for side in box) >= least
    ]


def _shape(label: int, box: Box, labels: np.ndarray, grey: Pixels, ink: Pixels) -> _Shape:
    from scipy import ndimage

    mask = labels[box] == label
    size = max(mask.shape)
    depth = float(np.median(ink[box][mask]))
    thickness = _thickness(mask)
    score = 0.0
    unlikely = _of_the_border(mask, box, labels.shape) or _goes_on(box, ink, depth)
    if thickness < 0.37 * size and not unlikely:
        # All around, a stroke's edge is as high as the stroke is dark; a shadow's isn't.
        reach = 2 * int(np.clip(thickness / 2, 1, size / 8)) + 1
        around = _grown(box, reach, labels.shape)
        inside = labels[around] == label
        rim = inside & ~ndimage.binary_erosion(inside, _AROUND, border_value=1)
        local = grey[around]
        high, low = ndimage.maximum_filter(local, reach), ndimage.minimum_filter(local, reach)
        edge = ink_on(high, low)
        sharpness = float((edge[rim] / depth).clip(0, 1).mean()) if rim.any() else 0.0
        middle = [(a.start + a.stop) / 2 / n - 0.5 for a, n in zip(box, labels.shape, strict=True)]
        place = 1 - 0.7 * float(np.hypot(*middle))
        score = sharpness**4 * depth / (depth + 0.15) * place * (size / min(labels.shape)) ** 0.5
    return _Shape(label, box, size, depth, thickness, score)


def _beside(shape: _Shape, labels: np.ndarray, grey: Pixels) -> float:
    """How much of its depth the ink differs by, at least, from most of what lies close beside it.

    Of a digit's strokes it is all, also where a table shows behind some; of a shadow's or a table's
    edge, which is as dark on its other side, little.
    """
    from scipy import ndimage

    reach = int(np.clip(shape.thickness / 2, 2, max(2, shape.size / 12)))
    around = _grown(shape.box, reach, labels.shape)
    inside, local = labels[around] == shape.label, grey[around]
    ring = ndimage.distance_transform_cdt(~inside, "chessboard") == reach
    ink = ndimage.minimum_filter(np.where(inside, local, np.inf), 4 * reach + 1)
    beside = (ink_on(local[ring], ink[ring]) / shape.depth).clip(0, 1)
    return float(np.percentile(beside, 30)) if beside.size else 1.0  # a tight crop


def _of_the_border(mask: Mask, box: Box, page: tuple[int, ...]) -> bool:
    """Whether it lies along a border, or goes from one to the other and isn't the whole page."""
    ends = [(side.start == 0, side.stop == n) for side, n in zip(box, page, strict=True)]
    sides = zip((mask[0], mask[-1], mask[:, 0], mask[:, -1]), (*ends[0], *ends[1]), strict=True)
    along = max((int(side.sum()) for side, at_border in sides if at_border), default=0)
    filled = all(m > 0.9 * n for m, n in zip(mask.shape, page, strict=True))
    line = along and min(mask.shape) < 0.1 * max(mask.shape)  # one that begins at the border
    across = (all(ends[0]) or all(ends[1])) and not filled
    return bool(line or across or along > 0.5 * max(mask.shape))


def _goes_on(box: Box, ink: Pixels, depth: float) -> bool:
    """Whether it is a piece of a band that crosses the page, as the dark of a book's fold does."""
    if box[0].stop - box[0].start < box[1].stop - box[1].start:
        box, ink = box[::-1], ink.T
    rows, columns = box
    narrow = columns.stop - columns.start < 0.45 * (rows.stop - rows.start)
    beyond = np.delete(ink[:, columns].mean(1), rows)
    return narrow and bool(beyond.size) and float(np.median(beyond)) > 0.3 * depth


def _frames(frame: _Shape, shape: _Shape) -> bool:
    """Whether one is drawn around the other, which may be a digit."""
    alike = shape.size > 0.25 * frame.size and shape.score > 0.3 * frame.score
    return alike and _surrounds(frame.box, shape.box)


def _surrounds(outer: Box, inner: Box) -> bool:
    return all(a.start < b.start and b.stop < a.stop for a, b in zip(outer, inner, strict=True))


def _rivals(shape: _Shape, best: _Shape, labels: np.ndarray, where: Mask, grey: Pixels) -> bool:
    """Whether a shape looks nearly as much like a digit as the best one, and is no part of it."""
    return (
        shape.score > _RIVAL * best.score
        and shape.size > 0.5 * best.size
        and not where[shape.box][labels[shape.box] == shape.label].any()
        and not _surrounds(shape.box, best.box)
        and not _surrounds(best.box, shape.box)
        and _beside(shape, labels, grey) >= _ALL_AROUND
    )


def _with_parts(best: _Shape, labels: np.ndarray, ink: Pixels) -> Mask:
    """A digit, with strokes near it that don't touch it."""
    from scipy import ndimage

    parts = [best.label]
    area = int((labels[best.box] == best.label).sum())
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        mask = labels[box] == label
        if (
            label != best.label
            and max(mask.shape) <= 1.5 * best.size
            and not _surrounds(box, best.box)
            and not _goes_on(box, ink, best.depth)
            and mask.sum() > 0.02 * area
            and np.median(ink[box][mask]) > 0.5 * best.depth
            and _thickness(mask) < 1.3 * best.thickness + 1
            and mask.sum() < max(0.4 * max(mask.shape) ** 2, 0.08 * area)  # else a blot
        ):
            parts.append(label)
    ink_of_parts = np.isin(labels, parts)
    close = ndimage.distance_transform_edt(~ink_of_parts) < 0.07 * best.size + 0.3 * best.thickness
    groups, _ = ndimage.label(close, _AROUND)
    row, column = (side.start for side in best.box)
    first = np.argwhere(labels[best.box] == best.label)[0]
    return np.asarray(ink_of_parts & (groups == groups[row + first[0], column + first[1]]))


def _thickness(mask: Mask) -> float:
    from scipy import ndimage

    # On the average, a pixel in a band lies a quarter of its width from the edge.
    return 4 * float(ndimage.distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1][mask].mean()) - 1


def _grown(box: Box, by: int, page: tuple[int, ...]) -> Box:
    rows, columns = (
        slice(max(0, side.start - by), min(n, side.stop + by))
        for side, n in zip(box, page, strict=True)
    )
    return rows, columns
