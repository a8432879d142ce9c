"""Files that are whole or not there, and what folders are called.

Imports nothing heavy.
"""

import contextlib
import os
import re
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from mnist_lab import LabError, first_few


def temporary(path: Path) -> Path:
    """A name beside `path` that nobody else has, for what is to be called `path` once complete."""
    return path.with_name(f".mnist_lab-{secrets.token_hex(8)}.part")


def left_behind(folder: Path) -> list[Path]:
    """Files with such names: of processes that were killed, where no other can be at work."""
    ours = re.compile(r"\.mnist_lab-[0-9a-f]{16}\.part")
    return [path for path in folder.iterdir() if ours.fullmatch(path.name)]


@contextlib.contextmanager
def whole(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open `path` for writing; it gets its name once everything is on the disk.

    Whatever happens before that, a previous file of this name stays as it was.

    Raises:
        OSError: as `open` and `write` do.
    """
    partial = temporary(path)
    try:
        with open(partial, mode.replace("w", "x"), **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    except BaseException:
        with contextlib.suppress(OSError):  # the first error is the one to tell
            partial.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # the name, too
    finally:
        os.close(folder)


def refuse_taken(target: Path, overwrite: bool, setting: str = "output") -> None:
    """Nothing but a file is ever replaced by what a command writes, and that where it may be.

    Args:
        setting: by which the user named it, or the folder that it lies in.

    Raises:
        LabError: there is something, and it may not.
    """
    if target.exists() and not (overwrite and target.is_file()):
        remedy = "exists; overwrite=true replaces it"
        if not target.is_file():  # a pipe or device would be replaced, too
            remedy = f"is {'a folder' if target.is_dir() else 'no file that could be replaced'}"
        raise LabError(f"{setting}={target}: {remedy}")


@contextlib.contextmanager
def output_file(target: Path, setting: str = "output") -> Iterator[IO[bytes]]:
    """`whole`, for bytes that a command writes; a link to another place stays one.

    Args:
        setting: by which the user named it, or the folder that it lies in.

    Raises:
        LabError: it cannot be written.
    """
    try:
        with whole(Path(os.path.realpath(target)), "wb") as file:
            yield file
    except OSError as error:
        raise LabError(f"{setting}={target}: cannot be written: {error}") from error


_SPLIT = re.compile(
    r"(?:(train|training)|(val|valid|validation|dev)|(test|testing))(?:[ _-]?(?:set|data|images))?",
    re.IGNORECASE,
)


def split_folders(root: str) -> dict[str, Path]:
    """The folders in `root` that are splits, by `train`, `val` and `test`; none if all are classes.

    Raises:
        LabError: they can't be listed, or it is in doubt what they are.
    """
    folder = Path(root).expanduser()
    try:
        inner = [path for path in folder.iterdir() if path.is_dir() and path.name[0] != "."]
    except OSError as error:
        raise LabError(f"data.root={root}: {error.strerror}") from error
    names = sorted(path.name for path in inner)
    matches = {path: match for path in inner if (match := _SPLIT.fullmatch(path.name))}
    if not matches:
        if len(inner) == 1 and any(path.is_dir() for path in inner[0].iterdir()):
            within = f"holds {names[0]} alone; data.root={folder / names[0]} has the classes"
            raise LabError(f"data.root={root}: {within}")
        return {}
    kinds = ("train", "val", "test")
    splits = {kinds[(match.lastindex or 1) - 1]: path for path, match in matches.items()}
    if len(splits) < len(inner) or "train" not in splits or len(splits) == 1:
        raise LabError(
            f"data.root={root}: holds {first_few(names, 6)}; should hold a folder for each class, "
            "or splits alone: train, and val or test or both"
        )
    return splits


def class_names(root: str) -> list[str]:
    """The names of the folders in `root`, or in that of its training split: classes of images.

    They are sorted, as torchvision's ImageFolder has them; hidden folders are none.

    Raises:
        LabError: there are none, or a name can't be written down.
    """
    folder = split_folders(root).get("train", Path(root).expanduser())
    try:
        names = sorted(path.name for path in folder.iterdir() if path.is_dir())
    except OSError as error:
        raise LabError(f"data.root={root}: {error.strerror}") from error
    names = [name for name in names if not name.startswith(".")]
    if len(names) < 2:
        raise LabError(f"data.root={root}: needs a folder for each of 2 or more classes")
    for name in names:
        if "${" in name or not name.isprintable():  # an interpolation, or no Unicode
            raise LabError(f"data.root={root}: {name!r} can't be the name of a class")
    return names
