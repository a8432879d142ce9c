"""Kaggle's form and its relatives: what was written is read, and every fault is named."""

import bz2
import csv
import gzip
import io
import zipfile
from pathlib import Path

import numpy as np
import pytest

from mnist_lab.data import FileError, tables
from mnist_lab.data.layout import PIXELS
from mnist_lab.data.packed import unpacked
from mnist_lab.data.tables import open_table, read_table

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
    table = open_table(io.BufferedReader(io.BytesIO(content)), Path("x.csv"), size)
    return table.labelled, list(table.batches)


@pytest.mark.parametrize("block", [1, 5000, 1 << 23])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("labels", [LABELS, None])
def test_what_was_written_is_read(block, end, labels, monkeypatch):
    monkeypatch.setattr(tables, "_BLOCK_BYTES", block)
    content = b"\xef\xbb\xbf" + text(labels=labels).replace("\n", end).encode()
    labelled, parts = batches(content, 7)
    assert labelled == (labels is not None)
    assert all(len(images) <= 7 for _, images in parts)
    assert (np.concatenate([images for _, images in parts]) == IMAGES).all()
    if labelled:
        assert (np.concatenate([labels for labels, _ in parts]) == LABELS).all()


def test_the_last_line_may_lack_its_end(tmp_path):
    (tmp_path / "train.csv").write_text(text().rstrip("\n"))
    labels, images, understood = read_table(tmp_path / "train.csv", 10)
    assert (labels == LABELS).all()
    assert (images == IMAGES).all()
    assert understood == []


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
    "not a number": (damaged(7, 3, "NaN"), "line 7, column pixel2: 'NaN' is no number"),
    "infinite": (damaged(7, 3, "inf"), "line 7, column pixel2: 'inf' is no number"),
    "no Unicode": (damaged(4, 1, "\udcff").encode("utf-8", "surrogateescape"), r"'\\\\xff' is no"),
    "a short line": (text() + "1,2,3\n", "line 52: 3 values for 785 columns"),
    "a long line": (text() + text().splitlines()[1] + ",0\n", "line 52: 786 values for 785"),
    "a blank line": (text() + "\n" + text().splitlines()[1], "line 52 is blank"),
    "missing": (text().replace("pixel7,", ""), "columns missing: pixel7$"),
    "many missing": ("label\n1\n", "columns missing: pixel0, pixel1, pixel2 and 781 more"),
    "additional": (text().replace("pixel7,", "pixel7,mean,"), "columns additional: mean$"),
    "both": (text().replace("pixel7,", "pix7,"), "columns missing: pixel7; additional: pix7$"),
    "twice": (text().replace("pixel7,", "pixel7,pixel7,"), "columns more than once: pixel7$"),
    "two labels": (text().replace("pixel7,", "pixel7,class,"), "columns additional: class$"),
    "no header, either end a label": (
        "".join(
            ",".join(["1", *map(str, row), "2"]) + "\n" for row in IMAGES.reshape(-1, 784)[:, 1:]
        ),
        "785 columns without names: whether the first or the last is the label cannot be told",
    ),
    "no header, too few": ("1,2,3\n", "columns missing: pixel0|3 columns without names"),
    "UTF-16": (text().encode("utf-16"), "is UTF-16; save it as UTF-8"),
    "a decimal comma": (
        damaged(3, 2, "0.5").replace(",", ";").replace(".", ","),
        "line 3, column pixel1: '0,5' is no number from 0 to 255; a point is needed, no comma",
    ),
    "decimal commas, no header": ("0,5;" * 783 + "1,0\n", "0,5 has a decimal comma; a point is"),
    "decimal commas in quotes, no header": ('"0,5",' * 783 + '"1"\n', "0,5 has a decimal comma"),
    "an open quote": (
        damaged(3, 2, '"7') + "\n" + damaged(3, 2, '8"'),
        "line 3: a quotation mark that isn't closed",
    ),
    "a fraction after whole numbers": (
        damaged(40, 9, "0.5"),
        "line 40, column pixel8: '0.5' is no",
    ),
}


@pytest.mark.parametrize("content, told", FAULTS.values(), ids=FAULTS)  # noqa: PT006
def test_every_fault_is_named(content, told, monkeypatch):
    for block in (1 << 23, 5000):
        monkeypatch.setattr(tables, "_BLOCK_BYTES", block)
        with pytest.raises(FileError, match=r"^x\.csv: ") as raised:
            batches(content)
        assert raised.match(told)


def written(rows, header=None, **options):
    file = io.StringIO()
    writer = csv.writer(file, **options)
    if header is not None:
        writer.writerow(header)
    writer.writerows(rows)
    return file.getvalue()


