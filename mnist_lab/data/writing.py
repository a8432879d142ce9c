"""Which of the ink on a page is digits, and in which lines they stand."""

from typing import NamedTuple

import numpy as np

from mnist_lab.data.idx import Mask
from mnist_lab.data.ink import Pixels
from mnist_lab.data.shapes import (
    ALL_AROUND,
    AROUND,
    Box,
    Shape,
    beside,
    grown,
    likeness,
    of_the_border,
    shape_of,
)
from mnist_lab.data.strokes import Page

_LEAST = 0.12  # a score, below which ink is no stroke
_BLOT = 0.6  # of its size, from which it is as thick as a blot
_LEVEL = 0.4  # of the strokes' depth, from which ink is theirs and no fringe
# Shares of a digit's size on this page:
_WHOLE = 0.75  # what is smaller may be a piece of a digit,
_BAR = 0.5  # and what is lower
_FRAGMENT = 0.45  # what is smaller is none, and no bar of one
_FLAT = 0.25  # what is lower is a dash, or what is left of a ruled line

Labels = np.ndarray[tuple[int, ...], np.dtype[np.int32]]


class Writing(NamedTuple):
    """The digits of a page.

    Attributes:
        labels: which digit each pixel of the page belongs to `(H, W)`, from 1; 0 for none.
        boxes: of each.
        thickness: of strokes, in pixels.
        size: of a digit, in pixels.
    """

    labels: Labels
    boxes: list[Box]
    thickness: float
    size: float


def find_writing(page: Page) -> Writing:
    """The digits on a page, those of several pieces joined, in no order.

    Raises:
        ValueError: there are none.
    """
    from scipy import ndimage

    labels, shapes = _strokes(page)
    if not shapes:
        raise ValueError("a picture in which no digit stands out")
    weights = np.array([shape.size for shape in shapes], float) ** 2
    size = _weighted_median([shape.size for shape in shapes], weights)
    thickness = _weighted_median([shape.thickness for shape in shapes], weights)
    owners = _joined(labels, shapes, size, thickness)
    joined = np.zeros(labels.max() + 1, np.int32)
    for label, owner in owners.items():
        joined[label] = owner
    labels = joined[labels]
    boxes = {
        label: box for label, box in enumerate(ndimage.find_objects(labels), 1) if box is not None
    }
    whole = [
        label
        for label, box in boxes.items()
        if _extent(box) >= _FRAGMENT * size and _height(box) >= _FLAT * size
    ]
    joined[:] = 0
    joined[whole] = np.arange(1, len(whole) + 1)
    return Writing(joined[labels], [boxes[label] for label in whole], thickness, size)


def _strokes(page: Page) -> tuple[Labels, list[Shape]]:
    """Connected strokes, at the level that parts them from what is around."""
    from scipy import ndimage

    inked = page.ink[page.ink > page.floor]
    if not inked.size:
        raise ValueError("a picture in which no digit stands out")
    level = max(page.floor, _LEVEL * float(np.percentile(inked, 75)))
    labels, _ = ndimage.label(page.ink > level, AROUND)
    _part(labels, page.ink, level)
    shapes = []
    for label, box in enumerate(ndimage.find_objects(labels), 1):
        if (
            box is None
            or _extent(box) < 4
            or of_the_border(labels[box] == label, box, labels.shape)
        ):
            continue
        shape = shape_of(label, box, labels, page.ink)
        if (
            shape.thickness < _BLOT * shape.size
            and likeness(shape, labels, page.grey) > _LEAST
            and beside(shape, labels, page.grey) >= ALL_AROUND
        ):
            shapes.append(shape)
    return labels, shapes


def _part(labels: Labels, ink: Pixels, level: float) -> None:
    """Part digits between which there is but a fringe: they are apart at a higher level."""
    from scipy import ndimage

    boxes = ndimage.find_objects(labels)
    last = len(boxes)
    for label, box in enumerate(boxes, 1):
        height, width = (side.stop - side.start for side in box)
        if width < max(1.1 * height, 8):
            continue
        mask = labels[box] == label
        for rise in (1.25, 1.5, 1.8):
            inner, count = ndimage.label(mask & (ink[box] > rise * level), AROUND)
            parts = [
                part
                for part, cut in enumerate(ndimage.find_objects(inner), 1)
                if _height(cut) > 0.7 * height
            ]
            if len(parts) > 1:
                inner[~np.isin(inner, parts)] = 0
                rows, columns = ndimage.distance_transform_edt(
                    inner == 0, return_distances=False, return_indices=True
                )
                labels[box][mask] = (inner[rows, columns] + last)[mask]
                last += count
                break


