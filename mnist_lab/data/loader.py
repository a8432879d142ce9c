"""Batches of tensors that lie in memory, without worker processes."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor


def batch_bounds(count: int, batch_size: int, world_size: int = 1) -> list[int]:
    """Of so many images: where each batch begins, and where the last one ends."""
    starts = list(range(0, count, batch_size))
    if len(starts) > 1 and count - starts[-1] < min(batch_size, max(2, world_size)):
        starts.pop()
    return [*starts, count]


class TensorLoader:
    """Batches by indexing, made on the device where the tensors lie.

    The order is a function of `(seed, epoch)` alone. With several ranks `batch_size` is that of
    all of them together: each takes every `world_size`-th image of every batch, so that each
    image is seen once per epoch and all ranks make equally many steps. A remainder smaller than
    the number of ranks, or of one image, of which batch normalisation can make nothing, joins the
    batch before it.

    Args:
        images: `(N, C, H, W)`.
        labels: `(N,)`.
        shuffle: a new order each epoch; without it the order is that of the tensors.
    """

    def __init__(
        self,
        images: Tensor,
        labels: Tensor,
        batch_size: int,
        *,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.images, self.labels = images, labels
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size
        if batch_size < world_size:
            raise ValueError(f"batch_size={batch_size} is less than one image for each process")
        self._bounds = batch_bounds(len(labels), batch_size, world_size)
        self._epoch = self._position = 0  # so many batches of this epoch have been given out
        self._appointed: int | None = None
        self._resumed = False

    def __len__(self) -> int:
        """Batches in an epoch."""
        return len(self._bounds) - 1

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        """One epoch: the appointed one, else the one after the last that was begun."""
        # All is settled when the first batch is asked for: Lightning makes iterators that it never
        # uses, appoints the epoch after it made one, and doesn't let one run to its end.
        if self._appointed not in (None, self._epoch):
            self._epoch, self._position = self._appointed or 0, 0
        elif self._position and not (self._resumed and self._position < len(self)):
            self._epoch, self._position = self._epoch + (self._appointed is None), 0
        self._appointed, self._resumed = None, False
        order = self._order(self._epoch) if self.shuffle else None
        for index in range(self._position, len(self)):
            part = slice(self._bounds[index] + self.rank, self._bounds[index + 1], self.world_size)
            self._position = index + 1
            if order is None:
                yield self.images[part], self.labels[part]
            else:
                chosen = order[part]
                yield self.images.index_select(0, chosen), self.labels.index_select(0, chosen)

    batch_sampler = None

    @property
    def sampler(self) -> "TensorLoader":
        """Where Lightning looks for `set_epoch`, as if this were a torch DataLoader."""
        return self

    def set_epoch(self, epoch: int) -> None:
        """Appoint the epoch to iterate over next; called by Lightning before each."""
        self._appointed = epoch

    def _order(self, epoch: int) -> Tensor:
        # RandomState's streams are frozen: the same order in every future version of numpy.
        order = np.random.RandomState([self.seed, epoch]).permutation(len(self.labels))
        return torch.from_numpy(order).to(self.images.device)

    def state_dict(self) -> dict[str, int]:
        """The epoch under way and how many of its batches have been given out."""
        return {"epoch": self._epoch, "position": self._position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue from there: within the epoch, or with the next one if it was complete."""
        self._epoch, self._position = state["epoch"], state["position"]
        self._resumed = True
