"""The table at a sweep's end: its jobs, the best first.

Imports nothing heavy.
"""

import json
import math
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from mnist_lab import LabError
from mnist_lab.settings.identity import Repetition, repetition

REASON = "failed.txt"
"""Why a job could not be run to its end, in its folder."""
RECORD = "sweep.json"
"""What a sweep varies, in its folder; touched by each command that runs it."""
_OF_FOLD = re.compile(r"(?:^| )data\.fold=")
_REPEATED = re.compile(r"(?:^| )(?:data\.fold|data\.repeat|seed)=\S+")
_LISTED = 100  # finished jobs in the table; `compare` writes down all of them


class _Job(NamedTuple):
    """A job's row; `order` says where it stands: first those that have a result."""

    order: tuple[bool, float, float]
    name: str
    value: str = "-"
    test: str = "-"
    epochs: str = "-"
    seconds: str = "-"
    state: str = ""


class _Folds(NamedTuple):
    """Finished jobs that differ in fold and seed alone: their row."""

    name: str
    folds: int
    mean: float
    interval: str


def show(folder: Path, jobs: Mapping[str, str], monitor: str, mode: str) -> None:
    """Print it.

    Args:
        folder: the sweep's.
        jobs: what each job sets of what the sweep varies, by the names of their folders.
    """
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    known = [
        path.name
        for path in sorted(folder.iterdir(), key=_by_number)
        if (path / "config.yaml").exists() or (path / REASON).exists()
    ]
    rows = [_job(folder / name, monitor, mode) for name in dict.fromkeys([*jobs, *known])]
    rows.sort(key=lambda row: row.order)
    table = Table(title=Text(str(folder)), title_justify="left")
    for name in ("#", "job", monitor, monitor.replace("val/", "test/"), "epochs", "fit s"):
        table.add_column(name, justify="left" if name == "job" else "right", overflow="fold")
    if any(row.state for row in rows):
        table.add_column("state", overflow="fold")
    finished = sum(not row.state for row in rows)
    for rank, row in enumerate(rows, 1):
        if not _LISTED < rank <= finished:
            cells = ["-" if row.state else str(rank), *row[1:]]
            table.add_row(*map(Text, cells[: len(table.columns)]))
    if finished > _LISTED:
        table.caption = Text(f"and {finished - _LISTED:,} finished jobs more")
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a row is a line, to be searched
    console.print(table)
    if pruned := sum(row.state.startswith("pruned: ") for row in rows):
        console.print(f"Pruned: {pruned} of {len(rows)} jobs", markup=False)
    over_folds = _over_folds(folder, [row.name for row in rows if not row.state], jobs, monitor)
    if over_folds:
        summary = Table(title=Text("Over folds"), title_justify="left")
        for name in ("jobs", "folds", monitor, "95 %"):
            summary.add_column(name, justify="left" if name == "jobs" else "right", overflow="fold")
        over_folds.sort(key=lambda row: -row.mean if mode == "max" else row.mean)
        for jobs_of, folds, mean, ends in over_folds:
            summary.add_row(*map(Text, (jobs_of, str(folds), number(mean), ends)))
        console.print(summary)
    elif finished and jobs.get(rows[0].name):  # whose name may be too short to say it
        console.print(f"Best: {jobs[rows[0].name]}", markup=False, soft_wrap=True)
    if _spared(folder, [row.name for row in rows if not row.state and row.test != number(None)]):
        console.print(
            "Figures and reports of these runs: the same command with artefacts=all",
            markup=False, soft_wrap=True,
        )  # fmt: skip
    command = f"python -m mnist_lab.compare {shlex.quote(f'runs={folder}')}"
    console.print(command, markup=False, soft_wrap=True)


def _spared(folder: Path, tested: Sequence[str]) -> bool:
    """Whether there is a run without the report that its settings have."""
    from mnist_lab.runs.folder import read_config

    lacking = (folder / name for name in tested if not (folder / name / "report.html").exists())
    first = next(lacking, None)
    callbacks = {} if first is None else read_config(first)["trainer"].get("callbacks")
    return isinstance(callbacks, Mapping) and callbacks.get("report") is not None


def _over_folds(
    folder: Path, finished: Sequence[str], jobs: Mapping[str, str], monitor: str
) -> list[_Folds]:
    """Mean and interval over folds, in a sweep of them; a fold's seeds count as one, their mean.

    Jobs of former calls, too, are among them.
    """
    if not any(_OF_FOLD.search(text) for text in jobs.values()):
        return []
    from mnist_lab.metrics.significance import t_interval
    from mnist_lab.runs.folder import read_config
    from mnist_lab.runs.result import Result

    alike: dict[str, list[tuple[str, Repetition, float]]] = defaultdict(list)
    for name in finished:
        run, result = repetition(read_config(folder / name)), Result.read(folder / name)
        value = None if result is None else result.metrics.get(monitor)
        if run.folds is not None and value is not None:
            alike[json.dumps(run.settings, sort_keys=True)].append((name, run, value))
    rows = []
    for members in alike.values():
        values: dict[tuple[int, ...], list[float]] = defaultdict(list)
        for _, run, value in members:
            values[run.draw].append(value)
        means = [sum(each) / len(each) for each in values.values()]
        mean, interval = sum(means) / len(means), t_interval(means, run.folds)
        ends = "-" if interval is None else " to ".join(map(number, interval))
        first = members[0][0]
        varied = next((jobs[name] for name, *_ in members if name in jobs), first)
        rows.append(_Folds(_REPEATED.sub("", varied).strip() or "all", len(means), mean, ends))
    return rows


def loss_of(folder: Path) -> float:
    """By which jobs are told apart that are level in what is monitored."""
    from mnist_lab.runs.result import Result  # whose pydantic takes a while

    result = Result.read(folder)
    loss = None if result is None else result.metrics.get("val/loss")
    return math.inf if loss is None else loss


def number(value: float | None) -> str:
    """A metric as the table has it."""
    return "-" if value is None else f"{value:.4f}"


def _by_number(path: Path) -> list[str | int]:
    """A key by which numbers within names are in their order."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def _job(folder: Path, monitor: str, mode: str) -> _Job:
    from mnist_lab.runs.result import Result

    unranked = (True, 0.0, 0.0)
    try:
        result = Result.read(folder)
    except LabError as error:
        return _Job(unranked, folder.name, state=str(error))
    if result is None:
        state = "unfinished" if (folder / "config.yaml").exists() else "not started"
        if (folder / REASON).exists():
            reason = (folder / REASON).read_text(encoding="utf-8", errors="replace")
            state = f"failed: {reason.strip()}"
        return _Job(unranked, folder.name, state=state)
    fit = "-" if result.seconds.fit is None else f"{result.seconds.fit:.1f}"
    if result.status != "completed":
        state, epochs = f"{result.status}: {result.reason}", str(result.epochs)
        return _Job(unranked, folder.name, epochs=epochs, seconds=fit, state=state)
    value = result.metrics.get(monitor)
    return _Job(
        (False, 0.0 if value is None else -value if mode == "max" else value, loss_of(folder)),
        folder.name,
        number(value),
        number(result.metrics.get(monitor.replace("val/", "test/"))),
        str(result.epochs),
        fit,
    )
