"""Digits found in photographs: shadows, lines, frames, tables and blots are not the digit."""

import numpy as np
import pytest
from PIL import Image

from mnist_lab import models
from mnist_lab.data import FileError
from mnist_lab.data.ink import background, ink_is_light
from mnist_lab.data.lines import without_lines
from mnist_lab.data.pictures import read_picture
from tests.data import photographs
from tests.forked import call


@pytest.fixture(scope="module")
def network(mnist_root, made_once):
    """One of 99 %, so that what goes wrong is the reader's."""

    def make(folder):
        settings = ["experiment=speedrun", f"data.root={mnist_root.resolve()}", "artefacts=few",
                    "trainer.callbacks.dashboard=null", f"hydra.run.dir={folder}"]  # fmt: skip
        status, _, err = call("mnist_lab.train", *settings, folder=folder.parent)
        assert status == 0, err

    return models.load(made_once("reader", make)).eval()


@pytest.mark.slow
@pytest.mark.mnist
@pytest.mark.parametrize("condition", photographs.CONDITIONS)
def test_a_photograph_gets_its_digits_label(condition, network, mnist_root, tmp_path):
    """Of 24 at least 21: a reader that gets 95 of 100 right does so in 97 of 100 samples."""
    images, labels = photographs.painted(mnist_root / "mnist", condition, 24, seed=3)
    forms = photographs.read(images, tmp_path)
    assert (photographs.guesses(network, forms)[0] == labels).sum() >= 21


@pytest.mark.parametrize(
    "condition",
    [
        "plain paper",
        "squared paper",
        "vignette",
        "hard shadow",
        "sheet on a dark table",
        "a book's fold",
        "a table's corner",
    ],
)
def test_an_empty_page_is_read_as_none(condition, tmp_path):
    """Of 12 at most one: a reader that takes 3 of 100 for a digit does so in 95 of 100 samples."""
    forms = photographs.read(photographs.empty(condition, 12, seed=3), tmp_path)
    assert photographs.refused(forms).sum() >= 11


def sheet(seed=0):
    """A blank sheet in daylight `(300, 400)`, as a camera sees it."""
    light = np.linspace(190, 230, 400) + np.linspace(-10, 15, 300)[:, None]
    return light + np.random.RandomState(seed).normal(0, 4, light.shape)


def ruled(page):
    page = page.copy()
    page[20::40] -= 60
    return page


WITHOUT = {
    "a blank sheet": lambda page: page,
    "nothing but lines": ruled,
    "squares": lambda page: ruled(ruled(page).T[:, ::-1]).T[:300],
    "a margin's line": lambda page: np.where(np.abs(np.arange(400) - 60) < 2, page - 90, page),
    "a book's fold": lambda page: page * (1 - 0.7 * np.exp(-np.abs(np.arange(400) - 200) / 20)),
    "noise": lambda page: np.random.RandomState(0).uniform(0, 255, page.shape),
}


@pytest.mark.parametrize("page", WITHOUT)
def test_where_no_digit_stands_out_none_is_guessed(page, tmp_path):
    pixels = WITHOUT[page](sheet()).clip(0, 255).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "x.jpg")
    with pytest.raises(FileError, match=r"x\.jpg: a picture in which no digit stands out"):
        read_picture(tmp_path / "x.jpg")


def test_a_second_digit_is_told(tmp_path, caplog):
    page = sheet()
    page[60:240, 90:110] -= 150
    Image.fromarray(page.clip(0, 255).astype(np.uint8)).save(tmp_path / "one.png")
    page[60:240, 280:300] -= 150
    page[60:80, 240:300] -= 100
    Image.fromarray(page.clip(0, 255).astype(np.uint8)).save(tmp_path / "two.png")
    read_picture(tmp_path / "one.png")
    assert not caplog.messages
    read_picture(tmp_path / "two.png")
    (message,) = caplog.messages
    assert message.startswith(f"{tmp_path / 'two.png'}: more than one digit stands out")


@pytest.mark.parametrize("size", [(384, 4), (1, 300), (9, 1)])
def test_a_strip_is_no_page_either(size, tmp_path):
    pixels = np.full(size, 255, np.uint8)
    pixels[: len(pixels) // 2 + 1, size[1] // 3 : size[1] // 2 + 1] = 0
    Image.fromarray(pixels).save(tmp_path / "x.png")
    with pytest.raises(FileError, match=r"x\.png: (a picture in which no digit|a blank picture)"):
        read_picture(tmp_path / "x.png")


@pytest.mark.parametrize("size", [28, 29, 32])
@pytest.mark.parametrize("paper, ink", [(90, 20), (60, 120), (40, 100), (127, 60)])  # noqa: PT006
def test_small_pictures_on_grey_are_read_as_large_ones(size, paper, ink, tmp_path):
    """A bar from top to bottom, right of the middle: in MNIST's form it stands in the middle."""
    pixels = np.full((size, size), paper, np.uint8)
    pixels[6:22, 15:18] = ink
    Image.fromarray(pixels).save(tmp_path / "x.png")
    form = read_picture(tmp_path / "x.png")
    rows = (form > 127).any(1).nonzero()[0]
    assert len(rows) == 20
    assert rows[0] in (4, 5)
    assert form[:, :10].max() == form[:, 18:].max() == 0


def test_the_paper_below_strokes_has_their_shadows_edge():
    paper = np.full((60, 80), 200, np.float32)
    paper[:, 40:] = 90
    grey = paper.copy()
    grey[28:32, 10:70] = 30
    assert (background(grey, 15) == paper).all()
    assert not ink_is_light(grey, 15)
    assert ink_is_light(255 - grey, 15)


@pytest.mark.parametrize("slope", [0, 0.06])
def test_lines_go_and_the_strokes_that_cross_them_stay(slope):
    ink = np.zeros((200, 300), np.float32)
    rows = np.indices(ink.shape)[0] - slope * np.arange(300)
    line = (rows % 40 > 20) & (rows % 40 < 23)
    stroke = np.zeros_like(line)
    stroke[30:170, 140:152] = True
    ink[line], ink[stroke] = 0.4, 0.4
    without = without_lines(ink, 0.1)
    assert (without[stroke] > 0.2).mean() > 0.97
    assert (without[line & ~stroke] > 0.2).mean() < 0.03
