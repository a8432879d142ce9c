"""Photographs of pages with lines of digits on them, written with those of MNIST."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image
from scipy import ndimage

from tests.data.conditions import CONDITIONS, paint_lines
from tests.data.scenes import Array, Random, Scene, develop, scene_of

Range = tuple[float, float]


@dataclass(frozen=True)
class Written:
    """A digit on a page: which image of the dataset it is, and left, top, width and height."""

    which: int
    box: tuple[int, int, int, int]


@dataclass(frozen=True)
class Hand:
    """How lines are written; lengths are in heights of a digit.

    Attributes:
        lines: how many there are on a page.
        gap: from a digit's ink to the next one's.
        uneven: how much a gap differs from a line's usual one.
        slant: by how much a digit's top lies to the right of its foot, beyond what MNIST's have.
        thicker: what a stroke gains on either side.
        climb: a line's slope.
        height: of a digit, in pixels.
    """

    lines: tuple[int, int] = (1, 1)
    gap: Range = (0.15, 0.45)
    uneven: float = 0.08
    slant: Range = (-0.12, 0.12)
    thicker: Range = (-0.01, 0.025)
    climb: Range = (-0.02, 0.02)
    height: Range = (36, 80)


@dataclass(frozen=True)
class Page:
    """A photograph, and the digits on it, line by line."""

    image: Image.Image
    lines: list[list[Written]]


def _plain(scene: Scene, random: Random) -> None:
    pass


def _ruled(scene: Scene, random: Random) -> None:
    height = scene.box[2] - scene.box[0]
    spacing, angle = height * random.uniform(0.8, 1.8), random.uniform(-0.05, 0.05)
    width = random.uniform(0.005, 0.017) * height
    paint_lines(scene, random, angle, spacing, random.uniform(0, spacing), width)


def _squared(scene: Scene, random: Random) -> None:
    height = scene.box[2] - scene.box[0]
    spacing, angle = height * random.uniform(0.5, 1.2), random.uniform(-0.05, 0.05)
    width = random.uniform(0.004, 0.01) * height
    state = random.get_state()
    for turn in (0, np.pi / 2):
        random.set_state(state)  # the same pen
        paint_lines(scene, random, angle + turn, spacing, 0, width)


def _specks(scene: Scene, random: Random) -> None:
    height = scene.box[2] - scene.box[0]
    rows, columns = np.indices(scene.shape, np.float32)
    for _ in range(random.randint(10, 40)):
        y, x = (random.uniform(0, side) for side in scene.shape)
        radius = random.uniform(0.01, 0.05) * height
        scene.paint((radius + 0.5 - np.hypot(rows - y, columns - x)).clip(0, 1), scene.ink)


def _anything(scene: Scene, random: Random) -> None:
    for change in (_ruled, _squared, _specks)[random.randint(3) :]:
        if random.rand() < 0.5:
            change(scene, random)
    lights = ["soft shadow", "steep gradient", "vignette", "yellow paper", "plain paper"]
    CONDITIONS[lights[random.randint(len(lights))]].change(scene, random)


_USUAL = Hand()
_PAGE = Hand(lines=(2, 5))
_ANY = Hand((1, 4), (0.1, 0.8), 0.2, (-0.3, 0.3), (-0.025, 0.045), (-0.08, 0.08))

WAYS: dict[str, tuple[Hand, Callable[[Scene, Random], None]]] = {
    "one line": (_USUAL, _plain),
    "several lines": (_PAGE, _plain),
    "close together": (replace(_USUAL, gap=(0.06, 0.12), uneven=0.02), _plain),
    "far apart, unevenly": (replace(_USUAL, gap=(0.6, 1.5), uneven=0.5), _plain),
    "slanted digits": (replace(_USUAL, slant=(-0.35, 0.35)), _plain),
    "thin strokes": (replace(_USUAL, thicker=(-0.04, -0.02)), _plain),
    "thick strokes": (replace(_USUAL, thicker=(0.04, 0.07)), _plain),
    "sloping lines": (replace(_PAGE, climb=(-0.12, 0.12)), _plain),
    "tiny digits": (replace(_PAGE, height=(20, 28)), _plain),
    "faint pencil": (_USUAL, CONDITIONS["faint pencil"].change),
    "chalk board": (_USUAL, CONDITIONS["chalk board"].change),
    "steep gradient": (_PAGE, CONDITIONS["steep gradient"].change),
    "vignette": (_PAGE, CONDITIONS["vignette"].change),
    "soft shadow": (_PAGE, CONDITIONS["soft shadow"].change),
    "hard shadow": (_PAGE, CONDITIONS["hard shadow"].change),
    "ruled paper": (_PAGE, _ruled),
    "squared paper": (_PAGE, _squared),
    "specks": (_PAGE, _specks),
    "sheet on a dark table": (_PAGE, CONDITIONS["sheet on a dark table"].change),
    "anything": (_ANY, _anything),
}


def page(images: Array, order: list[int], way: str, random: Random) -> Page:
    """A page in a way of `WAYS`, its lines of 6 to 10 digits.

    Args:
        images: a dataset's, `(N, 28, 28)`.
        order: which of them are written, from the end; these are taken out.
    """
    hand, change = WAYS[way]
    height = random.uniform(*hand.height)
    climb = random.uniform(*hand.climb)
    slant = random.uniform(*hand.slant)
    thicker = random.uniform(*hand.thicker)
    strokes: list[tuple[Array, int, int]] = []
    lines: list[list[int]] = []
    foot = 0.0
    for _ in range(random.randint(hand.lines[0], hand.lines[1] + 1)):
        line = [order.pop() for _ in range(random.randint(6, 11))]
        written = _line([images[i] for i in line], hand, height, climb, slant, thicker, random)
        right = random.uniform(0, height)
        # Two lines don't touch, however they climb.
        low = min(top for _, _, top in written)
        strokes += [(stroke, round(x + right), round(y - low + foot)) for stroke, x, y in written]
        foot = max(y + len(stroke) for stroke, _, y in strokes)
        foot += height * random.uniform(0.25, 1) - 0.5 * abs(climb) * written[-1][1]
        lines.append(line)
    margins = height * random.uniform(0.3, 1.5, 4)
    left = min(x for _, x, _ in strokes) - round(margins[0])
    top = min(y for _, _, y in strokes) - round(margins[1])
    width = max(x + stroke.shape[1] for stroke, x, _ in strokes) - left + round(margins[2])
    tall = max(y + stroke.shape[0] for stroke, _, y in strokes) - top + round(margins[3])
    cover = np.zeros((tall, width), np.float32)
    boxes = []
    for stroke, x, y in strokes:
        part = cover[y - top :, x - left :][: stroke.shape[0], : stroke.shape[1]]
        np.maximum(part, stroke, out=part)
        boxes.append((x - left, y - top, stroke.shape[1], stroke.shape[0]))
    x, y, wide, high = boxes[len(boxes) // 2]
    scene = scene_of(cover, (y, x, y + high, x + wide), random)
    change(scene, random)
    # A sheet lies somewhere on its table.
    down, across = scene.box[0] - y, scene.box[1] - x
    moved = iter([(x + across, y + down, wide, high) for x, y, wide, high in boxes])
    return Page(develop(scene, random), [[Written(i, next(moved)) for i in line] for line in lines])


def _line(
    digits: list[Array],
    hand: Hand,
    height: float,
    climb: float,
    slant: float,
    thicker: float,
    random: Random,
) -> list[tuple[Array, float, float]]:
    """The strokes of a line's digits, each with its left and top."""
    usual = random.uniform(*hand.gap)
    firm = random.rand() < 0.5
    climb += random.uniform(-0.01, 0.01)
    placed: list[tuple[Array, float, float]] = []
    for digit in digits:
        size = height * random.uniform(0.9, 1.1)
        stroke = _stroke(digit, size, slant + random.uniform(-0.05, 0.05), thicker, firm)
        y = climb * (placed[-1][1] if placed else 0) + random.uniform(-0.06, 0.06) * height
        y -= len(stroke) / 2
        gap = height * max(0.05, usual + random.uniform(-1, 1) * hand.uneven)
        x = _beside(placed[-1], stroke, y, gap, height) if placed else 0.0
        placed.append((stroke, x, y))
    return placed


