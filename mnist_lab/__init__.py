"""A research bench for small image classifiers, on PyTorch Lightning and Hydra."""

__version__ = "0.1.0"


class LabError(Exception):
    """What the user can put right: a setting, a file, a disk. A command prints its text alone.

    It is one line, whatever a file or a user put into its words.
    """

    def __str__(self) -> str:
        line = " ".join(super().__str__().split())
        return line.encode("utf-8", "backslashreplace").decode()


FileOrSettingError = LabError  # as it was called


class Diverged(LabError):
    """Training whose loss or weights are no longer finite."""
