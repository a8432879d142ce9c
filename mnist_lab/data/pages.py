"""Pictures of pages with lines of separate digits on them."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes
from mnist_lab.data.ink import Pixels
from mnist_lab.data.pictures import decoded
from mnist_lab.data.strokes import mnist_form, page_of
from mnist_lab.data.writing import alone, find_writing, in_lines

_ENOUGH = 2000  # pixels along a page's longer side, whose digits have 25 to 50 then
_SMALL = 96  # pixels along its shorter side, of which each becomes two by two
_WHOLE = 1 << 30  # pixels, which no picture has
_CONTRAST = 2.5  # strokes of so few pixels have edges as wide as themselves
_FRAME, _TEXT = (0, 150, 60), (210, 30, 30)  # green, red


class Rectangle(NamedTuple):
    """Where a digit is, in the pixels of a picture that stands upright."""

    left: int
    top: int
    width: int
    height: int


@dataclass(frozen=True)
class Digits:
    """The digits of a page in the order in which they are read.

    Attributes:
        images: `(N, 28, 28)`, in MNIST's form.
        lines: the line of each, from 0.
        boxes: where each is.
    """

    images: Bytes
    lines: list[int]
    boxes: list[Rectangle]


def read_page(path: Path) -> Digits:
    """The digits in a picture of a page, which are found as `read_digits` does.

    Raises:
        FileError: no readable picture, one of more than 50 million pixels, or one in which no digit
            stands out.
    """
    picture = decoded(path, _ENOUGH)
    try:
        digits = read_digits(picture.on_background())
    except ValueError as error:
        raise FileError(f"{path}: {error}") from None
    x, y = (
        full / seen
        for full, seen in zip(picture.size, reversed(picture.opacity.shape), strict=True)
    )
    scale = np.array([x, y, x, y])
    boxes = [
        Rectangle(*(np.array(box) * scale).round().astype(int).tolist()) for box in digits.boxes
    ]
    return Digits(digits.images, digits.lines, boxes)


def read_digits(pixels: Pixels) -> Digits:
    """The digits in pixels `(H, W, C)` from 0 to 255, line by line.

    Raises:
        ValueError: they are all of one colour, or no digit stands out among them.
    """
    if np.ptp(pixels, axis=(0, 1)).max() < 8:
        raise ValueError("a blank picture, all of one colour")
    scale = 2 if min(pixels.shape[:2]) < _SMALL else 1
    page = page_of(pixels, enlarged=scale == 2)
    writing = find_writing(page)
    images, lines, boxes = [], [], []
    for number, line in enumerate(in_lines(writing.boxes, writing.size)):
        for digit in line:
            box, where, nearer = alone(writing, digit)
            ink = np.where(nearer, page.ink[box], 0)
            images.append(mnist_form(ink, where, writing.thickness, _CONTRAST))
            rows, columns = writing.boxes[digit]
            left, top = columns.start // scale, rows.start // scale
            right, bottom = -(-columns.stop // scale), -(-rows.stop // scale)
            lines.append(number)
            boxes.append(Rectangle(left, top, right - left, bottom - top))
    return Digits(np.stack(images), lines, boxes)


def draw_boxes(
    path: Path, boxes: Sequence[Rectangle], texts: Sequence[str], file: IO[bytes]
) -> None:
    """Write a page as PNG with a frame around each digit, and a text above it.

    Raises:
        FileError: it isn't the readable picture any more that it was.
    """
    colours = np.asarray(decoded(path, _WHOLE).colours, np.uint8)
    grey = colours.shape[-1] == 1
    image = Image.fromarray(colours[..., 0] if grey else colours).convert("RGB")
    draw = ImageDraw.Draw(image)
    size = float(np.median([box.height for box in boxes]))
    font = ImageFont.load_default(max(10, size / 3))
    for box, text in zip(boxes, texts, strict=True):
        right, bottom = box.left + box.width, box.top + box.height
        corners = (box.left - 1, box.top - 1, right, bottom)
        draw.rectangle(corners, outline=_FRAME, width=max(1, round(size / 30)))
        draw.text((box.left, box.top - 1), text, _TEXT, font, anchor="ld")
    image.save(file, "PNG")
