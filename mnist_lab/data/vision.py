"""The classification datasets of torchvision."""

import contextlib
import io
import logging
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from filelock import FileLock, Timeout
from PIL import Image
from torch import Tensor

from mnist_lab.data.base import DataError, Source, Split
from mnist_lab.data.sources import LOCK_SECONDS
from mnist_lab.settings.ranges import Count, Ranged
from mnist_lab.settings.signatures import hint

log = logging.getLogger(__name__)


class TorchvisionSource(Source, Ranged):
    """A dataset of `torchvision.datasets` whose items are a picture and a label.

    Its files lie below `data.root` as torchvision lays them, or are fetched by it into a folder
    beside that, from which they come when all of them are there.

    Args:
        dataset: the name of the class: `CIFAR10`.
        classes: their names in the order of their labels, or how many there are.
        train: what the class is given beside the folder for images to train on, but for nulls.
        test: likewise for test images.
        channels: 1: grey; 3: red, green and blue. Pictures of another kind are converted.
        size: pixels a side that pictures are resized to, by area; None: as they are, which takes
            pictures of one size.
        first_label: what torchvision calls the first class.
        transpose: whether pictures lie on their side (EMNIST's do).
    """

    incidental = ("root",)

    def __init__(
        self,
        name: str,
        dataset: str,
        classes: list[str] | Count,
        train: dict[str, Any],
        test: dict[str, Any],
        channels: Literal[1, 3] = 1,
        size: Count | None = None,
        first_label: int = 0,
        transpose: bool = False,
    ) -> None:
        names = [str(label) for label in range(classes)] if isinstance(classes, int) else classes
        super().__init__(name, names, {})
        self.dataset, self.train, self.test = dataset, train, test
        self.channels, self.size = channels, size
        self.first_label, self.transpose = first_label, transpose

    def prepare(self, root: Path, mirror: str | None) -> None:
        splits: tuple[Split, ...] = ("train", "test")
        if all(self._opened(root, split) is not None for split in splits):
            return  # a lock could not be had on a disk that can only be read
        if mirror:
            log.info("data.mirror=%s: torchvision knows of no mirrors", mirror)
        try:
            root.mkdir(parents=True, exist_ok=True)
            with FileLock(root / f".{self.dataset}.lock", timeout=LOCK_SECONDS):
                for split in splits:
                    if self._opened(root, split) is None:
                        self._fetch(root, split)
        except Timeout:
            raise DataError(
                f"{root}: another process has held the lock .{self.dataset}.lock for "
                f"{LOCK_SECONDS} s; wait for it, or end it, and start again"
            ) from None
        except OSError as error:
            raise DataError(f"data.root={root}: cannot be used: {error}") from error

    def read(self, root: Path, split: Split) -> tuple[Tensor, Tensor]:
        found = self._opened(root, split)
        if found is None:
            raise DataError(f"{root}: has no whole {self.dataset}")
        images, labels = [], []
        for index in range(len(found)):
            image, label = self._item(found, index)
            images.append(image)
            labels.append(label)
        shapes = sorted({image.shape[:2] for image in images})
        if len(shapes) > 1:
            height, width = shapes[-1]
            raise DataError(
                f"{self.dataset}: its pictures are of {len(shapes)} sizes, up to {height}x{width}; "
                "data.source.size says how many pixels a side they are to have"
            )
        stacked = torch.from_numpy(np.stack(images))
        counted = torch.tensor(labels) - self.first_label
        if not 0 <= int(counted.min()) <= int(counted.max()) < len(self.classes):
            raise DataError(
                f"{self.dataset}: its labels go from {min(labels)} to {max(labels)}; "
                f"data.source.classes are {len(self.classes)}, the first of them {self.first_label}"
            )
        return stacked.permute(0, 3, 1, 2).contiguous(), counted

    def _item(self, found: Any, index: int) -> tuple["np.ndarray[Any, np.dtype[np.uint8]]", int]:
        """Image `(H, W, C)` and label, as torchvision has it."""
        item = found[index]
        whose = f"data.source.dataset={self.dataset}"
        if not (isinstance(item, tuple) and len(item) == 2 and isinstance(item[0], Image.Image)):
            raise DataError(f"{whose}: its items are no picture and label")
        image, label = item
        try:
            number = int(label)
        except (TypeError, ValueError):
            kind = type(label).__name__
            raise DataError(f"{whose}: a label is a {kind}, no number") from None
        image = image.convert("L" if self.channels == 1 else "RGB")
        if self.size is not None and image.size != (self.size, self.size):
            image = image.resize((self.size, self.size), Image.Resampling.BOX)
        pixels = np.asarray(image, np.uint8).reshape(image.height, image.width, self.channels)
        return pixels.transpose(1, 0, 2) if self.transpose else pixels, number

    def _opened(self, root: Path, split: Split, **settings: Any) -> Any:
        """torchvision's dataset, or None where its files aren't there or aren't whole."""
        import torchvision.datasets

        kind = getattr(torchvision.datasets, self.dataset, None)
        if not isinstance(kind, type):
            known = [name for name in torchvision.datasets.__all__ if name[0].isupper()]
            raise DataError(
                f"data.source.dataset={self.dataset}: torchvision has no such dataset"
                f"{hint(self.dataset, known)}"
            )
        of_split = self.train if split == "train" else self.test
        given = {name: value for name, value in of_split.items() if value is not None}
        try:
            with contextlib.redirect_stdout(io.StringIO()):  # "Files already downloaded ..."
                return kind(root=str(root), **given, **settings)
        except TypeError as error:
            raise DataError(f"data.source.{split}: {self.dataset}: {error}") from error
        except (RuntimeError, OSError) as error:  # not there, not whole; or not to be had
            if settings:
                raise DataError(f"{self.dataset} cannot be had: {error}") from error
            return None

    def _fetch(self, root: Path, split: Split) -> None:
        """Have torchvision download it, and put what has come in its place when all of it has."""
        part = root / f".{self.dataset}.part"
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        try:
            log.info("%s: torchvision fetches it into %s", self.dataset, root)
            self._opened(part, split, download=True)
            for path in part.iterdir():
                for file in _files(path):
                    target = root / file.relative_to(part)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.replace(file, target)
        finally:
            shutil.rmtree(part, ignore_errors=True)


def _files(path: Path) -> Iterator[Path]:
    yield from (each for each in path.rglob("*") if each.is_file()) if path.is_dir() else [path]
