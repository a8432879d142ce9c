"""Runs of other processes, read from their folders for a comparison.

Imports neither torch nor lightning: a run's folder is read as it lies there.
"""

import glob
import json
import math
import os
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from mnist_lab import LabError
from mnist_lab.runs import folder
from mnist_lab.runs.result import Result
from mnist_lab.settings.identity import Repetition, repetition
from mnist_lab.settings.roles import MODES, Role, keys

COMPARABLE = [tuple(key.split(".")) for key in keys(Role.DATA)]
"""What images are validated and tested on: values of different ones are never put together."""

_MAX = 1e12  # of any value that is averaged


@dataclass(frozen=True, slots=True)
class Run:
    """One finished run.

    Attributes:
        folds, draw: how many folds its data have, and what tells it from those that count beside
            it in its group: its fold, else its seed (see `Repetition`).
        setup: everything that influences its result but seed and fold, as JSON.
        comparable: what it was validated and tested on, as JSON.
        quantity: what its `monitor` is about: `accuracy` for `val/accuracy`.
        val: of the best epoch; None where nothing was kept for validation.
        test: None where a search left it to its winner; there are no classes then.
        recalls, support: of the test split, by class; NaN where there are no images of it.
        seconds: of training.
    """

    folder: Path
    seed: int
    folds: int | None
    draw: tuple[int, ...]
    setup: str
    comparable: str
    dataset: str
    model: str
    device: str
    version: str
    quantity: str
    mode: str
    val: float | None
    test: float | None
    classes: tuple[str, ...]
    recalls: tuple[float, ...]
    support: tuple[int, ...]
    parameters: int
    epochs: int
    seconds: float


class LeftOut(NamedTuple):
    """A run that counts nowhere, and why; its setup and draw, where these could be read."""

    folder: Path
    reason: str
    setup: str | None = None
    draw: tuple[int, ...] | None = None


def find(runs: Sequence[str]) -> list[Path]:
    """The folders of all runs in and below these folders, or what these patterns match.

    Raises:
        LabError: there is no such folder, or no run below it.
    """
    paths: list[Path] = []
    for text in runs:
        matching = [text] if Path(text).is_dir() else sorted(filter(os.path.isdir, _matched(text)))
        below = [Path(os.path.normpath(run)) for root in matching for run in _below(root)]
        if not below:
            known = "there is no run in or below it (no config.yaml, no result.json)"
            raise LabError(f"runs={text}: {known if matching else 'no such folder'}")
        paths += below
    return sorted({path.resolve(): path for path in reversed(paths)}.values())


def _matched(pattern: str) -> list[str]:
    return glob.glob(pattern, recursive=True)  # noqa: PTH207  # Path's takes no absolute pattern


def _below(root: str) -> Iterator[str]:
    for path, folders, files in os.walk(root, onerror=_unreadable):
        if "config.yaml" in files or "result.json" in files:
            folders.clear()  # nothing in a run's folder is another run's
            yield path


def _unreadable(error: OSError) -> None:
    raise LabError(f"{error.filename}: cannot be read: {error.strerror}") from error


def read(folders: Iterable[Path], metric: str | None = None) -> tuple[list[Run], list[LeftOut]]:
    """What the finished runs' folders hold, and why the others are left out.

    Args:
        metric: what to compare by (`corruption_error`), where it isn't what they monitored.
    """
    runs: list[Run] = []
    left_out: list[LeftOut] = []
    for run in (_read(path, metric) for path in folders):
        runs.append(run) if isinstance(run, Run) else left_out.append(run)
    first: dict[tuple[object, ...], Path] = {}
    for run in sorted(runs, key=lambda run: run.test is None):  # of two, one that was tested
        same = first.setdefault((run.comparable, run.setup, run.seed, run.draw), run.folder)
        if same != run.folder:  # it would make the spread look smaller than it is
            left_out.append(LeftOut(run.folder, f"has the settings and the seed of {same}"))
    kept = set(first.values())
    return [run for run in runs if run.folder in kept], sorted(left_out)


def _read(path: Path, metric: str | None) -> Run | LeftOut:
    setup, draw = None, None
    try:
        if not (path / "config.yaml").exists() and (result := Result.read(path)):
            reason = "its settings are not known (no config.yaml)"
            test = result.metrics.get("test/accuracy")
            whose = f"{result.model} on {result.dataset}, test/accuracy {test}"
            return LeftOut(path, f"{reason}: {whose}")
        plain = folder.read_config(path)
        known = repetition(plain)
        setup, draw = sys.intern(json.dumps(known.settings, sort_keys=True)), known.draw
        result = Result.read(path)
        if result is None:
            return LeftOut(path, "unfinished: there is no result.json", setup, draw)
        if result.status != "completed":
            return LeftOut(path, f"{result.status}: {result.reason}", setup, draw)
        values = (result.metrics.get(f"{split}/{metric}") for split in ("val", "test"))
        if metric is not None and all(value is None for value in values):
            return LeftOut(path, f"was not measured by {metric}", setup, draw)
        return _run(path, plain, result, metric, known, setup)
    except (LabError, OSError) as error:
        reason = f"damaged: {error}".replace(f"{path}: ", "").replace(f"{path}/", "")
        return LeftOut(path, reason, setup, draw)


def _run(
    path: Path,
    plain: dict[str, Any],
    result: Result,
    metric: str | None,
    known: Repetition,
    setup: str,
) -> Run:
    quantity = metric or str(plain.get("monitor")).removeprefix("val/")
    if metric is None and f"val/{quantity}" not in result.metrics:
        quantity = "accuracy"  # of a value that results of earlier versions don't hold
    val, test = (result.metrics.get(f"{split}/{quantity}") for split in ("val", "test"))
    if metric is None and plain["data"].get("val_size") != 0 and val is None:
        raise LabError(f"result.json: has no val/{quantity}")
    seconds = result.seconds.fit
    if seconds is None:
        raise LabError("result.json: has no seconds.fit")
    if result.epochs == 0:
        raise LabError("result.json: epochs: none")
    mode = MODES.get(quantity.partition("/")[0])
    own = mode is None  # a metric that need not be logged of the test
    if metric is not None and own:
        raise LabError(f"metric={metric}: nothing says whether less or more of it is better")
    if (test is None) != (result.per_class is None) and not (own and test is None):
        lacking = f"test/{quantity}" if test is None else "per_class"
        raise LabError(f"result.json: has no {lacking}")
    if test is None and val is None:
        raise LabError(f"result.json: has neither val/{quantity} nor test/{quantity}")
    if not all(math.isfinite(x) and abs(x) < _MAX for x in (test or 0.0, seconds, val or 0.0)):
        raise LabError(f"result.json: {quantity} or seconds.fit is no finite number")
    per_class = result.per_class or {}
    tested = [known.settings[group].get(key) for group, key in COMPARABLE]
    return Run(
        folder=path,
        seed=known.seed,
        folds=known.folds,
        draw=known.draw,
        setup=setup,
        comparable=sys.intern(json.dumps(tested)),
        dataset=result.dataset,
        model=result.model,
        device=result.device,
        version=f"torch {result.versions.get('torch')}",
        quantity=quantity,
        mode=mode or ("min" if plain.get("mode") == "min" else "max"),
        val=val,
        test=test,
        classes=tuple(per_class),
        recalls=tuple(
            math.nan if scores.recall is None or not scores.support else scores.recall
            for scores in per_class.values()
        ),
        support=tuple(scores.support for scores in per_class.values()),
        parameters=result.parameters,
        epochs=result.epochs,
        seconds=seconds,
    )
