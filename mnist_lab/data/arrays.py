"""Images, or rows of pixels, in arrays of numbers: NumPy's `.npy` and `.npz`, and IDX."""

import math
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, NamedTuple

import numpy as np

from mnist_lab import first_few
from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes, Numbers, are_bytes, as_bytes, shape_of
from mnist_lab.data.layout import COUNT

MAGIC = b"\x93NUMPY"
_BLOCK_ROWS = 4096
_MAX_BYTES = 1 << 29  # of an array that can only be read as a whole


class Block(NamedTuple):
    """Some rows of a table.

    Attributes:
        values: `(N, columns)`; NaN where there is no number.
        fault: says, of a row and a column, that the value there, times what it is multiplied by
            (as text to follow it), is no number from 0 to 255.
    """

    values: Numbers
    fault: Callable[[int, int, str], str]


@dataclass
class Rows:
    """A table as it is stored, whatever its columns are.

    Attributes:
        names: of the columns; none where the file gives none.
        blocks: all rows, some MB at a time; reading them may raise `FileError`.
        understood: how the file is read, as far as that isn't plainly Kaggle's form.
        labels: `(N,)`, where they stand apart from the images.
        total: how many rows there are, where that is known beforehand.
    """

    names: list[str]
    blocks: Iterator[Block]
    understood: list[str] = field(default_factory=list)
    labels: Bytes | None = None
    total: int | None = None


class _Header(NamedTuple):
    shape: tuple[int, ...]
    columns: bool
    """Fortran's order: all first values, then all second ones."""
    dtype: np.dtype[Any]

    @property
    def rows(self) -> int:
        """How many images; 0 if it holds none."""
        if self.dtype.kind not in "biuf" or not all(side > 0 for side in self.shape):
            return 0
        if self.shape in ((COUNT,), (28, 28)):
            return 1
        table = len(self.shape) == 2 and COUNT <= self.shape[1] <= COUNT + 2
        images = self.shape[1:] in ((28, 28), (1, 28, 28), (28, 28, 1))
        return self.shape[0] if table or images else 0


def rows_of_array(file: IO[bytes], path: Path) -> Rows:
    """Those of an `.npy`: of the shape `(N, 28, 28)`, also with a channel, or `(N, 784)`.

    Raises:
        FileError: it holds no images, or (from the blocks) is shorter or longer than it says.
    """
    header = _header(file, path)
    if not header.rows:
        raise FileError(
            f"{path}: its shape is {header.shape} of {header.dtype}; images have (N, 28, 28) or "
            "(N, 784), of numbers"
        )
    return Rows([], _blocks(file, path, header, header.rows), total=header.rows)


def rows_of_idx(file: IO[bytes], path: Path) -> Rows:
    """Those of an IDX file, packed or not: of the shape `(N, 28, 28)`.

    Raises:
        FileError: as `rows_of_array`.
    """
    shape = shape_of(file, path)
    if shape[1:] != (28, 28) or not shape[0]:
        raise FileError(f"{path}: its shape is {shape}, not that of images, (N, 28, 28)")
    header = _Header(shape, False, np.dtype(np.uint8))
    return Rows([], _blocks(file, path, header, shape[0]), total=shape[0])


def rows_of_archive(archive: zipfile.ZipFile, path: Path) -> Rows:
    """Those of an `.npz` with one array of images, and at most one of their labels.

    Raises:
        FileError: also where it cannot be told which array is meant.
    """
    headers = {}
    for entry in archive.infolist():
        with archive.open(entry) as file:
            headers[entry.filename] = _header(file, path)
    images = [name for name, header in headers.items() if header.rows]
    if len(images) != 1:
        arrays = first_few([f"{k.removesuffix('.npy')} {v.shape}" for k, v in headers.items()], 6)
        raise FileError(f"{path}: should hold one array of images; it holds {arrays}")
    shape = headers[images[0]].shape
    rows = rows_of_array(archive.open(images[0]), path)
    of_labels = [
        name
        for name, header in headers.items()
        if header.shape in (shape[:1], (shape[0], 1)) and header.dtype.kind in "iuf"
    ]
    if len(of_labels) == 1 and math.prod(shape[1:]) == COUNT:  # else they are a column of the array
        name = of_labels[0].removesuffix(".npy")
        with archive.open(of_labels[0]) as file:
            blocks = list(_blocks(file, path, _header(file, path), shape[0], "labels"))
        labels = np.concatenate([block.values for block in blocks])[:, 0]
        if not are_bytes(labels).all():
            raise FileError(f"{path}: {name}: not whole numbers from 0 to 255")
        rows.labels = as_bytes(labels)
        rows.understood.append(f"labels are {name}")
    return rows


def _header(file: IO[bytes], path: Path) -> _Header:
    try:
        read: Any = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }[np.lib.format.read_magic(file)]
        return _Header(*read(file))
    except Exception as error:  # whatever NumPy makes of a header that isn't one
        reason = str(error).partition("\n")[0]
        raise FileError(f"{path}: not a readable array: {reason}") from error


def _blocks(
    file: IO[bytes], path: Path, header: _Header, rows: int, what: str = "images"
) -> Iterator[Block]:
    """Its rows, one an image or label, some thousands at a time."""
    width = math.prod(header.shape) // rows
    length = width * header.dtype.itemsize
    if header.columns and length * rows > _MAX_BYTES:
        raise FileError(f"{path}: in Fortran's order, and too large; np.ascontiguousarray it")
    step = rows if header.columns else _BLOCK_ROWS
    for start in range(0, rows, step):
        count = min(step, rows - start)
        content = file.read(count * length)
        if len(content) < count * length:
            raise FileError(f"{path}: ends before the last of its {rows} {what}")
        values = np.frombuffer(content, header.dtype)
        if header.columns:
            values = values.reshape(header.shape, order="F")
        yield _block(values.reshape(count, width), start)
    if file.read(1):
        raise FileError(f"{path}: goes on after the last of its {rows} {what}")


def _block(values: Numbers, start: int) -> Block:
    def fault(row: int, column: int, times: str) -> str:
        value = f"row {start + row + 1}, value {column + 1}: {values[row, column]}{times}"
        return f"{value} is no number from 0 to 255"

    return Block(values, fault)
