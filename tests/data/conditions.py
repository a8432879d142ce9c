"""Under which conditions photographs are taken: what lies on the page, what light falls on it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from tests.data.scenes import Array, Random, Scene

Condition = Callable[[Scene, Random], None]


def _plain(scene: Scene, random: Random) -> None:
    pass


def _board(scene: Scene, random: Random) -> None:
    scene.paper[...] = np.array([(0.12, 0.25, 0.18), (0.13, 0.13, 0.14)][random.randint(2)])
    smear = ndimage.gaussian_filter(random.normal(0, 1, scene.shape), 15) * 0.3
    scene.paper += smear[..., None]
    scene.cover *= random.uniform(0.75, 1, scene.shape)  # chalk leaves gaps
    scene.ink = np.full(3, random.uniform(0.7, 0.95))


def _yellow(scene: Scene, random: Random) -> None:
    scene.paper *= np.array([1, 0.92, random.uniform(0.4, 0.65)])


def _pencil(scene: Scene, random: Random) -> None:
    scene.ink = scene.paper.mean((0, 1)) - random.uniform(0.15, 0.3)
    scene.noise = min(scene.noise, 0.012)


def _unfocused(scene: Scene, random: Random) -> None:
    scene.blur = random.uniform(0.01, 0.025) * (scene.box[2] - scene.box[0])


def paint_lines(
    scene: Scene, random: Random, angle: float, spacing: float, first: float, width: float
) -> None:
    """Lines all over the page, of one of a few colours; `width` is half of theirs."""
    distance = (scene.along(angle) + first) % spacing
    off = np.minimum(distance, spacing - distance)
    colours = [(0.55, 0.7, 0.9), (0.6, 0.6, 0.62), (0.35, 0.45, 0.75), (0.3, 0.3, 0.3)]
    colour = np.array(colours[random.randint(4)])
    scene.paint((width + 0.5 - off).clip(0, 1) * random.uniform(0.6, 1), colour)


def _ruled(scene: Scene, random: Random) -> None:
    spacing = min(scene.shape) * random.uniform(0.06, 0.2)
    angle, first = random.uniform(-0.07, 0.07), random.uniform(0, spacing)
    paint_lines(scene, random, angle, spacing, first, _width(scene, random))


def _width(scene: Scene, random: Random) -> float:
    return random.uniform(0.8, 2.5) * min(scene.shape) / 500


def _squared(scene: Scene, random: Random) -> None:
    spacing, angle = min(scene.shape) * random.uniform(0.05, 0.16), random.uniform(-0.06, 0.06)
    state = random.get_state()
    paint_lines(scene, random, angle, spacing, 0, _width(scene, random))
    random.set_state(state)  # the same pen
    paint_lines(scene, random, angle + np.pi / 2, spacing, 0, _width(scene, random))


def _margin(scene: Scene, random: Random) -> None:
    width = random.uniform(1, 3) * min(scene.shape) / 500
    side = random.uniform(0.28, 0.48) * scene.shape[1] * random.choice([-1, 1])
    off = np.abs(scene.along(np.pi / 2 + random.uniform(-0.04, 0.04)) + side)
    colour = [(0.85, 0.3, 0.3), (0.7, 0.15, 0.2), (0.3, 0.3, 0.35)][random.randint(3)]
    scene.paint((width + 0.5 - off).clip(0, 1), np.array(colour))


def _boxed(scene: Scene, random: Random) -> None:
    top, left, bottom, right = scene.box
    gap = random.uniform(0.06, 0.3, 4) * (bottom - top)
    half = random.uniform(0.8, 3) * min(scene.shape) / 500
    angle = random.uniform(-0.05, 0.05)
    rows, columns = np.indices(scene.shape, np.float32)
    rows -= (top + bottom) / 2
    columns -= (left + right) / 2
    y = rows * np.cos(angle) - columns * np.sin(angle)
    x = rows * np.sin(angle) + columns * np.cos(angle)
    high, wide = (bottom - top) / 2, (right - left) / 2
    inside = np.minimum.reduce(
        [y + high + gap[0], high + gap[1] - y, x + wide + gap[2], wide + gap[3] - x]
    )
    colour = scene.ink if random.rand() < 0.5 else np.full(3, random.uniform(0.05, 0.5))
    scene.paint((half + 0.5 - np.abs(inside)).clip(0, 1), colour)


def _vignette(scene: Scene, random: Random) -> None:
    rows, columns = (np.linspace(-1, 1, side) for side in scene.shape)
    radius = (rows[:, None] ** 2 + columns**2) / 2
    scene.light *= 1 - random.uniform(0.5, 0.85) * radius ** random.uniform(0.8, 2)


def _edge(scene: Scene, random: Random, softness: float) -> None:
    top, left, bottom, right = scene.box
    off = scene.along(random.uniform(0, 6.3))
    inside = off[top:bottom, left:right]
    off = off - random.uniform(inside.min(), inside.max())
    lit = 1 / (1 + np.exp(-(off / softness).clip(-40, 40)))
    scene.light *= 1 - random.uniform(0.35, 0.65) * lit


def _hard_shadow(scene: Scene, random: Random) -> None:
    _edge(scene, random, random.uniform(0.5, 2))


def _soft_shadow(scene: Scene, random: Random) -> None:
    _edge(scene, random, random.uniform(0.02, 0.08) * min(scene.shape))


def _gradient(scene: Scene, random: Random) -> None:
    off = scene.along(random.uniform(0, 6.3))
    part = (off - off.min()) / (off.max() - off.min())
    scene.light *= random.uniform(0.15, 0.35) + part * random.uniform(0.6, 0.75)


def _thin(scene: Scene, random: Random) -> None:
    thick = scene.cover > 0.5
    if not thick.any():
        return
    inner = ndimage.distance_transform_edt(thick)
    ridge = thick & (inner >= ndimage.maximum_filter(inner, 3) - 0.5)
    pen = random.uniform(0.6, 1.6) * min(scene.shape) / 500
    away = ndimage.distance_transform_edt(~ridge)
    scene.cover = (pen + 0.5 - away).clip(0, 1).astype(np.float32)


def _wood(scene: Scene, random: Random) -> Array:
    colours = [(0.25, 0.16, 0.1), (0.12, 0.12, 0.13), (0.4, 0.27, 0.17)]
    grain = ndimage.gaussian_filter(random.normal(0, 1, scene.shape), (2, 25)) * 0.25
    return np.array(colours[random.randint(3)]) * (1 + grain[..., None])


def _sheet(scene: Scene, random: Random) -> None:
    """The page is a sheet on a table, some of which is seen on all sides."""
    height, width = scene.shape
    sides = [round(random.uniform(0.06, 0.3) * min(scene.shape)) for _ in range(4)]
    (up, down, left, right), (top, start, bottom, end) = sides, scene.box

    def wider(array: Array) -> Array:
        around = ((up, down), (left, right), (0, 0))[: array.ndim]
        return np.pad(array, around, mode="edge")

    cover = np.pad(scene.cover, ((up, down), (left, right)))
    scene.paper, scene.light, scene.cover = wider(scene.paper), wider(scene.light), cover
    scene.box = (top + up, start + left, bottom + up, end + left)
    on = np.zeros(scene.shape, np.float32)
    on[up : up + height, left : left + width] = 1
    turn = random.uniform(-7, 7)
    on = ndimage.rotate(on, turn, reshape=False, order=1)
    on = np.maximum(on, ndimage.maximum_filter(scene.cover, 15) > 0.02)
    scene.paper = scene.paper * on[..., None] + _wood(scene, random) * (1 - on[..., None])


def _fold(scene: Scene, random: Random) -> None:
    """A book's two pages, the digit on one of them; the paper darkens towards the fold."""
    _, left, _, right = scene.box
    room = (left, scene.shape[1] - right)
    gap = 0.03 * scene.shape[1]
    beside = max(random.uniform(gap, max(room) * 0.9), gap)
    x = left - beside if room[0] > room[1] else right + beside
    columns = np.arange(scene.shape[1])
    off = np.abs(columns - x + np.linspace(-1, 1, scene.shape[0])[:, None] * random.uniform(-8, 8))
    reach = random.uniform(0.04, 0.12) * scene.shape[1]
    scene.light *= 1 - random.uniform(0.5, 0.85) * np.exp(-off / reach)
    scene.light *= np.where(columns < x, 1, random.uniform(0.75, 1))