def _stroke(digit: Array, height: float, slant: float, thicker: float, firm: bool) -> Array:
    """One of MNIST's digits as large as its full 20 pixels are to be, cut out."""
    scale = height / 20
    large = Image.fromarray(np.pad(digit, 8))
    side = round(large.width * scale)
    stroke = np.asarray(large.resize((side, side), Image.Resampling.BICUBIC), np.float32) / 255
    sheared = np.array([[1, 0], [slant, 1]])
    stroke = ndimage.affine_transform(stroke, sheared, (0, -slant * side / 2), order=1)
    stroke = stroke.clip(0, 1)
    if firm or thicker < -0.01:  # as a pen's, with a firm edge
        stroke = _inked(stroke > 0.35, thicker * height)
    elif thicker > 0:
        radius = round(thicker * height)
        rows, columns = np.indices((2 * radius + 1, 2 * radius + 1)) - radius
        stroke = ndimage.grey_dilation(stroke, footprint=np.hypot(rows, columns) < radius + 0.5)
    stroke[stroke < 0.05] = 0
    seen = stroke > 0.3
    rows, columns = (np.flatnonzero(seen.any(axis)) for axis in (1, 0))
    return stroke[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]


def _inked(where: Array, thicker: float) -> Array:
    """Strokes thicker by so many pixels on either side; thinner ones keep their middle lines."""
    inner = ndimage.distance_transform_edt(where)
    ridge = where & (inner >= ndimage.maximum_filter(inner, 3) - 0.5)
    inside = inner - ndimage.distance_transform_edt(~where)
    middle = 1.2 - ndimage.distance_transform_edt(~ridge)
    return np.maximum(inside + thicker, middle).clip(0, 1)


def _beside(
    before: tuple[Array, float, float], stroke: Array, top: float, gap: float, height: float
) -> float:
    """Where a digit's left is to lie so that its ink is `gap` from that of the one before."""
    other, x, y = before
    apart = round(top - y)
    reach = round(min(gap, 0.3 * height))
    rights = [
        other.shape[1] - int(np.argmax(row[::-1])) if row.any() else -1 for row in other > 0.2
    ]
    lefts = [int(np.argmax(row)) if row.any() else None for row in stroke > 0.2]
    nearest = -np.inf
    for row, left in enumerate(lefts):
        near = rights[max(0, row + apart - reach) : max(0, row + apart + reach + 1)]
        if left is not None and near and max(near) >= 0:
            nearest = max(nearest, max(near) - left)
    middle = other.shape[1] / 2 - stroke.shape[1] / 2
    return x + max(nearest + gap, middle + 0.35 * height)
