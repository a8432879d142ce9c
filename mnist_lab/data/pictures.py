"""One's own pictures, of any size and colour, in MNIST's form."""

import logging
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, TypeVar

import numpy as np
from PIL import Image, ImageOps
from PIL.Image import Resampling

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes
from mnist_lab.data.ink import Pixels
from mnist_lab.data.segmentation import find_digit
from mnist_lab.data.strokes import mnist_form, page_of

Content = TypeVar("Content")
log = logging.getLogger(__name__)

MAX_PIXELS = 50_000_000
SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
_OTHER_SUFFIXES = (".jpe", ".jfif", ".avif", ".heic", ".heif")
_BEGINNINGS = (b"\x89PNG", b"\xff\xd8\xff", b"GIF8", b"II*\0", b"MM\0*")
_BRANDS = (b"ftyphei", b"ftypmif", b"ftypavi")  # HEIF and AVIF, from the fifth byte
_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF")  # others may start programs
_ENOUGH = 384  # pixels along the longer side, from which 20 are made


class Shape(NamedTuple):
    """Of an image that is made of a whole picture."""

    channels: int
    """1: grey; 3: red, green and blue."""
    height: int
    width: int


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
    paths: Sequence[Path], size: int, whole: Shape | None = None
) -> Iterator[tuple[list[int], Bytes, list[FileError]]]:
    """Pictures by batches of `size`, read by a few threads.

    Args:
        whole: what they are brought to as they are; None: the digit in each, in MNIST's form.

    Yields:
        which of `paths` could be read, the pictures `(N, C, H, W)`, and what is wrong with others.
    """

    def read(path: Path) -> Bytes:
        return read_picture(path)[None] if whole is None else read_whole(path, whole)

    shape = whole or (1, 28, 28)
    for places, pictures, faults in read_each(paths, size, read):
        yield places, np.stack(pictures) if pictures else np.empty((0, *shape), np.uint8), faults


def read_each(
    paths: Sequence[Path], size: int, read: Callable[[Path], Content]
) -> Iterator[tuple[list[int], list[Content], list[FileError]]]:
    """What `read` makes of pictures, by batches of `size`, by a few threads.

    Yields:
        which of `paths` could be read, what was made of these, and what is wrong with others.
    """

    def attempt(path: Path) -> Content | FileError:
        try:
            return read(path)
        except FileError as error:
            return error

    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        for start in range(0, len(paths), size):
            places, contents, faults = [], [], []
            # Pillow warns of sizes that are refused here. It is this thread that says so for all:
            # what is done with warnings is the process's, not a thread's.
            with warnings.catch_warnings(action="error", category=Image.DecompressionBombWarning):
                outcomes = list(pool.map(attempt, paths[start : start + size]))
            for place, outcome in enumerate(outcomes, start):
                if isinstance(outcome, FileError):
                    faults.append(outcome)
                else:
                    places.append(place)
                    contents.append(outcome)
            yield places, contents, faults


def read_picture(path: Path) -> Bytes:
    """A picture `(28, 28)` in MNIST's form, light on dark.

    One of 28x28 with a black border, light ink and no transparency is taken as it is. In any
    other the digit is found (`to_mnist`) and brought into MNIST's form (`ink.form`); where there
    seem to be several, the log says so.

    Raises:
        FileError: no readable picture, one of more than 50 million pixels, or one in which no digit
            stands out.
    """
    picture = decoded(path, _ENOUGH)
    colours = picture.colours
    if picture.size == (28, 28) and bool((picture.opacity == 255).all()):
        grey = colours.mean(-1) if colours.shape[-1] == 1 else colours @ _LUMA
        if np.median(_border(grey)) < 32 and not 0 < grey.max() < 128:
            return np.asarray(grey.round(), np.uint8)
    try:
        digit, alone = to_mnist(picture.on_background())
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None
    if not alone:
        log.warning("%s: more than one digit stands out; the likeliest is read", path)
    return digit


