"""Sweeps: whose a folder is, how each job ended, and the table of all of them.

Imports nothing heavy.
"""

import contextlib
import gc
import json
import math
import os
import re
import shlex
import socket
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from filelock import FileLock, Timeout
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.override_parser.types import Override
from hydra.core.plugins import Plugins
from hydra.errors import HydraException
from hydra.experimental.callback import Callback
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_lab import FileOrSettingError, LabError
from mnist_lab.cli import arguments
from mnist_lab.cli.errors import told
from mnist_lab.cli.names import as_typed, job_name, register_resolvers
from mnist_lab.runs import folder as run_folder
from mnist_lab.settings.roles import mode_of, without_influence
from mnist_lab.system import streams
from mnist_lab.system.files import left_behind, whole
from mnist_lab.system.log import console_for_warnings

if TYPE_CHECKING:
    from mnist_lab.runs.result import Result

register_resolvers()  # in a launcher's workers, which import this for the callback's sake

# Hydra takes plugins of packages of this name alone, and runs whatever lies in such a one in every
# Hydra program of the environment. So ours has only the name, which is made known when it is used.
SEARCH = "hydra_plugins.mnist_lab.OptunaSweeper"
RECORD = "sweep.json"
_LISTED = 100  # finished jobs in the table; `compare` writes down all of them
REASON = "failed.txt"  # in the folder of a job that could not be run to its end


class SweepError(FileOrSettingError):
    """A sweep that cannot be run as asked."""


@dataclass
class Sweep:
    """The sweep that this process runs.

    Attributes:
        jobs: what each job sets of what the sweep varies, by the names of their folders; of a
            search those that have been chosen.
    """

    folder: Path
    jobs: dict[str, str]
    monitor: str
    mode: str


_running: Sweep | None = None


class Start(Callback):
    """Refuses a sweep before its first job, and before anything of another one is touched.

    A launcher's workers get a copy of it, by which they come into the folder of the command.
    """

    def __init__(self) -> None:
        self.folder = Path.cwd()

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        os.chdir(self.folder)  # those of a Ray that runs already stand where that was started
        streams.steady()

    def on_run_start(self, config: DictConfig, **kwargs: Any) -> None:
        # Here the run's folder hasn't been made yet.
        if any(text.startswith("sweep=") for text in config.hydra.overrides.task):
            sys.exit(f"sweep={config.sweep}: names a sweep, which takes -m")

    def on_multirun_start(self, config: DictConfig, **kwargs: Any) -> None:
        global _running
        try:
            _running = _opened(config)
        except (LabError, OmegaConfBaseException, HydraException) as error:
            sys.exit(told(error))  # any exception, Hydra would only warn of
        except OSError as error:
            sys.exit(f"{config.hydra.sweep.dir}: cannot be written to: {error}")


def _opened(cfg: DictConfig) -> Sweep:
    hydra = cfg.hydra
    params = [f"{key}={value}" for key, value in (hydra.sweeper.get("params") or {}).items()]
    loader = GlobalHydra.instance().config_loader()
    parser = OverridesParser.create(config_loader=loader)
    overrides = parser.parse_overrides([*params, *as_typed(hydra.overrides.task)])
    arguments.add_to_jobs(loader, cfg, overrides)
    folder = Path(hydra.sweep.dir)
    if hydra.sweeper._target_ == SEARCH:
        if find_spec("optuna") is None:
            raise SweepError("hydra/sweeper=optuna: needs optuna; pip install mnist-lab[sweep]")
        from mnist_lab.cli.search import OptunaSweeper

        Plugins.instance().class_name_to_class[SEARCH] = OptunaSweeper
    jobs = {}
    if hydra.sweeper._target_ == f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
        (combinations,) = BasicSweeper.split_arguments(overrides, None)
        varied = {each.get_key_element() for each in overrides if each.is_sweep_override()}
        names = job_names(cfg, combinations)
        if not names:
            raise SweepError("this sweep has no jobs: a setting has no values")
        for name, each in zip(names, combinations, strict=True):
            jobs[name] = " ".join(text for text in each if text.partition("=")[0] in varied)
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise SweepError(
                f"{count} jobs of this sweep are the same: {name}; "
                "each needs a value that changes its result"
            )
    settings = sorted({key for each in overrides if (key := _identity(each)) is not None})
    _find_ray(hydra.launcher)
    _claim(folder, settings)
    return Sweep(folder, jobs, cfg.monitor, mode_of(cfg.monitor, cfg.mode))


