"""Images without labels: whatever holds some, in batches, of which two are in memory at a time."""

import contextlib
import zipfile
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes
from mnist_lab.data.packed import unpacked
from mnist_lab.data.pictures import SUFFIXES, is_picture, pictures_in, read_pictures
from mnist_lab.data.tables import open_table, seems_a_table


@dataclass
class Images:
    """Images to be labelled.

    Attributes:
        batches: where in the input each image stands, and the images `(N, 1, 28, 28)` uint8.
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


def open_images(path: Path, size: int, *, classes: int = 10, scale: float | None = None) -> Images:
    """The images in a picture, a folder, an IDX file or a table, by what it is.

    The last two may be packed (`packed.unpacked`); the labels of a table are not looked at.

    Args:
        size: of the batches.
        classes: how many there are, by which a table's labels are known where nothing names them.
        scale: what the values of a table or IDX file are multiplied by.

    Raises:
        FileError: there is nothing, or nothing of the kind.
    """
    if path.is_dir():
        pictures, others = pictures_in(path)
        if not pictures:
            raise FileError(f"{path}: holds no pictures ({', '.join(SUFFIXES)})")
        names = [str(picture.relative_to(path)) for picture in pictures]
        return _pictures(pictures, names, others, size)
    try:
        path.stat()
        picture = path.is_file() and is_picture(path)
    except OSError as error:
        raise FileError(f"{path}: {error.strerror}") from error
    if picture:
        return _pictures([path], [path.name], [], size)
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(unpacked(path))
        if not (isinstance(file, zipfile.ZipFile) or seems_a_table(file, path)):
            raise FileError(f"{path}: neither picture nor IDX file nor table of pixels")
        table = open_table(file, path, size, classes=classes, labels=False, scale=scale)
        arrays = (images for _, images in table.batches)
        batches = _ahead(_placed(arrays, stack.pop_all()))
        return Images(batches, table.total, understood=table.understood)


def image_ids(names: list[str]) -> list[int]:
    """Ids for a submission: the numbers that the pictures are called by, or else from 1 on."""
    stems = [Path(name).stem for name in names]
    if all(stem.isdecimal() and stem.isascii() for stem in stems):
        numbers = [int(stem) for stem in stems]
        if len(set(numbers)) == len(numbers) and 0 not in numbers:
            return numbers
    return list(range(1, len(names) + 1))


def _pictures(paths: list[Path], names: list[str], others: list[Path], size: int) -> Images:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for places, pictures, faults in read_pictures(paths, size):
            images.refused += faults
            if places:
                yield torch.tensor(places), torch.from_numpy(pictures).unsqueeze(1)

    # Names that are no Unicode can still be told apart in a table.
    names = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    images = Images(_ahead(batches()), len(paths), names, others=others)
    return images


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
