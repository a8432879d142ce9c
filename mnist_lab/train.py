"""The command `python -m mnist_lab.train`: one run, or, with -m, many."""

import contextlib
import time
from pathlib import Path
from typing import TYPE_CHECKING

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_lab import LabError
from mnist_lab.cli import command, folders, sweeps
from mnist_lab.cli.names import as_typed, register_resolvers
from mnist_lab.runs import folder as run_folder
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF, to_plain, validate_on_fold
from mnist_lab.system import processes
from mnist_lab.system.imports import swift_imports
from mnist_lab.system.log import console_for_warnings

if TYPE_CHECKING:
    from mnist_lab.runs.result import Result

_started: float | None = time.perf_counter()  # of the process, for the first job in it
register_resolvers()


def main() -> None:
    """One run, or a sweep and the table of its jobs."""
    with sweeps.reported():
        _main()


@hydra.main(version_base="1.3", config_path=CONF, config_name="train")
def _main(cfg: DictConfig) -> float | None:
    """One run as composed, or as stored in `resume`; its monitored value."""
    raw = OmegaConf.to_container(cfg)
    if isinstance(raw, dict) and raw.get("folder") == "${folder}":  # a run's config.yaml, repeated
        cfg.folder = HydraConfig.get().runtime.output_dir
    try:
        with sweeps.job(cfg) as gpu:
            result, monitor = _run(cfg, gpu)
    except (LabError, OmegaConfBaseException):
        folders.leave_no_trace(Path(cfg.folder))
        raise
    except OSError as error:
        raise LabError(f"{cfg.folder}: cannot be written to: {error}") from error
    return result.metrics.get(monitor)


def _run(cfg: DictConfig, gpu: int | None) -> tuple["Result", str]:
    """The run's result, and the name of its monitored value."""
    global _started  # here: a launcher's workers get a copy of the function above
    started, _started = _started, None
    folder, hydra_config = Path(cfg.folder), HydraConfig.get()
    first = processes.rank() == 0  # the others work in its folder, and write nothing
    if not first:
        console_for_warnings()
    elif hydra_config.mode == RunMode.RUN:  # a sweep's jobs have been told
        command.say_loading()
    notes: list[str] = []
    with run_folder.claimed(folder) if first else contextlib.nullcontext():
        if cfg.resume is not None:
            if not OmegaConf.is_list(cfg.trust):
                raise LabError(f"trust={cfg.trust}: should be a list, [PACKAGE]")
            plain = run_folder.continued(folder, folders.changes(cfg), tuple(cfg.trust))
        else:
            typed = as_typed(hydra_config.overrides.task)
            with swift_imports():  # of the classes that it asks
                notes = signatures.leave_out(cfg, typed)
            validate_on_fold(cfg, [text.lstrip("+").partition("=")[0] for text in typed])
            for key in OmegaConf.missing_keys(cfg):
                raise LabError(f"{key}: a value is missing")
            plain = to_plain(cfg)
        with swift_imports():
            from mnist_lab.cli.pruning import watching
            from mnist_lab.training.configured import train_configured

        result = train_configured(
            plain,
            folder,
            resume=cfg.resume is not None,
            gpu=gpu,
            alone=hydra_config.mode == RunMode.MULTIRUN,
            callbacks=watching(cfg),
            notes=notes,
            started=started,
        )
    return result, plain["monitor"]


if __name__ == "__main__":
    from mnist_lab import train  # by its name, under which a launcher's workers import it

    command.run(train.main)
