"""Learning-rate schedules: functions of (optimizer, total steps), stepped after every batch."""

import math

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, StepLR


def constant(optimizer: Optimizer, total_steps: int) -> None:
    """The optimizer's own learning rate throughout."""


def onecycle(
    optimizer: Optimizer,
    total_steps: int,
    peak: float,
    warmup: float = 0.3,
    cycle_momentum: bool = True,
) -> LRScheduler:
    """Up from peak / 25 to `peak` in the first `warmup` of the steps, then down to nearly nothing.

    Smith and Topin, "Super-Convergence" (2018). The optimizer's own learning rate is replaced, and
    its (first) momentum too, which goes the other way, unless `cycle_momentum` is off.
    """
    _check_warmup(warmup)
    if peak <= 0:
        raise ValueError(f"peak must be positive, not {peak}")
    return OneCycleLR(
        optimizer,
        max_lr=peak,
        total_steps=total_steps,
        pct_start=warmup,
        cycle_momentum=cycle_momentum,
    )


def cosine(optimizer: Optimizer, total_steps: int, warmup: float = 0.0) -> LRScheduler:
    """Down to zero along half a cosine, after a linear rise in the first `warmup` of the steps.

    Loshchilov and Hutter, "SGDR" (2017), without restarts.
    """
    _check_warmup(warmup)
    rise = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return (1 + math.cos(math.pi * (step - rise) / max(1, total_steps - rise))) / 2

    return LambdaLR(optimizer, factor)


def step(optimizer: Optimizer, total_steps: int, every: int, factor: float) -> LRScheduler:
    """The learning rate times `factor` after every `every` training steps."""
    if every < 1:
        raise ValueError(f"every must be at least 1, not {every}")
    if factor <= 0:
        raise ValueError(f"factor must be positive, not {factor}")
    return StepLR(optimizer, step_size=every, gamma=factor)


def _check_warmup(warmup: float) -> None:
    if not 0 <= warmup <= 1:
        raise ValueError(f"warmup is a share of the steps, from 0 to 1, not {warmup}")
