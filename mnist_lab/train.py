"""The command `python -m mnist_lab.train`: one run, or, with -m, many."""

import logging
import time
import warnings
from pathlib import Path

import hydra
from hydra.errors import CompactHydraException
from omegaconf import DictConfig, OmegaConf

from mnist_lab import LabError, config

_started = time.perf_counter()  # of the process; of the job, in a sweep's later ones
config.register_resolvers()


@hydra.main(version_base="1.3", config_path=config.CONF, config_name="train")
def main(cfg: DictConfig) -> float | None:
    """One run as composed; its monitored value."""
    try:
        return _run(cfg)
    except LabError as error:
        raise CompactHydraException(str(error)) from error


def _run(cfg: DictConfig) -> float | None:
    global _started
    folder = Path(cfg.folder)
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
    if not settings["trainer"].get("fast_dev_run"):
        OmegaConf.save(OmegaConf.create(plain), folder / "config.yaml")
    result = run.train(
        built["data"],
        built["model"],
        built["trainer"],
        init_from=built["init_from"],
        config_hash=config.fingerprint(plain),
        started=_started,
    )
    _started = time.perf_counter()
    value: float | None = result["metrics"].get(settings["monitor"])
    return value


def _quieten() -> None:
    """Lightning's announcements (hardware, products) and what it deprecates in itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
    warnings.filterwarnings("ignore", "The number of training batches .* log_every_n_steps")


if __name__ == "__main__":
    config.run_command(main)