def _corner(scene: Scene, random: Random) -> None:
    """Beyond a corner of the sheet the table is seen."""
    rows, columns = scene.places()
    if random.rand() < 0.5:
        rows = rows.max() - rows
    if random.rand() < 0.5:
        columns = columns.max() - columns
    slant = random.uniform(-0.2, 0.2)
    if random.rand() < 0.5:  # the sheet's corner: two of its sides are seen
        inside = np.minimum(rows + slant * columns - 0.12, columns - slant * rows - 0.12)
    else:  # one side, cut off aslant
        inside = rows + columns * random.uniform(0.5, 2) - random.uniform(0.2, 0.6)
    on = (inside * min(scene.shape) + 0.5).clip(0, 1)
    on = np.maximum(on, ndimage.maximum_filter(scene.cover, 15) > 0.02)
    scene.paper = scene.paper * on[..., None] + _wood(scene, random) * (1 - on[..., None])


def _blot(scene: Scene, random: Random) -> None:
    top, _, bottom, _ = scene.box
    size = random.uniform(0.1, 0.3) * (bottom - top)
    rows, columns = np.indices(scene.shape, np.float32)
    free = ndimage.distance_transform_edt(scene.cover < 0.05) > size * 1.25 + 4
    spots = np.argwhere(
        free
        & (rows > size)
        & (columns > size)
        & (rows < scene.shape[0] - size)
        & (columns < scene.shape[1] - size)
    )
    if not len(spots):
        return
    y, x = spots[random.randint(len(spots))]
    turn = np.arctan2(rows - y, columns - x)
    radius = size * (1 + 0.15 * np.sin(3 * turn + random.uniform(0, 6)) + 0.08 * np.sin(5 * turn))
    where = (radius - np.hypot(rows - y, (columns - x) * random.uniform(0.7, 1.3)) + 0.5).clip(0, 1)
    scene.paint(where, scene.ink * random.uniform(0.3, 1))


