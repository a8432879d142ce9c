"""One's own pictures in MNIST's form, whatever their size, colours and transparency."""

import io
import warnings

import numpy as np
import pytest
from PIL import Image, ImageCms, ImageOps

from mnist_lab.data import Digits, FileError
from mnist_lab.data.ink import form
from mnist_lab.data.pictures import (
    Shape,
    pictures_in,
    read_picture,
    read_pictures,
    read_whole,
    to_mnist,
)


@pytest.fixture(scope="module")
def digit() -> Image.Image:
    """A 2 whose lines are light, on dark."""
    images, labels = Digits().read(None, "test")
    return Image.fromarray(images[labels == 2][0, 0].numpy())


@pytest.fixture
def saved(tmp_path):
    def save(image: Image.Image, name: str = "x.png", **options) -> np.ndarray:
        image.save(tmp_path / name, **options)
        return read_picture(tmp_path / name)

    return save


@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "P", "LA", "I;16"])
def test_light_on_dark_of_28x28_is_taken_as_it_is(mode, digit, saved):
    pixels = np.asarray(digit)
    image = Image.fromarray(pixels * np.uint16(257)) if mode == "I;16" else digit.convert(mode)
    assert np.abs(saved(image).astype(int) - pixels).max() <= (2 if mode == "P" else 0)


def test_a_black_picture_of_28x28_is_taken_as_it_is(saved):
    assert not saved(Image.new("L", (28, 28))).any()


def big(digit):
    return digit.resize((300, 300), Image.Resampling.BICUBIC)


def coloured(digit, ink, paper):
    return ImageOps.colorize(big(digit), paper, ink)


def transparent(digit, ink):
    """Nothing but the ink is opaque."""
    image = Image.new("RGBA", (300, 300), ink)
    image.putalpha(big(digit))
    return image


def turned_sheet(digit):
    """A sheet turned by a right angle and a half, back in place by the next turn, corners clear."""
    sheet = coloured(digit, "navy", "ivory").convert("RGBA")
    return sheet.rotate(45, expand=True).rotate(-45)


def under_a_lamp(digit):
    """Brighter on one side by as much as the ink is darker than the paper."""
    light = np.linspace(-50, 25, 300)[:, None] + np.linspace(-30, 30, 300)
    return Image.fromarray(np.uint8(190 - np.asarray(big(digit)) * 0.3 + light))


def dusty(digit):
    pixels = 255 - np.asarray(big(digit))
    pixels[np.random.RandomState(0).random_sample(pixels.shape) < 0.002] = 0
    return Image.fromarray(pixels)


LOOKS = {
    "under a lamp": under_a_lamp,
    "dusty": dusty,
    "dark on light": lambda d: ImageOps.invert(big(d)),
    "light on dark": big,
    "brown on cream": lambda d: coloured(d, (120, 60, 20), (250, 240, 210)),
    "yellow on blue": lambda d: coloured(d, "yellow", (20, 40, 160)),
    "red on a green as bright": lambda d: coloured(d, (200, 40, 0), (0, 140, 0)),
    "black on transparent": lambda d: transparent(d, "black"),
    "white on transparent": lambda d: transparent(d, "white"),
    "a sheet with transparent corners": turned_sheet,
    "dark on light of 28x28": ImageOps.invert,
    "sixteen bits": lambda d: Image.fromarray(65535 - np.asarray(big(d)) * np.uint16(257)),
    "two colours": lambda d: ImageOps.invert(big(d)).convert("1", dither=Image.Dither.NONE),
    "palette": lambda d: coloured(d, "black", "white").convert("P"),
    "in a corner of a wide page": lambda d: ImageOps.expand(
        ImageOps.invert(big(d)), (5, 5, 400, 40), fill=255
    ),
}


@pytest.mark.parametrize("look", LOOKS)
def test_every_look_of_a_digit_is_the_same_digit(look, digit, saved):
    form = saved(LOOKS[look](digit)).astype(float)
    reference = to_mnist(np.asarray(digit, np.float32)[..., None])[0]
    assert form.max() == 255
    # Pixel for pixel nearly the original's own form; hard edges leave the least likeness.
    assert np.corrcoef(form.ravel(), reference.ravel())[0, 1] > (
        0.93 if look == "two colours" else 0.97
    )


