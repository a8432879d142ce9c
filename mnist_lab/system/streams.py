"""Standard output and error that a command outlives: a pipe that ends, a closed one, a full disk.

Imports nothing heavy.
"""

import errno
import io
import os
import sys
from typing import Any, TextIO


class _Steady(io.FileIO):
    """What cannot be written any more is dropped, with all that follows."""

    def write(self, data: Any) -> int:
        try:
            return super().write(data)
        except OSError as error:
            number = self.fileno()
            null = os.open(os.devnull, os.O_WRONLY)
            os.dup2(null, number)
            os.close(null)
            if number == 1 and error.errno != errno.EPIPE:  # whose reader has had enough
                print(f"standard output: {error.strerror}", file=sys.stderr)
            return memoryview(data).nbytes


def steady() -> None:
    """Let nothing that is printed end or disturb the command: its results are files."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:  # closed: else the next file that is opened would get this number
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = _wrapped(sys.stdout, sys.__stdout__, 1)
    sys.stderr = _wrapped(sys.stderr, sys.__stderr__, 2)


def _wrapped(stream: TextIO | None, original: TextIO | None, number: int) -> TextIO:
    if stream is not None and stream is not original:  # a notebook's, a test's, or ours already
        return stream
    raw = _Steady(number, "w", closefd=False)
    return io.TextIOWrapper(
        io.BufferedWriter(raw),
        encoding=getattr(stream, "encoding", "utf-8"),
        errors="backslashreplace",  # of names that the terminal can't show
        line_buffering=number == 2 or raw.isatty(),
    )
