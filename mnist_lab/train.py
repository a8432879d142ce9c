"""The command `python -m mnist_lab.train`: one run, or, with -m, many."""

import logging
import time
import warnings
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import CompactHydraException
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf

from mnist_lab import Diverged, LabError, command, config, sweep

log = logging.getLogger(__name__)
_started = time.perf_counter()  # of the process; of the job, in a sweep's later ones
command.register_resolvers()


def main() -> None:
    """One run, or a sweep and the table of its jobs."""
    with sweep.reported():
        _main()


@hydra.main(version_base="1.3", config_path=config.CONF, config_name="train")
def _main(cfg: DictConfig) -> float | None:
    """One run as composed, or as stored in `resume`; its monitored value."""
    global _started
    try:
        with sweep.job(cfg):
            result, monitor = _run(cfg)
    except LabError as error:
        raise CompactHydraException(str(error)) from error
    except OSError as error:
        raise CompactHydraException(f"{cfg.folder}: cannot be written to: {error}") from error
    finally:
        _started = time.perf_counter()
    value: float | None = result["metrics"].get(monitor)
    return value


def _run(cfg: DictConfig) -> tuple[dict[str, Any], str]:
    """The run's result, found in its folder or made now, and the name of its monitored value."""
    from mnist_lab import folder as run_folder

    folder = Path(cfg.folder)
    quick = bool(OmegaConf.select(cfg, "trainer.fast_dev_run"))
    with run_folder.claimed(folder):
        if cfg.resume is not None:
            plain = run_folder.continued(folder, _changes(cfg))
            if not OmegaConf.is_list(cfg.trust):
                raise config.ConfigError(f"trust={cfg.trust}: should be a list, [PACKAGE]")
            config.vouch(plain, tuple(cfg.trust))
        else:
            plain = config.to_plain(cfg)
        settings = config.in_folder(plain, folder)

        from lightning.pytorch import seed_everything

        from mnist_lab import run

        _quieten()
        config.check(settings, run.Settings)
        if not 0 <= settings["seed"] < 2**32:
            raise config.ConfigError(f"seed={settings['seed']}: must lie between 0 and {2**32 - 1}")
        seed_everything(settings["seed"], verbose=False)
        built = config.build(settings)
        if not quick:
            run_folder.write_config(folder, plain)
        result = run_folder.read_result(folder)
        if result is None:
            result = run.train(
                built["data"],
                built["model"],
                built["trainer"],
                init_from=built["init_from"],
                resume=True,
                config_hash=config.fingerprint(plain),
                started=_started,
            )
        elif result["status"] == "completed":
            log.info("Finished before: %s", folder)
        else:
            raise Diverged(f"{folder}: diverged before: {result.get('reason')}")
    return result, settings["monitor"]


def _changes(cfg: DictConfig) -> dict[str, Any]:
    """What was set beside `resume`, by key."""
    hydra_config = HydraConfig.get()
    if hydra_config.mode == RunMode.MULTIRUN:
        raise config.ConfigError("resume continues a single run; a sweep continues when repeated")
    if any(text.lstrip("+").startswith("hydra.run.dir") for text in hydra_config.overrides.hydra):
        raise config.ConfigError("resume and hydra.run.dir: each names the run's folder; give one")
    keys = [text.lstrip("+~").partition("=")[0] for text in hydra_config.overrides.task]
    return {
        key: OmegaConf.to_container(value) if OmegaConf.is_config(value) else value
        for key in keys
        if key not in ("resume", "trust", "checkpoint_every_n_steps")
        for value in [OmegaConf.select(cfg, key)]
    }


def _quieten() -> None:
    """Lightning's announcements (hardware, products) and what it deprecates in itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The number of training batches .* log_every_n_steps")


if __name__ == "__main__":
    from mnist_lab import train  # by its name, under which a launcher's workers import it

    command.run(train.main)
