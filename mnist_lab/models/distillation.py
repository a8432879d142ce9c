"""What a network learns from trained ones, beside the labels."""

import math
import os
from collections.abc import Sequence
from typing import Annotated

import torch
from annotated_types import MinLen
from torch import Tensor, nn
from torch.nn import functional

from mnist_lab import LabError
from mnist_lab.settings.ranges import Positive, Ranged, Share


class Distillation(Ranged):
    """A loss that also asks for the mean probabilities of trained networks, its teachers.

    Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015: with p the mean
    over teachers of softmax(logits / T), and q the student's softmax(logits / T), it is

        (1 - weight) * cross-entropy of the labels + weight * T**2 * KL(p || q)

    T**2 keeps the size of the second part's gradients whatever T is. The teachers see the batch
    that the student sees, augmented as it is, each at its own size; they are in eval mode, are
    given no gradients, and are no part of the student: neither of its weights nor of its
    checkpoints, which know them by checksum.

    Args:
        teachers: checkpoints, or runs' folders for their best ones; `training.train` loads them.
        weight: of the teachers; the labels have what is left of 1.
        temperature: T; the higher, the more the less likely classes count.
    """

    def __init__(
        self,
        teachers: Annotated[Sequence[str | os.PathLike[str]], MinLen(1)],
        weight: Share = 0.9,
        temperature: Positive = 4.0,
    ) -> None:
        self.teachers = [os.fspath(path) for path in teachers]
        self.weight, self.temperature = weight, temperature
        self.checksums: list[str] = []
        """Of the teachers' files, once they are loaded."""
        self._networks: list[nn.Module] = []  # in a list, of which the student doesn't know

    def loaded(self, networks: Sequence[nn.Module], checksums: Sequence[str]) -> None:
        """Take the teachers: networks in eval mode, from images to logits `(N, K)`."""
        self._networks, self.checksums = list(networks), list(checksums)

    def move_to(self, device: torch.device) -> None:
        """Have the teachers where the batches are.

        Raises:
            LabError: nobody has loaded them.
        """
        if not self._networks:
            raise LabError("distil.teachers: are not loaded; mnist_lab.training.train does it")
        for network in self._networks:
            network.to(device)

    def refuse_changed(self, before: Sequence[str]) -> None:
        """Refuse to go on with others than those whose checksums a checkpoint holds.

        Raises:
            LabError: a teacher's file is another one by now.
        """
        for path, checksum in zip(self.teachers, self.checksums, strict=True):
            if checksum not in before:
                raise LabError(f"distil.teachers={path}: is not what this run began with")

    def __call__(self, loss: Tensor, logits: Tensor, images: Tensor) -> Tensor:
        """The mean loss of a batch, from that of its labels and the student's logits `(N, K)`."""
        with torch.no_grad():
            judgements = [
                functional.log_softmax(network(images) / self.temperature, 1)
                for network in self._networks
            ]
            mean = torch.stack(judgements).logsumexp(0) - math.log(len(judgements))
        own = functional.log_softmax(logits / self.temperature, 1)
        divergence = functional.kl_div(own, mean, reduction="batchmean", log_target=True)
        return (1 - self.weight) * loss + self.weight * self.temperature**2 * divergence