FLAT = IMAGES.reshape(-1, 784)
FLAT[:, 0] = FLAT[:, -1] = 0  # corners, as in MNIST
ROWS = np.column_stack([LABELS, FLAT]).tolist()
LAST = np.column_stack([FLAT, LABELS]).tolist()
NAMES = ["label", *PIXELS]
GRID = [f"{row}x{column}" for row in range(1, 29) for column in range(1, 29)]
SHUFFLED = RANDOM.permutation(784)


def saved(array):
    file = io.BytesIO()
    np.savetxt(file, array)
    return file.getvalue()


# The forms that people meet, and what is said of how they were understood.
FORMS = {
    "grid": (written(ROWS, ["label", *GRID]), ["pixels are called 1x1 to 28x28"]),
    "from 1": (
        written(ROWS, ["label", *(f"pixel{i}" for i in range(1, 785))]),
        ["pixels are called pixel1 to pixel784"],
    ),
    "pandas' numbers": (
        written(ROWS, ["label", *map(str, range(784))]),
        ["pixels are called 0 to 783"],
    ),
    "OpenML": (
        written(LAST, [*(f"pixel{i}" for i in range(1, 785)), "class"]),
        ["pixels are called pixel1 to pixel784", "labels are called class", "the label is last"],
    ),
    "label last": (written(LAST, [*PIXELS, "label"]), ["the label is last"]),
    "quoted": (written(ROWS, NAMES, quoting=csv.QUOTE_ALL), []),
    "quoted header": (written([], NAMES, quoting=csv.QUOTE_ALL) + written(ROWS), []),
    "whole floats": (written([[float(x) for x in row] for row in ROWS], NAMES), []),
    "pandas' index": (
        written([[i, *row] for i, row in enumerate(ROWS)], ["", *NAMES]),
        ["column '' is left out"],
    ),
    "names of files": (
        written([[f"img {i}.png", *row] for i, row in enumerate(ROWS)], ["Id", *NAMES]),
        ["column 'Id' is left out"],
    ),
    "spaces after commas": (written(ROWS, NAMES).replace(",", ", "), []),
    "capitals": (written(ROWS, NAMES).replace("pixel", "PIXEL").replace("label", "label"), []),
    "semicolons": (written(ROWS, NAMES, delimiter=";"), ["separated by semicolons"]),
    "tabs": (written(ROWS, NAMES, delimiter="\t"), ["separated by tabs"]),
    "blank last lines": (written(ROWS, NAMES) + "\r\n\n  \n\n", []),
    "no header": (written(ROWS), ["no header", "the first column is the label"]),
    "no header, label last": (written(LAST), ["no header", "the last column is the label"]),
    "no header, an index": (
        written([[i, *row] for i, row in enumerate(ROWS)]),
        ["no header", "the first column counts, and is left out", "the first column is the label"],
    ),
    "savetxt": (
        saved(ROWS),
        ["no header", "separated by spaces", "the first column is the label"],
    ),
    "columns by name": (
        written(
            [[row[0], *(row[1 + i] for i in SHUFFLED)] for row in ROWS],
            ["label", *(PIXELS[i] for i in SHUFFLED)],
        ),
        ["pixels in the order of their names"],
    ),
    "shares": (
        written([[row[0], *(round(x / 255, 6) for x in row[1:])] for row in ROWS], NAMES),
        ["values from 0 to 1, taken times 255"],
    ),
}


@pytest.mark.parametrize(
    ("name", "block"),
    # One row alone doesn't say which column is the label.
    [
        (name, n)
        for name in FORMS
        for n in (1, 1 << 23)
        if n > 1 or "no header" not in FORMS[name][1]
    ],
)
def test_other_usual_forms_are_read_and_told(name, block, tmp_path, monkeypatch):
    content, told = FORMS[name]
    monkeypatch.setattr(tables, "_BLOCK_BYTES", block)
    path = tmp_path / "train.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    labels, images, understood = read_table(path, 10)
    assert (labels == LABELS).all()
    assert (images.reshape(-1, 784) == FLAT).all()
    assert understood == told


def test_unlabelled_columns_without_a_header(tmp_path):
    (tmp_path / "x.csv").write_text(written(FLAT.tolist()))
    with unpacked(tmp_path / "x.csv") as file:
        table = open_table(file, tmp_path / "x.csv")
        assert not table.labelled
        assert (
            np.concatenate([images for _, images in table.batches]).reshape(-1, 784) == FLAT
        ).all()


def zipped(members, compression=zipfile.ZIP_DEFLATED):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


def npy(array):
    file = io.BytesIO()
    np.save(file, array)
    return file.getvalue()


def npz(save=np.savez, **arrays):
    file = io.BytesIO()
    save(file, **arrays)
    return file.getvalue()


