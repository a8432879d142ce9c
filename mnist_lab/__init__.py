"""A research bench for small image classifiers, on PyTorch Lightning and Hydra."""

from collections.abc import Sequence

__version__ = "0.1.0"


class LabError(Exception):
    """What the user can put right: a setting, a file, a disk. A command prints its text alone.

    It is one line, whatever a file or a user put into its words.
    """

    def __str__(self) -> str:
        line = " ".join(super().__str__().split())
        return line.encode("utf-8", "backslashreplace").decode()


class Diverged(LabError):
    """Training whose loss or weights are no longer finite."""


class Pruned(LabError):
    """Training that a callback has given up, since other runs do better."""


def first_few(names: Sequence[str], limit: int = 3) -> str:
    """The first of some names, each cut to 40 characters, and how many more there are."""
    shown = [name[:40] if name.isprintable() else ascii(name[:40]) for name in names[:limit]]
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return ", ".join(shown) + more
