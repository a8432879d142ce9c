"""What a group's runs logged by epoch, as curves."""

import csv
import math
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from mnist_lab.comparison.gather import Run
from mnist_lab.comparison.groups import Group
from mnist_lab.metrics.significance import t_band

MAX_HISTORY_BYTES = 1 << 26


class Curve(NamedTuple):
    """A metric of a group by epoch.

    Attributes:
        values: of each seed or fold, `(n, epochs)`; NaN beyond the end of a run.
        band: the 95 % interval of their mean, ends `(2, epochs)`; None where n is 1.
    """

    values: NDArray[np.float64]
    band: NDArray[np.float64] | None

    @property
    def reached(self) -> NDArray[np.bool_]:
        """Which epochs all runs came to, `(epochs,)`: there alone a mean says something."""
        return np.asarray(np.isfinite(self.values).all(0))


def curves(group: Group, needed: str) -> tuple[dict[str, Curve], list[str]]:
    """A group's curves by metric; and lines on its runs that aren't among those of `needed`."""
    logged: dict[Path, dict[str, list[float]]] = {}
    missing = []
    for run in group.runs:
        path = run.folder / "metrics.csv"
        try:
            logged[run.folder] = columns = _by_epoch(run, path)
        except (OSError, ValueError, csv.Error) as error:
            missing.append(f"Not among the curves: {path}: {error}.")
        else:
            if needed not in columns:
                missing.append(f"Not among the curves: {path}: has no {needed}.")
    metrics = dict.fromkeys(metric for columns in logged.values() for metric in columns)
    return {metric: _curve(group, metric, logged) for metric in metrics}, missing


def _by_epoch(run: Run, path: Path) -> dict[str, list[float]]:
    """What `metrics.csv` has of each metric, a value an epoch, NaN where it has none."""
    if path.stat().st_size > MAX_HISTORY_BYTES:
        raise ValueError("larger than any history")
    with open(path, newline="", encoding="utf-8") as file:
        reader = csv.DictReader(file, restval="")
        rows, names = list(reader), reader.fieldnames or ()
    if not rows:
        raise ValueError("holds no epochs")
    return {
        name: [float(row[name]) if row[name] else math.nan for row in rows]
        for name in names
        if name != "epoch"
    }


def _curve(group: Group, metric: str, logged: dict[Path, dict[str, list[float]]]) -> Curve:
    runs = tuple(run for run in group.runs if metric in logged.get(run.folder, ()))
    rows = [logged[run.folder][metric] for run in runs]
    values = np.full((len(rows), max(map(len, rows))), math.nan)
    for cells, row in zip(values, rows, strict=True):
        cells[: len(row)] = row
    values = replace(group, runs=runs).by_draw(values)
    return Curve(values, t_band(values, group.folds))
