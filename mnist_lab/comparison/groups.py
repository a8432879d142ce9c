"""Runs in tables: which can be compared, and which differ in their seed alone."""

import json
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnist_lab.comparison.gather import COMPARABLE, LeftOut, Run
from mnist_lab.comparison.varied import Setting, distinguish, natural

MAX_SHOWN = 12  # groups in a figure, and in words


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, by seed.

    Attributes:
        values: of the settings in which the table's groups differ, as they are shown.
        asked: how many runs there are, with those that were left out.
        split: of what the group is compared by, the table's.
    """

    name: str
    values: tuple[str | None, ...]
    runs: tuple[Run, ...]
    asked: int
    split: Literal["val", "test"]

    @cached_property
    def val(self) -> NDArray[np.float64]:
        """The metric of validation by run; NaN where there is none."""
        return np.array([run.val for run in self.runs], dtype=float)

    @cached_property
    def test(self) -> NDArray[np.float64]:
        """The metric of the test by run; NaN where there is none."""
        return np.array([run.test for run in self.runs], dtype=float)

    @property
    def scores(self) -> NDArray[np.float64]:
        """What the group is compared by."""
        return self.val if self.split == "val" else self.test

    @property
    def seeds(self) -> list[int]:
        """Of the runs, in their order."""
        return [run.seed for run in self.runs]

    @property
    def seconds_per_epoch(self) -> float:
        """Of training, with its validation and checkpoints: the mean over runs."""
        return float(np.mean([run.seconds / run.epochs for run in self.runs]))


@dataclass(frozen=True)
class Table:
    """Groups that can be compared; best first by validation, else by their settings.

    Attributes:
        split: what they are compared by: validation where runs were not tested, as in a search.
    """

    title: str
    quantity: str
    mode: str
    ranked: bool
    split: Literal["val", "test"]
    settings: tuple[Setting, ...]
    groups: tuple[Group, ...]

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
    lost = Counter(run.setup for run in left_out)
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


def _table(title: str, runs: Sequence[Run], lost: Counter[str | None]) -> Table:
    split: Literal["val", "test"] = "val" if any(run.test is None for run in runs) else "test"
    by_setup: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_setup[run.setup].append(run)
    settings, rows, names = distinguish([json.loads(setup) for setup in by_setup], runs[0].model)
    groups = []
    for name, values, (setup, members) in zip(names, rows, by_setup.items(), strict=True):
        by_seed = sorted(members, key=lambda run: run.seed)
        groups.append(Group(name, values, tuple(by_seed), len(by_seed) + lost[setup], split))
    ranked = all(run.val is not None for run in runs)
    sign = -1 if runs[0].mode == "max" else 1
    groups.sort(key=lambda g: (sign * g.val.mean() if ranked else 0, *map(natural, g.values)))
    first = runs[0]
    return Table(title, first.quantity, first.mode, ranked, split, tuple(settings), tuple(groups))
