"""An evaluation's folder: replaced as a whole, and only if it is an evaluation's."""

import contextlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

from mnist_lab import LabError
from mnist_lab.runs.folder import claimed
from mnist_lab.system.files import left_behind, temporary

_FILES = {"evaluation.json", "predictions.csv", "per_class.csv", "report.html", "figures"}


def refuse_taken(folder: Path, overwrite: bool) -> None:
    """Nothing but an earlier evaluation is ever replaced, and that where it may be."""
    try:
        names = {path.name for path in set(folder.iterdir()) - set(left_behind(folder))}
    except FileNotFoundError:
        if folder.is_symlink():
            raise LabError(f"output={folder}: is a link to nothing") from None
        return
    except OSError as error:
        raise LabError(f"output={folder}: {error.strerror}") from error
    names.discard(".lock")
    others = sorted(names - _FILES)
    if names and (others or "evaluation.json" not in names):
        name = (others or sorted(names))[0]
        raise LabError(f"output={folder}: holds something else: {name}")
    if names and not overwrite:
        raise LabError(f"output={folder}: exists; overwrite=true replaces it")


@contextlib.contextmanager
def replaced(folder: Path, overwrite: bool) -> Iterator[Path]:
    """Where to write what will stand in `folder` instead of all else, once all of it is written.

    Args:
        overwrite: whether it may replace what has come there.

    Raises:
        LabError: it cannot be written; what stood there is as it was.
    """
    fresh, lock = not folder.exists(), folder / ".lock"
    # Within, so that the folder may be a mount, or the current one.
    new = temporary(folder / "new")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        try:
            with claimed(folder):  # which removes what killed processes have left there
                before = set(folder.iterdir()) - {lock}
                if before and not overwrite:
                    raise LabError(f"output={folder}: another process has written there")
                try:
                    new.mkdir()
                    yield new
                    _exchange(folder, before, new)
                finally:
                    shutil.rmtree(new, ignore_errors=True)
                    lock.unlink()
        finally:
            if fresh:
                with contextlib.suppress(OSError):
                    folder.rmdir()  # unless there is something in it
    except OSError as error:
        raise LabError(f"output={folder}: cannot be written: {error}") from error


def _exchange(folder: Path, before: Iterable[Path], new: Path) -> None:
    """Put what lies in `new` in place of `before`; `evaluation.json` comes last."""
    old = temporary(folder / "old")
    old.mkdir()
    fresh = sorted(new.iterdir(), key=lambda path: path.name == "evaluation.json")
    moves = [(path, old / path.name) for path in before]
    moves += [(path, folder / path.name) for path in fresh]
    done = []
    try:
        for source, target in moves:
            source.rename(target)
            done.append((source, target))
    except BaseException:
        for source, target in reversed(done):
            target.rename(source)
        old.rmdir()
        raise
    shutil.rmtree(old)
