"""From the pixels of a photograph to ink alone, and from ink to MNIST's form."""

import numpy as np
from PIL import Image
from PIL.Image import Resampling

from mnist_lab.data.idx import Bytes

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def greyscale(pixels: Pixels) -> Pixels:
    """Grey `(H, W)` of colours `(H, W, C)`, all from 0 to 255, by the mixture that differs most."""
    if pixels.shape[-1] == 1:
        return pixels[..., 0]
    few = pixels[::2, ::2]
    step = max(1, max(few.shape) // 100)  # a thin stroke's width
    across, down = few[:, step:] - few[:, :-step], few[step:] - few[:-step]
    edges = np.concatenate([across.reshape(-1, 3), down.reshape(-1, 3)])
    mixture = np.linalg.eigh(edges.T @ edges)[1][:, -1]
    mixture /= np.abs(mixture).sum() * (-1 if mixture.sum() < 0 else 1)  # light stays light
    return np.asarray(pixels @ mixture - 255 * mixture.clip(max=0).sum(), np.float32)


def background(grey: Pixels, window: int) -> Pixels:
    """The paper below dark strokes narrower than `window`: a morphological closing.

    What is dark along the border is paper in the shade or a table, whose other side isn't seen.
    """
    from scipy import ndimage

    half = window // 2
    padded = np.pad(grey, half, constant_values=-np.inf)
    widest = ndimage.maximum_filter(padded, window, mode="constant", cval=-np.inf)
    paper = ndimage.minimum_filter(widest, window, mode="constant", cval=np.inf)
    return np.asarray(paper[half:-half, half:-half])


def ink_is_light(grey: Pixels, window: int) -> bool:
    """Whether the ink is lighter than the paper: of the two, the paper is even, the ink little.

    Where both are about as likely, as on an empty sheet, the ink is dark.
    """
    step = 1 + window // 40  # where there are many pixels, some of them tell
    grey, window = grey[::step, ::step], window // step | 1

    def unlikely(grey: Pixels) -> float:
        paper = background(grey, window)
        uneven = sum(float(np.abs(np.diff(paper, axis=axis)).sum()) for axis in (0, 1))
        return uneven / (2 * sum(grey.shape)) + 2 * float((paper - grey).mean())

    return unlikely(255 - grey) < 0.9 * unlikely(grey)


def ink_on(paper: Pixels, grey: Pixels) -> Pixels:
    """How much of the paper's light each pixel lacks, from 0 to 1, whatever shadow is on both."""
    return np.asarray((paper - grey).clip(0) / (paper + 16), np.float32)  # black tells little


def form(ink: Pixels) -> Bytes:
    """Ink `(H, W)` from 0 to 1 in MNIST's form `(28, 28)`.

    What it covers by a quarter or more is fitted into 20x20, and its centre of mass put into the
    middle of 28x28, as MNIST's makers did (LeCun, Bottou, Bengio and Haffner, 1998, section III.A).
    """
    rows, columns = (np.flatnonzero((ink > 0.25).any(axis)) for axis in (1, 0))
    ink = ink[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    height, width = (max(1, round(20 * side / max(ink.shape))) for side in ink.shape)
    fitted = Image.fromarray(ink).resize((width, height), Resampling.BILINEAR)
    small = np.asarray(fitted) / np.asarray(fitted).max()
    top, left = (
        int(np.clip(round(14 - small.sum(1 - axis) @ np.arange(side) / small.sum()), 0, 28 - side))
        for axis, side in enumerate(small.shape)
    )
    picture = np.zeros((28, 28), np.uint8)
    picture[top : top + height, left : left + width] = (small * 255).round()
    return picture
