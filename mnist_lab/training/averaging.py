"""Averaged weights: validated, chosen, tested and stored in the place of the trained ones."""

from typing import Annotated, Any

import lightning.pytorch as L
import torch
from annotated_types import Ge, Interval
from lightning.pytorch.callbacks import WeightAveraging
from torch import Tensor

from mnist_lab.settings.ranges import Ranged


class AveragedWeights(Ranged, WeightAveraging):
    """A mean of the weights along the way, of batch normalisation's statistics, too.

    With a `decay` it is an exponential moving average (Polyak and Juditsky, 1992), updated after
    every step; it forgets faster at first, `(1 + n) / (10 + n)` after n steps, so that no beginning
    sticks to it. Without one it is the plain mean of the weights at the ends of epochs (stochastic
    weight averaging; Izmailov et al., 2018). Before the first that count, the weights are their own
    mean.

    Checkpoints hold the averages as the weights, and in `last.ckpt` those that are trained as well.

    Args:
        decay: what a step leaves of the average; None for the mean of epochs.
        from_epoch: the first epoch that counts, from 0.
    """

    def __init__(
        self,
        decay: Annotated[float, Interval(gt=0, lt=1)] | None = 0.999,
        from_epoch: Annotated[int, Ge(0)] = 0,
    ) -> None:
        super().__init__(multi_avg_fn=self._take_in)
        self.decay, self.from_epoch = decay, from_epoch
        self._due = False  # whether the step's weights count
        self._count = 0  # of weights in the mean

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        if self._average_model is not None:
            # It is asked at every step, which on a GPU would wait for all that runs there.
            self._average_model.n_averaged = self._average_model.n_averaged.cpu()

    def on_train_batch_end(
        self, trainer: L.Trainer, pl_module: L.LightningModule, *args: Any
    ) -> None:
        # Not at the end of epochs, as Lightning has it: they are validated before that.
        due = self.decay is not None or trainer.is_last_batch
        self._due = due and trainer.current_epoch >= self.from_epoch
        before = self._latest_update_step
        super().on_train_batch_end(trainer, pl_module, *args)
        self._count += self._due and self._latest_update_step > before

    def should_update(self, step_idx: int | None = None, epoch_idx: int | None = None) -> bool:
        """After a step whose weights count, and after every one before the first of them."""
        return step_idx is not None and (self._due or self._count == 0)

    def state_dict(self) -> dict[str, Any]:
        return {**super().state_dict(), "count": self._count}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        self._count = state_dict["count"]

    def _take_in(self, averages: list[Tensor], weights: list[Tensor], _: Any) -> None:
        if not averages[0].is_floating_point():  # how many batches there were
            torch._foreach_copy_(averages, weights)
        else:
            torch._foreach_lerp_(averages, weights, self._share())

    def _share(self) -> float:
        """Of the step's weights in the mean that they are taken into."""
        if self._count == 0:
            return 1.0
        if self.decay is None:
            return 1 / (self._count + 1)
        return 1 - min(self.decay, (1 + self._count) / (10 + self._count))
