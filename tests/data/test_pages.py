"""Digits on pages: where they are, in which order, and those of several pieces."""

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mnist_lab.data import Digits, FileError
from mnist_lab.data.pages import Rectangle, read_digits, read_page
from mnist_lab.data.writing import in_lines
from tests.data import pages


@pytest.fixture(scope="module")
def images():
    """Digits of 8x8 pixels, enlarged: `(N, 28, 28)`."""
    return Digits().read(None, "train")[0].squeeze(1).numpy()


def overlap(box, written):
    """Of two boxes: what they share, over what they cover."""
    left, top = max(box.left, written[0]), max(box.top, written[1])
    right = min(box.left + box.width, written[0] + written[2])
    bottom = min(box.top + box.height, written[1] + written[3])
    shared = max(0, right - left) * max(0, bottom - top)
    return shared / (box.width * box.height + written[2] * written[3] - shared)


@pytest.mark.parametrize("way", ["one line", "sloping lines", "vignette", "specks", "ruled paper"])
def test_digits_are_found_where_they_were_written(way, images):
    random = np.random.RandomState(1)
    order = random.permutation(len(images)).tolist()
    for _ in range(4):
        page = pages.page(images, order, way, random)
        digits = read_digits(np.asarray(page.image, np.float32))
        lines = [number for number, line in enumerate(page.lines) for _ in line]
        assert digits.lines == lines
        boxes = [digit.box for line in page.lines for digit in line]
        shares = [overlap(*both) for both in zip(digits.boxes, boxes, strict=True)]
        assert min(shares) > 0.6
        assert np.median(shares) > 0.8


def slices(left, top, width=20, height=30):
    return slice(top, top + height), slice(left, left + width)


@pytest.mark.parametrize("slope", [-0.12, 0, 0.12])
def test_lines_are_read_from_above_and_from_the_left(slope):
    """Gaps in a line are no ends of it, and digits of a line aren't equally high."""
    random = np.random.RandomState(0)
    places = [
        (line, left) for line in range(4) for left in np.cumsum(random.randint(25, 90, 8)).tolist()
    ]
    boxes = [
        slices(left, round(100 + 50 * line + slope * left + random.uniform(-4, 4)))
        for line, left in places
    ]
    mixed = random.permutation(len(boxes)).tolist()
    found = in_lines([boxes[i] for i in mixed], 30)
    assert [[mixed[i] for i in line] for line in found] == [
        list(range(8 * line, 8 * line + 8)) for line in range(4)
    ]


def drawn(*strokes, size=(300, 90)):
    """Dark strokes, each a line through some points, on light paper."""
    image = Image.new("L", size, 225)
    for points in strokes:
        ImageDraw.Draw(image).line(points, 30, 5, "curve")
    noise = np.random.RandomState(0).normal(0, 3, image.size[::-1])
    return (np.asarray(image) + noise).astype(np.float32)[..., None]


ONE = [(40, 20), (40, 70)]
SEVEN = [(240, 20), (270, 20), (250, 70)]


def test_a_bar_apart_belongs_to_its_five():
    body = [(110, 20), (106, 42), (122, 42), (128, 58), (120, 70), (104, 66)]
    bar = [(118, 20), (142, 19)]
    digits = read_digits(drawn(ONE, body, bar, SEVEN))
    assert len(digits.boxes) == 3
    assert overlap(digits.boxes[1], (102, 17, 43, 56)) > 0.8


def test_both_halves_of_a_four_are_one():
    angle = [(110, 20), (104, 46), (126, 46)]
    stem = [(134, 18), (132, 72)]
    digits = read_digits(drawn(ONE, angle, stem, SEVEN))
    assert len(digits.boxes) == 3
    assert overlap(digits.boxes[1], (102, 16, 35, 58)) > 0.8


def test_two_ones_side_by_side_are_two():
    digits = read_digits(drawn(ONE, [(54, 20), (54, 70)], SEVEN))
    assert [box.left for box in digits.boxes] == pytest.approx([38, 52, 238], abs=2)


def test_specks_and_dashes_are_no_digits():
    specks = [[(x, y), (x + 3, y)] for x, y in ((80, 30), (150, 60), (200, 15), (180, 80))]
    digits = read_digits(drawn(ONE, *specks, [(90, 45), (125, 45)], SEVEN))
    assert [box.left for box in digits.boxes] == pytest.approx([38, 238], abs=2)


def test_a_digit_beside_others_looks_as_it_does_alone(images):
    strip = np.concatenate(list(images[:10]), 1).astype(np.float32)
    digits = read_digits(strip[..., None])
    assert len(digits.boxes) == 10
    for found, image in zip(digits.images, images[:10], strict=True):
        (single,) = read_digits(image.astype(np.float32)[..., None]).images
        both = np.stack([found, single]).reshape(2, -1).astype(float)
        assert np.corrcoef(both)[0, 1] > 0.95


def test_boxes_are_in_the_pixels_of_a_large_picture_that_stands_upright(tmp_path):
    page = Image.fromarray(drawn(ONE, SEVEN)[..., 0].clip(0, 255).astype(np.uint8))
    large = page.resize((3000, 900), Image.Resampling.BICUBIC)
    turned = large.transpose(Image.Transpose.ROTATE_90)
    exif = Image.Exif()
    exif[0x0112] = 6  # to be shown turned to the right
    turned.save(tmp_path / "page.jpg", exif=exif)
    digits = read_page(tmp_path / "page.jpg")
    assert len(digits.boxes) == 2
    assert overlap(digits.boxes[0], Rectangle(375, 200, 50, 510)) > 0.7
    assert overlap(digits.boxes[1], Rectangle(2400, 175, 325, 530)) > 0.8


@pytest.mark.parametrize("kind", ["blank", "noisy", "ruled"])
def test_a_page_without_digits_is_refused(kind, tmp_path):
    random = np.random.RandomState(0)
    pixels = np.full((300, 400), 210.0) + (
        0 if kind == "blank" else random.normal(0, 4, (300, 400))
    )
    if kind == "ruled":
        pixels[20::40] -= 60
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(tmp_path / "page.png")
    with pytest.raises(FileError, match=r"page\.png: a (blank picture|picture in which no digit)"):
        read_page(tmp_path / "page.png")
