"""By how much a table's groups differ: over seeds or folds or, of single runs, over images."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_lab.comparison.gather import Run
from mnist_lab.comparison.groups import Group, Table
from mnist_lab.comparison.varied import natural
from mnist_lab.metrics import significance
from mnist_lab.metrics.significance import Difference
from mnist_lab.runs.predictions import columns

MAX_PREDICTION_BYTES = 1 << 28
MAX_BY_IMAGE = 20  # single runs whose predictions are read
MIN_OVERLAP = 0.5  # of the seeds or folds of the larger group, to compare one by one


@dataclass(frozen=True)
class Comparison:
    """A table's first group against another.

    Attributes:
        difference: of their scores, the first one's minus the other's.
        alone: how many test images the first group's only run got right and the other's wrong, and
            the reverse; why that isn't known; None where groups are compared over seeds or folds.
        p: of the test over these, or images, after Holm's correction for all comparisons of the
            table; None where nothing can be tested.
    """

    first: Group
    other: Group
    difference: Difference
    alone: tuple[int, int] | str | None
    p: float | None


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


def compare(table: Table) -> list[Comparison]:
    """Each group against the first, which validation chose.

    Groups are compared seed by seed, or fold by fold, where at least half of them match, else by
    Welch's test. Single runs are compared image by image, by McNemar's exact test on their
    `predictions.csv`, where there are no more than 20.
    """
    first, *others = table.groups
    differences = [difference(first, other) for other in others]
    p = [each.p for each in differences]
    alone: list[tuple[int, int] | str | None] = [None] * len(others)
    single = all(group.n == 1 for group in table.groups)
    plain = not table.quantity.startswith("corruption_error")  # of other images than the file's
    if table.split == "test" and plain and single and len(table.groups) <= MAX_BY_IMAGE:
        alone = [*_alone([group.runs[0] for group in table.groups])]
        p = [significance.mcnemar(*n) if isinstance(n, tuple) else None for n in alone]
    rows = zip(others, differences, alone, significance.holm(p), strict=True)
    return [Comparison(first, *row) for row in rows]


def difference(first: Group, second: Group) -> Difference:
    """Of two groups' scores: paired where at least half of what they count matches, else Welch's.

    Folds that don't match share images with each other, too. Taken for independent, as Welch's
    samples are, they make the difference look less certain than it is.
    """
    common = set(first.draws) & set(second.draws)
    if len(common) < max(2, MIN_OVERLAP * max(first.n, second.n)):
        return significance.welch(first.scores, second.scores, first.folds)
    return significance.paired(_of(first, common), _of(second, common), first.folds)


def _of(group: Group, draws: set[tuple[int, ...]]) -> NDArray[np.float64]:
    return group.scores[[draw in draws for draw in group.draws]]


def _alone(runs: Sequence[Run]) -> list[tuple[int, int] | str]:
    """Of the first run and each other, how many test images either alone got right, or why not."""
    first, *others = map(_predictions, runs)
    counts: list[tuple[int, int] | str] = []
    for run, other in zip(runs[1:], others, strict=True):
        if isinstance(first, str) or isinstance(other, str):
            counts.append(first if isinstance(first, str) else str(other))
        elif not np.array_equal(first[0], other[0]):
            counts.append(f"{run.folder / 'predictions.csv'}: is of other images")
        else:
            (one, two) = (guess == truth for truth, guess in (first, other))
            counts.append((int((one & ~two).sum()), int((~one & two).sum())))
    return counts


def _predictions(run: Run) -> tuple[NDArray[np.int64], NDArray[np.int64]] | str:
    """Truth and guess of each test image, or why they cannot be read."""
    path = run.folder / "predictions.csv"
    try:
        if path.stat().st_size > MAX_PREDICTION_BYTES:
            return f"{path}: larger than any predictions"
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            named = list(rows.fieldnames or ())[4:] == columns(run.classes)
            # Runs of earlier versions have indices: p0, p1, ... whatever the classes are called.
            label = {name if named else str(i): i for i, name in enumerate(run.classes)}
            pairs = [(label[row["truth"]], label[row["prediction"]]) for row in rows]
    except (OSError, ValueError, KeyError, TypeError, csv.Error) as error:
        return f"{path}: cannot be read: {error}"
    if not pairs:
        return f"{path}: holds no predictions"
    truth, guess = np.array(pairs).T
    return truth, guess


def effects(table: Table) -> list[Effect]:
    """For each setting, the first group's value against every other, all else being equal.

    Differences of groups that differ in this setting alone are averaged: seed by seed, or fold by
    fold, where at least half of them match in all of them, else group by group.
    """
    uncorrected: list[Effect] = []
    for place, setting in enumerate(table.settings):
        value = table.groups[0].values[place]
        if setting.leader is not None or value is None:  # of the former its leader tells
            continue
        rest = [i for i, other in enumerate(table.settings)
                if setting.key not in (other.key, other.leader)]  # fmt: skip
        by_rest = {tuple(group.values[i] for i in rest): group for group in table.groups
                   if group.values[place] == value}  # fmt: skip
        pairs: dict[str, list[tuple[Group, Group]]] = defaultdict(list)
        for group in table.groups:
            against = group.values[place]
            alike = by_rest.get(tuple(group.values[i] for i in rest))
            if alike is not None and against not in (value, None):
                pairs[str(against)].append((alike, group))
        for against in sorted(pairs, key=natural):
            gap = _average(pairs[against])
            uncorrected.append(
                Effect(setting.name, value, against, len(pairs[against]), gap, gap.p)
            )
    corrected = significance.holm([effect.p for effect in uncorrected])
    return [effect._replace(p=p) for effect, p in zip(uncorrected, corrected, strict=True)]


def _average(pairs: Sequence[tuple[Group, Group]]) -> Difference:
    groups = [group for pair in pairs for group in pair]
    common = set.intersection(*(set(group.draws) for group in groups))
    if len(common) < max(2, MIN_OVERLAP * max(group.n for group in groups)):
        return significance.average([difference(*pair) for pair in pairs])
    first, second = (
        np.mean([_of(group, common) for group in side], axis=0) for side in zip(*pairs, strict=True)
    )
    return significance.paired(first, second, groups[0].folds)