@pytest.mark.parametrize("mode", ["CMYK", "YCbCr", "LAB"])
def test_colours_of_printers_and_cameras(mode, digit, saved):
    picture = coloured(digit, (120, 60, 20), (250, 240, 210))
    if mode == "LAB":
        lab = ImageCms.buildTransform(
            ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
        )
        other = ImageCms.applyTransform(picture, lab)
    else:
        other = picture.convert(mode)
    form = saved(other, "x.tif")
    assert np.abs(form.astype(int) - saved(picture)).mean() < 2


@pytest.mark.parametrize("suffix", ["jpg", "bmp", "gif", "pgm", "ppm", "tif", "webp", "avif"])
def test_formats(suffix, digit, saved):
    form = saved(ImageOps.invert(big(digit)), f"x.{suffix}")
    reference = saved(ImageOps.invert(big(digit)))
    assert np.abs(form.astype(int) - reference).mean() < 2


def test_a_photograph_lies_as_its_camera_was_held(digit, saved):
    upright = ImageOps.invert(big(digit))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned clockwise
    turned = saved(upright.rotate(90), "x.jpg", exif=exif)
    assert np.abs(turned.astype(int) - saved(upright, "y.jpg")).mean() < 2


@pytest.mark.parametrize("shape", [(200, 60), (60, 200), (20, 20), (3, 400), (900, 900)])
def test_ink_fits_into_20x20_with_its_centre_of_mass_in_the_middle(shape):
    ink = np.zeros((1000, 1200), np.float32)
    height, width = shape
    ink[50 : 50 + height, 80 : 80 + width] = 1
    made = form(ink)
    rows, columns = (np.flatnonzero(made.any(axis)) for axis in (1, 0))
    sides = (rows[-1] - rows[0] + 1, columns[-1] - columns[0] + 1)
    assert max(sides) == 20
    assert sides == tuple(max(1, round(20 * side / max(shape))) for side in shape)
    centre = [made.sum(1 - axis) @ np.arange(28) / made.sum() for axis in (0, 1)]
    assert np.abs(np.array(centre) - 14).max() <= 0.5


@pytest.mark.mnist
def test_mnist_itself_is_its_own_form(mnist_root):
    """Where its makers put a digit, to_mnist puts it: box and centre of all but a few in 500."""
    from mnist_lab.data.idx import read_idx

    images = read_idx(mnist_root / "mnist" / "t10k-images-idx3-ubyte")[:500]
    forms = np.stack([to_mnist(np.asarray(x, np.float32)[..., None])[0] for x in images])

    def centres(a):
        mass = a.sum((1, 2), dtype=float)
        return np.stack([a.sum(2) @ np.arange(28) / mass, a.sum(1) @ np.arange(28) / mass])

    assert (np.abs(centres(images) - centres(forms)).max(0) < 1).mean() > 0.99
    pairs = zip(images.reshape(500, -1), forms.reshape(500, -1), strict=True)
    assert np.mean([np.corrcoef(a, b)[0, 1] for a, b in pairs]) > 0.97


def huge(width, height):
    """The header of a grey picture, and nothing else."""
    return f"P5 {width} {height} 255\n".encode()


def encoded(image, kind="PNG"):
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


BAD = {
    "empty": (b"", "not a readable picture"),
    "text": (b"no picture at all", "not a readable picture"),
    "cut": (encoded(Image.effect_noise((300, 300), 90))[:5000], "not a readable picture"),
    "program": (encoded(Image.new("L", (9, 9)), "EPS"), "not a readable picture: cannot identify"),
    "blank": (encoded(Image.new("L", (300, 300), 200)), "a blank picture"),
    "white": (encoded(Image.new("L", (28, 28), 255)), "a blank picture"),
    "clear": (encoded(Image.new("RGBA", (300, 300), (0, 0, 0, 0))), "a blank picture"),
    "30,000": (huge(30_000, 30_000), "more than the 50,000,000 pixels allowed"),
    "7,100": (huge(7_100, 7_100), "7100 x 7100: more than the 50,000,000 pixels"),
    "10,000": (huge(10_000, 10_000), "more than the 50,000,000 pixels"),
}


@pytest.mark.parametrize("content, told", BAD.values(), ids=BAD)  # noqa: PT006
@pytest.mark.filterwarnings("error")
def test_what_is_no_picture_is_named(content, told, tmp_path):
    (tmp_path / "x.png").write_bytes(content)
    with pytest.raises(FileError, match=r"x\.png: ") as raised:
        read_picture(tmp_path / "x.png")
    assert raised.match(told)


def test_light_and_dark_marks_on_grey_do_not_cancel():
    pixels = np.full((100, 100, 1), 128, np.float32)
    pixels[20:60, 20:28], pixels[20:60, 60:68] = 28, 228
    assert to_mnist(pixels)[0].max() == 255


