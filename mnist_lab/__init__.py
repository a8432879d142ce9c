"""A research bench for small image classifiers, on PyTorch Lightning and Hydra."""

__version__ = "0.1.0"


class LabError(Exception):
    """What the user can put right: a setting, a file, a disk. A command prints its text alone."""


class Diverged(LabError):
    """Training whose loss or weights are no longer finite."""