TEXT = text(FLAT.reshape(-1, 28, 28)).encode()
STACK = FLAT.reshape(-1, 28, 28)
PACKED = {
    "gz": gzip.compress(TEXT),
    "bz2": bz2.compress(TEXT),
    "zip": zipped({"x/train.csv": TEXT, "__MACOSX/x/._train.csv": b"x"}),
    "zip of several": zipped({"test.csv": b"x", "train.csv": TEXT}),
    "npy of rows": npy(np.array(ROWS, np.int64)),
    "npy of rows by columns": npy(np.asfortranarray(np.array(LAST, np.float64))),
    "npz": npz(x=STACK, y=LABELS, names=np.array(["a", "b"])),
    "npz, compressed": npz(np.savez_compressed, images=STACK[..., None], y=LABELS[:, None]),
    "npz of floats": npz(x=(FLAT / 255).astype(np.float32), y=LABELS.astype(float)),
    "gzipped npy": gzip.compress(npy(np.array(ROWS, np.uint8))),
}


@pytest.mark.parametrize("content", PACKED.values(), ids=PACKED)
def test_packed_tables_and_arrays_are_read_by_what_they_are(content, tmp_path):
    (tmp_path / "any.name").write_bytes(content)
    labels, images, _ = read_table(tmp_path / "any.name", 10)
    assert (labels == LABELS).all()
    assert (images == STACK).all()


def header(shape, dtype="|u1", order="False"):
    told = f"{{'descr': {dtype!r}, 'fortran_order': {order}, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\1\0" + len(told).to_bytes(2, "little") + told


BAD = {
    "objects": (npy(np.array([[1, "a"]], object)), "its shape is .* of object"),
    "text": (npy(np.full((3, 784), "1")), "its shape is .* of <U1; images have"),
    "other shapes": (npy(np.zeros((5, 32, 32))), r"its shape is \(5, 32, 32\) of float64"),
    "none": (npy(np.zeros((0, 28, 28))), r"its shape is \(0, 28, 28\)"),
    "short": (npy(np.array(ROWS))[:-1], "ends before the last of its"),
    "long": (npy(np.array(ROWS)) + b"x", "goes on after the last of its 50 images"),
    "claims much": (header((2**40, 784)), "ends before the last of its"),
    "claims much by columns": (header((2**40, 784), order="True"), "in Fortran's order, and too"),
    "negative": (header((-3, 784)), r"its shape is \(-3, 784\)"),
    "no header": (b"\x93NUMPY\1\0\4\0((((", "not a readable array"),
    "a version to come": (b"\x93NUMPY\7\0" + bytes(90), "not a readable array"),
    "too large": (npy(np.array(ROWS) + 1), "row .*: 256 is no number from 0 to 255"),
    "NaN": (npy(np.array(ROWS, float) * np.nan), "785 columns without names|no number"),
    "two arrays": (npz(a=STACK, b=STACK), r"should hold one array of images; it holds a \(50, 28"),
    "no labels": (npz(a=STACK), "has no column label"),
    "several files": (
        zipped({"a.csv": TEXT, "b.csv": TEXT}),
        r"holds 2 files \(a.csv, b.csv\)",
    ),
    "no files": (zipped({}), r"holds 0 files"),
    "many files": (zipped({f"{i}.csv": b"" for i in range(20_000)}), "holds too many files"),
    "LZMA": (zipped({"a.csv": TEXT}, zipfile.ZIP_LZMA), "'a.csv' in it is encrypted, or packed in"),
    "a cut archive": (zipped({"a.csv": TEXT})[:-30], "not a readable archive"),
    "a damaged archive": (
        zipped({"a.csv": TEXT}).replace(TEXT[:1], b"x", 0)[:40] + bytes(200),
        "not",
    ),
    "a short bz2": (bz2.compress(TEXT)[:-20], "Compressed file ended"),
    "no bz2": (b"BZh9" + bytes(99), "Invalid data stream"),
}


@pytest.mark.parametrize("content, told", BAD.values(), ids=BAD)  # noqa: PT006
def test_arrays_and_archives_that_cannot_be_read_are_told_in_a_line(content, told, tmp_path):
    path = tmp_path / "train.csv"
    path.write_bytes(content)
    with pytest.raises(FileError, match=told) as raised:
        read_table(path, 10)
    assert str(raised.value).startswith(f"{path}: ")


def test_a_line_that_never_ends_takes_no_memory(tmp_path):
    path = tmp_path / "train.csv"
    with open(path, "wb") as file:
        file.truncate(1 << 34)
    with pytest.raises(FileError, match="columns missing"):
        read_table(path, 10)


def test_labels_are_held_against_the_classes(tmp_path):
    path = tmp_path / "train.csv"
    path.write_text(damaged(12, 0, "10"))
    with pytest.raises(FileError, match="row 11, column label: 10 among 10 classes"):
        read_table(path, 10)
    path.write_text(text(labels=None))
    with pytest.raises(FileError, match="has no column label"):
        read_table(path, 10)
    with pytest.raises(FileError, match="No such file"):
        read_table(tmp_path / "other.csv", 10)
