"""What a table of runs says, in words that can be quoted: who beats whom, and by how much."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_lab import LabError, statistics
from mnist_lab.comparison.tables import Group, Table
from mnist_lab.statistics import LEVEL, Difference, Interval

MAX_PREDICTION_BYTES = 1 << 28
MAX_BY_IMAGE = 20  # single runs whose predictions are read
MIN_OVERLAP = 0.5  # of the seeds of the larger group, to compare seed by seed

_FRACTIONS = ("accuracy", "f1", "precision", "recall")


class Compared(NamedTuple):
    """Another group against the table's first; `p` is corrected for the number of groups."""

    other: Group
    difference: Difference
    p: float | None
    text: str


class Effect(NamedTuple):
    """What one setting's value does against another's, where nothing else differs.

    `p` is corrected for all effects of the table; `groups` is the number of pairs of groups.
    """

    setting: str
    value: str
    against: str
    groups: int
    difference: Difference
    p: float | None


Predictions = tuple[NDArray[np.int64], NDArray[np.int64]]
"""Truth and guess of each test image."""


class PredictionsError(LabError):
    """Predictions that cannot be compared."""


def is_fraction(quantity: str) -> bool:
    """Whether it is told in percent."""
    return quantity in _FRACTIONS


def amount(value: float, quantity: str, unit: bool = True) -> str:
    """A difference: of fractions in percentage points."""
    if not is_fraction(quantity):
        return f"{value:.4f}"
    return f"{100 * value:.2f}{' points' if unit else ''}"


def level(value: float, quantity: str) -> str:
    """A value: of fractions in percent."""
    return f"{100 * value:.2f} %" if is_fraction(quantity) else f"{value:.4f}"


def span(interval: Interval, quantity: str) -> str:
    """An interval's ends, in the unit of `amount`."""
    low, high = (amount(x, quantity, unit=False).replace("-", "\u2212") for x in interval)
    return f"{low} to {high}"


