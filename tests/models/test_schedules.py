"""Learning-rate schedules against their closed forms, at every step."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import (
    CosineAnnealingLR,
    ExponentialLR,
    ReduceLROnPlateau,
    SequentialLR,
)

from mnist_lab.models import MLP, schedules


def optimizer(kind=SGD, **settings):
    return kind([nn.Parameter(torch.zeros(1))], **settings)


def run(opt, scheduler, steps: int, key: str = "lr") -> list:
    """The value that each of the steps is made with."""
    values = []
    for _ in range(steps):
        values.append(opt.param_groups[0][key])
        opt.step()
        scheduler.step()
    return values


def between(start: float, end: float, share: float) -> float:
    """Half a cosine from start to end."""
    return end + (start - end) * (1 + math.cos(math.pi * share)) / 2


def there_and_back(step: int, total: int, warmup: float, low: float, high: float, end: float):
    turn, last = warmup * total - 1, total - 1
    if step <= turn:
        return between(low, high, step / turn) if turn else high
    return between(high, end, (step - turn) / (last - turn))


def test_constant_makes_no_schedule():
    assert schedules.constant(optimizer(lr=0.1), 10) is None


@pytest.mark.parametrize(
    ("total", "warmup"),
    [
        (20, 0.3), (37, 0.3), (50, 0.1),
        (20, 0.05), (1000, 0.001), (3, 1 / 3), (2, 0.5),  # a rise of a single step
        (1, 0.0), (1, 0.3), (2, 0.3), (3, 0.3), (3, 0.9),
    ],
)  # fmt: skip
def test_onecycle_rises_to_the_peak_and_falls_to_nearly_nothing(total, warmup):
    opt = optimizer(lr=123.0)
    lrs = run(opt, schedules.onecycle(opt, total, peak=0.5, warmup=warmup), total)
    expected = [
        there_and_back(step, total, warmup, 0.5 / 25, 0.5, 0.5 / 25 / 1e4) for step in range(total)
    ]
    assert lrs == pytest.approx(expected, rel=1e-6)


def test_onecycle_moves_the_first_momentum_the_other_way():
    opt = optimizer(Adam, lr=123.0, betas=(0.5, 0.9))
    betas = run(opt, schedules.onecycle(opt, 20, peak=0.5), 20, key="betas")
    assert [beta for beta, _ in betas] == pytest.approx(
        [there_and_back(step, 20, 0.3, 0.95, 0.85, 0.95) for step in range(20)]
    )
    assert {beta for _, beta in betas} == {0.9}


def test_onecycle_leaves_the_momentum_where_that_is_asked_for():
    opt = optimizer(Adam, lr=1.0)
    before = opt.param_groups[0]["betas"]
    run(opt, schedules.onecycle(opt, 10, peak=0.1, cycle_momentum=False), 5, key="betas")
    assert opt.param_groups[0]["betas"] == before


def test_cosine_without_warmup_is_torchs():
    ours, torchs = optimizer(lr=0.2), optimizer(lr=0.2)
    lrs = run(ours, schedules.cosine(ours, 30), 30)
    assert lrs == pytest.approx(run(torchs, CosineAnnealingLR(torchs, T_max=30), 30))
    assert lrs == pytest.approx([0.1 * (1 + math.cos(math.pi * step / 30)) for step in range(30)])
    assert ours.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_cosine_rises_linearly_first():
    opt = optimizer(lr=8.0)
    lrs = run(opt, schedules.cosine(opt, 10, warmup=0.4), 10)
    # Half of 1 + the cosine of 0, 30, 60, ... degrees.
    fall = [1, (2 + math.sqrt(3)) / 4, 0.75, 0.5, 0.25, (2 - math.sqrt(3)) / 4]
    assert lrs == pytest.approx([2, 4, 6, 8, *(8 * share for share in fall)])


@pytest.mark.parametrize(
    ("total", "warmup", "factors"),
    [
        (1, 0.0, [1]), (1, 1.0, [1]), (2, 0.0, [1, 1 / 2]), (2, 0.5, [1, 1]), (2, 1.0, [1 / 2, 1]),
        (3, 0.0, [1, 3 / 4, 1 / 4]), (3, 0.001, [1, 3 / 4, 1 / 4]), (3, 1 / 3, [1, 1, 1 / 2]),
    ],
)  # fmt: skip
def test_cosine_of_a_few_steps(total, warmup, factors):
    opt = optimizer(lr=8.0)
    lrs = run(opt, schedules.cosine(opt, total, warmup=warmup), total)
    assert lrs == pytest.approx([8 * factor for factor in factors])


@pytest.mark.parametrize("total", [1, 2, 3])
def test_step_of_a_few_steps(total):
    opt = optimizer(lr=0.8)
    lrs = run(opt, schedules.step(opt, total, every=1, factor=0.5), total)
    assert lrs == pytest.approx([0.8, 0.4, 0.2][:total])


@pytest.mark.parametrize("total", [1, 7, 10_000])
def test_a_schedule_of_torchs_is_given_the_optimizer_alone(total):
    model = MLP(hidden=[2], scheduler=partial(ExponentialLR, gamma=0.9))
    opt = optimizer(lr=0.5)
    lrs = run(opt, schedules.schedule(model._make_scheduler, opt, total), 7)
    assert lrs == pytest.approx([0.5 * 0.9**step for step in range(7)])


@pytest.mark.parametrize(
    ("schedule", "told"),
    [
        (ExponentialLR, "scheduler: .*gamma"),  # of which the number of steps is none
        (partial(ExponentialLR, gama=0.9), "scheduler: .*gama"),
        (partial(ReduceLROnPlateau, patience=3), "scheduler: ReduceLROnPlateau goes by a metric"),
        (partial(SequentialLR, milestones=[1]), "scheduler: .*schedulers"),
        (partial(SGD, momentum=0.9), "scheduler: "),
        (lambda optimizer, total_steps: 3, "scheduler: a int is no schedule"),
    ],
)
def test_what_makes_no_schedule_is_refused_before_training(schedule, told):
    with pytest.raises(ValueError, match=told):
        MLP(hidden=[2], scheduler=schedule)


def test_step_multiplies_after_every_so_many_steps():
    opt = optimizer(lr=0.8)
    lrs = run(opt, schedules.step(opt, 10, every=3, factor=0.5), 10)
    assert lrs == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1])


@pytest.mark.parametrize(
    "schedule",
    [
        partial(schedules.onecycle, peak=0.1, warmup=1.5),
        partial(schedules.onecycle, peak=0.1, warmup=1),
        partial(schedules.cosine, warmup=1.5),
        partial(schedules.cosine, warmup=-0.5),
        partial(schedules.step, every=0, factor=0.5),
    ],
)
def test_what_is_out_of_range_is_refused_before_training(schedule):
    with pytest.raises(ValueError, match=r"warmup|pct_start|every"):
        MLP(hidden=[2], scheduler=schedule)
