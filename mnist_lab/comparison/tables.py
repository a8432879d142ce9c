"""Runs in tables: which can be compared, and which differ in their seed alone."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mnist_lab.comparison.gather import COMPARABLE, LeftOut, Run
from mnist_lab.comparison.settings import Setting, distinguish


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, by seed.

    Attributes:
        values: of the settings in which the table's groups differ, as they are shown.
        asked: how many runs there are, with those that were left out.
    """

    name: str
    values: tuple[str | None, ...]
    runs: tuple[Run, ...]
    asked: int
    val: NDArray[np.float64] = field(init=False, repr=False)
    test: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        val = [math.nan if run.val is None else run.val for run in self.runs]
        object.__setattr__(self, "val", np.array(val))
        object.__setattr__(self, "test", np.array([run.test for run in self.runs]))

    @property
    def seeds(self) -> list[int]:
        """Of the runs, in their order."""
        return [run.seed for run in self.runs]


@dataclass(frozen=True)
class Table:
    """Groups that can be compared; best first by validation, else by their settings."""

    title: str
    quantity: str
    mode: str
    ranked: bool
    settings: tuple[Setting, ...]
    groups: tuple[Group, ...]


def arrange(runs: Sequence[Run], left_out: Sequence[LeftOut] = ()) -> list[Table]:
    """Runs by what they were tested on and monitored by, grouped, named and ranked."""
    apart: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    for run in runs:
        apart[(run.dataset, run.comparable, *run.classes, run.quantity, run.mode)].append(run)
    lost: dict[str | None, int] = defaultdict(int)
    for each in left_out:
        lost[each.setup] += not each.reason.startswith("has the settings")
    made: list[Table] = []
    for _, members in sorted(apart.items()):
        title = _title(members[0])
        double = sum(table.title.partition(" (data ")[0] == title for table in made)
        title += f" (data {double + 1})" if double else ""
        made.append(_table(title, members, lost))
    return made


def _title(run: Run) -> str:
    parts = zip(COMPARABLE, json.loads(run.comparable), strict=True)
    told = [f"{key}={value}" for (_, key), value in parts
            if key not in ("_target_", "source") and value is not None]  # fmt: skip
    return f"{run.dataset}, {', '.join(told)}, by {run.quantity}"


def _table(title: str, runs: Sequence[Run], lost: dict[str | None, int]) -> Table:
    by_setup: dict[str, list[Run]] = defaultdict(list)
    for run in runs:
        by_setup[run.setup].append(run)
    settings, names = distinguish([json.loads(setup) for setup in by_setup], runs[0].model)
    groups = [
        Group(
            name,
            tuple(setting.values[index] for setting in settings),
            tuple(sorted(members, key=lambda run: run.seed)),
            len(members) + lost[setup],
        )
        for index, (name, (setup, members)) in enumerate(zip(names, by_setup.items(), strict=True))
    ]
    ranked = all(run.val is not None for run in runs)
    sign = -1 if runs[0].mode == "max" else 1
    groups.sort(key=lambda g: (sign * g.val.mean() if ranked else 0, *map(natural, g.values)))
    return Table(title, runs[0].quantity, runs[0].mode, ranked, tuple(settings), tuple(groups))


def natural(value: str | None) -> tuple[bool, float, str]:
    """A key to sort settings' values by: numbers by size, before texts."""
    try:
        return (False, float(value or ""), "")
    except ValueError:
        return (True, 0.0, value or "")
