"""One's own data: a table in Kaggle's form, or folders of pictures."""

import logging
from abc import abstractmethod
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mnist_lab.data.base import DataError, Source, Split
from mnist_lab.data.pictures import pictures_in, read_pictures
from mnist_lab.data.split import count, stratified
from mnist_lab.data.tables import read_table
from mnist_lab.files import class_names

log = logging.getLogger(__name__)


class _LocalSource(Source):
    """Files that nobody else has checked: all are read before anything is trained."""

    def __init__(self, name: str, classes: list[str], test_size: int | float) -> None:
        super().__init__(name, classes, {})
        self.test_size = test_size
        self._splits: dict[Path, dict[Split, tuple[Tensor, Tensor]]] = {}

    def prepare(self, root: Path, mirror: str | None) -> None:
        self._splits[root] = self._load(root)

    def read(self, root: Path, split: Split) -> tuple[Tensor, Tensor]:
        if root not in self._splits:  # prepared by another process
            self.prepare(root, None)
        return self._splits[root][split]

    @abstractmethod
    def _load(self, root: Path) -> dict[Split, tuple[Tensor, Tensor]]:
        """Both splits."""

    def _divided(self, images: Tensor, labels: Tensor) -> dict[Split, tuple[Tensor, Tensor]]:
        """A part of the images, the same in every run, as test split."""
        try:
            assert self.test_size is not None
            size = count("data.source.test_size", self.test_size, len(labels))
        except ValueError as error:
            raise DataError(str(error)) from None
        test, train = stratified(labels, size, seed=0)
        return {"train": (images[train], labels[train]), "test": (images[test], labels[test])}


class KaggleSource(_LocalSource):
    """`train.csv` of Kaggle's Digit Recognizer.

    The contest's `test.csv` has no labels: a part of `train.csv`, the same in every run and never
    trained on, is the test split.

    Args:
        test_size: of that part: an int is a count, a float between 0 and 1 a fraction.
    """

    def __init__(self, name: str = "kaggle", test_size: int | float = 0.1) -> None:
        super().__init__(name, [str(digit) for digit in range(10)], test_size)

    def _load(self, root: Path) -> dict[Split, tuple[Tensor, Tensor]]:
        labels, images = read_table(root / "train.csv", len(self.classes))
        return self._divided(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())


class FolderSource(_LocalSource):
    """Pictures in a folder for each class, brought into MNIST's form (`pictures.read_picture`).

    `train/` and `test/` with such folders are the splits; where they aren't, a part of the
    pictures, the same in every run and never trained on, is the test split.

    Args:
        classes: the folders' names in order, as `files.class_names` finds them.
        test_size: of that part: an int is a count, a float between 0 and 1 a fraction.
    """

    def __init__(
        self, classes: list[str], name: str = "folder", test_size: int | float = 0.1
    ) -> None:
        super().__init__(name, classes, test_size)

    def _load(self, root: Path) -> dict[Split, tuple[Tensor, Tensor]]:
        if (root / "train").is_dir() and (root / "test").is_dir():
            return {"train": self._pictures(root / "train"), "test": self._pictures(root / "test")}
        return self._divided(*self._pictures(root))

    def _pictures(self, folder: Path) -> tuple[Tensor, Tensor]:
        found = class_names(str(folder))
        if found != self.classes:
            raise DataError(
                f"{folder}: the classes are {', '.join(found)}, not {', '.join(self.classes)}"
            )
        paths: list[Path] = []
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            pictures, others = pictures_in(folder / name)
            if not pictures:
                raise DataError(f"{folder / name}: holds no pictures")
            if others:
                log.info("%s: %d files that are no pictures", folder / name, len(others))
            paths += pictures
            labels += [label] * len(pictures)
        batches = list(read_pictures(paths, 1000))
        faults = [fault for _, _, batch in batches for fault in batch]
        if faults:
            more = f" (and {len(faults) - 1} more of {len(paths)})" if len(faults) > 1 else ""
            raise DataError(f"{faults[0]}{more}")
        images = np.concatenate([pictures for _, pictures, _ in batches])
        return torch.from_numpy(images).unsqueeze(1), torch.tensor(labels)
