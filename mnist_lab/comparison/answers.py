"""What a table of runs says, in words that can be quoted: who beats whom, and by how much."""

import csv
from collections import defaultdict
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_lab import LabError
from mnist_lab.comparison.columns import Group, Table, natural
from mnist_lab.comparison.gather import Run
from mnist_lab.metrics import significance
from mnist_lab.metrics.significance import LEVEL, Difference, Interval
from mnist_lab.runs.predictions import columns

MAX_PREDICTION_BYTES = 1 << 28
MAX_BY_IMAGE = 20  # single runs whose predictions are read
MIN_OVERLAP = 0.5  # of the seeds of the larger group, to compare seed by seed

_FRACTIONS = ("accuracy", "f1", "precision", "recall")


class Told(NamedTuple):
    """Lines to quote, and what is true of all of them, said once."""

    lead: str
    lines: list[str]


class Compared(NamedTuple):
    """Another group against the table's first; `p` is corrected for the number of groups.

    `text` is a sentence; of several groups one by what differs from the first (see `lead`).
    """

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
    hows = {_how(first, *pair) for pair in zip(others, found, strict=True) if pair[1].p is not None}
    texts = [
        _sentence(table, *each)
        if len(others) == 1
        else _line(table, *each, LEVEL / max(1, tests), len(hows) > 1)
        for each in zip(others, found, p, strict=True)
    ]
    return [Compared(*each) for each in zip(others, found, p, texts, strict=True)]


def lead(table: Table, compared: Sequence[Compared]) -> str:
    """What several groups are compared with, and all that is true of each comparison."""
    if len(compared) < 2:
        return ""
    first = table.groups[0]
    place = ", first by validation," if table.ranked else ""
    tests = sum(each.p is not None for each in compared)
    single = [str(n) for n, group in enumerate(table.groups, 1) if len(group.runs) == 1]
    said = []
    if len(single) == len(table.groups):
        said.append("one seed each, so there are no intervals")
        if tests:
            said.append(f"p by McNemar's exact test on the images{_holm(tests)}: of other seeds "
                        "it says nothing")  # fmt: skip
    else:
        how = {_how(first, *each[:2]) for each in compared if each.p is not None}
        said += how if len(how) == 1 else []
        said += [f"in brackets 95 % intervals and p{_holm(tests)}"] * bool(tests)
        if single:
            seeds = f"one seed alone of {_listed(single)}"
            said.append(f"{seeds}, so there is no interval" + " there" * ("1" not in single))
    of_what = f"Against {first.name}{place} in {table.split}/{table.quantity}"
    return "; ".join([of_what, *said]) + ":"


def difference(one: Group, other: Group) -> Difference:
    """Of two groups' scores: paired where at least half of their seeds match, else Welch's."""
    common = set(one.seeds) & set(other.seeds)
    if len(common) < max(2, MIN_OVERLAP * max(len(one.runs), len(other.runs))):
        return significance.welch(one.scores, other.scores)
    return significance.paired(*(g.scores[np.isin(g.seeds, list(common))] for g in (one, other)))


def _corrected(p: Sequence[float | None]) -> list[float | None]:
    corrected = iter(significance.holm([each for each in p if each is not None]).tolist())
    return [None if each is None else next(corrected) for each in p]


def _holm(tests: int) -> str:
    return f" after Holm's correction for {tests} comparisons" if tests > 1 else ""


def _listed(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1])] * (len(words) > 1) + [words[-1]])


def _how(first: Group, other: Group, found: Difference) -> str:
    if found.paired:
        return f"paired over {found.n} seeds"
    return f"Welch's test, {len(first.runs)} and {len(other.runs)} seeds"


def _ends(found: Difference) -> Interval:
    """Of the difference of the one that is ahead by its number from the other."""
    interval = found.interval()
    assert interval is not None
    return Interval(-interval.high, -interval.low) if found.mean < 0 else interval


def _sentence(table: Table, other: Group, found: Difference, p: float | None) -> str:
    """Of two groups alone."""
    first, quantity = table.groups[0], table.quantity
    ahead = found.mean if table.mode == "max" else -found.mean
    winner, loser = (first, other) if ahead >= 0 else (other, first)
    gap = amount(abs(found.mean), quantity)
    if found.error is None or p is None:
        said = "is level with" if found.mean == 0 else f"is {gap} ahead of"
        return f"{winner.name} {said} {loser.name}; {_untested(first, other, found)}"
    smallest = found.smallest(LEVEL)
    assert smallest is not None
    how = _how(first, other, found)
    support = f"95 % interval {span(_ends(found), quantity)}, {how}, {chance(p)}"
    if p < LEVEL:
        return f"{winner.name} beats {loser.name} by {gap} ({support})"
    seeds = how.removeprefix("paired over ").removeprefix("Welch's test, ")
    return (
        f"{winner.name} and {loser.name}: no difference that {seeds} can show (the smallest they "
        f"could: {amount(smallest, quantity)}; found: {gap}, {support})"
    )


