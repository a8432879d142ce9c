"""Tables of pixels: text in Kaggle's form or one like it, and NumPy's arrays."""

import zipfile
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import IO, Any

import numpy as np

from mnist_lab.data import arrays
from mnist_lab.data.base import FileError
from mnist_lab.data.forms import (
    COUNT,
    Batch,
    Form,
    Table,
    form_of_names,
    form_of_values,
    in_parts,
)
from mnist_lab.data.idx import Bytes, Numbers, as_bytes
from mnist_lab.data.packed import unpacked

_BLOCK_BYTES = 1 << 23
_LINE_BYTES = 1 << 16  # 785 numbers have at most 3,140, in numpy's longest form 20,000
# In this order: a comma can be a decimal one where others separate, and spaces follow any of them.
_SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars", " ": "spaces"}


def open_table(
    file: Any,
    path: Path,
    size: int | None = None,
    *,
    classes: int = 10,
    labels: bool = True,
    scale: float | None = None,
) -> Table:
    """The table in what `unpacked` has opened.

    Args:
        size: images in a batch; without it, as many as some MB hold.
        classes: how many there are, by which a label is known where columns have no names.
        labels: whether they are read.
        scale: what pixels are multiplied by; None: 255, where they are fractions up to 1.

    Raises:
        FileError: the columns are others, or (from the batches) a value is no number from 0 to 255.
    """
    if isinstance(file, zipfile.ZipFile):
        return arrays.archive_table(file, path, size, classes, labels, scale)
    if file.peek(6)[:6] == arrays.MAGIC:
        return arrays.array_table(file, path, size, classes, labels, scale)
    return _text_table(file, path, size, classes, labels, scale)


def seems_a_table(file: Any, path: Path) -> bool:
    """Whether what `unpacked` has opened is one of NumPy's arrays or begins like a table's text."""
    start: bytes = file.peek(1 << 10)[: 1 << 10]
    separated = max(start.count(each.encode()) for each in _SEPARATORS) >= 20
    text = separated and not set(start) & set(range(9))  # control characters
    return start.startswith(arrays.MAGIC) or text or bool({".csv", ".tsv"} & set(path.suffixes))


def read_table(path: Path, classes: int) -> tuple[Bytes, Bytes, list[str]]:
    """Labels `(N,)` and images `(N, 28, 28)` of a table to train on, and how it was understood.

    Raises:
        FileError: as `open_table`; or no labels, or one that is none of so many classes.
    """
    with unpacked(path, member="train.csv") as file:
        table = open_table(file, path, classes=classes)
        if not table.labelled:
            raise FileError(f"{path}: has no column label")
        labels, images = map(np.concatenate, zip(*table.batches, strict=True))
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        row, label = wrong[0] + 1, labels[wrong[0]]
        raise FileError(
            f"{path}: row {row}, column label: {label} among {classes} classes, 0 to {classes - 1}"
        )
    return labels, images, table.understood


def _text_table(
    file: IO[bytes],
    path: Path,
    size: int | None,
    classes: int,
    labels: bool,
    scale: float | None,
) -> Table:
    start = file.readline(_LINE_BYTES)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FileError(f"{path}: is UTF-16; save it as UTF-8")
    start = start.removeprefix(b"\xef\xbb\xbf")
    if not start.strip():
        raise FileError(f"{path}: empty")
    text = start.decode(errors="backslashreplace").rstrip("\r\n")
    separator = next((each for each in _SEPARATORS if text.count(each) >= COUNT - 1), ",")
    names = [cell.strip(" \t\"'") for cell in text.removeprefix("# ").split(separator)]
    form = form_of_names(names, path)
    rows = _Rows(path, separator, names)
    if form is None:
        rows.names = [str(number) for number in range(1, len(names) + 1)]
        blocks = _blocks(file, path, start, 1)
        line, block = next(blocks)
        form = form_of_values(rows.floats(block, line), path, classes)
        form.understood.insert(0, "no header")
    else:
        blocks = _blocks(file, path, b"", 2)
        line, block = next(blocks, (2, b""))
        if not block:
            raise FileError(f"{path}: has no rows")
    if separator != ",":
        form.understood.append(f"separated by {_SEPARATORS[separator]}")
    if not labels:
        form.label = None
    if scale is not None:
        rows.scale = scale
    elif rows.whole(block, form) is None:
        rows.scale = form.scale_of(rows.floats(block, line, form))
    batches = (rows.convert(block, line, form) for line, block in chain([(line, block)], blocks))
    return Table(form.label is not None, form.understood, in_parts(batches, size))


