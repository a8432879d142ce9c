"""Attributes of Lightning's Trainer that its class doesn't declare, with their types."""

from typing import Any, Protocol, cast

import lightning.pytorch as L
from lightning.pytorch.profilers import Profiler


class Attributes(Protocol):
    """Set from outside the class, by the Trainer's connectors, where type checkers don't look."""

    callbacks: list[L.Callback]
    datamodule: Any
    """Ours, a stranger's or none; there from the first `fit` or `test` on."""
    fast_dev_run: bool | int
    log_every_n_steps: int
    profiler: Profiler
    _val_check_time_interval: float | None


def attributes(trainer: L.Trainer) -> Attributes:
    """The trainer itself, as what has these."""
    return cast(Attributes, trainer)