def test_batches_keep_the_order_and_name_the_bad(digit, tmp_path):
    paths = [tmp_path / f"{i}.png" for i in range(7)]
    for i, path in enumerate(paths):
        image = digit.copy()
        image.putpixel((5, 5), 30 * i)
        image.save(path)
    paths[3].write_bytes(b"bad")
    places, pictures, faults = zip(*read_pictures(paths, 2), strict=True)
    assert places == ([0, 1], [2], [4, 5], [6])
    assert np.concatenate(pictures)[:, 0, 5, 5].tolist() == [30 * i for i in (0, 1, 2, 4, 5, 6)]
    assert [str(fault).partition(":")[0] for each in faults for fault in each] == [str(paths[3])]


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA"])
@pytest.mark.parametrize("channels", [1, 3])
def test_a_whole_picture_is_resized_as_pillow_does(mode, channels, tmp_path):
    noise = np.random.RandomState(0).randint(0, 256, (60, 80, 4), np.uint8)
    noise[..., 3] = 255
    noise[:30, :40, 3] = 0  # what cannot be seen is white
    picture = Image.fromarray(noise, "RGBA").convert(mode)
    picture.save(tmp_path / "x.png")
    white = Image.new("RGBA", (80, 60), "white")
    seen = Image.alpha_composite(white, picture) if mode == "RGBA" else picture
    expected = seen.convert("RGB" if channels == 3 else "L").resize((24, 20), 2)
    found = read_whole(tmp_path / "x.png", Shape(channels, 20, 24))
    by_pillow = np.asarray(expected).reshape(20, 24, channels).transpose(2, 0, 1)
    assert found.shape == (channels, 20, 24)
    assert np.abs(found.astype(int) - by_pillow).max() <= 1


def test_what_pillow_warns_of_is_refused_here_and_nowhere_else(tmp_path):
    (tmp_path / "x.png").write_bytes(huge(10_000, 10_000))
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        ((places, _, faults),) = read_pictures([tmp_path / "x.png"], 2)
        assert (places, len(faults), warned) == ([], 1, [])
        with Image.open(tmp_path / "x.png"):
            assert [each.category for each in warned] == [Image.DecompressionBombWarning]


def test_pictures_are_found_below_and_in_order(tmp_path):
    names = ("b/2.png", "b/10.JPG", "a.gif", "notes.txt", ".hidden.png", ".git/x.png", "c.heic")
    for name in names:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "d").write_bytes(encoded(Image.new("L", (9, 9)), "JPEG"))
    (tmp_path / "e.dat").write_bytes(b"\0\0\0\x1cftypavif")
    pictures, others = pictures_in(tmp_path)
    found = [str(x.relative_to(tmp_path)) for x in pictures]
    assert found == ["a.gif", "b/2.png", "b/10.JPG", "c.heic", "d", "e.dat"]
    assert [x.name for x in others] == ["notes.txt"]


def test_links_are_followed_once_and_broken_ones_are_named(tmp_path):
    (tmp_path / "there").mkdir()
    (tmp_path / "there" / "1.png").touch()
    (tmp_path / "there" / "back").symlink_to(tmp_path / "there")
    (tmp_path / "here").mkdir()
    (tmp_path / "here" / "linked").symlink_to(tmp_path / "there")
    (tmp_path / "here" / "gone").symlink_to(tmp_path / "nowhere")
    pictures, others = pictures_in(tmp_path / "here")
    found = [str(x.relative_to(tmp_path / "here")) for x in pictures]
    assert (found, others) == (["gone", "linked/1.png"], [])
    ((_, _, faults),) = read_pictures(pictures[:1], 9)
    assert "gone: not a readable picture" in str(faults[0])


@pytest.mark.parametrize("bits", [10, 12, 16])
def test_sixteen_bits_are_turned_and_may_be_fewer(bits, digit, saved):
    upright = ImageOps.invert(big(digit))
    values = np.asarray(upright).astype(np.uint16) << (bits - 8)
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(Image.fromarray(np.rot90(values).copy()), exif=exif)
    assert np.abs(turned.astype(int) - saved(upright, "y.png")).mean() < 2


@pytest.mark.parametrize("suffix", ["jfif", "jpe", "dat"])
def test_a_picture_is_one_by_its_content(suffix, digit, saved):
    form = saved(ImageOps.invert(big(digit)), f"x.{suffix}", format="JPEG")
    assert np.abs(form.astype(int) - saved(ImageOps.invert(big(digit)))).mean() < 2
