"""Images without labels: whatever holds some, in batches, of which two are in memory at a time."""

import contextlib
import gzip
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from mnist_lab.data.base import FileError
from mnist_lab.data.idx import Bytes, idx_batches
from mnist_lab.data.pictures import SUFFIXES, pictures_in, read_pictures
from mnist_lab.data.tables import table_batches

_GZIP, _IDX = b"\x1f\x8b", b"\0\0\x08"


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
    """

    batches: Iterator[tuple[Tensor, Tensor]]
    total: int | None
    names: list[str] | None = None
    refused: list[FileError] = field(default_factory=list)
    others: list[Path] = field(default_factory=list)


def open_images(path: Path, size: int) -> Images:
    """The images in a picture, a folder, an IDX file or a table in Kaggle's form, by what it is.

    The last two may be gzipped; the labels of a table are not looked at.

    Raises:
        FileError: there is nothing, or nothing of the kind.
    """
    if path.is_dir():
        pictures, others = pictures_in(path)
        if not pictures:
            raise FileError(f"{path}: holds no pictures ({', '.join(SUFFIXES)})")
        names = [str(picture.relative_to(path)) for picture in pictures]
        return _pictures(pictures, names, others, size)
    with _told(path):
        if path.suffix.lower() in SUFFIXES:
            path.stat()
            return _pictures([path], [path.name], [], size)
        with contextlib.ExitStack() as stack:
            file: Any = stack.enter_context(open(path, "rb"))
            if file.peek(2)[:2] == _GZIP:
                file = stack.enter_context(gzip.open(file))
            if file.peek(3)[:3] == _IDX:
                total, arrays = idx_batches(file, path, size)
            elif b"pixel" not in file.peek(1 << 10) and ".csv" not in path.suffixes:
                raise FileError(f"{path}: neither picture nor IDX file nor table in Kaggle's form")
            else:
                total, tables = None, table_batches(file, path, size)[1]
                arrays = (images for _, images in tables)
            return Images(_ahead(_placed(path, arrays, stack.pop_all())), total)


def _pictures(paths: list[Path], names: list[str], others: list[Path], size: int) -> Images:
    def batches() -> Iterator[tuple[Tensor, Tensor]]:
        for places, pictures, faults in read_pictures(paths, size):
            images.refused += faults
            if places:
                yield torch.tensor(places), torch.from_numpy(pictures).unsqueeze(1)

    # Names that are no Unicode can still be told apart in a table.
    told = [name.encode("utf-8", "backslashreplace").decode() for name in names]
    images = Images(_ahead(batches()), len(paths), told, others=others)
    return images


def _placed(
    path: Path, arrays: Iterator[Bytes], stack: contextlib.ExitStack
) -> Iterator[tuple[Tensor, Tensor]]:
    place = 0
    with stack, _told(path):
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


@contextlib.contextmanager
def _told(path: Path) -> Iterator[None]:
    """What a file system or a packed file raises, as ours."""
    try:
        yield
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except (EOFError, zlib.error) as error:
        raise FileError(f"{path}: {error}") from error
