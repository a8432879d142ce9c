"""A command on a terminal of so many columns: what it shows there, escapes and all."""

import fcntl
import os
import pty
import struct
import termios
from pathlib import Path

from tests.forked import fork


def on_terminal(
    module: str, *arguments: str, columns: int, folder: Path, **environment: str
) -> tuple[int | None, str]:
    """Exit status and output of `python -m module ARGUMENTS` in the folder."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    kept = {
        name: value
        for name, value in os.environ.items()
        if name not in ("COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TERM")
    }
    environment = {**kept, "TERM": "xterm-256color", **environment}
    process = fork(module, *arguments, streams=[theirs] * 3, folder=folder, **environment)
    os.close(theirs)
    shown = bytearray()
    try:
        while part := os.read(ours, 1 << 16):
            shown += part
    except OSError:  # the other end is closed
        pass
    os.close(ours)
    process.join()
    return process.exitcode, shown.decode().replace("\r\n", "\n")
