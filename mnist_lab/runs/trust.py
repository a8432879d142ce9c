"""Which classes a stored configuration may name."""

import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from mnist_lab.settings import packages
from mnist_lab.settings.signatures import OWN, ConfigError, locate

# Whose classes a stored configuration may name, and which functions.
_PACKAGES = ("mnist_lab", "lightning", "torch", "torchvision.transforms")
_FUNCTIONS = {"mnist_lab.training.trainer.as_list", "mnist_lab.training.trainer.precision"}


def vouch(stored: Any, trust: Sequence[str] = ()) -> None:
    """Refuse a configuration from a file whose targets are not of a kind that a run is built from.

    Allowed are the kinds of classes that a run has of torch (optimizers and their schedules),
    lightning and mnist_lab, torchvision's transforms, the few functions of ours that `conf/` names,
    and whatever the packages hold that are named in `trust`, or that are installed and bring a
    configuration folder. Nothing else is imported.

    Raises:
        ConfigError: the first other target.
    """
    _vouch(stored, (*trust, *packages.folders()))


def _vouch(stored: Any, trust: Sequence[str], path: str = "") -> None:
    if isinstance(stored, list):
        stored = dict(enumerate(stored))
    if not isinstance(stored, Mapping):
        return
    if "_target_" in stored:
        dotted, key = str(stored["_target_"]), f"{path}_target_"
        allowed = (*_PACKAGES, *trust)
        if not dotted.startswith(tuple(f"{package}." for package in allowed)):
            raise ConfigError(f"{key}={dotted}: is not of {', '.join(allowed)}; {OWN}")
        target = locate(dotted, path.rstrip("."))
        if not _vouched(target, dotted, trust):
            raise ConfigError(f"{key}={dotted}: is nothing that a run is built from")
    for name, value in stored.items():
        _vouch(value, trust, f"{path}{name}.")


def _vouched(target: Any, dotted: str, trust: Sequence[str]) -> bool:
    from lightning.fabric.loggers.logger import Logger
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.plugins import Precision
    from lightning.pytorch.profilers import Profiler
    from lightning.pytorch.strategies import Strategy
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from mnist_lab.models import Classifier
    from mnist_lab.models.attacks import PGD
    from mnist_lab.models.distillation import Distillation

    def within(packages: Sequence[str]) -> bool:
        home = f"{getattr(target, '__module__', '')}."
        return home.startswith(tuple(f"{package}." for package in packages))

    if within(trust):
        return True
    if not inspect.isclass(target):
        schedule = dotted.startswith("mnist_lab.models.schedules.")
        return within(["mnist_lab"]) and (schedule or dotted in _FUNCTIONS)
    if within(["torchvision.transforms"]):
        return issubclass(target, nn.Module)
    kinds = (Callback, Classifier, Logger, LRScheduler, Optimizer, Precision, Profiler, Strategy)
    return within(["mnist_lab.data"]) or (
        within(_PACKAGES) and issubclass(target, (*kinds, Distillation, PGD, Trainer))
    )
