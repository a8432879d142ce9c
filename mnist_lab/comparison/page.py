"""What a comparison tells of each table of runs: notes, answers, tables, figures."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_lab.comparison import answers
from mnist_lab.comparison.answers import Told
from mnist_lab.comparison.columns import Group, Table
from mnist_lab.comparison.drawing import Picture, draw
from mnist_lab.comparison.varied import printable
from mnist_lab.metrics import significance

MAX_SHOWN = 12  # groups in a figure, and in words
MAX_LISTED = 100  # rows of a table to read; compare.csv holds them all


class Grid(NamedTuple):
    """A table of texts."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]


@dataclass(frozen=True)
class Section:
    """All that is told of one table of runs."""

    title: str
    notes: list[str]
    answers: Told
    grids: list[Grid]
    classes: Told
    pictures: list[Picture]

    @classmethod
    def of(cls, table: Table) -> "Section":
        """The statistics of a table of runs, in words, tables and figures."""
        shown = table.groups[:MAX_SHOWN]
        compared = answers.compare(table)
        told = [each.text for each in compared[: MAX_SHOWN - 1]]
        if len(compared) > len(told):
            told.append(f"... and {len(compared) - len(told):,} groups more, in the table alone")
        grids = [_leaderboard(table)]
        if len(table.settings) > 1:
            grids += _effects(table)
        pictures, missing = draw(table, shown)
        return cls(
            title=printable(table.title),
            notes=[printable(line) for line in (*_notes(table), *missing)],
            answers=_printable(Told(answers.lead(table, compared), told or [_alone(table)])),
            grids=grids,
            classes=_printable(answers.classes(shown)),
            pictures=pictures,
        )


def _printable(told: Told) -> Told:
    return Told(printable(told.lead), [printable(line) for line in told.lines])


def _alone(table: Table) -> str:
    (group,) = table.groups
    interval = significance.t_interval(group.scores)
    score = answers.level(group.scores.mean(), table.quantity)
    told = f"{group.name}: {table.split}/{table.quantity} {score}"
    if interval is None:
        return f"{told}, of one seed: no interval"
    return (
        f"{told} (95 % interval {answers.span(interval, table.quantity)}, {len(group.runs)} seeds)"
    )


def _notes(table: Table) -> Iterator[str]:
    metric = table.quantity
    better = "highest" if table.mode == "max" else "lowest"
    if table.split == "val":
        yield (
            f"Ranked by the mean of val/{metric}, {better} first. Not all runs were tested, so "
            f"answers are about val/{metric}, too; the best of many looks better than it is."
        )
    elif table.ranked:
        yield (
            f"Ranked by the mean of val/{metric}, {better} first. Answers are about "
            f"test/{metric}: each group against the first, which validation chose."
        )
    else:
        yield (
            "Nothing was kept for validation, so nothing is ranked (by test it would be chosen on "
            f"test): groups stand in the order of their settings, and answers about test/{metric} "
            "compare each with the first."
        )
    yield (
        "n counts seeds. Intervals are Student's, 95 %, over seeds, each by itself; p-values are "
        "corrected by Holm where there are several; the smallest difference is what would be "
        "found 4 times in 5."
    )
    yield from (
        f"With {setting.key} {', '.join(setting.along)} changes: their effects are one."
        for setting in table.settings
        if setting.along
    )
    runs = [run for group in table.groups for run in group.runs]
    for what, names in (
        ("devices", {r.device for r in runs}),
        ("versions", {r.version for r in runs}),
    ):
        if len(names) > 1:
            yield f"These runs are of different {what}: {', '.join(sorted(names))}."
    if len(table.groups) > MAX_SHOWN:
        yield f"Figures and sentences show the first {MAX_SHOWN} groups."


def _leaderboard(table: Table) -> Grid:
    metric = table.quantity
    unit = " (%)" if answers.is_fraction(metric) else ""
    columns = (f"{s}/{metric}{x}" for s in ("val", "test") for x in (unit, " 95 %"))
    header = ("#", "group", "n", *columns, "best", "worst", "parameters", "s/epoch")
    rows: list[tuple[str, ...]] = []
    for rank, group in enumerate(table.groups[:MAX_LISTED], 1):
        n = len(group.runs)
        ordered = np.sort(group.scores)[:: -1 if table.mode == "max" else 1]
        rows.append(
            (
                str(rank) if table.ranked else "-",
                group.name,
                str(n) if n == group.asked else f"{n} of {group.asked}",
                *_spread(group.val, metric),
                *_spread(group.test, metric),
                _bare(ordered[0], metric),
                _bare(ordered[-1], metric),
                f"{group.runs[0].parameters:,}",
                f"{seconds_per_epoch(group):.2f}",
            )
        )
    more = len(table.groups) - len(rows)
    title = "Leaderboard" if table.ranked else "Groups"
    return Grid(title + (f" (and {more:,} more in compare.csv)" if more else ""), header, rows)


def _spread(values: NDArray[np.float64], metric: str) -> tuple[str, str]:
    if not np.isfinite(values).all():
        return "-", "-"
    mean, interval = _bare(values.mean(), metric), significance.t_interval(values)
    if interval is None:
        return mean, "-"
    deviation = _bare(values.std(ddof=1), metric)
    return f"{mean} ± {deviation}", answers.span(interval, metric)


def _bare(value: float, metric: str) -> str:
    return answers.amount(value, metric, unit=False)


def seconds_per_epoch(group: Group) -> float:
    """Of training, with its validation and checkpoints: the mean over runs."""
    return float(np.mean([run.seconds / run.epochs for run in group.runs]))


def _effects(table: Table) -> Iterator[Grid]:
    rows: list[tuple[str, ...]] = []
    for effect in answers.effects(table)[:MAX_LISTED]:
        interval = effect.difference.interval()
        rows.append(
            (
                f"{effect.setting}={effect.value} against {effect.against}",
                answers.amount(effect.difference.mean, table.quantity).replace("-", "\u2212"),
                "-" if interval is None else answers.span(interval, table.quantity),
                "-" if effect.p is None else answers.chance(effect.p),
                str(effect.groups),
                str(effect.difference.n),
            )
        )
    if rows:
        header = (
            "setting",
            f"difference in {table.split}/{table.quantity}",
            "95 %",
            "p (Holm)",
            "pairs of groups",
            "n",
        )
        yield Grid("What each setting does, where nothing else differs", header, rows)
