"""Which of the ink in a photograph is the digit; frames, shadows' edges, tables, blots are not."""

from dataclasses import replace

import numpy as np

from mnist_lab.data.idx import Mask
from mnist_lab.data.ink import Pixels
from mnist_lab.data.shapes import (
    ALL_AROUND,
    AROUND,
    Box,
    Shape,
    beside,
    goes_on,
    likeness,
    of_the_border,
    shape_of,
    thickness_of,
)

_LEAST = 0.1  # a score, below which no digit stands out
_RIVAL = 0.5  # of the best score, from which another shape may be a digit, too


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
        labels, _ = ndimage.label(ink > level, AROUND)
        shapes = _shapes(labels, grey, ink)
        for shape in shapes:
            likely = shape.score > (1.1 * best.score if best else _LEAST)
            if likely and not any(_frames(shape, inner) for inner in shapes):
                best, best_labels, best_shapes = shape, labels, shapes
        level *= 1.5
    if best is None or best_labels is None or beside(best, best_labels, grey) < ALL_AROUND:
        raise ValueError("a picture in which no digit stands out")
    where = _with_parts(best, best_labels, ink)
    alone = not any(_rivals(shape, best, best_labels, where, grey) for shape in best_shapes)
    return where, best.thickness, alone


def _shapes(labels: np.ndarray, grey: Pixels, ink: Pixels) -> list[Shape]:
    from scipy import ndimage

    least = max(6, 0.04 * min(labels.shape))
    return [
        _scored(shape_of(label, box, labels, ink), labels, grey, ink)
        for label, box in enumerate(ndimage.find_objects(labels), 1)
        if max(side.stop - side.start for side in box) >= least
    ]


def _scored(shape: Shape, labels: np.ndarray, grey: Pixels, ink: Pixels) -> Shape:
    """The same with its score; it is the greater, the larger it is and the nearer to the middle."""
    box, page = shape.box, labels.shape
    if (
        shape.thickness >= 0.37 * shape.size
        or of_the_border(labels[box] == shape.label, box, page)
        or goes_on(box, ink, shape.depth)
    ):
        return shape
    middle = [(a.start + a.stop) / 2 / n - 0.5 for a, n in zip(box, page, strict=True)]
    place = 1 - 0.7 * float(np.hypot(*middle))
    size = (shape.size / min(page)) ** 0.5
    return replace(shape, score=likeness(shape, labels, grey) * place * size)


def _frames(frame: Shape, shape: Shape) -> bool:
    """Whether one is drawn around the other, which may be a digit."""
    alike = shape.size > 0.25 * frame.size and shape.score > 0.3 * frame.score
    return alike and _surrounds(frame.box, shape.box)


def _surrounds(outer: Box, inner: Box) -> bool:
    return all(a.start < b.start and b.stop < a.stop for a, b in zip(outer, inner, strict=True))


def _rivals(shape: Shape, best: Shape, labels: np.ndarray, where: Mask, grey: Pixels) -> bool:
    """Whether a shape looks nearly as much like a digit as the best one, and is no part of it."""
    return (
        shape.score > _RIVAL * best.score
        and shape.size > 0.5 * best.size
        and not where[shape.box][labels[shape.box] == shape.label].any()
        and not _surrounds(shape.box, best.box)
        and not _surrounds(best.box, shape.box)
        and beside(shape, labels, grey) >= ALL_AROUND
    )


def _with_parts(best: Shape, labels: np.ndarray, ink: Pixels) -> Mask:
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
            and not goes_on(box, ink, best.depth)
            and mask.sum() > 0.02 * area
            and np.median(ink[box][mask]) > 0.5 * best.depth
            and thickness_of(mask) < 1.3 * best.thickness + 1
            and mask.sum() < max(0.4 * max(mask.shape) ** 2, 0.08 * area)  # else a blot
        ):
            parts.append(label)
    ink_of_parts = np.isin(labels, parts)
    close = ndimage.distance_transform_edt(~ink_of_parts) < 0.07 * best.size + 0.3 * best.thickness
    groups, _ = ndimage.label(close, AROUND)
    row, column = (side.start for side in best.box)
    first = np.argwhere(labels[best.box] == best.label)[0]
    return np.asarray(ink_of_parts & (groups == groups[row + first[0], column + first[1]]))
