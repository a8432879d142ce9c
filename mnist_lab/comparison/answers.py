"""What a table of runs says, in words that can be quoted: who beats whom, and by how much."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from mnist_lab.comparison.differences import Comparison
from mnist_lab.comparison.gather import Run
from mnist_lab.comparison.groups import MAX_SHOWN, Group, Table
from mnist_lab.metrics import significance
from mnist_lab.metrics.significance import LEVEL, Difference, Interval

_FRACTIONS = ("accuracy", "f1", "precision", "recall", "corruption_error")


class Answer(NamedTuple):
    """Lines to quote, and what is true of all of them, said once."""

    lead: str
    lines: list[str]


def is_fraction(quantity: str) -> bool:
    """Whether it is told in percent."""
    return quantity.partition("/")[0] in _FRACTIONS


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
    low, high = (amount(end, quantity, unit=False).replace("-", "\u2212") for end in interval)
    return f"{low} to {high}"


def chance(p: float) -> str:
    """A p-value with two significant digits."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.2g}"


def comparisons(table: Table, compared: Sequence[Comparison]) -> Answer:
    """A sentence on two groups; of several a line on each against the first, after a lead."""
    if not compared:
        return Answer("", [_alone(table)])
    if len(compared) == 1:
        return Answer("", [_sentence(table, compared[0])])
    tests = sum(pair.p is not None for pair in compared)
    hows = {_how(pair) for pair in compared if pair.difference.error is not None}
    lines = [_line(table, pair, LEVEL / max(1, tests), len(hows) > 1)
             for pair in compared[: MAX_SHOWN - 1]]  # fmt: skip
    if len(compared) > len(lines):
        lines.append(f"... and {len(compared) - len(lines):,} groups more, in the table alone")
    return Answer(_lead(table, tests, hows), lines)


def _alone(table: Table) -> str:
    (group,) = table.groups
    interval = group.interval
    score = level(group.scores.mean(), table.quantity)
    answer = f"{group.name}: {table.split}/{table.quantity} {score}"
    if interval is None:
        return f"{answer}, of one {group.counted}: no interval"
    return f"{answer} (95 % interval {span(interval, table.quantity)}, {group.n} {group.counted}s)"


def _lead(table: Table, tests: int, hows: set[str]) -> str:
    """What several groups are compared with, and all that is true of each comparison."""
    place = ", first by validation," if table.ranked else ""
    clauses = [f"Against {table.groups[0].name}{place} in {table.split}/{table.quantity}"]
    holm = f" after Holm's correction for {tests} comparisons" if tests > 1 else ""
    single = [str(place) for place, group in enumerate(table.groups, 1) if group.n == 1]
    counted = table.groups[0].counted
    if len(single) == len(table.groups):
        clauses.append(f"one {counted} each, so there are no intervals")
        if tests:
            clauses.append(f"p by McNemar's exact test on the images{holm}: of other seeds it says "
                        "nothing")  # fmt: skip
    else:
        clauses += hows if len(hows) == 1 else []
        if tests:
            clauses.append(f"in brackets 95 % intervals and p{holm}")
        if single:
            *most, last = single
            places = f"{', '.join(most)} and {last}" if most else last
            there = "" if "1" in single else " there"
            clauses.append(f"one {counted} alone of {places}, so there is no interval{there}")
    return "; ".join(clauses) + ":"


def _how(pair: Comparison) -> str:
    if pair.difference.paired:
        return f"paired over {pair.difference.n} {pair.first.counted}s"
    return f"Welch's test, {pair.first.n} and {pair.other.n} {pair.first.counted}s"


def _ends(difference: Difference) -> Interval:
    """Of the difference of the one that is ahead by its number from the other."""
    interval = difference.interval()
    assert interval is not None
    return Interval(-interval.high, -interval.low) if difference.mean < 0 else interval


def _sentence(table: Table, pair: Comparison) -> str:
    """Of two groups alone."""
    quantity, difference, p = table.quantity, pair.difference, pair.p
    first_wins = difference.mean == 0 or (difference.mean > 0) == (table.mode == "max")
    names = [pair.first.name, pair.other.name]
    winner, loser = names if first_wins else reversed(names)
    gap = amount(abs(difference.mean), quantity)
    smallest = difference.smallest()
    if smallest is None or p is None:
        verb = "is level with" if difference.mean == 0 else f"is {gap} ahead of"
        sentence = f"{winner} {verb} {loser}; {_untested(pair)}"
        if isinstance(pair.alone, tuple) and p is not None:
            former, latter = pair.alone if first_wins else reversed(pair.alone)
            sentence += (
                f". Of the test images {former:,} are right in the former alone and {latter:,} in "
                f"the latter: {_verdict(p)} (McNemar's exact test, {chance(p)}); of other seeds "
                "this says nothing"
            )
        return sentence + _not_by_image(pair)
    how = _how(pair)
    support = f"95 % interval {span(_ends(difference), quantity)}, {how}, {chance(p)}"
    if p < LEVEL:
        return f"{winner} beats {loser} by {gap} ({support})"
    counted = how.removeprefix("paired over ").removeprefix("Welch's test, ")
    return (
        f"{winner} and {loser}: no difference that {counted} can show (the smallest they could: "
        f"{amount(smallest, quantity)}; found: {gap}, {support})"
    )


