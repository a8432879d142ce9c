"""One's own data: a table in Kaggle's form, or folders of pictures."""

import logging
from abc import abstractmethod
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from mnist_lab.data.base import DataError, Source, Split
from mnist_lab.data.pictures import Shape, pictures_in, read_pictures
from mnist_lab.data.split import count, stratified
from mnist_lab.data.tables import read_table
from mnist_lab.settings.ranges import Count, Ranged
from mnist_lab.system.files import class_names, split_folders

log = logging.getLogger(__name__)


class _LocalSource(Source):
    """Files that nobody else has checked: all are read before anything is trained."""

    def __init__(self, name: str, classes: list[str], test_size: int | float) -> None:
        super().__init__(name, classes, {})
        self.test_size = test_size
        self._splits: dict[Path, dict[str, tuple[Tensor, Tensor]]] = {}

    def prepare(self, root: Path, mirror: str | None) -> None:
        self._splits[root] = self._load(root)

    def read(self, root: Path, split: Split) -> tuple[Tensor, Tensor]:
        return self._loaded(root)[split]

    def validation(self, root: Path) -> tuple[Tensor, Tensor] | None:
        return self._loaded(root).get("val")

    def _loaded(self, root: Path) -> dict[str, tuple[Tensor, Tensor]]:
        if root not in self._splits:  # prepared by another process
            self.prepare(root, None)
        return self._splits[root]

    @abstractmethod
    def _load(self, root: Path) -> dict[str, tuple[Tensor, Tensor]]:
        """Images and labels of `train` and `test`, and of `val` if there is such a split."""

    def _divided(self, images: Tensor, labels: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
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

    def _load(self, root: Path) -> dict[str, tuple[Tensor, Tensor]]:
        path = _train_table(root)
        labels, images, understood = read_table(path, len(self.classes))
        if understood:
            log.info("%s is read thus: %s", path, "; ".join(understood))
        absent = [name for label, name in enumerate(self.classes) if label not in labels]
        if absent:
            log.info("%s: no images of %s", path, ", ".join(absent))
        return self._divided(torch.from_numpy(images).unsqueeze(1), torch.from_numpy(labels).long())


def _train_table(root: Path) -> Path:
    """`train.csv`, or where there is none, the one file that is it in another form or packed."""
    path = root / "train.csv"
    if path.exists() or not root.is_dir():
        return path
    forms = {
        f".{kind}{packing}" for kind in ("csv", "tsv") for packing in ("", ".gz", ".bz2", ".zip")
    }
    forms |= {".zip", ".npy", ".npz"}
    tables = sorted(
        file for file in root.iterdir() if file.name.lower().removeprefix("train") in forms
    )
    if len(tables) > 1:
        raise DataError(f"{root}: which of {', '.join(file.name for file in tables)} is meant?")
    return tables[0] if tables else path


class FolderSource(_LocalSource, Ranged):
    """Pictures in a folder for each class, in MNIST's form (`read_picture`) or as they are.

    Folders called train, val and test (or training, valid, ...) with such folders are the splits.
    Without one for the test, a part of the pictures to train on, the same in every run and never
    trained on, is the test split.

    Args:
        classes: the folders' names in order, as `files.class_names` finds them.
        test_size: of that part: an int is a count, a float between 0 and 1 a fraction.
        form: `digit`: one is looked for in each picture; `plain`: pictures are only resized.
        size: of plain pictures: pixels a side.
        grey: whether plain pictures are; else they are in colour.

    Raises:
        ValueError: plain pictures without a size, or digits with such settings.
    """

    def __init__(
        self,
        classes: list[str],
        name: str = "folder",
        test_size: int | float = 0.1,
        form: Literal["digit", "plain"] = "digit",
        size: Count | None = None,
        grey: bool = False,
    ) -> None:
        super().__init__(name, classes, test_size)
        self.form, self.size, self.grey = form, size, grey
        if form == "digit" and (size is not None or grey):
            raise ValueError("size and grey are of form=plain alone; a digit has 28x28, grey")
        if form == "plain":
            if size is None:
                raise ValueError("size=null: form=plain needs one, the pixels a side of its images")
            self.channels = 1 if grey else 3
            self.whole = {"form": form, "size": size, "grey": grey}

    def _load(self, root: Path) -> dict[str, tuple[Tensor, Tensor]]:
        folders = split_folders(str(root))
        splits = {name: self._pictures(folder) for name, folder in folders.items()}
        splits = splits or {"train": self._pictures(root)}
        if "test" not in splits:
            splits |= self._divided(*splits["train"])
        sizes = [
            f"{name}: {len(splits[name][1])} pictures "
            + (f"of {folders[name].name}" if name in folders else "kept of the others")
            for name in ("train", "val", "test")
            if name in splits
        ]
        log.info("%s: %d classes; %s", root, len(self.classes), ", ".join(sizes))
        return splits

    def _pictures(self, folder: Path) -> tuple[Tensor, Tensor]:
        classes = class_names(str(folder))
        if classes != self.classes:
            raise DataError(
                f"{folder}: the classes are {', '.join(classes)}, not {', '.join(self.classes)}"
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
        whole = Shape(self.channels, self.size, self.size) if self.size else None
        batches = list(read_pictures(paths, 1000, whole))
        faults = [fault for *_, of_batch in batches for fault in of_batch]
        if faults:
            more = f" (and {len(faults) - 1} more of {len(paths)})" if len(faults) > 1 else ""
            raise DataError(f"{faults[0]}{more}")
        images = np.concatenate([pictures for _, pictures, _ in batches])
        return torch.from_numpy(images), torch.tensor(labels)
