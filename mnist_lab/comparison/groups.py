"""Runs in tables: which can be compared, and which differ in their seed or fold alone."""

import json
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mnist_lab.comparison.gather import COMPARABLE, LeftOut, Run
from mnist_lab.comparison.varied import Setting, distinguish, natural
from mnist_lab.metrics.significance import Interval, t_interval

MAX_SHOWN = 12  # groups in a figure, and in words


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, or in their fold (and seed), in that order.

    What counts, as `n`, are seeds or, where the data are divided into them, folds: all runs of a
    fold, of different seeds, stand for it by their mean.

    Attributes:
        values: of the settings in which the table's groups differ, as they are shown.
        asked: how many seeds or folds there are, with those of which all runs were left out.
        split: of what the group is compared by, the table's.
    """

    name: str
    values: tuple[str | None, ...]
    runs: tuple[Run, ...]
    asked: int
    split: Literal["val", "test"]

    @cached_property
    def val(self) -> NDArray[np.float64]:
        """The metric of validation `(n,)`; NaN where there is none."""
        return self.by_draw([run.val for run in self.runs])

    @cached_property
    def test(self) -> NDArray[np.float64]:
        """The metric of the test `(n,)`; NaN where there is none."""
        return self.by_draw([run.test for run in self.runs])

    @property
    def scores(self) -> NDArray[np.float64]:
        """What the group is compared by."""
        return self.val if self.split == "val" else self.test

    def by_draw(self, values: ArrayLike | Sequence[float | None]) -> NDArray[np.float64]:
        """The mean `(n, ...)` of the runs' values for each seed or fold; None is NaN."""
        of_runs = np.array(values, dtype=float)
        places: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for place, run in enumerate(self.runs):
            places[run.draw].append(place)
        return np.array([of_runs[each].mean(0) for each in places.values()])

    @cached_property
    def draws(self) -> list[tuple[int, ...]]:
        """The seeds or folds, in the order of the runs."""
        return list(dict.fromkeys(run.draw for run in self.runs))

    @property
    def n(self) -> int:
        """How many seeds or folds there are."""
        return len(self.draws)

    @property
    def folds(self) -> int | None:
        """How many folds the data have; None where they are not divided into any."""
        return self.runs[0].folds

    @property
    def counted(self) -> str:
        """What `n` counts."""
        return "seed" if self.folds is None else "fold"

    @property
    def interval(self) -> Interval | None:
        """Of the mean of `scores`."""
        return t_interval(self.scores, self.folds)

    @property
    def seconds_per_epoch(self) -> float:
        """Of training, with its validation and checkpoints: the mean over runs."""
        return float(np.mean([run.seconds / run.epochs for run in self.runs]))


@dataclass(frozen=True)
class Table:
    """Groups that can be compared; best first by validation, else by their settings.

    Attributes:
        split: what they are compared by: validation where runs were not tested, as in a search, and
            of folds, which divide the images that are not for the test.
    """

    title: str
    quantity: str
    mode: str
    ranked: bool
    split: Literal["val", "test"]
    settings: tuple[Setting, ...]
    groups: tuple[Group, ...]

    @property
    def traced(self) -> str:
        """The metric whose curves are drawn."""
        return f"{'val' if self.ranked else 'train'}/{self.quantity}"

    @property
    def shown(self) -> tuple[Group, ...]:
        """The first groups, which figures and sentences are about."""
        return self.groups[:MAX_SHOWN]


def arrange(runs: Sequence[Run], left_out: Sequence[LeftOut] = ()) -> list[Table]:
    """Runs by what they were tested on and monitored by, grouped, named and ranked."""
    comparable: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in sorted(runs, key=lambda run: run.test is None):
        key: tuple[str, ...] = (run.dataset, run.comparable, run.quantity, run.mode)
        if run.test is None:  # its classes stand in the results of those that were tested beside it
            key = next((known for known in comparable if known[: len(key)] == key), key)
        else:
            key += run.classes
        comparable[key].append(run)
    lost: dict[str, set[tuple[int, ...]]] = defaultdict(set)
    for gone in left_out:
        if gone.setup is not None and gone.draw is not None:
            lost[gone.setup].add(gone.draw)
    tables: list[Table] = []
    titles: Counter[str] = Counter()
    for _, members in sorted(comparable.items()):
        title = _title(members[0])
        titles[title] += 1
        title += f" (data {titles[title]})" if titles[title] > 1 else ""
        tables.append(_table(title, members, lost))
    return tables


def _title(run: Run) -> str:
    parts = zip(COMPARABLE, json.loads(run.comparable), strict=True)
    images = [f"{key}={value}" for (_, key), value in parts
              if key not in ("_target_", "source") and value is not None]  # fmt: skip
    return f"{run.dataset}, {', '.join(images)}, by {run.quantity}"


def _table(title: str, runs: Sequence[Run], lost: Mapping[str, set[tuple[int, ...]]]) -> Table:
    ranked = all(run.val is not None for run in runs)
    by_fold = ranked and runs[0].folds is not None
    untested = any(run.test is None for run in runs)
    split: Literal["val", "test"] = "val" if by_fold or untested else "test"
    by_setup: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_setup[run.setup].append(run)
    settings, rows, names = distinguish([json.loads(setup) for setup in by_setup], runs[0].model)
    groups = []
    for name, values, (setup, members) in zip(names, rows, by_setup.items(), strict=True):
        ordered = sorted(members, key=lambda run: (run.draw, run.seed))
        asked = {run.draw for run in members} | lost.get(setup, set())
        groups.append(Group(name, values, tuple(ordered), len(asked), split))
    sign = -1 if runs[0].mode == "max" else 1
    groups.sort(key=lambda g: (sign * g.val.mean() if ranked else 0, *map(natural, g.values)))
    first = runs[0]
    return Table(title, first.quantity, first.mode, ranked, split, tuple(settings), tuple(groups))
