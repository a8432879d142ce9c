"""`metrics.csv`."""

import csv
import math
from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.fabric.utilities.rank_zero import rank_zero_only
from lightning.pytorch.loggers import Logger

from mnist_lab.metrics.evaluation import shortest
from mnist_lab.system.files import whole


class History(Logger):
    """`metrics.csv`: every value that is logged once per epoch, one row an epoch.

    What a callback logs past the model (`LearningRateMonitor`, say) comes without an epoch: the
    last of each such value stands in the row of the epoch that is logged next.
    """

    def __init__(self, folder: str) -> None:
        super().__init__()
        self.path = Path(folder) / "metrics.csv"
        self._rows: dict[int, dict[str, float]] | None = None
        self._waiting: dict[str, float] = {}  # for their epoch

    @property
    def name(self) -> str:
        return ""

    @property
    def version(self) -> str:
        return ""

    @property
    def save_dir(self) -> str:
        return str(self.path.parent)

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any) -> None:
        """Nothing: they stand in `config.yaml`."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        values = {
            key: shortest(value)
            for key, value in metrics.items()
            if key != "epoch" and not key.endswith("_step") and not key.startswith("test/")
        }
        if "epoch" not in metrics:
            self._waiting.update(values)
            return
        if not values:
            return
        values, self._waiting = self._waiting | values, {}
        epoch = int(metrics["epoch"])
        if self._rows is None:  # a continued run's earlier epochs; one begun again is overwritten
            self._rows = self._read()
        self._rows.setdefault(epoch, {}).update(values)
        names = sorted({name for row in self._rows.values() for name in row})
        with whole(self.path, newline="") as file:
            writer = csv.DictWriter(file, ["epoch", *names], restval="")
            writer.writeheader()
            for number, row in sorted(self._rows.items()):
                writer.writerow({"epoch": number, **row})

    def series(self) -> dict[str, list[float]]:
        """Each quantity's values from the first epoch on; NaN where there is none."""
        rows = self._read() if self._rows is None else self._rows
        names = {name for row in rows.values() for name in row}
        epochs = range(max(rows, default=-1) + 1)
        return {name: [rows.get(e, {}).get(name, math.nan) for e in epochs] for name in names}

    def _read(self) -> dict[int, dict[str, float]]:
        if not self.path.exists():
            return {}
        with open(self.path, newline="") as file:
            return {
                int(row.pop("epoch")): {key: float(value) for key, value in row.items() if value}
                for row in csv.DictReader(file)
            }
