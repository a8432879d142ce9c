"""Groups in TensorBoard: a folder each, with the mean of every curve and its band."""

import contextlib
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mnist_lab.comparison.groups import Table
from mnist_lab.comparison.histories import Curve
from mnist_lab.reports import events

FILE = "events.out.tfevents.compare"
MAX_NAME = 100  # characters of a folder's name


def write(
    folder: Path, tables: Sequence[Table], curves: Sequence[Sequence[Mapping[str, Curve]]]
) -> int:
    """Write a folder for each group that has curves, below one for its table if there are several.

    Means are called as the runs' own curves are, ends of bands `interval/.../low` and `.../high`;
    a chart of both for each is on the page of custom scalars. A step is an epoch, from 1. What
    another comparison has written there is removed.

    Args:
        curves: by metric, of each table's groups.

    Returns:
        how many groups there are.

    Raises:
        OSError: the folder cannot be written to.
    """
    written: set[Path] = set()
    for number, (table, of_groups) in enumerate(zip(tables, curves, strict=True), 1):
        place = folder / str(number) if len(tables) > 1 else folder
        layout = _layout(table, of_groups)
        digits = len(str(len(table.groups)))
        for rank, (group, by_metric) in enumerate(zip(table.groups, of_groups, strict=True), 1):
            if by_metric:
                path = place / _named(f"{rank:0{digits}}. {group.name}") / FILE
                path.parent.mkdir(parents=True, exist_ok=True)
                events.write(path, _steps(by_metric), layout)
                written.add(path)
    for path in sorted(folder.rglob(FILE)):
        if path not in written:
            path.unlink()
            with contextlib.suppress(OSError):  # there is something else in it
                path.parent.rmdir()
    return len(written)


def _named(name: str) -> str:
    """As a folder can be called; what TensorBoard shows as the run's name."""
    return re.sub(r"[^\w=.,+\[\] -]", "_", name)[:MAX_NAME]


def _steps(by_metric: Mapping[str, Curve]) -> dict[int, dict[str, float]]:
    """Scalars by epoch and tag, as far as all runs of the group went."""
    steps: dict[int, dict[str, float]] = {}
    for metric, curve in by_metric.items():
        mean = curve.values.mean(0)
        low, high = (mean, mean) if curve.band is None else curve.band
        for epoch in curve.reached.nonzero()[0]:
            tags = zip(_tags(metric), (mean, low, high), strict=True)
            values = {tag: float(each[epoch]) for tag, each in tags}
            steps.setdefault(int(epoch) + 1, {}).update(values)
    return dict(sorted(steps.items()))


def _tags(metric: str) -> tuple[str, str, str]:
    """Of the mean, and of the lower and upper end of its interval."""
    tag = events.tag(metric)
    return tag, f"interval/{tag}/low", f"interval/{tag}/high"


def _layout(table: Table, of_groups: Sequence[Mapping[str, Curve]]) -> Any:
    """A chart for each metric, the same in all groups, for TensorBoard to put them together."""
    from tensorboard.plugins.custom_scalar import layout_pb2

    def chart(metric: str) -> Any:
        mean, low, high = _tags(metric)
        series = layout_pb2.MarginChartContent.Series(value=mean, lower=low, upper=high)
        return layout_pb2.Chart(title=mean, margin=layout_pb2.MarginChartContent(series=[series]))

    metrics = sorted({metric for curves in of_groups for metric in curves}, key=events.tag)
    title = f"mean and 95 % interval over {table.groups[0].counted}s"
    return layout_pb2.Layout(category=[layout_pb2.Category(title=title, chart=map(chart, metrics))])