def _line(table: Table, pair: Comparison, one_level: float, with_how: bool) -> str:
    """Of one of several groups, by its place and the values that differ from the first one's."""
    quantity, difference, p = table.quantity, pair.difference, pair.p
    behind = (difference.mean > 0) == (table.mode == "max")
    gap = f"{amount(abs(difference.mean), quantity)} {'behind' if behind else 'ahead'}"
    line = f"{_against(table, pair.other)}: {'level' if difference.mean == 0 else gap}"
    smallest = difference.smallest(one_level)
    if smallest is None or p is None:
        if min(pair.first.n, pair.other.n) > 1:
            line += f"; {_untested(pair)}"
        if isinstance(pair.alone, tuple) and p is not None:
            first, other = pair.alone
            line += (
                f"; {first:,} test images are right in the first alone and {other:,} in this one: "
                f"{_verdict(p)} ({chance(p)})"
            )
        return line + _not_by_image(pair)
    support = f"{span(_ends(difference), quantity)}, {chance(p)}"
    support += f", {_how(pair)}" if with_how else ""
    if p < LEVEL:
        return f"{line} ({support}), more than chance"
    could = amount(smallest, quantity)
    return f"{line} ({support}), which chance could do; the smallest to be shown: {could}"


def _verdict(p: float) -> str:
    return "more than chance" if p < LEVEL else "as chance could divide them"


def _not_by_image(pair: Comparison) -> str:
    return f"; not compared image by image: {pair.alone}" if isinstance(pair.alone, str) else ""


def _untested(pair: Comparison) -> str:
    single = [group.name for group in (pair.first, pair.other) if group.n == 1]
    counted = pair.first.counted
    if len(single) == 2:
        return f"no interval: one {counted} each"
    if single:
        return f"no interval: one {counted} alone of {single[0]}"
    return f"no interval: {pair.difference.n} {counted}s without any spread"


def _against(table: Table, other: Group) -> str:
    values = zip(table.settings, table.groups[0].values, other.values, strict=True)
    differing = [f"{s.name}={own}" for s, first, own in values if own not in (first, None)]
    return f"{table.groups.index(other) + 1}. {' '.join(differing) or other.name}"


def classes(groups: Sequence[Group]) -> Answer:
    """Which class each group recognises best and which worst, and whether that is chance.

    Groups of which no run was tested are left out, and folds, which are not compared by the test.
    """
    several = len(groups) > 1
    lines, sizes, pairs = [], set(), 0
    for number, group in enumerate(groups, 1):
        runs = [run for run in group.runs if run.test is not None and run.folds is None]
        if runs:
            known, text = _extremes(runs)
            sizes.add(len(runs))
            pairs = known * (known - 1) // 2
            lines.append(f"{f'{number}.' if several else f'{group.name}:'} {text}")
    if not lines:
        return Answer("", [])
    clauses = [f"The best and the worst recognised class{' of each group' * several}"]
    repeated = sorted(sizes - {1})
    if repeated:
        runs_of = " to ".join(map(str, dict.fromkeys((repeated[0], repeated[-1]))))
        clauses.append(
            f"in brackets 95 % intervals and p, paired over {runs_of} runs, both for {pairs} pairs"
        )
    if 1 in sizes:
        one = " for one run" * bool(repeated)
        wilson = f"in brackets{one} 95 % intervals over images (Wilson's)"
        clauses.append(f"{wilson}, over seeds there is none")
    return Answer("; ".join(clauses) + ":", lines)


def _extremes(runs: Sequence[Run]) -> tuple[int, str]:
    """How many classes there are images of; the best and the worst of them over these runs."""
    recalls = np.array([run.recalls for run in runs])
    there = np.flatnonzero(np.isfinite(recalls).all(0))
    if len(there) < 2:
        return len(there), "one class alone"
    recalls = recalls[:, there]
    means = recalls.mean(0)
    ends = int(means.argmax()), int(means.argmin())
    gap = significance.paired(*recalls[:, ends].T)
    (best, worst) = (f"{runs[0].classes[there[i]]} ({level(means[i], 'recall')})" for i in ends)
    answer = f"best {best}, worst {worst}, {amount(gap.mean, 'recall')} apart"
    if len(runs) == 1:
        images = [runs[0].support[there[i]] for i in ends]
        right = [round(means[i] * n) for i, n in zip(ends, images, strict=True)]
        intervals = map(significance.wilson, right, images)
        spans = " and ".join(span(interval, "recall") for interval in intervals)
        return len(there), f"{answer} ({spans})"
    # Any two classes could have been the extremes: one test among all pairs (Bonferroni).
    pairs = len(there) * (len(there) - 1) // 2
    interval = gap.interval(LEVEL / pairs)
    if gap.p is None or interval is None:
        return len(there), f"{answer} in each of {gap.n} runs"
    p = min(1.0, gap.p * pairs)
    interval = Interval(max(-1.0, interval.low), min(1.0, interval.high))
    verdict = "more than chance" if p < LEVEL else "which chance could do"
    return len(there), f"{answer} ({span(interval, 'recall')}, {chance(p)}), {verdict}"
