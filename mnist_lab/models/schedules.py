"""Learning-rate schedules: functions of (optimizer, total steps), stepped after every batch."""

import math
from collections.abc import Callable
from functools import partial
from typing import Any, TypeVar

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR, ReduceLROnPlateau, StepLR

from mnist_lab.settings.ranges import Count, LessThanOne, Positive, Share, ranged

F = TypeVar("F", bound=Callable[..., Any])


def bound_to_length(make: F) -> F:
    """Say of a schedule that it is laid out for the whole run, which then cannot be made longer."""
    vars(make)["bound_to_length"] = True
    return make


def schedule(
    make: Callable[..., Any], optimizer: Optimizer, total_steps: int
) -> LRScheduler | None:
    """The schedule that `make` makes: a function as those below, or a class of torch's own.

    A class of `torch.optim.lr_scheduler` is given the optimizer alone, since the number of steps
    would be taken for its first setting; it is stepped after every batch, as all of them are.

    Raises:
        ValueError: there is no such schedule for this optimizer and number of steps.
    """
    kind = make.func if isinstance(make, partial) else make
    try:
        if not (isinstance(kind, type) and issubclass(kind, LRScheduler)):
            made = make(optimizer, total_steps)
        elif issubclass(kind, ReduceLROnPlateau):
            raise ValueError(f"{kind.__name__} goes by a metric, which no batch has")
        else:
            made = make(optimizer)
    except TypeError as error:  # a setting that it needs, or does not have
        raise ValueError(str(error)) from error
    if not isinstance(made, LRScheduler | None):
        raise ValueError(f"a {type(made).__name__} is no schedule of torch's")
    return made


def constant(optimizer: Optimizer, total_steps: int) -> None:
    """The optimizer's own learning rate throughout."""


@bound_to_length
@ranged
def onecycle(
    optimizer: Optimizer,
    total_steps: int,
    peak: Positive,
    warmup: LessThanOne = 0.3,
    cycle_momentum: bool = True,
) -> LRScheduler:
    """Up from peak / 25 to `peak` in the first `warmup` of the steps, then down to nearly nothing.

    Smith and Topin, "Super-Convergence" (2018). The optimizer's own learning rate is replaced, and
    its (first) momentum too, which goes the other way, unless `cycle_momentum` is off.
    """
    if math.isclose(warmup * total_steps, 1):
        # The first step is the peak's. torch would divide by the length of a rise of one step, 0.
        warmup *= 1 - 1e-9
    return OneCycleLR(
        optimizer,
        max_lr=peak,
        total_steps=total_steps,
        pct_start=warmup,
        cycle_momentum=cycle_momentum,
    )


@bound_to_length
@ranged
def cosine(optimizer: Optimizer, total_steps: int, warmup: Share = 0.0) -> LRScheduler:
    """Down to zero along half a cosine, after a linear rise in the first `warmup` of the steps.

    Loshchilov and Hutter, "SGDR" (2017), without restarts.
    """
    rise = round(warmup * total_steps)

    def factor(step: int) -> float:
        if step < rise:
            return (step + 1) / rise
        return (1 + math.cos(math.pi * (step - rise) / max(1, total_steps - rise))) / 2

    return LambdaLR(optimizer, factor)


@ranged
def step(optimizer: Optimizer, total_steps: int, every: Count, factor: Positive) -> LRScheduler:
    """The learning rate times `factor` after every `every` training steps."""
    return StepLR(optimizer, step_size=every, gamma=factor)
