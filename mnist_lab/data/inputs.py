"""Images without labels: whatever holds some, in batches, of which two are in memory at a time."""

import contextlib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes
from mnist_lab.data.packed import unpacked
from mnist_lab.data.pages import Digits, read_page
from mnist_lab.data.pictures import (
    SUFFIXES,
    Shape,
    is_picture,
    pictures_in,
    read_each,
    read_pictures,
)
from mnist_lab.data.tables import open_table, seems_a_table

_PAGES = 8  # are read at a time, and wait to be labelled


@dataclass
class Images:
    """Images to be labelled.

    Attributes:
        batches: where in the input each image stands, and the images `(N, C, H, W)` uint8.
            Reading may raise `FileError`; an unreadable picture is left out.
        total: how many there are, where that is known beforehand.
        names: of the pictures, by their place; None for the images of one file.
        refused: the pictures left out so far, and why.
        others: files beside the pictures that are none.
        understood: how a table is read, as far as that isn't plainly Kaggle's form.
    """

    batches: Iterator[tuple[Tensor, Tensor]]
    total: int | None
    names: list[str] | None = None
    refused: list[FileError] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)
    understood: list[str] = field(default_factory=list)


def open_images(
    path: Path,
    size: int,
    *,
    classes: int = 10,
    scale: float | None = None,
    whole: Shape | None = None,
) -> Images:
    """The images in a picture, a folder, an IDX file or a table, by what it is.

    The last two may be packed (`packed.unpacked`); the labels of a table are not looked at.

    Args:
        size: of the batches.
        classes: how many there are, by which a table's labels are known where nothing names them.
        scale: what the values of a table or IDX file are multiplied by.
        whole: the shape that pictures are brought to as they are, and that an array's images have;
            None: that of the digits in them.

    Raises:
        FileError: there is nothing, or nothing of the kind.
    """
    listed = _listed(path)
    if listed is not None:
        return _pictures(listed, size, whole)
    if whole is not None:
        return _array(path, size, whole)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(unpacked(path))
        if not (isinstance(file, zipfile.ZipFile) or seems_a_table(file, path)):
            raise FileError(f"{path}: neither picture nor IDX file nor table of pixels")
        table = open_table(file, path, size, classes=classes, labels=False, scale=scale)
        arrays = (images for _, images in table.batches)
        batches = _ahead(_placed(arrays, stack.pop_all()))
        return Images(batches, table.total, understood=table.understood)


@dataclass
class Pages:
    """Pictures of pages, whose digits are to be labelled.

    Attributes:
        digits: a page's place among the pictures, and its digits; an unreadable page is left out.
        total: how many pages there are.
        paths, names: of the pictures.
        refused: those left out so far, and why.
        others: files beside the pictures that are none.
    """

    digits: Iterator[tuple[int, Digits]]
    total: int
    paths: list[Path]
    names: list[str]
    refused: list[FileError] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def open_pages(path: Path) -> Pages:
    """The pages in a picture, or in a folder of pictures.

    Raises:
        FileError: there is nothing, or no picture.
    """
    listed = _listed(path)
    if listed is None:
        raise FileError(f"{path}: no picture; lines=true reads photographs and scans of pages")

    paths, names, others = listed

    def digits() -> Iterator[tuple[int, Digits]]:
        for places, contents, faults in read_each(paths, _PAGES, read_page):
            pages.refused += faults
            yield from zip(places, contents, strict=True)

    pages = Pages(digits(), len(paths), paths, names, others=others)
    return pages


def image_ids(names: list[str]) -> list[int]:
    """Ids for a submission: the numbers that the pictures are called by, or else from 1 on."""
    stems = [Path(name).stem for name in names]
    if all(stem.isdecimal() and stem.isascii() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers) and 0 not in numbers:
            return numbers
    return list(range(1, len(names) + 1))


class _Listed(NamedTuple):
    """Pictures, what they are called, and files beside them that are none."""

    paths: list[Path]
    names: list[str]
    others: list[Path]


def _listed(path: Path) -> _Listed | None:
    """The pictures in a folder, or the one that it is; None of another file.

    Raises:
        FileError: there is nothing, or there are none in it.
    """
    paths, folder = [path], path.parent
    others: list[Path] = []
    if path.is_dir():
        (paths, others), folder = pictures_in(path), path
        if not paths:
            raise FileError(f"{path}: holds no pictures ({', '.join(SUFFIXES)})")
    else:
        try:
            path.stat()
            picture = path.is_file() and is_picture(path)
        except OSError as error:
            raise FileError(f"{path}: {error.strerror}") from error
        if not picture:
            return None
    # Names that are no Unicode can still be told apart in a table.
    names = [
        str(each.relative_to(folder)).encode("utf-8", "backslashreplace").decode() for each in paths
    ]
    return _Listed(paths, names, others)


def _pictures(listed: _Listed, size: int, whole: Shape | None) -> Images:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for places, pictures, faults in read_pictures(listed.paths, size, whole):
            images.refused += faults
            if places:
                yield torch.tensor(places), torch.from_numpy(pictures)

    images = Images(_ahead(batches()), len(listed.paths), listed.names, others=listed.others)
    return images


def _array(path: Path, size: int, whole: Shape) -> Images:
    """The images of an `.npy` that have this shape already, read as they are labelled.

    Raises:
        FileError: it holds no such images.
    """
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).partition("\n")[0]
        raise FileError(f"{path}: no picture, and no array of images: {reason}") from error
    channels, height, width = whole
    last = (height, width, channels)
    if not isinstance(array, np.ndarray) or array.dtype != np.uint8 or not array.size:
        raise FileError(f"{path}: no array of bytes (N, {height}, {width}, {channels})")
    if array.shape[1:] == last:
        array = array.transpose(0, 3, 1, 2)
    elif array.shape[1:] == (height, width) and channels == 1:
        array = array[:, None]
    elif array.shape[1:] != tuple(whole):
        raise FileError(
            f"{path}: its shape is {array.shape}; images here are "
            f"(N, {height}, {width}, {channels})"
        )
    batches = (
        (torch.arange(start, min(start + size, len(array))),
         torch.from_numpy(np.array(array[start : start + size])))
        for start in range(0, len(array), size)
    )  # fmt: skip
    return Images(_ahead(batches), len(array))


def _placed(
    arrays: Iterator[Bytes], stack: contextlib.ExitStack
) -> Iterator[tuple[Tensor, Tensor]]:
    place = 0
    with stack:
        for array in arrays:
            images = torch.from_numpy(array.copy()).unsqueeze(1)  # its own: a file's is read-only
            yield torch.arange(place, place + len(array)), images
            place += len(array)


def _ahead(batches: Iterator[tuple[Tensor, Tensor]]) -> Iterator[tuple[Tensor, Tensor]]:
    """The same, the next one being read while one is worked on."""
    with ThreadPoolExecutor(1) as pool:
        coming = pool.submit(next, batches, None)
        while (batch := coming.result()) is not None:
            coming = pool.submit(next, batches, None)
            yield batch
