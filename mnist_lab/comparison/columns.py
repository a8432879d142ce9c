"""Runs in tables: which can be compared, and which differ in their seed alone."""

import json
import math
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mnist_lab.comparison.gather import COMPARABLE, LeftOut, Run
from mnist_lab.comparison.varied import Setting, distinguish


@dataclass(frozen=True)
class Group:
    """Runs that differ in their seed alone, by seed.

    Attributes:
        values: of the settings in which the table's groups differ, as they are shown.
        asked: how many runs there are, with those that were left out.
        split: of what the group is compared by, the table's.
        scores: its values on that split.
    """

    name: str
    values: tuple[str | None, ...]
    runs: tuple[Run, ...]
    asked: int
    split: Literal["val", "test"]
    val: NDArray[np.float64] = field(init=False, repr=False)
    test: NDArray[np.float64] = field(init=False, repr=False)
    scores: NDArray[np.float64] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        for split in ("val", "test"):
            found = [getattr(run, split) for run in self.runs]
            values = np.array([math.nan if value is None else value for value in found])
            object.__setattr__(self, split, values)
        object.__setattr__(self, "scores", getattr(self, self.split))

    @property
    def seeds(self) -> list[int]:
        """Of the runs, in their order."""
        return [run.seed for run in self.runs]


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


def arrange(runs: Sequence[Run], left_out: Sequence[LeftOut] = ()) -> list[Table]:
    """Runs by what they were tested on and monitored by, grouped, named and ranked."""
    apart: dict[tuple[str, ...], list[Run]] = defaultdict(list)
    tested_first = sorted(runs, key=lambda run: run.test is None)
    for run in tested_first:
        key: tuple[str, ...] = (run.dataset, run.comparable, run.quantity, run.mode)
        if run.test is None:  # its classes stand in the results of those that were tested beside it
            key = next((each for each in apart if each[: len(key)] == key), key)
        else:
            key += run.classes
        apart[key].append(run)
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
    split: Literal["val", "test"] = "val" if any(run.test is None for run in runs) else "test"
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
            split,
        )
        for index, (name, (setup, members)) in enumerate(zip(names, by_setup.items(), strict=True))
    ]
    ranked = all(run.val is not None for run in runs)
    sign = -1 if runs[0].mode == "max" else 1
    groups.sort(key=lambda g: (sign * g.val.mean() if ranked else 0, *map(natural, g.values)))
    first = runs[0]
    return Table(title, first.quantity, first.mode, ranked, split, tuple(settings), tuple(groups))


def natural(value: str | None) -> tuple[bool, float, str]:
    """A key to sort settings' values by: numbers by size, before texts."""
    try:
        return (False, float(value or ""), "")
    except ValueError:
        return (True, 0.0, value or "")
