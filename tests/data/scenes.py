"""A page with a handwritten digit on it, and the photograph that a camera makes of it."""

import io
from dataclasses import dataclass, field

import numpy as np
from PIL import Image
from scipy import ndimage

Array = np.ndarray
Random = np.random.RandomState


@dataclass
class Scene:
    """What a camera sees. All arrays are `(H, W)` or `(H, W, 3)`, values from 0 to 1.

    Attributes:
        paper: its colours, with whatever lies or is printed on it, below the ink.
        cover: how much of each pixel the ink covers.
        ink: the ink's colour.
        light: what falls on each pixel, as a factor.
        box: top, left, bottom and right of the digit.
    """

    paper: Array
    cover: Array
    ink: Array
    box: tuple[int, int, int, int]
    light: Array = field(init=False)
    blur: float = 0.6
    noise: float = 0.012
    quality: int = 85

    def __post_init__(self) -> None:
        self.light = np.ones_like(self.cover)

    @property
    def shape(self) -> tuple[int, int]:
        return self.cover.shape[0], self.cover.shape[1]

    def paint(self, where: Array, colour: Array | float) -> None:
        """Lay a colour on the paper, `where` from 0 to 1."""
        self.paper += where[..., None] * (colour - self.paper)

    def places(self) -> tuple[Array, Array]:
        """Row and column of each pixel, from 0 to 1 on the shorter side."""
        rows, columns = np.indices(self.shape) / min(self.shape)
        return rows, columns

    def along(self, angle: float) -> Array:
        """Each pixel's distance, in pixels, from a line through the page's middle."""
        rows, columns = np.indices(self.shape, np.float32)
        rows -= self.shape[0] / 2
        columns -= self.shape[1] / 2
        return rows * np.cos(angle) - columns * np.sin(angle)


def page_with(
    digit: Array, random: Random, share: tuple[float, float], edge: float = 0.04
) -> Scene:
    """A digit on white paper, as tall or wide as a `share` of the page's shorter side."""
    height, width = random.randint(320, 800, 2)
    if max(height, width) > 1.8 * min(height, width):
        width = height
    rows, columns = (np.flatnonzero(digit.any(axis)) for axis in (1, 0))
    cut = digit[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    size = random.uniform(*share) * min(height, width)
    scale = size / max(cut.shape)
    cut = np.pad(cut, 2)
    large = Image.fromarray(cut).resize(
        (round(cut.shape[1] * scale), round(cut.shape[0] * scale)), Image.Resampling.BICUBIC
    )
    large = large.rotate(random.uniform(-6, 6), Image.Resampling.BICUBIC, expand=True)
    stroke = np.asarray(large, np.float32) / 255
    if random.rand() < 0.5:  # as a pen's, with a firm edge
        stroke = 1 / (1 + np.exp(-(stroke - 0.42) * 12))
        stroke[stroke < 0.02] = 0
    stroke = stroke[np.ix_(stroke.max(1) > 0.05, stroke.max(0) > 0.05)]
    margin = edge * min(height, width)
    stroke = stroke[:height, :width]
    top, left = (
        round(random.uniform(min(margin, room / 2), max(room - margin, room / 2)))
        for room in (height - stroke.shape[0], width - stroke.shape[1])
    )
    if not edge:  # it touches one
        top, left = [
            (0, left),
            (top, 0),
            (height - stroke.shape[0], left),
            (top, width - stroke.shape[1]),
        ][random.randint(4)]
    cover = np.zeros((height, width), np.float32)
    part = cover[top : top + stroke.shape[0], left : left + stroke.shape[1]]
    part[...] = stroke
    box = (top, left, top + part.shape[0], left + part.shape[1])
    return scene_of(cover, box, random)


def scene_of(cover: Array, box: tuple[int, int, int, int], random: Random) -> Scene:
    """Some ink that covers some white paper, in a light and before a camera that are usual."""
    height, width = cover.shape
    paper = np.full((height, width, 3), random.uniform(0.8, 0.95), np.float32)
    paper *= random.uniform(0.96, 1.0, 3)
    paper += ndimage.gaussian_filter(random.normal(0, 1, (height, width)), 3)[..., None] * 0.02
    inks = [(0.1, 0.1, 0.12), (0.12, 0.15, 0.5), (0.65, 0.1, 0.12), (0.25, 0.25, 0.27)]
    ink = np.array(inks[random.choice(4, p=[0.45, 0.3, 0.1, 0.15])], np.float32)
    scene = Scene(paper, cover, ink, box)
    scene.blur, scene.noise = random.uniform(0.4, 1.2), random.uniform(0.004, 0.02)
    scene.quality = random.randint(60, 95)
    angle, slope = random.uniform(0, 6.3), random.uniform(0, 0.15)
    scene.light += scene.along(angle) / max(scene.shape) * slope  # daylight is never quite even
    return scene


def develop(scene: Scene, random: Random) -> Image.Image:
    colours = scene.paper + scene.cover[..., None] * (scene.ink - scene.paper)
    colours = colours * scene.light[..., None]
    colours = ndimage.gaussian_filter(colours, (scene.blur, scene.blur, 0))
    colours = colours + random.normal(0, scene.noise, colours.shape)
    buffer = io.BytesIO()
    image = Image.fromarray((colours.clip(0, 1) * 255).round().astype(np.uint8))
    image.save(buffer, "JPEG", quality=scene.quality)
    return Image.open(buffer).convert("RGB")
