"""What is typed about a run's folder: its name, or one to continue and what to change in it."""

from pathlib import Path
from typing import Any

from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mnist_lab import LabError
from mnist_lab.system import processes


def changes(cfg: DictConfig) -> dict[str, Any]:
    """What was set beside `resume`, by key.

    Raises:
        LabError: in a sweep, or beside another name of the folder.
    """
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        raise LabError("resume continues a single run; a sweep continues when repeated")
    if _named() and processes.rank() == 0:  # the first process names its folder to the others
        raise LabError("resume and hydra.run.dir: each names the run's folder; give one")
    keys = [text.lstrip("+~").partition("=")[0] for text in hydra_config.overrides.task]
    return {
        key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key in keys
        if key not in ("resume", "trust")
        for value in [OmegaConf.select(cfg, key)]
    }


def leave_no_trace(folder: Path) -> None:
    """Of a refused run, a folder whose name this command drew, and which nobody else can be in."""
    lock = folder / ".lock"
    drawn = HydraConfig.get().mode == RunMode.RUN and not _named()
    if drawn and folder.is_dir() and set(folder.iterdir()) <= {lock}:
        lock.unlink(missing_ok=True)
        folder.rmdir()


def _named() -> bool:
    """Whether the run's folder was named on the command line."""
    overrides = HydraConfig.get().overrides.hydra
    return any(text.lstrip("+").startswith("hydra.run.dir") for text in overrides)
