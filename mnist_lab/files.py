"""Files that are whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any


@contextlib.contextmanager
def whole(path: Path, mode: str = "w", **options: Any) -> Iterator[IO[Any]]:
    """Open `path` for writing; it gets its name once everything is on the disk.

    Whatever happens before that, a previous file of this name stays as it was.

    Raises:
        OSError: as `open` and `write` do.
    """
    partial = path.with_name(path.name + ".part")
    try:
        with open(partial, mode, **options) as file:
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
