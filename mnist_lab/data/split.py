"""Parts of a dataset: how many images, and which."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


@dataclass(frozen=True)
class Division:
    """How a dataset's training images are divided: some for validation, some to train on.

    Validated on are `val_size` images, or one of `folds` parts; which images these are depends on
    `split_seed` and `repeat` alone.

    Attributes:
        fold: the part that is held out, from 0.
        repeat: other folds are drawn for each.

    Raises:
        ValueError: these contradict each other.
    """

    val_size: int | float | None
    train_size: int | float | None
    split_seed: int
    folds: int | None = None
    fold: int | None = None
    repeat: int = 0

    def __post_init__(self) -> None:
        if self.folds is None:
            if self.fold is not None:
                raise ValueError(f"fold={self.fold}: of how many? folds=5, for one, says it")
            if self.repeat:
                raise ValueError(f"repeat={self.repeat}: draws other folds, and there are none")
            if self.val_size is None:
                raise ValueError("val_size=None: needs folds, of which one is validated on")
        elif self.fold is None or self.fold >= self.folds:
            raise ValueError(
                f"fold={self.fold}: folds={self.folds} are fold=0 to fold={self.folds - 1}; "
                "one of them is validated on"
            )
        elif self.val_size is not None:
            raise ValueError(
                f"val_size={self.val_size}: contradicts folds={self.folds}, of which one is "
                "validated on; val_size=null goes with them"
            )

    @property
    def has_validation(self) -> bool:
        """Whether images are validated on."""
        return self.val_size != 0

    @property
    def reason(self) -> str:
        """The setting by which a validation split that the dataset has is not used, if any is."""
        if self.folds is not None:
            return f"folds={self.folds}"
        return "" if self.has_validation else "val_size=0"

    def counts(self, available: int, own_validation: bool = False) -> tuple[int, int]:
        """How many images are cut off for validation, unless the dataset has it, and trained on.

        Raises:
            ValueError: so many there are not.
        """
        val = 0
        if self.folds is not None and self.fold is not None:
            if self.folds > available:
                raise ValueError(f"folds={self.folds}: there are {available} images")
            val = len(range(self.fold, available, self.folds))
        elif self.val_size is not None and not own_validation:
            val = count("val_size", self.val_size, available)
        train = available - val
        if train < 1:
            raise ValueError(f"val_size={self.val_size} leaves nothing of {available} to train on")
        if self.train_size is not None:
            train = count("train_size", self.train_size, train)
            if train < 1:
                raise ValueError(f"train_size must be at least 1 image, not {self.train_size}")
        return val, train

    def of(self, labels: Tensor, own_validation: bool = False) -> tuple[Tensor, Tensor]:
        """Indices of the images to validate on, and of those to train on; both ascending."""
        val_count, train_count = self.counts(len(labels), own_validation)
        if self.folds is not None and self.fold is not None:
            seeds = (self.split_seed, self.repeat)
            val, rest = held_out(labels, self.folds, self.fold, seeds)
        else:
            val, rest = stratified(labels, val_count, self.split_seed)
        kept, _ = stratified(labels[rest], train_count, self.split_seed)
        return val, rest[kept]

    def described(self) -> dict[str, int | float | None]:
        """As plain values; without folds nothing is said of them."""
        sizes = {
            "val_size": self.val_size,
            "train_size": self.train_size,
            "split_seed": self.split_seed,
        }
        if self.folds is None:
            return sizes
        return {**sizes, "folds": self.folds, "fold": self.fold, "repeat": self.repeat}


def stratified(labels: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of `size` images drawn per class in proportion, and of the rest; both ascending."""
    counts = torch.bincount(labels).numpy()
    quotas = counts * size / len(labels)
    sizes = np.floor(quotas).astype(int)
    # Largest remainders make up what rounding down has left.
    sizes[np.argsort(sizes - quotas, kind="stable")[: size - sizes.sum()]] += 1
    shuffled = _by_class(labels, np.random.RandomState(seed))
    drawn = [images[:quota] for images, quota in zip(shuffled, sizes, strict=True)]
    return _divided(np.concatenate(drawn), len(labels))


def held_out(
    labels: Tensor, folds: int, fold: int, seeds: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    """Indices of the images in one of `folds` parts, and of the rest; both ascending.

    Each image is in one part. Their sizes differ by one at most, and so do the counts of each
    class in them.
    """
    # Dealt out in turn, one class after the other.
    dealt = np.concatenate(_by_class(labels, np.random.RandomState(seeds)))
    return _divided(dealt[fold::folds], len(labels))


def _by_class(labels: Tensor, random: np.random.RandomState) -> list[NDArray[np.int64]]:
    """Indices of each class's images, shuffled."""
    classes = range(int(labels.max()) + 1)
    return [random.permutation(np.flatnonzero(labels.numpy() == label)) for label in classes]


def _divided(drawn: NDArray[np.int64], among: int) -> tuple[Tensor, Tensor]:
    """The indices that were drawn, and the other ones; both ascending."""
    inside = np.zeros(among, dtype=bool)
    inside[drawn] = True
    return torch.from_numpy(np.flatnonzero(inside)), torch.from_numpy(np.flatnonzero(~inside))


def count(name: str, size: int | float, available: int) -> int:
    """How many of those available `size` asks for: an int is a count, a float a fraction.

    Raises:
        ValueError: it can't be had; the text calls it `name`.
    """
    if isinstance(size, float) and not 0 < size < 1:
        raise ValueError(f"{name}={size}: a fraction lies between 0 and 1; a count has no point")
    count = round(size * available) if isinstance(size, float) else size
    if isinstance(size, float) and count == 0:
        raise ValueError(f"{name}={size}: of {available} images that is none; 0 would say so")
    if not 0 <= count <= available:
        raise ValueError(f"{name} must lie between 0 and {available}, not {size}")
    return count