def job_names(cfg: DictConfig, jobs: Sequence[Sequence[str]]) -> list[str]:
    """The folders of a sweep's jobs by their overrides, as the jobs themselves name them."""
    loader = GlobalHydra.instance().config_loader()

    def source(overrides: Sequence[str]) -> str | None:
        if not any(text.lstrip("+").startswith("data.root=") for text in overrides):
            return None  # it makes no difference
        composed = loader.load_sweep_config(cfg, list(overrides))
        return str(composed.data.source._target_)

    return [job_name(each, source(each)) for each in jobs]


def note_jobs(names: Sequence[str], varied: Sequence[Sequence[str]]) -> None:
    """Note jobs that a search has chosen, and what they set of what it varies."""
    if _running is not None:
        _running.jobs |= {name: " ".join(v) for name, v in zip(names, varied, strict=True)}


def _identity(override: Override) -> str | None:
    """What tells a sweep with this override from others: its key, if that has any influence."""
    key = override.get_key_element().lstrip("+")
    if key in ("study", "search"):
        return f"{key}={override.get_value_element_as_str()}"
    return None if without_influence(key) else key


def _find_ray(launcher: DictConfig) -> None:
    """Refuse a Ray that isn't there, for which Ray itself waits without end; hold its token ready.

    A Ray asks for the token that its machine keeps, but doesn't look for it when it joins one.
    """
    address = OmegaConf.select(launcher, "ray.init.address")
    if address is None:
        return
    if (Path.home() / ".ray/auth_token").exists():
        os.environ.setdefault("RAY_AUTH_MODE", "token")
    host, _, port = str(address).rpartition(":")
    if address == "auto":
        return
    try:
        socket.create_connection((host, int(port)), timeout=10).close()
    except (OSError, ValueError, OverflowError) as error:
        raise SweepError(f"hydra.launcher.ray.init.address={address}: {error}") from error


