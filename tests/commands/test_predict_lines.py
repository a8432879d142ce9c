"""`python -m mnist_lab.predict lines=true`: pages with lines of digits."""

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data.pages import read_page
from tests.commands.runs import assert_predicts, expected, idx, rows
from tests.data.pages import page


@pytest.fixture
def folder(images, tmp_path):
    """Two pages of several lines, in a folder, and text beside them."""
    random = np.random.RandomState(0)
    order = random.permutation(len(images)).tolist()
    (tmp_path / "pages" / "older").mkdir(parents=True)
    for name in ("2.png", "older/1.jpg"):
        page(images, order, "several lines", random).image.save(tmp_path / "pages" / name)
    (tmp_path / "pages" / "notes.txt").write_text("text")
    return tmp_path / "pages"


def test_a_row_a_digit_and_a_line_a_line(trained, folder, lab_predict, tmp_path):
    status, out, err = lab_predict(
        f"checkpoint={trained}", "input=pages", "lines=true", "confident=0.9", "boxes=framed"
    )
    assert status == 0, err
    names = ["2.png", "older/1.jpg"]
    digits = [read_page(folder / name) for name in names]
    probabilities = expected(trained, np.concatenate([each.images for each in digits]))
    found = rows(tmp_path / "predictions.csv")
    assert list(found[0])[:11] == [
        "file", "line", "place", "left", "top", "width", "height", "prediction", "guess",
        "confidence", "p0",
    ]  # fmt: skip
    assert [row["guess"] for row in found] == [str(k) for k in probabilities.argmax(1)]
    where = [
        (name, number + 1, *box)
        for name, each in zip(names, digits, strict=True)
        for number, box in zip(each.lines, each.boxes, strict=True)
    ]
    keys = ("line", "left", "top", "width", "height")
    assert [(row["file"], *(int(row[key]) for key in keys)) for row in found] == where
    told = [text for text in out.splitlines() if ", line " in text]
    lines = {}
    for row in found:
        lines.setdefault((row["file"], row["line"]), []).append(row)
    assert len(told) == len(lines)
    for text, ((name, line), inside) in zip(told, lines.items(), strict=True):
        assert [int(row["place"]) for row in inside] == list(range(1, len(inside) + 1))
        number = "".join(row["prediction"] for row in inside)
        least = min(inside, key=lambda row: float(row["confidence"]))
        assert text == (
            f"{name}, line {line}: {number}, the least sure {least['prediction']} in place "
            f"{least['place']}, with a confidence of {float(least['confidence']):.3f}"
        )
    unsure = sum(row["prediction"] == "?" for row in found)
    summary = f"{len(found)} predictions in {len(lines)} lines, {unsure} of them ?: "
    assert out.endswith(f"{summary}predictions.csv\n")
    for name, drawn in zip(names, ("2.png", "older/1.jpg.png"), strict=True):
        before, after = Image.open(folder / name), Image.open(tmp_path / "framed" / drawn)
        assert before.size == after.size
        change = np.abs(np.asarray(before.convert("RGB"), int) - np.asarray(after, int)).sum(2)
        (first, *_) = read_page(folder / name).boxes
        assert change[first.top + first.height, first.left : first.left + first.width].min() > 30


def test_without_a_doubt_the_columns_are_those_of_pictures(trained, folder, lab_predict, tmp_path):
    given = [f"checkpoint={trained}", "input=pages/2.png", "lines=true", "batch_size=5"]
    assert lab_predict(*given)[0] == 0
    digits = read_page(folder / "2.png")
    assert_predicts(tmp_path / "predictions.csv", expected(trained, digits.images))


BAD = {
    "an empty page": (["input=blank.png"], "none of 1 readable: blank.png: a blank picture"),
    "a table": (["input=x.idx"], "x.idx: no picture; lines=true reads photographs and scans"),
    "no picture in it": (["input=broken.png"], "broken.png: not a readable picture"),
    "a submission": (["input=x.idx", "format=kaggle"], "lines=true: a submission has a label for"),
    "a remedy": (["input=blank.png", "invert=true"], "invert, scale and transpose are for tables"),
    "boxes alone": (["lines=false", "boxes=x"], "boxes=x: digits are framed with lines=true"),
}


@pytest.mark.parametrize("arguments, told", BAD.values(), ids=BAD)  # noqa: PT006
def test_bad_input_is_told_in_a_line(arguments, told, trained, images, lab_predict, tmp_path):
    Image.new("L", (200, 80), 220).save(tmp_path / "blank.png")
    (tmp_path / "broken.png").write_text("text")
    (tmp_path / "x.idx").write_bytes(idx(images))
    before = set(tmp_path.iterdir())
    given = {"input": "blank.png", "lines": "true", "checkpoint": trained}
    given |= dict(argument.split("=") for argument in arguments)
    status, _, err = lab_predict(*(f"{key}={value}" for key, value in given.items()))
    assert status == 1
    assert told in err
    assert len(err.splitlines()) == 1
    assert set(tmp_path.iterdir()) == before


def test_frames_that_are_there_stay(trained, folder, lab_predict, tmp_path):
    (tmp_path / "framed").mkdir()
    (tmp_path / "framed" / "2.png").write_text("mine")
    given = [f"checkpoint={trained}", "input=pages/2.png", "lines=true", "boxes=framed"]
    status, _, err = lab_predict(*given)
    assert (status, err) == (1, "boxes=framed/2.png: exists; overwrite=true replaces it\n")
    assert not (tmp_path / "predictions.csv").exists()
    assert lab_predict(*given, "overwrite=true")[0] == 0
    assert Image.open(tmp_path / "framed" / "2.png").format == "PNG"