def _untested(first: Group, other: Group, found: Difference) -> str:
    single = [group.name for group in (first, other) if len(group.runs) == 1]
    if len(single) == 2:
        return "no interval: one seed each"
    if single:
        return f"no interval: one seed alone of {single[0]}"
    return f"no interval: {found.n} seeds without any spread"


def _line(
    table: Table,
    other: Group,
    found: Difference,
    p: float | None,
    one_level: float = LEVEL,
    with_how: bool = False,
) -> str:
    """Of one of several groups, by its place and the values that differ from the first one's."""
    first, quantity = table.groups[0], table.quantity
    behind = (found.mean > 0) == (table.mode == "max")
    gap = f"{amount(abs(found.mean), quantity)} {'behind' if behind else 'ahead'}"
    said = f"{_against(table, other)}: {'level' if found.mean == 0 else gap}"
    if found.error is None or p is None:
        alone = min(len(first.runs), len(other.runs)) == 1
        return said if alone else f"{said}; {_untested(first, other, found)}"
    smallest = found.smallest(one_level)
    assert smallest is not None
    support = f"{span(_ends(found), quantity)}, {chance(p)}"
    support += f", {_how(first, other, found)}" if with_how else ""
    if p < LEVEL:
        return f"{said} ({support}), more than chance"
    shown = amount(smallest, quantity)
    return f"{said} ({support}), which chance could do; the smallest to be shown: {shown}"


def _against(table: Table, other: Group) -> str:
    values = zip(table.settings, table.groups[0].values, other.values, strict=True)
    differing = [f"{s.name}={own}" for s, first, own in values if own not in (first, None)]
    return f"{table.groups.index(other) + 1}. {' '.join(differing) or other.name}"


def _by_image(table: Table) -> list[Compared]:
    first, *others = table.groups
    divided: list[tuple[int, int] | str] = []
    own: Predictions | None = None
    for other in others:
        try:
            own = own or _predictions(first.runs[0])
            divided.append(_alone(own, other.runs[0]))
        except PredictionsError as error:
            divided.append(str(error))
    p = _corrected([None if isinstance(d, str) else significance.mcnemar(*d) for d in divided])
    found = []
    for other, each, corrected in zip(others, divided, p, strict=True):
        gap = significance.welch(first.scores, other.scores)
        text = (_sentence if len(others) == 1 else _line)(table, other, gap, None)
        if isinstance(each, str):
            text += f"; not compared image by image: {each}"
        elif corrected is not None:
            verdict = "more than chance" if corrected < LEVEL else "as chance could divide them"
            if len(others) > 1:
                text += (
                    f"; {each[0]:,} test images are right in the first alone and {each[1]:,} in "
                    f"this one: {verdict} ({chance(corrected)})"
                )
            else:
                turned = text.startswith(other.name)
                text += (
                    f". Of the test images {each[turned]:,} are right in the former alone and "
                    f"{each[not turned]:,} in the latter: {verdict} (McNemar's exact test, "
                    f"{chance(corrected)}); of other seeds this says nothing"
                )
        found.append(Compared(other, gap, corrected, text))
    return found


def _alone(one: Predictions, other: Run) -> tuple[int, int]:
    """How many test images one run got right and the other wrong, and the reverse."""
    (truth, mine), (same, theirs) = one, _predictions(other)
    if not np.array_equal(truth, same):
        raise PredictionsError(f"{other.folder / 'predictions.csv'}: is of other images")
    right, theirs_right = mine == truth, theirs == truth
    return int((right & ~theirs_right).sum()), int((~right & theirs_right).sum())


