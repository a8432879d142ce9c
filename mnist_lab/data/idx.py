"""IDX, the form that MNIST's files have: a header with the shape, then the bytes."""

import math
import os
import struct
from pathlib import Path
from typing import IO, Any

import numpy as np

from mnist_lab.data.base import FileError

MAGIC = b"\0\0\x08"  # of bytes

Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]
Numbers = np.ndarray[tuple[int, ...], np.dtype[Any]]
Mask = np.ndarray[tuple[int, ...], np.dtype[np.bool_]]


def read_idx(path: Path) -> Bytes:
    """The array of bytes in an IDX file; its header is held against the file's size first.

    Raises:
        FileError: the file is missing, isn't IDX, or is shorter or longer than its header says.
    """
    try:
        with open(path, "rb") as file:
            shape = shape_of(file, path)
            size, expected = os.fstat(file.fileno()).st_size, file.tell() + math.prod(shape)
            if size != expected:
                raise FileError(f"{path}: {size} bytes, {expected} expected")
            return np.fromfile(file, np.uint8).reshape(shape)
    except ValueError as error:  # sizes that cancel out: with a zero among them
        raise FileError(f"{path}: no array has the shape {shape}") from error
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error


def are_bytes(values: Numbers, scale: float = 1) -> Mask:
    """Which of these numbers, times `scale`, are whole ones from 0 to 255.

    What another scale than 1 makes is rounded first.
    """
    if values.dtype == np.uint8 and scale == 1:
        return np.ones(values.shape, bool)
    scaled = values.astype(np.float64) * scale
    rounded = np.rint(scaled)
    return np.asarray(
        (rounded >= 0) & (rounded <= 255) & ((rounded == scaled) | (scale != 1)), bool
    )


def as_bytes(values: Numbers, scale: float = 1) -> Bytes:
    """Numbers, all of which `are_bytes`, times `scale` as bytes."""
    if values.dtype == np.uint8 and scale == 1:
        return values
    return np.rint(values.astype(np.float64) * scale).astype(np.uint8)


def shape_of(file: IO[bytes], path: Path) -> tuple[int, ...]:
    """What the header of an open file says, behind which its bytes begin.

    Raises:
        FileError: it isn't IDX.
    """
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != MAGIC or not 1 <= magic[3] <= 4:
        raise FileError(f"{path}: not an IDX file of bytes")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise FileError(f"{path}: ends inside its header")
    return struct.unpack(f">{magic[3]}I", header)