def read_whole(path: Path, shape: Shape) -> Bytes:
    """A picture `(C, H, W)`, resized with no regard to its proportions, on white if transparent.

    Raises:
        FileError: no readable picture, or one of more than 50 million pixels.
    """
    picture = decoded(path, 4 * max(shape.height, shape.width))
    opacity = picture.opacity[..., None] / 255
    pixels = opacity * picture.colours + (1 - opacity) * 255
    if shape.channels == 1 and pixels.shape[-1] == 3:
        pixels = pixels @ _LUMA[:, None]
    size = shape.width, shape.height
    planes = [
        np.asarray(Image.fromarray(plane).resize(size, Resampling.BILINEAR))
        for plane in pixels.round().astype(np.uint8).transpose(2, 0, 1)
    ]
    return np.stack(planes if len(planes) == shape.channels else planes * shape.channels)


def to_mnist(pixels: Pixels) -> tuple[Bytes, bool]:
    """The form `(28, 28)` of the digit in pixels `(H, W, C)` from 0 to 255; whether it is alone.

    Raises:
        ValueError: they are all of one colour, or no digit stands out among them.
    """
    if np.ptp(pixels, axis=(0, 1)).max() < 8:
        raise ValueError("a blank picture, all of one colour")
    page = page_of(pixels, enlarged=max(pixels.shape[:2]) < _ENOUGH / 4)
    where, thickness, alone = find_digit(*page)
    return mnist_form(page.ink, where, thickness), alone


_LUMA = np.array([0.299, 0.587, 0.114], np.float32)  # ITU-R BT.601, as Pillow's


@dataclass(frozen=True)
class Picture:
    """A picture, upright, maybe reduced.

    Attributes:
        colours: `(H, W, C)` from 0 to 255.
        opacity: `(H, W)` from 0 to 255.
        size: its width and height before it was reduced.
    """

    colours: Pixels
    opacity: Pixels
    size: tuple[int, int]

    def on_background(self) -> Pixels:
        """Where there is none behind transparent parts, one that the ink differs from."""
        colours, opacity = self.colours, self.opacity
        seen = opacity >= 128
        if bool((opacity == 255).all()) or not seen.any():
            return colours
        low, high = np.percentile(colours[seen], (2, 98), axis=0)
        if (high - low).max() < 64:  # of one colour: the ink alone, whose shape is the opacity
            return opacity[..., None]
        alpha = opacity[..., None] / 255  # a sheet, with its colour
        sheet = np.median(colours[seen], axis=0)
        return np.asarray(alpha * colours + (1 - alpha) * sheet, np.float32)


def decoded(path: Path, enough: int) -> Picture:
    """A picture, reduced to `enough` pixels along its longer side where it has more.

    Raises:
        FileError: no readable picture, or one of more than 50 million pixels.
    """
    try:
        with Image.open(path, formats=_FORMATS) as image:
            if image.width * image.height > MAX_PIXELS:
                size = f"{image.width} x {image.height}"
                raise FileError(f"{path}: {size}: more than the {MAX_PIXELS:,} pixels allowed")
            return _upright(image, enough)
    except FileError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise FileError(f"{path}: more than the {MAX_PIXELS:,} pixels allowed") from None
    except Exception as error:  # whatever a decoder makes of a file that isn't what it says
        raise FileError(f"{path}: not a readable picture: {error}") from error


def _upright(image: Image.Image, enough: int) -> Picture:
    size = image.size
    image.draft(None, (enough, enough))  # a JPEG is decoded no larger than needed
    if image.mode in ("I", "F"):
        raise ValueError(f"pixels of the kind {image.mode} have no known range")
    drafted = image.size
    image = ImageOps.exif_transpose(image)
    if image.size != drafted:
        size = size[::-1]
    if image.mode.startswith("I;16"):
        values = np.asarray(image)  # of 10, 12, 14 or all 16 bits
        bits = next(bits for bits in (10, 12, 14, 16) if values.max(initial=0) < 1 << bits)
        image = Image.fromarray((values / ((1 << bits) - 1) * 255).round().astype(np.uint8))
    mode = "LA" if image.mode in ("1", "L", "LA") else "RGBA"
    if image.has_transparency_data or image.mode not in ("L", "RGB"):
        image = image.convert(mode)
    image.thumbnail((enough, enough), Resampling.BILINEAR)
    pixels = np.asarray(image.convert(mode), np.float32)
    return Picture(pixels[..., :-1], pixels[..., -1], size)


def _border(pixels: Pixels) -> Pixels:
    return np.concatenate([pixels[0], pixels[-1], pixels[1:-1, 0], pixels[1:-1, -1]])