def _dim(scene: Scene, random: Random) -> None:
    scene.light *= random.uniform(0.25, 0.45)


@dataclass(frozen=True)
class How:
    """How a photograph is taken: the digit's share of the page, its distance from the border."""

    change: Condition
    share: tuple[float, float] = (0.35, 0.75)
    edge: float = 0.04
    side: int | None = None  # reduced to as many pixels


CONDITIONS = {
    "plain paper": How(_plain),
    "chalk board": How(_board),
    "yellow paper": How(_yellow),
    "faint pencil": How(_pencil),
    "out of focus": How(_unfocused),
    "small on the page": How(_plain, (0.08, 0.2)),
    "touching the border": How(_plain, (0.6, 0.85), 0),
    "ruled lines": How(_ruled),
    "squared paper": How(_squared),
    "a margin's line": How(_margin, (0.3, 0.6)),
    "a box around": How(_boxed, (0.3, 0.6)),
    "vignette": How(_vignette),
    "hard shadow": How(_hard_shadow),
    "soft shadow": How(_soft_shadow),
    "steep gradient": How(_gradient),
    "very thin strokes": How(_thin),
    "sheet on a dark table": How(_sheet),
    "a book's fold": How(_fold, (0.3, 0.55)),
    "a table's corner": How(_corner),
    "a blot beside": How(_blot, (0.3, 0.6)),
    "28x28, dim room": How(_dim, (0.7, 0.75), 0.1, 28),
    "29x29, dim room": How(_dim, (0.7, 0.75), 0.1, 29),
    "32x32, dim room": How(_dim, (0.6, 0.75), 0.1, 32),
    "28x28, blackboard": How(_board, (0.7, 0.75), 0.1, 28),
    "32x32, blackboard": How(_board, (0.6, 0.75), 0.1, 32),
}
