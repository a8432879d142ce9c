"""One's own pictures, of any size and colour, in MNIST's form."""

import logging
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Resampling

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes
from mnist_lab.data.ink import Pixels, background, form, greyscale, ink_is_light, ink_on
from mnist_lab.data.lines import without_lines
from mnist_lab.data.segmentation import find_digit

log = logging.getLogger(__name__)

MAX_PIXELS = 50_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_OTHER_SUFFIXES = (".jpe", ".jfif", ".avif", ".heic", ".heif")
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_BRANDS = (b"ftyphei", b"ftypmif", b"ftypavi")  # HEIF and AVIF, from the fifth byte
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF")  # others may start programs
_ENOUGH = 384  # pixels along the longer side, from which 20 are made


def is_picture(path: Path) -> bool:
    """Whether it is one by its ending or its first bytes, in a format that can be read or not.

    A link to nothing is one that cannot be read.
    """
    if path.suffix.lower() in SUFFIXES + _OTHER_SUFFIXES or not path.exists():
        return True
    with open(path, "rb") as file:
        start = file.read(12)
    webp = start[:4] == b"RIFF" and start[8:] == b"WEBP"
    return webp or start.startswith(_BEGINNINGS) or start[4:].startswith(_BRANDS)


def pictures_in(folder: Path) -> tuple[list[Path], list[Path]]:
    """The pictures in a folder and all below it, linked ones too, and the other files.

    Numbers in names are in numeric order. Hidden files are neither.

    Raises:
        FileError: a folder that cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise FileError(f"{error.filename}: {error.strerror}") from error

    paths: list[Path] = []
    visited: set[str] = set()
    for place, folders, names in os.walk(folder, onerror=refuse, followlinks=True):
        real = os.path.realpath(place)
        folders[:] = [] if real in visited else [x for x in folders if not x.startswith(".")]
        if real not in visited:  # links may lead around in circles
            paths += [Path(place, name) for name in names if not name.startswith(".")]
        visited.add(real)
    files = sorted(
        (path for path in paths if path.is_file() or not path.exists()),  # no pipe, no device
        key=lambda path: [_numeric(part) for part in path.relative_to(folder).parts],
    )
    pictures = [path for path in files if is_picture(path)]
    known = set(pictures)
    return pictures, [path for path in files if path not in known]


def _numeric(name: str) -> tuple[list[str | int], str]:
    """What names are sorted by: text and numbers, by turns, and for 01 and 1 the name itself."""
    parts = re.split("([0-9]+)", name)
    return [int(x) if i % 2 else x for i, x in enumerate(parts)], name


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
            places, pictures, faults = [], [np.empty((0, 28, 28), np.uint8)], []
            # Pillow warns of sizes that are refused here. It is this thread that says so for all:
            # what is done with warnings is the process's, not a thread's.
            with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
                outcomes = list(pool.map(attempt, paths[start : start + size]))
            for place, outcome in enumerate(outcomes, start):
                if isinstance(outcome, FileError):
                    faults.append(outcome)
                else:
                    places.append(place)
                    pictures.append(outcome[None])
            yield places, np.concatenate(pictures), faults


def read_picture(path: Path) -> Bytes:
    """A picture `(28, 28)` in MNIST's form, light on dark.

    One of 28x28 with a black border, light ink and no transparency is taken as it is. In any
    other the digit is found (`to_mnist`) and brought into MNIST's form (`ink.form`); where there
    seem to be several, the log says so.

    Raises:
        FileError: no readable picture, one of more than 50 million pixels, or one in which no digit
            stands out.
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
        if np.median(_border(grey)) < 32 and not 0 < grey.max() < 128:
            return np.asarray(grey.round(), np.uint8)
    try:
        digit, alone = to_mnist(_on_background(colours, opacity))
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None
    if not alone:
        log.warning("%s: more than one digit stands out; the likeliest is read", path)
    return digit


def to_mnist(pixels: Pixels) -> tuple[Bytes, bool]:
    """The form `(28, 28)` of the digit in pixels `(H, W, C)` from 0 to 255; whether it is alone.

    Raises:
        ValueError: they are all of one colour, or no digit stands out among them.
    """
    from scipy import ndimage

    if np.ptp(pixels, axis=(0, 1)).max() < 8:
        raise ValueError("a blank picture, all of one colour")
    grey = greyscale(pixels)
    if max(grey.shape) < _ENOUGH / 4:
        grey = grey.repeat(2, 0).repeat(2, 1)
    else:
        grey = ndimage.gaussian_filter(grey, 0.7)  # less noise
    window = max(3, round(0.3 * min(grey.shape)) | 1)  # no stroke is wider
    if ink_is_light(grey, window):
        grey = 255 - grey
    ink = ink_on(background(grey, window), grey)
    usual = np.median(ink)
    noise = 1.4826 * float(np.median(np.abs(ink - usual)))  # its deviation, were it normal
    floor = max(0.06, 4 * noise)
    ink = without_lines((ink - usual).clip(0), floor)
    where, thickness, alone = find_digit(grey, ink, floor)
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
    return form(np.asarray(ink.clip(0, 1), np.float32)), alone


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's


def _pixels(image: Image.Image) -> Pixels:
    """`(H, W, C + 1)` from 0 to 255, the last channel opacity; large pictures are reduced."""
    image.draft(None, (_ENOUGH, _ENOUGH))  # a JPEG is decoded no larger than needed
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of the kind {image.mode} have no known range")
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        values = np.asarray(image)  # of 10, 12, 14 or all 16 bits
        bits = next(bits for bits in (10, 12, 14, 16) if values.max(initial=0) < 1 << bits)
        image = Image.fromarray((values / ((1 << bits) - 1) * 255).round().astype(np.uint8))
    mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
    if image.has_transparency_data or image.mode not in ("L", "RGB"):
        image = image.convert(mode)
    image.thumbnail((_ENOUGH, _ENOUGH), Resampling.BILINEAR)
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


def _border(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
