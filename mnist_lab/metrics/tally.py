"""Loss and accuracy of the training batches of an epoch."""

from typing import Any

import torch
from torch import Tensor, nn

_TOGETHER = 100  # batches


class Tally(nn.Module):
    """Sums of loss and of hits, and the number of images, of the epoch so far.

    Losses, logits and labels of the latest batches wait to be counted together: a sum and an
    accuracy at every step would take as long as a small network's forward pass. They travel in
    checkpoints, so that the sums are made of the same parts whether a run was continued or not.
    """

    _sums: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("_sums", torch.zeros(3), persistent=False)
        self._waiting: list[tuple[Tensor, Tensor, Tensor]] = []

    def add(self, loss: Tensor, logits: Tensor, labels: Tensor, batch_idx: int) -> None:
        """Take in a batch: its mean loss, logits `(N, K)` and labels `(N,)`."""
        # A copy: a compiled network on CUDA puts its next outputs where these lie.
        self._waiting.append((loss.detach().view(1) * len(labels), logits.detach().clone(), labels))
        if (batch_idx + 1) % _TOGETHER == 0:
            self._sums += self._counted()
            self._waiting.clear()

    def totals(self) -> Tensor:
        """`(3,)`: sum of losses, hits, number of images."""
        return self._sums + self._counted()

    def reset(self) -> None:
        self._sums.zero_()
        self._waiting.clear()

    def state(self) -> dict[str, Any]:
        """For a checkpoint."""
        waiting = [torch.cat(parts).cpu() for parts in self._columns()]
        return {"sums": self._sums.cpu().clone(), "uncounted": waiting}

    def restore(self, state: dict[str, Any]) -> None:
        """Add what is in a checkpoint."""
        self._sums += state["sums"].to(self._sums.device)
        if state["uncounted"]:
            losses, logits, labels = state["uncounted"]
            self._waiting.append((losses, logits, labels))

    def _counted(self) -> Tensor:
        if not self._waiting:
            return torch.zeros_like(self._sums)
        losses, logits, labels = map(torch.cat, self._columns())
        hits = (logits.argmax(1) == labels).sum()
        return torch.stack([losses.sum(), hits, torch.full_like(hits, len(labels))])

    def _columns(self) -> list[list[Tensor]]:
        """Losses, logits and labels that wait; restored ones may lie on another device."""
        columns = zip(*self._waiting, strict=True)
        return [[part.to(self._sums.device) for part in column] for column in columns]
