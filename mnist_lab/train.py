"""The command `python -m mnist_lab.train`: one run, or, with -m, many."""

import contextlib
import logging
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from mnist_lab import Diverged, LabError
from mnist_lab.cli import command, sweeps
from mnist_lab.cli.names import as_typed, register_resolvers
from mnist_lab.runs.trust import vouch
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF, in_folder, to_plain
from mnist_lab.settings.roles import mode_of
from mnist_lab.system import processes
from mnist_lab.system.log import console_for_warnings

if TYPE_CHECKING:
    from mnist_lab.runs.result import Result

log = logging.getLogger(__name__)
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
        _leave_no_trace(Path(cfg.folder))
        raise
    except OSError as error:
        raise LabError(f"{cfg.folder}: cannot be written to: {error}") from error
    return result.metrics.get(monitor)


def _run(cfg: DictConfig, gpu: int | None) -> tuple["Result", str]:
    """The run's result, found in its folder or made now, and the name of its monitored value."""
    global _started  # here: a launcher's workers get a copy of the function above
    from mnist_lab.runs import folder as run_folder

    started, _started = _started, None
    folder = Path(cfg.folder)
    quick = bool(OmegaConf.select(cfg, "trainer.fast_dev_run"))
    first = processes.rank() == 0  # the others work in its folder, and write nothing
    if first and HydraConfig.get().mode == RunMode.RUN:  # a sweep's jobs have been told
        command.say_loading()
    left_out: list[str] = []
    with run_folder.claimed(folder) if first else contextlib.nullcontext():
        if cfg.resume is not None:
            plain = run_folder.continued(folder, _changes(cfg))
            if not OmegaConf.is_list(cfg.trust):
                raise signatures.ConfigError(f"trust={cfg.trust}: should be a list, [PACKAGE]")
            vouch(plain, tuple(cfg.trust))
        else:
            left_out = signatures.leave_out(cfg, as_typed(HydraConfig.get().overrides.task))
            plain = to_plain(cfg)
        settings = in_folder(plain, folder)
        if gpu is not None:
            settings["trainer"]["devices"] = [gpu]

        from lightning.pytorch import seed_everything

        from mnist_lab.runs.result import Result
        from mnist_lab.training import run
        from mnist_lab.training.trainer import quieten

        quieten()
        signatures.check(settings, run.Settings)
        mode_of(settings["monitor"], settings["mode"])
        seed_everything(settings["seed"], verbose=False)
        built = signatures.build(settings)
        count = built["trainer"].world_size
        if count > 1 and HydraConfig.get().mode == RunMode.MULTIRUN:
            raise signatures.ConfigError(
                f"{count} processes for each job of a sweep: each of them would start the sweep "
                "again; use trainer.devices=1 with hydra/launcher=joblib, which runs jobs side by "
                "side, or start the runs one by one"
            )
        if not first:
            console_for_warnings()
        if cfg.resume is None and first and not quick:
            run_folder.refuse_others(folder, plain, built["data"].source.incidental)
        for line in left_out:
            log.info("%s", line)
        result = None if run_folder.longer(folder, plain) else Result.read(folder)
        untested = result is not None and result.metrics.get("test/accuracy") is None
        if cfg.resume is not None and not (folder / "checkpoints/last.ckpt").exists():
            log.info("%s: has no checkpoint yet, and begins anew", folder)
        if result is None or (result.status == "completed" and untested and settings["test"]):
            result = run.train(
                built["data"],
                built["model"],
                built["trainer"],
                init_from=built["init_from"],
                resume=True,
                test=built["test"],
                plain=plain,
                started=started,
            )
        elif result.status == "completed":
            log.info("Finished before: %s", folder)
        else:
            raise Diverged(f"{folder}: diverged before: {result.reason}")
    return result, settings["monitor"]


def _leave_no_trace(folder: Path) -> None:
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


def _changes(cfg: DictConfig) -> dict[str, Any]:
    """What was set beside `resume`, by key."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        raise signatures.ConfigError(
            "resume continues a single run; a sweep continues when repeated"
        )
    if _named() and processes.rank() == 0:  # the first process names its folder to the others
        raise signatures.ConfigError(
            "resume and hydra.run.dir: each names the run's folder; give one"
        )
    keys = [text.lstrip("+~").partition("=")[0] for text in hydra_config.overrides.task]
    return {
        key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key in keys
        if key not in ("resume", "trust")
        for value in [OmegaConf.select(cfg, key)]
    }


if __name__ == "__main__":
    from mnist_lab import train  # by its name, under which a launcher's workers import it

    command.run(train.main)
