"""Tables in the form of Kaggle's contest: `label,pixel0,...,pixel783`, or without labels."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO

import numpy as np

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes

PIXELS = [f"pixel{i}" for i in range(28 * 28)]
_BLOCK_BYTES = 1 << 23
_LINE_BYTES = 1 << 16  # 785 numbers have at most 3,140
_VALUE = re.compile(rb" *\+?0*(\d{1,3})")


def table_batches(
    file: IO[bytes], path: Path, size: int | None = None
) -> tuple[bool, Iterator[tuple[Bytes | None, Bytes]]]:
    """Whether an open table has labels, and its labels `(N,)` and images `(N, 28, 28)` by batches.

    Args:
        size: images in a batch; without it, as many as some MB hold.

    Raises:
        FileError: the columns are others, or (from the batches) a value is no number from 0 to 255.
    """
    header = file.readline(_LINE_BYTES)
    names = header.decode("utf-8-sig", "backslashreplace").rstrip("\r\n").split(",")
    labelled = names[0] == "label"
    fault = _header_fault(names, ["label", *PIXELS] if labelled else PIXELS)
    if not header.strip() or fault:
        raise FileError(f"{path}: {fault if header.strip() else 'empty'}")

    def batches() -> Iterator[tuple[Bytes | None, Bytes]]:
        rows = 0
        for values in _blocks(file, path, names):
            rows += len(values)
            labels = values[:, 0] if labelled else None
            images = np.ascontiguousarray(values[:, int(labelled) :]).reshape(-1, 28, 28)
            for start in range(0, len(values), size or len(values)):
                part = slice(start, start + (size or len(values)))
                yield labels[part] if labels is not None else None, images[part]
        if not rows:
            raise FileError(f"{path}: has no rows")

    return labelled, batches()


def read_table(path: Path, classes: int) -> tuple[Bytes, Bytes]:
    """Labels `(N,)` and images `(N, 28, 28)` of a table to train on.

    Raises:
        FileError: as `table_batches`; or no labels, or one that is none of so many classes.
    """
    try:
        with open(path, "rb") as file:
            labelled, batches = table_batches(file, path)
            if not labelled:
                raise FileError(f"{path}: has no column label")
            labels, images = map(np.concatenate, zip(*batches, strict=True))
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    wrong = np.flatnonzero(labels >= classes)
    if len(wrong):
        line, label = wrong[0] + 2, labels[wrong[0]]
        raise FileError(f"{path}: line {line}, column label: {label} among {classes} classes")
    return labels, images


def _blocks(file: IO[bytes], path: Path, names: Sequence[str]) -> Iterator[Bytes]:
    """The rows, some MB at a time: polars reads one of 42,000 rows in 0.4 s, but names no line."""
    import polars as pl

    schema = dict.fromkeys(names, pl.UInt8)
    line = 2
    while block := file.read(_BLOCK_BYTES):
        block += file.readline(_LINE_BYTES)
        try:
            frame = pl.read_csv(block, has_header=False, schema=schema, quote_char=None)
            fault = "values are missing" if any(c.null_count() for c in frame) else None
        except pl.exceptions.PolarsError as error:
            fault = str(error)
        if fault:
            raise FileError(f"{path}: {_fault(block.splitlines(), line, names) or fault}")
        yield frame.to_numpy()
        line += len(frame)


def _header_fault(names: Sequence[str], expected: Sequence[str]) -> str | None:
    def told(columns: Sequence[str]) -> str:
        more = f" and {len(columns) - 3} more" if len(columns) > 3 else ""
        shown = (name[:40] if name.isprintable() else ascii(name[:40]) for name in columns[:3])
        return ", ".join(shown) + more

    missing = [name for name in expected if name not in set(names)]
    additional = [name for name in names if name not in set(expected)]
    if missing or additional:
        parts = [("missing", missing), ("additional", additional)]
        return "columns " + "; ".join(f"{kind}: {told(found)}" for kind, found in parts if found)
    if len(names) > len(expected):
        twice = [name for name in expected if names.count(name) > 1]
        return f"columns more than once: {told(twice)}"
    for found, name in zip(names, expected, strict=True):
        if found != name:
            return f"columns in another order: {found} where {name} belongs"
    return None


def _fault(lines: Sequence[bytes], first: int, names: Sequence[str]) -> str | None:
    """What is wrong with the first of these lines that isn't as it should be."""
    for number, text in enumerate(lines, first):
        cells = text.split(b",")
        for cell, name in zip(cells, names, strict=False):
            value = _VALUE.fullmatch(cell)
            if value is None or int(value[1]) > 255:
                shown = cell[:40].decode("utf-8", "backslashreplace")
                return f"line {number}, column {name}: {shown!r} is no number from 0 to 255"
        if len(cells) != len(names):
            return f"line {number}: {len(cells)} values for {len(names)} columns"
    return None
