"""NumPy's `.npy` and `.npz`: images, or rows of pixels, in arrays of numbers."""

import math
import zipfile
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from mnist_lab.data.base import FileError
from mnist_lab.data.forms import (
    COUNT,
    Batch,
    Form,
    Table,
    form_of_values,
    in_parts,
)
from mnist_lab.data.idx import Numbers, as_bytes

MAGIC = b"\x93NUMPY"
_BLOCK_ROWS = 4096
_MAX_BYTES = 1 << 29  # of an array that can only be read as a whole


class _Header(NamedTuple):
    shape: tuple[int, ...]
    columns: bool
    """Fortran's order: all first values, then all second ones."""
    dtype: np.dtype[Any]

    @property
    def rows(self) -> int | None:
        """How many images; None if it holds none."""
        if self.dtype.kind not in "biuf" or not all(side > 0 for side in self.shape):
            return None
        if self.shape in ((COUNT,), (28, 28)):
            return 1
        table = len(self.shape) == 2 and COUNT <= self.shape[1] <= COUNT + 2
        images = self.shape[1:] in ((28, 28), (1, 28, 28), (28, 28, 1))
        return self.shape[0] if table or images else None


def array_table(
    file: IO[bytes], path: Path, size: int | None, classes: int, labels: bool, scale: float | None
) -> Table:
    """As `tables.open_table`, of an `.npy`: `(N, 28, 28)`, also with a channel, or `(N, 784)`.

    Raises:
        FileError: also where it is shorter than it says.
    """
    header = _header(file, path)
    if not header.rows:
        told = f"its shape is {header.shape} of {header.dtype}"
        raise FileError(f"{path}: {told}; images have (N, 28, 28) or (N, 784), of numbers")
    blocks = _blocks(file, path, header, header.rows)
    first = next(blocks)
    if first.shape[1] == COUNT:
        form = Form(list(range(COUNT)))
    else:
        form = form_of_values(first, path, classes)
    if not labels:
        form.label = None
    factor = form.scale_of(first) if scale is None else scale

    def batches() -> Iterator[Batch]:
        row = 0
        for block in chain([first], blocks):
            pixels = as_bytes(block[:, form.pixels], factor)
            found = None if form.label is None else as_bytes(block[:, form.label])
            if pixels is None or (found is None and form.label is not None):
                raise FileError(f"{path}: {_fault(block, row, form, factor)}")
            row += len(block)
            yield found, pixels

    return Table(form.label is not None, form.understood, in_parts(batches(), size))


def archive_table(
    archive: zipfile.ZipFile,
    path: Path,
    size: int | None,
    classes: int,
    labels: bool,
    scale: float | None,
) -> Table:
    """Likewise of an `.npz` with one array of images, and at most one of their labels.

    Raises:
        FileError: also where it cannot be told which array is meant.
    """
    headers = {}
    for entry in archive.infolist():
        with archive.open(entry) as file:
            headers[entry.filename] = _header(file, path)
    images = [name for name, header in headers.items() if header.rows]
    if len(images) != 1:
        told = ", ".join(f"{k[:40].removesuffix('.npy')} {v.shape}" for k, v in headers.items())
        raise FileError(f"{path}: should hold one array of images; it holds {told[:200]}")
    rows = headers[images[0]].rows or 0
    of_labels = [
        name
        for name, (shape, _, dtype) in headers.items()
        if name not in images and shape in ((rows,), (rows, 1)) and dtype.kind in "iuf"
    ]
    table = array_table(archive.open(images[0]), path, size, classes, labels, scale)
    if not labels or table.labelled or len(of_labels) != 1:
        return table
    (name,) = of_labels
    file = archive.open(name)
    values = np.concatenate(list(_blocks(file, path, _header(file, path), rows)))[:, 0]
    whole = as_bytes(values)
    if whole is None:
        raise FileError(f"{path}: {name.removesuffix('.npy')}: not whole numbers from 0 to 255")

    def batches() -> Iterator[Batch]:
        start = 0
        for _, part in table.batches:
            yield whole[start : start + len(part)], part
            start += len(part)

    return Table(True, [*table.understood, f"labels are {name.removesuffix('.npy')}"], batches())


def _header(file: IO[bytes], path: Path) -> _Header:
    try:
        read: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(file)]
        return _Header(*read(file))
    except Exception as error:  # whatever NumPy makes of a header that isn't one
        told = str(error).partition("\n")[0]
        raise FileError(f"{path}: not a readable array: {told}") from error


def _blocks(file: IO[bytes], path: Path, header: _Header, rows: int) -> Iterator[Numbers]:
    """Its rows, one an image or label, some thousands at a time."""
    width = math.prod(header.shape) // rows
    length = width * header.dtype.itemsize
    if header.columns:
        if length * rows > _MAX_BYTES:
            raise FileError(f"{path}: in Fortran's order, and too large; np.ascontiguousarray it")
        whole = np.frombuffer(_content(file, path, length * rows), header.dtype)
        yield whole.reshape(header.shape, order="F").reshape(rows, width)
    else:
        for start in range(0, rows, _BLOCK_ROWS):
            count = min(_BLOCK_ROWS, rows - start)
            content = _content(file, path, count * length)
            yield np.frombuffer(content, header.dtype).reshape(count, width)
    if file.read(1):
        raise FileError(f"{path}: goes on after the last of its {rows} rows")


def _content(file: IO[bytes], path: Path, length: int) -> bytes:
    content = file.read(length)
    if len(content) < length:
        raise FileError(f"{path}: ends before its last row")
    return content


def _fault(block: Numbers, start: int, form: Form, scale: float) -> str:
    """The first value that isn't as it should be."""
    factors = dict.fromkeys(form.pixels, scale)
    if form.label is not None:
        factors[form.label] = 1
    for row, values in enumerate(block, start + 1):
        for column, factor in factors.items():
            if as_bytes(values[column : column + 1], factor) is None:
                times = "" if factor == 1 else f" times {factor:g}"
                told = f"row {row}, value {column + 1}: {values[column]}{times}"
                return f"{told} is no number from 0 to 255"
    raise AssertionError("all are as they should be")
