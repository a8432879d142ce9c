"""Kaggle's form: what polars reads is what was written, and every fault is named."""

import io
from pathlib import Path

import numpy as np
import pytest

from mnist_lab.data import FileError, tables
from mnist_lab.data.tables import PIXELS, read_table, table_batches

RANDOM = np.random.RandomState(0)
IMAGES = RANDOM.randint(256, size=(50, 28, 28)).astype(np.uint8)
LABELS = RANDOM.randint(10, size=50).astype(np.uint8)


def text(images=IMAGES, labels=LABELS):
    """Written value by value, without the reader's library."""
    names = PIXELS if labels is None else ["label", *PIXELS]
    rows = images.reshape(-1, 784)
    rows = rows if labels is None else np.column_stack([labels, rows])
    return "\n".join([",".join(names), *(",".join(map(str, row)) for row in rows.tolist())]) + "\n"


def batches(content, size=None):
    content = content if isinstance(content, bytes) else content.encode()
    labelled, found = table_batches(io.BytesIO(content), Path("x.csv"), size)
    return labelled, list(found)


@pytest.mark.parametrize("block", [1, 5000, 1 << 23])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("labels", [LABELS, None])
def test_what_was_written_is_read(block, end, labels, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK_BYTES", block)
    content = b"\xef\xbb\xbf" + text(labels=labels).replace("\n", end).encode()
    labelled, found = batches(content, 7)
    assert labelled == (labels is not None)
    assert all(len(images) <= 7 for _, images in found)
    assert (np.concatenate([images for _, images in found]) == IMAGES).all()
    if labelled:
        assert (np.concatenate([each for each, _ in found]) == LABELS).all()


def test_the_last_line_may_lack_its_end(tmp_path):
    (tmp_path / "train.csv").write_text(text().rstrip("\n"))
    labels, images = read_table(tmp_path / "train.csv", 10)
    assert (labels == LABELS).all()
    assert (images == IMAGES).all()


def damaged(line, column, value):
    rows = [row.split(",") for row in text().splitlines()]
    rows[line - 1][column] = value
    return "\n".join(map(",".join, rows))


FAULTS = {
    "empty": ("", "empty"),
    "blank": ("\n\n", "empty"),
    "header alone": (text().splitlines()[0] + "\n", "has no rows"),
    "text": (damaged(9, 3, "x"), "line 9, column pixel2: 'x' is no number from 0 to 255"),
    "too large": (damaged(2, 1, "256"), "line 2, column pixel0: '256' is no number"),
    "negative": (damaged(51, 784, "-1"), "line 51, column pixel783: '-1' is no number"),
    "fraction": (damaged(5, 0, "1.5"), "line 5, column label: '1.5' is no number"),
    "huge": (damaged(5, 7, "9" * 5000), "line 5, column pixel6: '9999"),
    "nothing": (damaged(40, 10, ""), "line 40, column pixel9: '' is no number"),
    "quote": (damaged(3, 10, '"1"'), "line 3, column pixel9: '\"1\"' is no number"),
    "no Unicode": (damaged(4, 1, "\udcff").encode("utf-8", "surrogateescape"), r"'\\\\xff' is no"),
    "a short line": (text() + "1,2,3\n", "line 52: 3 values for 785 columns"),
    "a long line": (text() + text().splitlines()[1] + ",0\n", "line 52: 786 values for 785"),
    "a blank line": (text() + "\n" + text().splitlines()[1], "line 52, column label: ''"),
    "missing": (text().replace("pixel7,", ""), "columns missing: pixel7$"),
    "many missing": ("label\n1\n", "columns missing: pixel0, pixel1, pixel2 and 781 more"),
    "additional": (text().replace("pixel7,", "pixel7,id,"), "columns additional: id$"),
    "both": (text().replace("pixel7,", "Pixel7,"), "columns missing: pixel7; additional: Pixel7$"),
    "twice": (text().replace("pixel7,", "pixel7,pixel7,"), "columns more than once: pixel7$"),
    "reordered": (
        text().replace("pixel7,pixel8,", "pixel8,pixel7,"),
        "columns in another order: pixel8 where pixel7 belongs",
    ),
    "label last": (
        text(labels=None).replace("pixel783", "pixel783,label"),
        "columns additional: label",
    ),
    "no header": ("\n".join(text().splitlines()[1:]), "columns missing: pixel0"),
}


@pytest.mark.parametrize("content, told", FAULTS.values(), ids=FAULTS)  # noqa: PT006
def test_every_fault_is_named(content, told, monkeypatch):
    for block in (1 << 23, 5000):
        monkeypatch.setattr(tables, "_BLOCK_BYTES", block)
        with pytest.raises(FileError, match=r"^x\.csv: ") as raised:
            batches(content)
        assert raised.match(told)


def test_a_line_that_never_ends_takes_no_memory(tmp_path):
    path = tmp_path / "train.csv"
    with open(path, "wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(FileError, match="columns missing"):
        read_table(path, 10)


def test_labels_are_held_against_the_classes(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(damaged(12, 0, "10"))
    with pytest.raises(FileError, match="line 12, column label: 10 among 10 classes"):
        read_table(path, 10)
    path.write_text(text(labels=None))
    with pytest.raises(FileError, match="has no column label"):
        read_table(path, 10)
    with pytest.raises(FileError, match="No such file"):
        read_table(tmp_path / "other.csv", 10)
