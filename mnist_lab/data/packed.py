"""Files as they are and packed ones: gzip, bzip2, or the one file in a zip archive."""

import bz2
import contextlib
import gzip
import io
import sys
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mnist_lab import first_few
from mnist_lab.data.base import FileError

_MAX_DIRECTORY_BYTES = 1 << 20  # of an archive: some 10,000 files
_PLAIN = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2)  # LZMA asks for memory
_UNREADABLE = 0x01 | 0x20 | 0x40  # encrypted, a patch, encrypted strongly: flags of an entry


@contextlib.contextmanager
def unpacked(path: Path, member: str | None = None) -> Iterator[Any]:
    """The file's bytes, unpacked as they are read; a `ZipFile` where it is an archive of arrays.

    What it is, its first bytes say, not its name.

    Args:
        member: what to take of a zip archive of several files.

    Raises:
        FileError: it cannot be read, then or within; an archive holds several files.
    """
    try:
        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(path, "rb"))
            start = file.peek(4)[:4]
            if start[:2] == b"\x1f\x8b":
                yield stack.enter_context(gzip.open(file))
            elif start[:3] == b"BZh":
                yield stack.enter_context(bz2.open(file))
            elif start in (b"PK\3\4", b"PK\5\6"):
                archive = stack.enter_context(_archive(file, path))
                chosen = _member(archive, path, member)
                yield archive if chosen is None else stack.enter_context(archive.open(chosen))
            else:
                yield file
    except OSError as error:
        raise FileError(f"{path}: {error.strerror or error}") from error
    except (
        EOFError,
        zlib.error,
        zipfile.BadZipFile,
    ) as error:
        raise FileError(f"{path}: {error}") from error


class _Guarded(io.BufferedReader):
    """A file of which no more than `limit` bytes are read at once."""

    limit = _MAX_DIRECTORY_BYTES

    def read(self, size: int | None = -1) -> bytes:
        if size and size > self.limit:
            raise FileError(f"{self.name}: holds too many files; unpack the one that is meant")
        return super().read(size)


def _archive(file: io.BufferedReader, path: Path) -> zipfile.ZipFile:
    guarded = _Guarded(file.raw)
    try:
        archive = zipfile.ZipFile(guarded)  # it reads the directory at once, and keeps it
    except FileError:
        raise
    except Exception as error:  # whatever it makes of a directory that isn't one
        raise FileError(f"{path}: not a readable archive: {error}") from error
    guarded.limit = sys.maxsize
    return archive


def _member(archive: zipfile.ZipFile, path: Path, wanted: str | None) -> zipfile.ZipInfo | None:
    """The file that is meant, None where all are arrays."""
    if any(not entry.filename for entry in archive.infolist()):
        raise FileError(f"{path}: not a readable archive: a file in it has no name")
    entries = [
        entry
        for entry in archive.infolist()
        if not entry.is_dir() and not entry.filename.startswith(("__MACOSX/", "."))
    ]
    for entry in entries:
        name = entry.filename
        if entry.flag_bits & _UNREADABLE or entry.compress_type not in _PLAIN:
            raise FileError(f"{path}: {name!r} in it is encrypted, or packed in another way")
    if entries and all(entry.filename.endswith(".npy") for entry in entries):
        return None
    meant = [entry for entry in entries if len(entries) == 1 or entry.filename == wanted]
    if len(meant) != 1:
        names = first_few([entry.filename for entry in entries])
        raise FileError(
            f"{path}: holds {len(entries)} files ({names}); unpack the one that is meant"
        )
    return meant[0]