def _predictions(run: Run) -> Predictions:
    path = run.folder / "predictions.csv"
    try:
        if path.stat().st_size > MAX_PREDICTION_BYTES:
            raise PredictionsError(f"{path}: larger than any predictions")
        with open(path, newline="", encoding="utf-8") as file:
            rows = csv.DictReader(file)
            named = list(rows.fieldnames or ())[4:] == columns(run.classes)
            # Runs of earlier versions have indices: p0, p1, ... whatever the classes are called.
            label = {name if named else str(i): i for i, name in enumerate(run.classes)}
            pairs = [(label[row["truth"]], label[row["prediction"]]) for row in rows]
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
        if setting.leader is not None:  # told with it
            continue
        others = [i for i, each in enumerate(table.settings)
                  if setting.key not in (each.key, each.leader)]  # fmt: skip
        rest: dict[tuple[str | None, ...], dict[str, Group]] = defaultdict(dict)
        for group in table.groups:
            value = group.values[place]
            if value is not None:
                rest[tuple(group.values[i] for i in others)][value] = group
        mine = table.groups[0].values[place]
        if mine is None:
            continue
        pairs: dict[str, list[tuple[Group, Group]]] = defaultdict(list)
        for alike in rest.values():
            if mine in alike:
                for value, group in alike.items():
                    pairs[value].append((alike[mine], group))
        pairs.pop(mine, None)
        for value, found in sorted(pairs.items(), key=lambda pair: natural(pair[0])):
            rows.append((setting.name, mine, value, len(found), _averaged(found)))
    p = _corrected([row[-1].p for row in rows])
    return [Effect(*row, corrected) for row, corrected in zip(rows, p, strict=True)]


def _averaged(pairs: Sequence[tuple[Group, Group]]) -> Difference:
    groups = [group for pair in pairs for group in pair]
    chosen = sorted(set.intersection(*(set(group.seeds) for group in groups)))
    if len(chosen) < max(2, MIN_OVERLAP * max(len(group.runs) for group in groups)):
        return significance.average([difference(*pair) for pair in pairs])
    sides = [
        np.mean([group.scores[np.isin(group.seeds, chosen)] for group in side], axis=0)
        for side in zip(*pairs, strict=True)
    ]
    return significance.paired(*sides)


def classes(groups: Sequence[Group]) -> Told:
    """Which class each group recognises best and which worst, and whether that is chance.

    Groups of which no run was tested are left out.
    """
    lines, counts, pairs = [], set(), 0
    for number, group in enumerate(groups, 1):
        tested = [run for run in group.runs if run.test is not None]
        if tested:
            count, text = _extremes(tested)
            counts.add(len(tested))
            pairs = count * (count - 1) // 2
            lines.append(f"{f'{number}.' if len(groups) > 1 else f'{group.name}:'} {text}")
    if not lines:
        return Told("", [])
    each = " of each group" if len(groups) > 1 else ""
    told = [f"The best and the worst recognised class{each}"]
    if several := sorted(counts - {1}):
        runs = " to ".join(map(str, dict.fromkeys((several[0], several[-1]))))
        told.append(
            f"in brackets 95 % intervals and p, paired over {runs} runs, both for {pairs} pairs"
        )
    if 1 in counts:
        told.append(f"in brackets{' for one run' * bool(several)} 95 % intervals over images "
                    "(Wilson's), over seeds there is none")  # fmt: skip
    return Told("; ".join(told) + ":", lines)


def _extremes(runs: Sequence[Run]) -> tuple[int, str]:
    """How many classes there are images of; the best and the worst of them over these runs."""
    recalls = np.array([run.recalls for run in runs])
    there = np.flatnonzero(np.isfinite(recalls).all(0))
    names, support = (np.array(each)[there] for each in (runs[0].classes, runs[0].support))
    recalls = recalls[:, there]
    if len(names) < 2:
        return len(names), "one class alone"
    best, worst, found, p = significance.extremes(recalls)
    means = recalls.mean(0)
    told = (
        f"best {names[best]} ({level(means[best], 'recall')}), "
        f"worst {names[worst]} ({level(means[worst], 'recall')}), "
        f"{amount(found.mean, 'recall')} apart"
    )
    if len(runs) == 1:
        ends = (
            significance.wilson(round(means[i] * support[i]), int(support[i]))
            for i in (best, worst)
        )
        return len(names), f"{told} ({' and '.join(span(x, 'recall') for x in ends)})"
    interval = found.interval(LEVEL / (len(names) * (len(names) - 1) // 2))  # any two could be them
    if p is None or interval is None:
        return len(names), f"{told} in each of {found.n} runs"
    interval = Interval(max(-1.0, interval.low), min(1.0, interval.high))
    verdict = "more than chance" if p < LEVEL else "which chance could do"
    return len(names), f"{told} ({span(interval, 'recall')}, {chance(p)}), {verdict}"
