"""IDX, the form that MNIST's files have: a header with the shape, then the bytes."""

import math
import os
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from mnist_lab.data.base import FileError

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
            shape = _shape(file, path)
            size, expected = os.fstat(file.fileno()).st_size, file.tell() + math.prod(shape)
            if size != expected:
                raise FileError(f"{path}: {size} bytes, {expected} expected")
            return np.fromfile(file, np.uint8).reshape(shape)
    except ValueError as error:  # sizes that cancel out: with a zero among them
        raise FileError(f"{path}: no array has the shape {shape}") from error
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error


def idx_batches(
    file: IO[bytes], path: Path, size: int, scale: float = 1
) -> tuple[int, Iterator[Bytes]]:
    """How many images an open file has, unpacked or not, and batches `(size, 28, 28)` of them.

    Args:
        scale: what their pixels are multiplied by.

    Raises:
        FileError: it isn't an IDX file of such images, or (from the batches) its length differs.
    """
    shape = _shape(file, path)
    if shape[1:] != (28, 28) or not shape[0]:
        raise FileError(f"{path}: its shape is {shape}, not that of images, (N, 28, 28)")

    def batches() -> Iterator[Bytes]:
        for start in range(0, shape[0], size):
            count = min(size, shape[0] - start)
            content = file.read(count * 28 * 28)
            if len(content) < count * 28 * 28:
                raise FileError(f"{path}: ends before the last of its {shape[0]} images")
            pixels = np.frombuffer(content, np.uint8)
            if not are_bytes(pixels, scale).all():
                raise FileError(f"{path}: a pixel times {scale:g} is no number from 0 to 255")
            yield as_bytes(pixels, scale).reshape(count, 28, 28)
        if file.read(1):
            raise FileError(f"{path}: goes on after the last of its {shape[0]} images")

    return shape[0], batches()


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


def _shape(file: IO[bytes], path: Path) -> tuple[int, ...]:
    magic = file.read(4)
    if len(magic) < 4 or magic[:3] != b"\0\0\x08" or not 1 <= magic[3] <= 4:
        raise FileError(f"{path}: not an IDX file of bytes")
    header = file.read(4 * magic[3])
    if len(header) < 4 * magic[3]:
        raise FileError(f"{path}: ends inside its header")
    return struct.unpack(f">{magic[3]}I", header)
