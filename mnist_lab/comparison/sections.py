"""What a comparison tells of each table of runs: notes, answers, tables, figures."""

from collections.abc import Iterator
from dataclasses import dataclass

from mnist_lab.comparison import answers, differences
from mnist_lab.comparison.answers import Answer
from mnist_lab.comparison.columns import Grid, effects, leaderboard
from mnist_lab.comparison.drawing import Picture, draw
from mnist_lab.comparison.groups import MAX_SHOWN, Table
from mnist_lab.comparison.histories import Curve, curves
from mnist_lab.comparison.varied import printable


@dataclass(frozen=True)
class Section:
    """All that is told of one table of runs."""

    title: str
    notes: list[str]
    answers: Answer
    grids: list[Grid]
    classes: Answer
    pictures: list[Picture]
    curves: list[dict[str, Curve]]
    """Of each group, by metric."""

    @classmethod
    def of(cls, table: Table) -> "Section":
        """The statistics of a table of runs, in words, tables, figures and curves."""
        grids = [leaderboard(table)]
        if len(table.settings) > 1:
            grids.append(effects(table, differences.effects(table)))
        read = [curves(group, table.traced) for group in table.groups]
        by_group = [by_metric for by_metric, _ in read]
        missing = [line for _, lines in read for line in lines]
        drawn = [by_metric.get(table.traced) for by_metric in by_group[:MAX_SHOWN]]
        return cls(
            title=printable(table.title),
            notes=[printable(line) for line in (*notes(table), *missing)],
            answers=_printable(answers.comparisons(table, differences.compare(table))),
            grids=[grid for grid in grids if grid.rows],
            classes=_printable(answers.classes(table.shown)),
            pictures=draw(table, drawn),
            curves=by_group,
        )


def _printable(answer: Answer) -> Answer:
    return Answer(printable(answer.lead), [printable(line) for line in answer.lines])


def notes(table: Table) -> Iterator[str]:
    """What is to be known of the numbers of a table."""
    yield _ranking(table)
    yield _intervals(table)
    for setting in table.settings:
        along = [other.key for other in table.settings if other.leader == setting.key]
        if along:
            yield f"With {setting.key} {', '.join(along)} changes: their effects are one."
    runs = [run for group in table.groups for run in group.runs]
    for what in ("device", "version"):
        if len(names := sorted({getattr(run, what) for run in runs})) > 1:
            yield f"These runs are of different {what}s: {', '.join(names)}."
    if len(table.groups) > MAX_SHOWN:
        yield f"Figures and sentences show the first {MAX_SHOWN} groups."


def _ranking(table: Table) -> str:
    metric = table.quantity
    better = "highest" if table.mode == "max" else "lowest"
    if table.groups[0].folds is not None and table.split == "val":
        return (
            f"Ranked by the mean of val/{metric} over the folds that were held out, {better} "
            "first; answers are about it, too. It is of a run's best epoch, which the same images "
            "chose, and the best of many looks better than it is."
        )
    if table.split == "val":
        return (
            f"Ranked by the mean of val/{metric}, {better} first. Not all runs were tested, so "
            f"answers are about val/{metric}, too; the best of many looks better than it is."
        )
    if table.ranked:
        return (
            f"Ranked by the mean of val/{metric}, {better} first. Answers are about "
            f"test/{metric}: each group against the first, which validation chose."
        )
    return (
        f"Without val/{metric} nothing is ranked (by test it would be chosen on test): groups "
        f"stand in the order of their settings, and answers about test/{metric} compare each "
        "with the first."
    )


def _intervals(table: Table) -> str:
    folds = table.groups[0].folds
    if folds is None:
        counted = "n counts seeds. Intervals are Student's, 95 %, over seeds, each by itself"
    else:
        counted = (
            "n counts folds; several seeds of one stand for it by their mean. Intervals are "
            "Student's, 95 %, over folds, each by itself, with Nadeau and Bengio's correction: "
            "folds share images that are trained on, so the variance of their mean is taken for "
            f"1/n + 1/{folds - 1} of theirs"
        )
        if table.split == "val":
            counted += ". Of the test, whose images are the same for all folds, there is none"
    return (
        f"{counted}; p-values are corrected by Holm where there are several; the smallest "
        "difference is what would be found 4 times in 5."
    )
