"""Tables of pixels: text in Kaggle's form or one like it, NumPy's arrays, and IDX."""

import csv
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from mnist_lab.data import arrays, idx
from mnist_lab.data.arrays import Block, Rows
from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes, Numbers, are_bytes, as_bytes
from mnist_lab.data.layout import (
    COUNT,
    Layout,
    is_header,
    is_number,
    layout_of_names,
    layout_of_values,
)
from mnist_lab.data.packed import unpacked

_BLOCK_BYTES = 1 << 23
_LINE_BYTES = 1 << 16  # 785 numbers have at most 3,140, in numpy's longest form 20,000
# In this order: a comma can be a decimal one where others separate, and spaces follow any of them.
_SEPARATORS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars", " ": "spaces"}

Batch = tuple[Bytes | None, Bytes]


class Table(NamedTuple):
    """An open table.

    Attributes:
        labelled: whether it has labels.
        understood: how it is read, as far as that isn't plainly Kaggle's form.
        batches: labels `(N,)` and images `(N, 28, 28)`; reading them may raise `FileError`.
        total: how many images there are, where that is known beforehand.
    """

    labelled: bool
    understood: list[str]
    batches: Iterator[Batch]
    total: int | None


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
        rows = arrays.rows_of_archive(file, path)
    elif file.peek(6)[:6] == arrays.MAGIC:
        rows = arrays.rows_of_array(file, path)
    elif file.peek(3)[:3] == idx.MAGIC:
        rows = arrays.rows_of_idx(file, path)
    else:
        rows = _rows_of_text(file, path)
    layout = layout_of_names(rows.names, path) if rows.names else None
    first = next(rows.blocks, None)
    if first is None:
        raise FileError(f"{path}: has no rows")
    layout = layout or layout_of_values(first.values, path, classes)
    if not labels:
        layout.label = rows.labels = None
    factor = layout.scale_of(first.values) if scale is None else scale
    parts = (_converted(block, layout, factor, path) for block in chain([first], rows.blocks))
    return Table(
        layout.label is not None or rows.labels is not None,
        [*rows.understood, *layout.understood],
        _batches(parts, rows.labels, size),
        rows.total,
    )


def seems_a_table(file: Any, path: Path) -> bool:
    """Whether what `unpacked` has opened is an array or begins like a table's text."""
    start: bytes = file.peek(1 << 10)[: 1 << 10]
    separated = max(start.count(separator.encode()) for separator in _SEPARATORS) >= 20
    text = separated and not set(start) & set(range(9))  # control characters
    array = start.startswith((arrays.MAGIC, idx.MAGIC))
    return array or text or bool({".csv", ".tsv"} & set(path.suffixes))


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


def _converted(block: Block, layout: Layout, scale: float, path: Path) -> Batch:
    """Labels, if they are read, and pixels `(N, 784)` of some rows, all held against 0 to 255."""
    pixels = block.values.take(layout.pixels, 1)  # row by row, as by an index it would not lie
    labels = None if layout.label is None else block.values[:, layout.label]
    if not (are_bytes(pixels, scale).all() and (labels is None or are_bytes(labels).all())):
        raise FileError(f"{path}: {_first_fault(block, layout, scale)}")
    return None if labels is None else as_bytes(labels), as_bytes(pixels, scale)


def _first_fault(block: Block, layout: Layout, scale: float) -> str:
    """Of the first row in which a value is no number from 0 to 255, the first such value."""
    good = np.ones(block.values.shape, bool)
    good[:, layout.pixels] = are_bytes(block.values[:, layout.pixels], scale)
    if layout.label is not None:
        good[:, layout.label] = are_bytes(block.values[:, layout.label])
    row, column = np.argwhere(~good)[0]
    times = f" times {scale:g}" if scale != 1 and column != layout.label else ""
    return block.fault(row, column, times)


