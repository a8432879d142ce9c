"""The columns of `compare.csv`, and the tables to read that are made of the same numbers."""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from mnist_lab.comparison.answers import amount, chance, is_fraction, span
from mnist_lab.comparison.differences import Effect
from mnist_lab.comparison.groups import Group, Table
from mnist_lab.comparison.varied import printable
from mnist_lab.metrics import significance
from mnist_lab.metrics.significance import Interval

MAX_LISTED = 100  # rows of a table to read; compare.csv holds them all


class Grid(NamedTuple):
    """A table of texts."""

    title: str
    header: tuple[str, ...]
    rows: list[tuple[str, ...]]

    @property
    def named(self) -> int:
        """The place of the column that says what a row is about; the others are numbers."""
        return self.header.index("group") if "group" in self.header else 0


def columns(tables: Sequence[Table]) -> list[dict[str, object]]:
    """`compare.csv`: a row a group, with all digits, all of the same columns; None is a blank."""
    keys = dict.fromkeys(setting.key for table in tables for setting in table.settings)
    rows = []
    for table in tables:
        for rank, group in enumerate(table.groups, 1):
            values = zip(table.settings, group.values, strict=True)
            row = {
                "table": printable(table.title),
                "rank": rank if table.ranked else None,
                "group": group.name,
                **keys,
                **{setting.key: value for setting, value in values},
                "n": group.n,
                "left out": group.asked - group.n,
                "quantity": table.quantity,
                **{f"val {name}": x for name, x in _spread(group, "val", table.mode).items()},
                **{f"test {name}": x for name, x in _spread(group, "test", table.mode).items()},
                "parameters": group.runs[0].parameters,
                "seconds per epoch": group.seconds_per_epoch,
                "seconds": sum(run.seconds for run in group.runs) / len(group.runs),
            }
            rows.append(row)
    return rows


def _spread(group: Group, split: Literal["val", "test"], mode: str) -> dict[str, float | None]:
    """Of folds that are compared by validation, there is no interval of the test."""
    values = group.val if split == "val" else group.test
    names = ("mean", "deviation", "low", "high", "best", "worst")
    if not np.isfinite(values).all():
        return dict.fromkeys(names)
    known = split == group.split or group.folds is None
    interval = significance.t_interval(values, group.folds) if known else None
    low, high = interval or (None, None)
    deviation = float(values.std(ddof=1)) if len(values) > 1 else None
    extremes = sorted(map(float, (values.min(), values.max())), reverse=mode == "max")
    return dict(zip(names, (float(values.mean()), deviation, low, high, *extremes), strict=True))


def leaderboard(table: Table) -> Grid:
    """Values and intervals of each group, best first where they are ranked."""
    quantity = table.quantity
    unit = " (%)" if is_fraction(quantity) else ""
    named = (f"{split}/{quantity}{what}" for split in ("val", "test") for what in (unit, " 95 %"))
    header = ("#", "group", "n", *named, "best", "worst", "parameters", "s/epoch")
    rows: list[tuple[str, ...]] = []
    for rank, group in enumerate(table.groups[:MAX_LISTED], 1):
        spread = _spread(group, table.split, table.mode)
        rows.append(
            (
                str(rank) if table.ranked else "-",
                group.name,
                str(group.n) if group.n == group.asked else f"{group.n} of {group.asked}",
                *_cells(_spread(group, "val", table.mode), quantity),
                *_cells(_spread(group, "test", table.mode), quantity),
                _bare(spread["best"], quantity),
                _bare(spread["worst"], quantity),
                f"{group.runs[0].parameters:,}",
                f"{group.seconds_per_epoch:.2f}",
            )
        )
    title = "Leaderboard" if table.ranked else "Groups"
    more = len(table.groups) - len(rows)
    return Grid(title + (f" (and {more:,} more in compare.csv)" if more else ""), header, rows)


def _cells(spread: dict[str, float | None], quantity: str) -> tuple[str, str]:
    mean, low, high = _bare(spread["mean"], quantity), spread["low"], spread["high"]
    if spread["deviation"] is not None:
        mean = f"{mean} ± {_bare(spread['deviation'], quantity)}"
    return mean, "-" if low is None or high is None else span(Interval(low, high), quantity)


def _bare(value: float | None, quantity: str) -> str:
    return "-" if value is None else amount(value, quantity, unit=False)


def effects(table: Table, measured: Sequence[Effect]) -> Grid:
    """What changing one setting does to the value that the groups are compared by."""
    header = ("setting", f"difference in {table.split}/{table.quantity}", "95 %", "p (Holm)",
              "pairs of groups", "n")  # fmt: skip
    rows: list[tuple[str, ...]] = []
    for effect in measured[:MAX_LISTED]:
        interval = effect.difference.interval()
        rows.append(
            (
                f"{effect.setting}={effect.value} against {effect.against}",
                amount(effect.difference.mean, table.quantity).replace("-", "\u2212"),
                "-" if interval is None else span(interval, table.quantity),
                "-" if effect.p is None else chance(effect.p),
                str(effect.groups),
                str(effect.difference.n),
            )
        )
    return Grid("What each setting does, where nothing else differs", header, rows)