def chance(p: float) -> str:
    """A p-value with two significant digits."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def compare(table: Table) -> list[Compared]:
    """Each group against the first, which validation chose; p-values after Holm's correction.

    Groups are compared seed by seed where at least half of their seeds match, else by Welch's
    test. Single runs are compared image by image, by McNemar's exact test on their
    `predictions.csv`, where there are no more than 20.
    """
    first, *others = table.groups
    single = all(len(group.runs) == 1 for group in table.groups)
    if table.split == "test" and single and len(others) < MAX_BY_IMAGE:
        return _by_image(table)
    found = [difference(first, other) for other in others]
    p = _corrected([each.p for each in found])
    tests = sum(each is not None for each in p)
    return [
        Compared(other, each, corrected, _told(table, other, each, corrected, tests))
        for other, each, corrected in zip(others, found, p, strict=True)
    ]


def difference(one: Group, other: Group) -> Difference:
    """Of two groups' scores: paired where at least half of their seeds match, else Welch's."""
    common = set(one.seeds) & set(other.seeds)
    if len(common) < max(2, MIN_OVERLAP * max(len(one.runs), len(other.runs))):
        return statistics.welch(one.scores, other.scores)
    return statistics.paired(*(g.scores[np.isin(g.seeds, list(common))] for g in (one, other)))


def _corrected(p: Sequence[float | None]) -> list[float | None]:
    corrected = iter(statistics.holm([each for each in p if each is not None]).tolist())
    return [None if each is None else next(corrected) for each in p]


def _told(table: Table, other: Group, found: Difference, p: float | None, tests: int) -> str:
    first, quantity = table.groups[0], table.quantity
    ahead = found.mean if table.mode == "max" else -found.mean
    winner, loser = (first, other) if ahead >= 0 else (other, first)
    gap = amount(abs(found.mean), quantity)
    if found.error is None or p is None:
        lead = "is level with" if found.mean == 0 else f"is {gap} ahead of"
        return f"{winner.name} {lead} {loser.name}; {_untested(first, other, found)}"
    interval = found.interval()
    smallest = found.smallest(LEVEL / tests)
    assert interval is not None
    assert smallest is not None
    if found.mean < 0:
        interval = Interval(-interval.high, -interval.low)
    seeds = f"{found.n} seeds" if found.paired else f"{len(first.runs)} and {len(other.runs)} seeds"
    how = f"paired over {seeds}" if found.paired else f"Welch's test, {seeds}"
    holm = f" after Holm's correction for {tests} comparisons" if tests > 1 else ""
    support = f"95 % interval {span(interval, quantity)}, {how}, {chance(p)}{holm}"
    if p < LEVEL:
        return f"{winner.name} beats {loser.name} by {gap} ({support})"
    return (
        f"{winner.name} and {loser.name}: no difference that {seeds} can show (the smallest they "
        f"could: {amount(smallest, quantity)}; found: {gap}, {support})"
    )


def _untested(first: Group, other: Group, found: Difference) -> str:
    if found.n < 2:
        single = [group.name for group in (first, other) if len(group.runs) == 1]
        return f"no interval: one seed alone of {' and of '.join(single)}"
    return f"no interval: {found.n} seeds without any spread"


def _by_image(table: Table) -> list[Compared]:
    first, *others = table.groups
    divided: list[tuple[int, int] | str] = []
    own: Predictions | None = None
    for other in others:
        try:
            own = own or _predictions(first.runs[0].folder)
            divided.append(_alone(own, other.runs[0].folder))
        except PredictionsError as error:
            divided.append(str(error))
    p = _corrected([None if isinstance(d, str) else statistics.mcnemar(*d) for d in divided])
    tests = sum(each is not None for each in p)
    found = []
    for other, each, corrected in zip(others, divided, p, strict=True):
        gap = statistics.welch(first.scores, other.scores)
        text = _told(table, other, gap, None, 0)
        if isinstance(each, str):
            text += f"; not compared image by image: {each}"
        elif corrected is not None:
            verdict = "more than chance" if corrected < LEVEL else "as chance could divide them"
            holm = f" after Holm's correction for {tests} comparisons" if tests > 1 else ""
            text += (
                f". Of the test images {each[0]:,} are right in {first.name} alone and "
                f"{each[1]:,} in {other.name} alone: {verdict} (McNemar's exact test, "
                f"{chance(corrected)}{holm}); of other seeds this says nothing"
            )
        found.append(Compared(other, gap, corrected, text))
    return found


def _alone(one: Predictions, other: Path) -> tuple[int, int]:
    """How many test images one run got right and the other wrong, and the reverse."""
    (truth, mine), (same, theirs) = one, _predictions(other)
    if not np.array_equal(truth, same):
        raise PredictionsError(f"{other / 'predictions.csv'}: is of other images")
    right, theirs_right = mine == truth, theirs == truth
    return int((right & ~theirs_right).sum()), int((~right & theirs_right).sum())


def _predictions(folder: Path) -> Predictions:
    path = folder / "predictions.csv"
    try:
        if path.stat().st_size > MAX_PREDICTION_BYTES:
            raise PredictionsError(f"{path}: larger than any predictions")
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            pairs = [(int(row["truth"]), int(row["prediction"])) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        raise PredictionsError(f"{path}: cannot be read: {error}") from error
    if not pairs:
        raise PredictionsError(f"{path}: holds no predictions")
    truth, guess = np.array(pairs).T
    return truth, guess


def effects(table: Table) -> list[Effect]:
    """For each setting, the first group's value against every other, all else being equal.

    Differences of groups that differ in this setting alone are averaged: seed by seed where at
    least half of the seeds match in all of them, else group by group.
    """
    rows: list[tuple[str, str, str, int, Difference]] = []
    for place, setting in enumerate(table.settings):
        rest: dict[tuple[str | None, ...], dict[str, Group]] = defaultdict(dict)
        for group in table.groups:
            value = group.values[place]
            if value is not None:
                rest[group.values[:place] + group.values[place + 1 :]][value] = group
        mine = table.groups[0].values[place]
        if mine is None:
            continue
        pairs: dict[str, list[tuple[Group, Group]]] = defaultdict(list)
        for alike in rest.values():
            if mine in alike:
                for value, group in alike.items():
                    pairs[value].append((alike[mine], group))
        pairs.pop(mine, None)
        for value, found in pairs.items():
            rows.append((setting.name, mine, value, len(found), _averaged(found)))
    p = _corrected([row[-1].p for row in rows])
    return [Effect(*row, corrected) for row, corrected in zip(rows, p, strict=True)]


def _averaged(pairs: Sequence[tuple[Group, Group]]) -> Difference:
    groups = [group for pair in pairs for group in pair]
    chosen = sorted(set.intersection(*(set(group.seeds) for group in groups)))
    if len(chosen) < max(2, MIN_OVERLAP * max(len(group.runs) for group in groups)):
        return statistics.average([difference(*pair) for pair in pairs])
    sides = [
        np.mean([group.scores[np.isin(group.seeds, chosen)] for group in side], axis=0)
        for side in zip(*pairs, strict=True)
    ]
    return statistics.paired(*sides)


def classes(group: Group) -> str | None:
    """Which class is recognised best and which worst, and whether that is more than chance.

    None where no run was tested.
    """
    runs = [run for run in group.runs if run.test is not None]
    if not runs:
        return None
    names, recalls = runs[0].classes, np.array([run.recalls for run in runs])
    if len(names) < 2:
        return f"{group.name}: one class alone"
    best, worst, found, p = statistics.extremes(recalls)
    means = recalls.mean(0)
    told = (
        f"{group.name}: best recognised is {names[best]} ({level(means[best], 'recall')}), "
        f"worst {names[worst]} ({level(means[worst], 'recall')})"
    )
    pairs = len(names) * (len(names) - 1) // 2
    gap = amount(found.mean, "recall")
    if len(runs) == 1:
        support = runs[0].support
        ends = (statistics.wilson(round(means[i] * support[i]), support[i]) for i in (best, worst))
        told += "; over images the intervals are " + " and ".join(span(x, "recall") for x in ends)
        return told + " % (95 %, Wilson's), over seeds there is none: one run"
    interval = found.interval(LEVEL / pairs)  # any two could have been the extremes
    if p is None or interval is None:
        return f"{told}: {gap} in each of {found.n} runs"
    interval = Interval(max(-1.0, interval.low), min(1.0, interval.high))
    verdict = "more than chance" if p < LEVEL else "which chance could do"
    return (
        f"{told}: {gap} (95 % interval {span(interval, 'recall')}, paired over {found.n} runs, "
        f"{chance(p)}, both for {pairs} pairs), {verdict}"
    )
