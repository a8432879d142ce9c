"""Imports that take seconds.

Imports nothing heavy.
"""

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def swift_imports() -> Iterator[None]:
    """Around imports: to look for garbage, of which they leave 12 MiB, would take a fifth longer.

    Nor is what they have made looked through later, which would take a quarter of a second each
    time once Lightning is among it.
    """
    known, enabled = len(sys.modules), gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if len(sys.modules) > known:
            gc.freeze()
            atexit.register(gc.unfreeze)  # what is never looked at, nanobind takes for leaks
        if enabled:
            gc.enable()