def _blocks(file: IO[bytes], path: Path, start: bytes, line: int) -> Iterator[tuple[int, bytes]]:
    """Whole lines, some MB at a time, each with the number of its first; none are blank at the end.

    Raises:
        FileError: blank lines are followed by others.
    """
    blank = False
    while block := start + file.read(_BLOCK_BYTES):
        block, start = block + file.readline(_LINE_BYTES), b""
        lines = block.rstrip(b"\r\n ")
        if lines and blank:
            raise FileError(f"{path}: line {line - 1} is blank")
        if lines:
            yield line, lines
        blank = blank or block.count(b"\n") > lines.count(b"\n") + 1
        line += block.count(b"\n")


class _Rows:
    """Rows of text as numbers: polars reads 42,000 in 0.4 s, but names no line."""

    def __init__(self, path: Path, separator: str, names: list[str]) -> None:
        self.path, self.separator, self.names = path, separator, names
        self.scale: float = 1

    def convert(self, block: bytes, line: int, form: Form) -> Batch:
        """Labels, if they are read, and pixels `(N, 784)`."""
        values = self.whole(block, form) if self.scale == 1 else None
        if values is None:
            values = self.floats(block, line, form)
        pixels = as_bytes(values[:, form.pixels], self.scale)
        labels = None if form.label is None else as_bytes(values[:, form.label])
        if pixels is None or (labels is None and form.label is not None):
            raise FileError(f"{self.path}: {self._fault(block.splitlines(), line, form)}")
        return labels, pixels

    def whole(self, block: bytes, form: Form) -> Numbers | None:
        """All columns, if pixels and label are plain whole numbers: others are 0."""
        import polars as pl

        read = {*form.pixels, form.label}
        schema = {str(i): pl.UInt8 if i in read else pl.String for i in range(len(self.names))}
        try:
            frame = pl.read_csv(
                block, has_header=False, schema=schema, quote_char=None, separator=self.separator
            )
        except pl.exceptions.PolarsError:
            return None
        if any(frame[str(i)].null_count() for i in read if i is not None):
            return None
        others = [pl.lit(0, pl.UInt8).alias(name) for name in schema if int(name) not in read]
        return frame.with_columns(others).to_numpy()

    def floats(self, block: bytes, line: int, form: Form | None = None) -> Numbers:
        """All columns; what is no number is NaN."""
        import polars as pl

        schema = {str(i): pl.String for i in range(len(self.names))}
        try:
            frame = pl.read_csv(
                block, has_header=False, schema=schema, quote_char='"', separator=self.separator
            )
        except pl.exceptions.PolarsError as error:
            fault = self._fault(block.splitlines(), line, form) or str(error).splitlines()[0]
            raise FileError(f"{self.path}: {fault}") from error
        cells = pl.all().str.strip_chars(" \t\"'").cast(pl.Float64, strict=False)
        return frame.select(cells).to_numpy()

    def _fault(self, lines: Sequence[bytes], first: int, form: Form | None) -> str | None:
        """What is wrong with the first of these lines that isn't as it should be."""
        read = {} if form is None else dict.fromkeys(form.pixels, self.scale)
        if form is not None and form.label is not None:
            read[form.label] = 1
        for number, text in enumerate(lines, first):
            if not text.strip():
                return f"line {number} is blank"
            cells = text.split(self.separator.encode())
            for column, (cell, name) in enumerate(zip(cells, self.names, strict=False)):
                shown = cell.strip(b" \t\"'").decode("utf-8", "backslashreplace")
                if column in read and not _is_pixel(shown, read[column]):
                    of = "" if read[column] == 1 else f" times {read[column]:g}"
                    return (
                        f"line {number}, column {name}: {shown[:40]!r}{of} is no number "
                        "from 0 to 255"
                    )
            if len(cells) != len(self.names):
                return f"line {number}: {len(cells)} values for {len(self.names)} columns"
        return None


def _is_pixel(text: str, scale: float) -> bool:
    try:
        return as_bytes(np.array([float(text)]), scale) is not None
    except ValueError:
        return False