def _claim(folder: Path, settings: list[str]) -> None:
    record = folder / RECORD
    other = "; give this sweep a name of its own, sweep=NAME"
    if record.exists():
        try:
            before = json.loads(record.read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise SweepError(f"{record}: cannot be read: {error}") from error
        # More seeds are more of the same, whether it had any of its own or not.
        if {*before, "seed"} != {*settings, "seed"}:
            raise SweepError(f"{folder}: is a sweep of {', '.join(map(str, before))}{other}")
    elif folder.is_dir() and set(folder.iterdir()) - set(left_behind(folder)):
        raise SweepError(f"{folder}: holds something that is no sweep{other}")
    else:
        folder.mkdir(parents=True, exist_ok=True)
        with whole(record) as file:
            json.dump({"settings": settings}, file)


@contextlib.contextmanager
def job(cfg: DictConfig) -> Iterator[int | None]:
    """Around one run: if it is a sweep's, a line on the console instead of all that it logs.

    Why a job failed is left in its folder, for the table. Where there are several GPUs it has one
    of them to itself: the number of it, else None.
    """
    hydra = HydraConfig.get()
    if hydra.mode != RunMode.MULTIRUN:
        yield None
        return
    console_for_warnings()
    folder = Path(cfg.folder)
    start, head = time.perf_counter(), f"#{hydra.job.num} {folder.name}:"
    finished = (folder / "result.json").exists()
    reason = folder / REASON
    try:
        reason.unlink(missing_ok=True)
        with _own_gpu(cfg) if not finished else contextlib.nullcontext() as gpu:
            yield gpu
    except Exception as error:
        known = isinstance(error, LabError | OmegaConfBaseException)
        text = told(error) if known else f"{type(error).__name__}: {error}"
        text = " ".join(text.split())
        print(head, text, flush=True)
        with contextlib.suppress(OSError), whole(reason) as file:  # it has been told
            file.write(text + "\n")
        raise
    finally:
        # Model, trainer and data refer to each other. Left to chance, they fill the memory of the
        # next jobs' process, too, which joblib then takes for a leak and starts anew.
        gc.collect()
    result = _result(folder)
    spent = "finished before" if finished else f"{time.perf_counter() - start:.1f} s"
    value = _number(None if result is None else result.metrics.get(cfg.monitor))
    print(head, f"{cfg.monitor} {value}, {spent}", flush=True)


@contextlib.contextmanager
def _own_gpu(cfg: DictConfig) -> Iterator[int | None]:
    """Wait for one of this machine's GPUs that no other job is using, of whatever sweep."""
    import torch

    count = torch.cuda.device_count()
    trainer = cfg.trainer
    if count < 2 or trainer.devices != 1 or trainer.accelerator not in ("auto", "gpu", "cuda"):
        yield None
        return
    # Not by their numbers, which differ between processes with other CUDA_VISIBLE_DEVICES.
    names = [str(torch.cuda.get_device_properties(number).uuid) for number in range(count)]
    with unused(names) as number:
        yield number


@contextlib.contextmanager
def unused(names: Sequence[str]) -> Iterator[int]:
    """Wait for one of this machine's devices that no other process of this user's has; its place.

    Whoever has one holds a lock on a file named after it, in the folder for temporary files.
    """
    folder = Path(tempfile.gettempdir())
    while True:
        for number, name in enumerate(names):
            lock = FileLock(folder / f"mnist_lab-{os.getuid()}-{name}.lock", timeout=0)
            try:
                lock.acquire()
            except Timeout:
                continue
            try:
                yield number
            finally:
                lock.release()
            return
        time.sleep(0.2)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Around a command that may run a sweep: the table of its jobs at the end, however it ends."""
    global _running
    _running = None
    try:
        yield
    finally:
        if _running is not None:
            _report(_running)
            _running = None


def _report(sweep: Sweep) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    known = [
        path.name
        for path in sorted(sweep.folder.iterdir(), key=_by_number)
        if (path / "config.yaml").exists() or (path / REASON).exists()
    ]
    rows = [_row(sweep.folder / name, sweep) for name in dict.fromkeys([*sweep.jobs, *known])]
    rows.sort(key=lambda row: row[0])
    test = sweep.monitor.replace("val/", "test/")
    table = Table(title=Text(str(sweep.folder)), title_justify="left")
    for name in ("#", "job", sweep.monitor, test, "epochs", "fit s"):
        table.add_column(name, justify="left" if name == "job" else "right", overflow="fold")
    if any(row[-1] for row in rows):
        table.add_column("state", overflow="fold")
    finished = sum(order[0] == 0 for order, *_ in rows)
    for rank, (order, *cells) in enumerate(rows, 1):
        if not _LISTED < rank <= finished:
            table.add_row(
                *map(Text, [str(rank) if order[0] == 0 else "-", *cells][: len(table.columns)])
            )
    if finished > _LISTED:
        table.caption = Text(f"and {finished - _LISTED:,} finished jobs more")
    console = Console()
    if not console.is_terminal:
        console.width = 1000  # a row is a line, to be searched
    console.print(table)
    if finished and sweep.jobs.get(rows[0][1]):  # whose name may be too short to say it
        console.print(f"Best: {sweep.jobs[rows[0][1]]}", markup=False, soft_wrap=True)
    command = f"python -m mnist_lab.compare {shlex.quote(f'runs={sweep.folder}')}"
    console.print(command, markup=False, soft_wrap=True)


def _by_number(path: Path) -> list[str | int]:
    """A key by which numbers within names are in their order."""
    return [int(part) if part.isdecimal() else part for part in re.split(r"(\d+)", path.name)]


def loss_of(folder: Path) -> float:
    """By which jobs are told apart that are level in what is monitored."""
    result = _result(folder)
    loss = None if result is None else result.metrics.get("val/loss")
    return math.inf if loss is None else loss


def _result(folder: Path) -> "Result | None":
    from mnist_lab.runs.result import Result  # whose pydantic takes a while

    return Result.read(folder)


def _row(
    folder: Path, sweep: Sweep
) -> tuple[tuple[int, float, float], str, str, str, str, str, str]:
    """What to sort by, then the cells."""
    try:
        result = _result(folder)
    except run_folder.FolderError as error:
        return (1, 0.0, 0.0), folder.name, "-", "-", "-", "-", str(error)
    if result is None or result.status == "diverged":
        reason = folder / REASON
        if result is not None:
            state = f"diverged: {result.reason}"
        elif reason.exists():
            state = f"failed: {reason.read_text(encoding='utf-8', errors='replace').strip()}"
        else:
            state = "unfinished" if (folder / "config.yaml").exists() else "not started"
        return (1, 0.0, 0.0), folder.name, "-", "-", "-", "-", state
    value = result.metrics.get(sweep.monitor)
    order = 0.0 if value is None else -value if sweep.mode == "max" else value
    test = result.metrics.get(sweep.monitor.replace("val/", "test/"))
    seconds = result.seconds.fit
    return (
        (0, order, loss_of(folder)),
        folder.name,
        _number(value),
        _number(test),
        str(result.epochs),
        "-" if seconds is None else f"{seconds:.1f}",
        "",
    )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"
