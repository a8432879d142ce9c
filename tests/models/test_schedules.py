"""Learning-rate schedules against their closed forms, at every step."""

import math
from functools import partial

import pytest
import torch
from torch import nn
from torch.optim import SGD, Adam
from torch.optim.lr_scheduler import CosineAnnealingLR

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
        return between(low, high, step / turn)
    return between(high, end, (step - turn) / (last - turn))


def test_constant_makes_no_schedule():
    assert schedules.constant(optimizer(lr=0.1), 10) is None


@pytest.mark.parametrize(("total", "warmup"), [(20, 0.3), (37, 0.3), (50, 0.1)])
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


def test_step_multiplies_after_every_so_many_steps():
    opt = optimizer(lr=0.8)
    lrs = run(opt, schedules.step(opt, 10, every=3, factor=0.5), 10)
    assert lrs == pytest.approx([0.8, 0.8, 0.8, 0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1])


@pytest.mark.parametrize(
    "schedule",
    [
        partial(schedules.onecycle, peak=0.1, warmup=1.5),
        partial(schedules.cosine, warmup=1.5),
        partial(schedules.cosine, warmup=-0.5),
        partial(schedules.step, every=0, factor=0.5),
    ],
)
def test_what_is_out_of_range_is_refused_before_training(schedule):
    with pytest.raises(ValueError, match=r"warmup|pct_start|every"):
        MLP(hidden=[2], scheduler=schedule)
