"""Sweeps: whose a folder is, how each job ended, and the table of all of them.

Imports nothing heavy.
"""

import contextlib
import gc
import json
import os
import socket
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

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

from mnist_lab import LabError
from mnist_lab.cli import arguments, patience, standings
from mnist_lab.cli.errors import told
from mnist_lab.cli.names import as_typed, job_name, register_resolvers
from mnist_lab.settings.roles import mode_of, without_influence
from mnist_lab.system import streams
from mnist_lab.system.devices import own_gpu
from mnist_lab.system.files import left_behind, whole
from mnist_lab.system.log import console_for_warnings

register_resolvers()  # in a launcher's workers, which import this for the callback's sake

# Hydra makes plugins of packages of this name alone, of those too that `Plugins.register` has been
# told of, and runs whatever lies in such a package in every Hydra program of the environment. So
# ours has only the name, by which this command knows it once it has been asked for.
_SEARCH = "hydra_plugins.mnist_lab.OptunaSweeper"
_REPEATS = ("seed", "data.repeat")


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

    def all_ended(self) -> bool:
        """Whether each job has a result, or a reason why it has none."""
        ends = ("result.json", standings.REASON)
        folders = [self.folder / name for name in self.jobs]
        return all(any((folder / end).exists() for end in ends) for folder in folders)


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
    if hydra.sweeper._target_ == _SEARCH:
        if find_spec("optuna") is None:
            raise LabError("hydra/sweeper=optuna: needs optuna; pip install mnist-lab[sweep]")
        from mnist_lab.cli.search import OptunaSweeper

        Plugins.instance().class_name_to_class[_SEARCH] = OptunaSweeper
    jobs = {}
    if hydra.sweeper._target_ == f"{BasicSweeper.__module__}.{BasicSweeper.__name__}":
        (combinations,) = BasicSweeper.split_arguments(overrides, None)
        varied = {each.get_key_element() for each in overrides if each.is_sweep_override()}
        names = job_names(cfg, combinations)
        if not names:
            raise LabError("this sweep has no jobs: a setting has no values")
        for name, each in zip(names, combinations, strict=True):
            jobs[name] = " ".join(text for text in each if text.partition("=")[0] in varied)
        name, count = Counter(names).most_common(1)[0]
        if count > 1:
            raise LabError(
                f"{count} jobs of this sweep are the same: {name}; "
                "each needs a value that changes its result"
            )
    settings = sorted({key for each in overrides if (key := _identity(each)) is not None})
    _find_ray(hydra.launcher)
    patience.check(OmegaConf.select(cfg, patience.KEY))
    _claim(folder, settings)
    patience.begin(folder)
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
        raise LabError(f"hydra.launcher.ray.init.address={address}: {error}") from error


def _claim(folder: Path, settings: list[str]) -> None:
    record = folder / standings.RECORD
    other = "; give this sweep a name of its own, sweep=NAME"
    if record.exists():
        try:
            before = json.loads(record.read_text(encoding="utf-8"))["settings"]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise LabError(f"{record}: cannot be read: {error}") from error
        # More seeds are more of the same, whether it had any of its own or not; so are other folds.
        if {*before, *_REPEATS} != {*settings, *_REPEATS}:
            raise LabError(f"{folder}: is a sweep of {', '.join(map(str, before))}{other}")
    elif folder.is_dir() and set(folder.iterdir()) - set(left_behind(folder)):
        raise LabError(f"{folder}: holds something that is no sweep{other}")
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
    folder, sweep = Path(cfg.folder), Path(hydra.sweep.dir)
    if (line := patience.given_up(sweep)) is not None:
        if _running is not None:  # the launcher has no other process for its jobs: all of them end
            sys.exit(line)
        raise LabError(line)
    start, head = time.perf_counter(), f"#{hydra.job.num} {folder.name}:"
    finished = (folder / "result.json").exists()
    reason = folder / standings.REASON
    try:
        reason.unlink(missing_ok=True)
        if finished:
            yield None
        else:
            with own_gpu(cfg.trainer.accelerator, cfg.trainer.devices) as gpu:
                yield gpu
    except Exception as error:
        known = isinstance(error, LabError | OmegaConfBaseException)
        text = told(error) if known else f"{type(error).__name__}: {error}"
        text = " ".join(text.split())
        print(head, text, flush=True)
        with contextlib.suppress(OSError):  # it has been told
            with whole(reason) as file:
                file.write(text + "\n")
            patience.note_failure(sweep, OmegaConf.select(cfg, patience.KEY))
        raise
    finally:
        # Model, trainer and data refer to each other. Left to chance, they fill the memory of the
        # next jobs' process, too, which joblib then takes for a leak and starts anew.
        gc.collect()
    from mnist_lab.runs.result import Result

    result = Result.read(folder)
    spent = "finished before" if finished else f"{time.perf_counter() - start:.1f} s"
    value = standings.number(None if result is None else result.metrics.get(cfg.monitor))
    outcome = f"{cfg.monitor} {value}"
    if result is not None and result.status == "pruned":
        outcome = f"pruned: {result.reason}"
    print(head, f"{outcome}, {spent}", flush=True)


@contextlib.contextmanager
def reported() -> Iterator[None]:
    """Around a command that may run a sweep: the table of its jobs at the end, however it ends."""
    global _running
    _running = None
    try:
        yield
    except Exception as error:
        # Jobs elsewhere that weren't started say nothing, and the launcher tells of the first.
        line = None if _running is None else patience.given_up(_running.folder)
        if _running is None or line is None or _running.all_ended():
            raise
        raise LabError(line) from error
    finally:
        if _running is not None:
            sweep = _running
            standings.show(sweep.folder, sweep.jobs, sweep.monitor, sweep.mode)
            _running = None