def _batches(parts: Iterator[Batch], apart: Bytes | None, size: int | None) -> Iterator[Batch]:
    """At most so many images together, with their labels, which may stand apart from them."""
    first = 0
    for labels, pixels in parts:
        images = pixels.reshape(-1, 28, 28)
        if apart is not None:
            labels = apart[first : first + len(images)]
        first += len(images)
        for start in range(0, len(images), size or len(images)):
            part = slice(start, start + (size or len(images)))
            yield labels[part] if labels is not None else None, images[part]


def _rows_of_text(file: IO[bytes], path: Path) -> Rows:
    start = file.readline(_LINE_BYTES)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise FileError(f"{path}: is UTF-16; save it as UTF-8")
    start = start.removeprefix(b"\xef\xbb\xbf")
    if not start.strip():
        raise FileError(f"{path}: empty")
    separator = next((x for x in _SEPARATORS if start.count(x.encode()) >= COUNT - 1), ",")
    names = _cells(start.removeprefix(b"# "), separator)
    understood = [f"separated by {_SEPARATORS[separator]}"] if separator != "," else []
    if is_header(names, path):
        lines, columns = _lines(file, path, b"", 2), names
    else:
        lines, columns = _lines(file, path, start, 1), [str(i + 1) for i in range(len(names))]
        names, understood = [], ["no header", *understood]
    blocks = (_Text(text, first, columns, separator, path).block() for first, text in lines)
    return Rows(names, blocks, understood)


def _lines(file: IO[bytes], path: Path, start: bytes, line: int) -> Iterator[tuple[int, bytes]]:
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


@dataclass(frozen=True)
class _Text:
    """Some whole lines of a table, the first of which has the number `first`."""

    text: bytes
    first: int
    columns: list[str]
    separator: str
    path: Path

    def block(self) -> Block:
        """Its rows as numbers; polars reads 10,000 in 0.4 s, but names no line."""
        import polars as pl

        try:
            values, reason = self._numbers(), "lines that cannot be told apart"
        except pl.exceptions.PolarsError as error:
            values, reason = None, str(error).partition("\n")[0]
        lines = self.text.split(b"\n")
        if values is None or len(values) != len(lines):
            misfits = (self._misfit(line, row) for row, line in enumerate(lines))
            raise FileError(f"{self.path}: {next(filter(None, misfits), reason)}")
        return Block(values, self._fault)

    def _numbers(self) -> Numbers:
        """All columns; what is no number is NaN."""
        import polars as pl

        read = partial(pl.read_csv, self.text, has_header=False, separator=self.separator)
        names = [str(i) for i in range(len(self.columns))]
        frame = read(schema=dict.fromkeys(names, pl.Float64), ignore_errors=True)
        if any(column.null_count() for column in frame):  # spaces, another kind of quotes, text
            frame = read(schema=dict.fromkeys(names, pl.String), encoding="utf8-lossy")
            cells = pl.all().str.strip_chars(" \t\"'").cast(pl.Float64, strict=False)
            frame = frame.select(cells)
        return frame.to_numpy()

    def _fault(self, row: int, column: int, times: str) -> str:
        line = self.text.split(b"\n")[row]
        if misfit := self._misfit(line, row):
            return misfit
        cell = _cells(line, self.separator)[column]
        comma = "; a point is needed, no comma" if is_number(cell.replace(",", ".")) else ""
        return (
            f"line {self.first + row}, column {self.columns[column]}: {cell[:40]!r}{times} is no "
            f"number from 0 to 255{comma if ',' in cell else ''}"
        )

    def _misfit(self, line: bytes, row: int) -> str | None:
        """What is wrong with a line as a whole."""
        if not line.strip():
            return f"line {self.first + row} is blank"
        if line.count(b'"') % 2:
            return f"line {self.first + row}: a quotation mark that isn't closed"
        count = len(_cells(line, self.separator))
        if count != len(self.columns):
            return f"line {self.first + row}: {count} values for {len(self.columns)} columns"
        return None


def _cells(line: bytes, separator: str) -> list[str]:
    text = line.decode(errors="backslashreplace").strip("\r\n").replace("\r", " ")
    return [cell.strip(" \t\"'") for cell in next(csv.reader([text], delimiter=separator), [""])]
