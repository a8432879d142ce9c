"""The Trainer of `conf/trainer/default.yaml`."""

import logging
import warnings
from collections.abc import Mapping, MutableMapping
from pathlib import Path
from typing import Any, Literal
from weakref import WeakKeyDictionary

import lightning.pytorch as L
import torch
from lightning.fabric.loggers.logger import Logger as AnyLogger  # LitLogger is one, and no other
from lightning.pytorch.callbacks import Callback
from omegaconf import OmegaConf

from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF, in_folder, to_plain
from mnist_lab.settings.roles import mode_of
from mnist_lab.training.attributes import attributes
from mnist_lab.training.handover import HandOver

# What `default_trainer` made each trainer from, and the callbacks that it had then.
built_from: MutableMapping[L.Trainer, tuple[dict[str, Any], list[L.Callback]]] = WeakKeyDictionary()


def precision(accelerator: str = "auto") -> Literal["32-true", "bf16-mixed"]:
    """bf16 where the accelerator computes with it natively, else 32 bits."""
    cuda = accelerator in ("auto", "gpu", "cuda") and torch.cuda.is_available()
    native = cuda and torch.cuda.is_bf16_supported(including_emulation=False)
    return "bf16-mixed" if native else "32-true"


def quieten() -> None:
    """Lightning's announcements (hardware, products) and what it deprecates in itself."""
    for name in ("lightning.pytorch", "lightning.fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", module=r"lightning\.pytorch\.utilities\._pytree")
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", "The number of training batches .* log_every_n_steps")
    warnings.filterwarnings("ignore", "The `srun` command is available")
    # Of several processes' values, which have been put together already.
    warnings.filterwarnings("ignore", r"It is recommended to use .*sync_dist=True")


def default_trainer(
    folder: str | Path,
    *,
    monitor: str = "val/accuracy",
    mode: Literal["min", "max"] | None = None,
    **settings: Any,
) -> L.Trainer:
    """The trainer of `conf/trainer/default.yaml`, with these of its settings changed.

    Callbacks and loggers come as a dictionary by name, `callbacks={"rate": LearningRateMonitor()}`,
    and stand beside the others (or in the place of the one of that name, with None for none);
    a list replaces all of them.

    Args:
        mode: whether less or more of `monitor` is better: its name says it, but for that of a
            metric of one's own.

    Raises:
        ConfigError: a setting that Lightning's Trainer doesn't have, or a value that doesn't fit.
    """
    quieten()
    default = OmegaConf.load(Path(CONF) / "trainer" / "default.yaml")
    better = mode_of(monitor, mode)
    root = {"monitor": monitor, "mode": better, "checkpoint_every_n_steps": None}
    cfg = OmegaConf.create({**root, "trainer": default}, flags={"allow_objects": True})
    for key, value in settings.items():
        OmegaConf.update(cfg, f"trainer.{key}", value, merge=isinstance(value, Mapping))
    root = to_plain(cfg)
    plain = in_folder(root, Path(folder))
    signatures.check(plain["trainer"], L.Trainer, "trainer.")
    built: L.Trainer = signatures.build(plain)["trainer"]
    callbacks = attributes(built).callbacks
    callbacks.insert(0, HandOver())
    built_from[built] = root, [*callbacks]
    return built


def as_list(**named: Callback | AnyLogger | None) -> list[Callback | AnyLogger]:
    """The values of a dictionary by name, without those that were set to null."""
    return [value for value in named.values() if value is not None]
