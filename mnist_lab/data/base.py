"""What a dataset is to the rest: a source of uint8 images and labels, in two splits."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

from torch import Tensor

from mnist_lab import LabError

Split = Literal["train", "test"]


class DataError(LabError):
    """Data that cannot be had, or that isn't what it should be."""


class FileError(DataError):
    """One file that isn't what it should be; the text names it."""


class Source(ABC):
    """A dataset with an official test split.

    Args:
        name: what the dataset is called in results.
        classes: the classes' names, in the order of their labels.
        sizes: images per split, where known before anything is read.

    `test_size` is how much of the images becomes the test split where the dataset has none.
    """

    channels: int = 1
    """Of its images: 1 is grey, 3 red, green and blue."""
    whole: Mapping[str, Any] | None = None
    """The settings by which whole pictures become its images, which a network remembers; None:
    pictures are read for the digit in them."""
    test_size: int | float | None = None
    incidental: ClassVar[tuple[str, ...]] = ()
    """What doesn't identify its images: names of its settings, and `root`, the folder, where what
    lies there is known by checksums. Runs that differ in nothing else are the same run. Of a
    source that says nothing all of it counts."""

    def __init__(self, name: str, classes: Sequence[str], sizes: Mapping[Split, int]) -> None:
        self.name, self.classes, self.sizes = name, list(classes), dict(sizes)

    @abstractmethod
    def prepare(self, root: Path, mirror: str | None) -> None:
        """Bring the files below `root` into order; `mirror`, a URL or folder, is tried first."""

    @abstractmethod
    def read(self, root: Path, split: Split) -> tuple[Tensor, Tensor]:
        """Images `(N, C, H, W)` uint8 and labels `(N,)` int64 of one split."""

    def validation(self, root: Path) -> tuple[Tensor, Tensor] | None:
        """Likewise of a validation split that the dataset has; None: it is cut from train."""
        return None