def _joined(labels: Labels, shapes: list[Shape], size: float, thickness: float) -> dict[int, int]:
    """The label that each shape's ink gets, its own or that of the digit that it is a piece of."""
    by_label = {shape.label: shape for shape in shapes}
    owners = {label: label for label in by_label}

    def owner(label: int) -> int:
        while owners[label] != label:
            label = owners[label]
        return label

    for piece in sorted(shapes, key=lambda shape: shape.size):
        low = _height(piece.box) < _BAR * size
        if piece.size >= _WHOLE * size and not low:
            continue
        options = [
            (distance, other)
            for other, distance in _distances(piece, labels, round(0.3 * size) + 1).items()
            if other in by_label
            and owner(other) != piece.label
            and (low or by_label[other].size >= piece.size)
            and _belongs(piece, by_label[other], distance, size, thickness)
        ]
        if options:
            owners[piece.label] = owner(min(options)[1])
    return {label: owner(label) for label in owners}


def _distances(piece: Shape, labels: Labels, reach: int) -> dict[int, float]:
    """How far away other ink is, by its label."""
    from scipy import ndimage

    local = labels[grown(piece.box, reach, labels.shape)]
    away = ndimage.distance_transform_edt(local != piece.label)
    others = np.unique(local[(local > 0) & (local != piece.label)])
    return dict(zip(others.tolist(), ndimage.minimum(away, local, others).tolist(), strict=True))


def _belongs(piece: Shape, other: Shape, distance: float, size: float, thickness: float) -> bool:
    if piece.size < 0.3 * size:
        return distance <= 0.07 * size + 0.3 * thickness
    rows, columns = (
        slice(min(a.start, b.start), max(a.stop, b.stop))
        for a, b in zip(piece.box, other.box, strict=True)
    )
    if _height((rows, columns)) > 1.3 * size or columns.stop - columns.start > 1.25 * size:
        return False
    own, its = piece.box[1], other.box[1]
    shared = min(own.stop, its.stop) - max(own.start, its.start)
    if shared >= 0.5 * (own.stop - own.start):
        return distance <= 0.25 * size
    return distance <= 0.1 * size and columns.stop - columns.start < 1.05 * size


def in_lines(boxes: list[Box], size: float) -> list[list[int]]:
    """The places in `boxes`, line by line from above, in each from left to right.

    Lines may slope, but all of a page about alike; a line goes on where the next digit lies
    as high as the last few, after the slope.
    """
    if not boxes:
        return []
    rows, columns = (
        np.array([(box[axis].start + box[axis].stop) / 2 for box in boxes]) for axis in (0, 1)
    )
    slopes: list[float] = np.arange(-0.15, 0.151, 0.005).tolist()

    def together(slope: float) -> float:
        level = rows - slope * columns
        return float(np.exp(-(((level[:, None] - level) / (0.25 * size)) ** 2)).sum())

    slope = max(slopes, key=lambda slope: (together(slope), -abs(slope)))
    levels = rows - slope * columns
    lines: list[list[int]] = []
    for place in np.argsort(columns, kind="stable").tolist():
        away = [abs(float(levels[line[-3:]].mean()) - levels[place]) for line in lines]
        if away and min(away) < 0.6 * size:
            lines[int(np.argmin(away))].append(place)
        else:
            lines.append([place])
    return sorted(lines, key=lambda line: float(levels[line].mean()))


def alone(writing: Writing, digit: int) -> tuple[Box, Mask, Mask]:
    """Of a digit, a box around it, where it is in there, and what lies nearer to it than others."""
    from scipy import ndimage

    reach = 3 + round(writing.thickness)
    box = grown(writing.boxes[digit], reach, writing.labels.shape)
    local = writing.labels[box]
    where = local == digit + 1
    others = (local > 0) & ~where
    nearer = np.ones_like(where)
    if others.any():
        nearer = ndimage.distance_transform_edt(~where) < ndimage.distance_transform_edt(~others)
    return box, where, nearer


def _weighted_median(values: list[float] | list[int], weights: np.ndarray) -> float:
    order = np.argsort(values)
    cumulated = np.cumsum(weights[order])
    return float(values[order[np.searchsorted(cumulated, cumulated[-1] / 2)]])


def _extent(box: Box) -> int:
    return max(int(side.stop - side.start) for side in box)


def _height(box: Box) -> int:
    return int(box[0].stop - box[0].start)
