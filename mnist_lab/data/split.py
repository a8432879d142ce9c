"""Parts of a dataset: how many images, and which."""

import numpy as np
import torch
from torch import Tensor


def stratified(labels: Tensor, size: int, seed: int) -> tuple[Tensor, Tensor]:
    """Indices of `size` images drawn per class in proportion, and of the rest; both ascending."""
    counts = torch.bincount(labels).numpy()
    quotas = counts * size / len(labels)
    sizes = np.floor(quotas).astype(int)
    # Largest remainders make up what rounding down has left.
    sizes[np.argsort(sizes - quotas, kind="stable")[: size - sizes.sum()]] += 1
    random = np.random.RandomState(seed)
    drawn = np.zeros(len(labels), dtype=bool)
    for label, quota in enumerate(sizes):
        drawn[random.permutation(np.flatnonzero(labels.numpy() == label))[:quota]] = True
    return torch.from_numpy(np.flatnonzero(drawn)), torch.from_numpy(np.flatnonzero(~drawn))


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
