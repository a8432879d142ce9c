"""One's own pictures, of any size and colour, in MNIST's form."""

import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Resampling

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes

MAX_PIXELS = 50_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP")  # others may start programs
_ENOUGH = 512  # pixels along the longer side, from which 20 are made
# Pillow warns of sizes that are refused here.
warnings.filterwarnings("error", category=Image.DecompressionBombWarning)

Pixels = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def pictures_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures in a folder and all below it, and the other files; hidden ones are neither."""
    below = sorted(folder.rglob("*"), key=lambda path: path.relative_to(folder).parts)
    files = [
        path
        for path in below
        if path.is_file() and not any(x.startswith(".") for x in path.relative_to(folder).parts)
    ]
    pictures = [path for path in files if path.suffix.lower() in SUFFIXES]
    return pictures, [path for path in files if path.suffix.lower() not in SUFFIXES]


def read_pictures(
    paths: Sequence[Path], size: int
) -> Iterator[tuple[list[int], Bytes, list[FileError]]]:
    """Pictures in MNIST's form by batches of `size`, read by a few threads.

    Yields:
        which of `paths` could be read, these pictures `(N, 28, 28)`, and what is wrong with others.
    """

    def attempt(path: Path) -> Bytes | FileError:
        try:
            return read_picture(path)
        except FileError as error:
            return error

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), size):
            found = dict(enumerate(pool.map(attempt, paths[start : start + size]), start))
            good = {i: each for i, each in found.items() if not isinstance(each, FileError)}
            faults = [each for each in found.values() if isinstance(each, FileError)]
            pictures = np.stack(list(good.values())) if good else np.empty((0, 28, 28), np.uint8)
            yield list(good), pictures, faults


def read_picture(path: Path) -> Bytes:
    """A picture `(28, 28)` in MNIST's form, light on dark.

    One of 28x28 with a dark border and no transparency is taken as it is. In any other, the
    border's colours are the background and what differs from it most is the ink; what the ink
    covers is fitted into 20x20, and its centre of mass put into the middle of 28x28, as MNIST's
    makers did (LeCun, Bottou, Bengio and Haffner, 1998, section III.A).

    Raises:
        FileError: no readable picture, one of more than 50 million pixels, or a blank one.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height}"
                raise FileError(f"{path}: {size}: more than the {MAX_PIXELS:,} pixels allowed")
            as_is = image.size == (28, 28)
            pixels = _pixels(image)
    except FileError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FileError(f"{path}: more than the {MAX_PIXELS:,} pixels allowed") from None
    except Exception as error:  # whatever a decoder makes of a file that isn't what it says
        raise FileError(f"{path}: not a readable picture: {error}") from error
    colours, opacity = pixels[..., :-1], pixels[..., -1]
    if as_is and bool((opacity == 255).all()):
        grey = colours.mean(-1) if colours.shape[-1] == 1 else colours @ _LUMA
        if np.median(_border(grey)) < 128:
            return np.asarray(grey.round(), np.uint8)
    try:
        return to_mnist(_on_background(colours, opacity))
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None


def to_mnist(pixels: Pixels) -> Bytes:
    """The form `(28, 28)` of pixels `(H, W, C)` from 0 to 255.

    Raises:
        ValueError: they are all of one colour.
    """
    from scipy import ndimage

    offset = pixels - _background(pixels)
    distance = np.abs(offset).max(-1)
    if distance.max() < 8:
        raise ValueError("a blank picture, all of one colour")
    strong = offset[distance > distance.max() / 2]
    strongest = offset.reshape(-1, offset.shape[-1])[distance.argmax()]
    direction = strong[strong @ strongest > 0].mean(0)  # from background to ink, not to glare
    ink = (offset @ direction / (direction @ direction)).clip(0, 1)
    ink[ink < 0.1] = 0  # paper, and what JPEG leaves around lines
    spots, count = ndimage.label(ink > 0.25, np.ones((3, 3)))
    areas = ndimage.sum_labels(ink > 0.25, spots, np.arange(count + 1))
    lines = (areas >= areas.max() / 100)[spots] & (spots > 0)  # all else is dust
    rows, columns = (np.flatnonzero(lines.any(axis)) for axis in (1, 0))
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


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's


def _pixels(image: Image.Image) -> Pixels:
    """`(H, W, C + 1)` from 0 to 255, the last channel opacity; large pictures are reduced."""
    image.draft(None, (_ENOUGH, _ENOUGH))  # a JPEG is decoded no larger than needed
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of the kind {image.mode} have no known range")
    if image.mode.startswith("I;16"):
        image = Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
    if image.has_transparency_data or image.mode not in ("L", "RGB"):
        image = image.convert(mode)
    image = ImageOps.exif_transpose(image)
    factor = max(image.size) // _ENOUGH
    if factor > 1:
        image = image.reduce(factor)
    return np.asarray(image.convert(mode), np.float32)


def _on_background(colours: Pixels, opacity: Pixels) -> Pixels:
    """Where there is none behind transparent parts, one that the ink differs from."""
    seen = opacity >= 128
    if bool((opacity == 255).all()) or not seen.any():
        return colours
    low, high = np.percentile(colours[seen], (2, 98), axis=0)
    if (high - low).max() < 64:  # of one colour: the ink alone, whose shape is the opacity
        return opacity[..., None]
    alpha = opacity[..., None] / 255  # a sheet, with its colour
    sheet = np.median(colours[seen], axis=0)
    return np.asarray(alpha * colours + (1 - alpha) * sheet, np.float32)


def _background(pixels: Pixels) -> Pixels:
    """A plane through the colours of the border, which light may fall on from one side."""
    places = np.moveaxis(np.indices(pixels.shape[:2], np.float32), 0, -1) / max(pixels.shape[:2])
    plane = np.concatenate([places, np.ones_like(places[..., :1])], -1)
    known, colours = _border(plane), _border(pixels)
    off = np.abs(colours - np.median(colours, axis=0)).max(-1)
    for _ in range(3):  # what little of the ink is on the border stands off more and more
        near = off <= max(2 * float(np.median(off)), 1)
        slopes = np.linalg.lstsq(known[near], colours[near], rcond=None)[0]
        off = np.abs(colours - known @ slopes).max(-1)
    return np.asarray(plane @ slopes, np.float32)


def _border(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
