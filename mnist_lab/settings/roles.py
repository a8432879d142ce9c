"""What each setting is for: one table, and what follows from it.

Imports nothing heavy.
"""

import difflib
import typing
from collections.abc import Mapping
from enum import Flag, auto
from typing import Literal

from mnist_lab.settings.signatures import ConfigError, hint, locate

Mode = Literal["min", "max"]

MODES: Mapping[str, Mode] = {
    "loss": "min",
    "accuracy": "max",
    "precision": "max",
    "recall": "max",
    "f1": "max",
    "corruption_error": "min",
}
"""Whether less or more is better, by the names of what classifiers log; what follows a slash says
of what (`corruption_error/fog`)."""


class Role(Flag):
    """What a setting is for; most are for several things."""

    METHOD = auto()
    """Decides what comes out: runs that differ in it are different runs."""
    PLACE = auto()
    """A path, an address or the name of a folder."""
    DEVICE = auto()
    """On what something is computed, and in what portions."""
    TALK = auto()
    """What is told, looked at, kept or allowed besides."""
    SPLIT = auto()
    """How images are divided: an evaluation takes it over from the checkpoint."""
    DATA = auto()
    """What images are validated and tested on: values of different ones are never compared."""
    CHANGEABLE = auto()
    """May be set beside `resume`."""
    SHOWN = auto()
    """A column of TensorBoard's HParams."""


METHOD, PLACE, DEVICE, TALK, SPLIT, DATA, CHANGEABLE, SHOWN = Role

ROLES: Mapping[str, Role] = {
    # The root of train.yaml.
    "seed": METHOD | SHOWN,
    "monitor": METHOD,
    "mode": METHOD,
    "init_from": METHOD | PLACE,
    "test": TALK,
    "sweep": PLACE,
    "artefacts": TALK | CHANGEABLE,
    "sweep_patience": TALK,
    "resume": PLACE,
    "folder": PLACE,
    "threads": DEVICE | CHANGEABLE,
    "trust": TALK,
    "checkpoint_every_n_steps": TALK | CHANGEABLE,
    "study": TALK,  # it is what they set that counts
    "search": TALK,
    "tracker": TALK,
    # Objects whose settings are all alike: a new one needs no row.
    "augment": METHOD | SHOWN,
    "model": METHOD | SHOWN,
    "optimizer": METHOD | SHOWN,
    "scheduler": METHOD | SHOWN,
    "distil": METHOD | SHOWN,
    "distil.teachers": METHOD | PLACE,
    "attack": METHOD | SHOWN,
    # The data.
    "data._target_": METHOD | DATA,
    "data.source": METHOD | DATA,  # but for what its class says, see `incidental`
    "data.root": PLACE | DATA | CHANGEABLE,  # likewise
    "data.mirror": PLACE | CHANGEABLE,
    "data.batch_size": METHOD | SHOWN,
    "data.train_size": METHOD | SPLIT | SHOWN,
    "data.val_size": METHOD | SPLIT | DATA | SHOWN,
    "data.split_seed": METHOD | SPLIT | DATA,
    "data.folds": METHOD | SPLIT | DATA | SHOWN,
    "data.fold": METHOD | SPLIT | SHOWN,  # by which runs are repeated, as by their seed
    "data.repeat": METHOD | SPLIT | SHOWN,  # likewise
    "data.augment": METHOD,
    "data.seed": METHOD,
    "data.eval_batch_size": DEVICE,
    "data.device": DEVICE | CHANGEABLE,
    # Lightning's Trainer: what isn't named decides, for all that is known here.
    "trainer": METHOD,
    "trainer.limit_val_batches": METHOD | DATA,
    "trainer.limit_test_batches": METHOD | DATA,
    "trainer.overfit_batches": METHOD | DATA,
    "trainer.max_epochs": METHOD | CHANGEABLE | SHOWN,
    "trainer.precision": METHOD | SHOWN,
    "trainer.precision.accelerator": DEVICE,
    "trainer.accelerator": DEVICE | CHANGEABLE,
    "trainer.devices": DEVICE | CHANGEABLE,
    "trainer.num_nodes": DEVICE | CHANGEABLE,
    "trainer.default_root_dir": PLACE,
    "trainer.log_every_n_steps": TALK,
    "trainer.enable_progress_bar": TALK,
    "trainer.logger": TALK,
    "trainer.callbacks.console": TALK,
    "trainer.callbacks.random_state": METHOD,
    "trainer.callbacks.divergence": METHOD,
    "trainer.callbacks.best": METHOD,
    "trainer.callbacks.last": TALK,
    "trainer.callbacks.early_stopping": METHOD,
    "trainer.callbacks.ema": METHOD | SHOWN,
    "trainer.callbacks.dashboard": TALK,
    "trainer.callbacks.figures": TALK,
    "trainer.callbacks.tables": TALK,
    "trainer.callbacks.report": TALK,
    # The other commands.
    "checkpoint": METHOD | PLACE,
    "input": METHOD | PLACE,
    "runs": METHOD | PLACE,
    "metric": METHOD,
    "output": PLACE,
    "overwrite": TALK,
    "format": TALK,
    "device": DEVICE,
    "batch_size": DEVICE,
    "split": METHOD,
    "tta": METHOD,
    "inside": TALK,
    "images": TALK,
    "corrupt": METHOD,
    "reference": TALK,
    "disputed": TALK,
    "calibrate": METHOD,
    "accuracy": METHOD,
    "foreign": METHOD,
    "temperature": METHOD,
    "confident": METHOD,
    "lines": METHOD,
    "boxes": PLACE,
    "invert": METHOD,
    "scale": METHOD,
    "transpose": METHOD,
    # Hydra's.
    "hydra.run.dir": PLACE,
    "hydra.sweep.dir": PLACE,
}
"""By a setting's key; what has no row of its own is what stands above it is."""

REPEATED: Mapping[str, str] = {
    "checkpoint_every_n_steps": "trainer.callbacks.last.every_n_steps",
    "trainer.accelerator": "trainer.precision.accelerator",
}
"""Where `conf/` computes something from a setting that may be changed: stored, it stands twice."""

_INCIDENTAL: Mapping[str, tuple[str, ...]] = {
    "mnist_lab.data.IDXSource": ("root", "urls", "torchvision"),
    "mnist_lab.data.Digits": ("root",),
    "mnist_lab.data.TorchvisionSource": ("root",),
}
"""What these say of themselves, for who can't wait for their import."""


def role_of(key: str) -> Role:
    """What a setting is for, or all of a group; one that nobody knows decides what comes out."""
    while key not in ROLES and "." in key:
        key = key.rpartition(".")[0]
    return ROLES.get(key, Role.METHOD)


def keys(role: Role, below: str = "") -> list[str]:
    """The settings that have this role, in the order of the table."""
    return [key for key, roles in ROLES.items() if role in roles and key.startswith(below)]


def without_influence(key: str, source: str | None = None) -> bool:
    """Whether a setting (or all of a group) says nothing about the result.

    Args:
        source: the class of the dataset's source, where it is asked of `data.root`, too.
    """
    if key == "data.root" and source is not None:
        return "root" in incidental(source)
    return Role.METHOD not in role_of(key)


def incidental(source: str, ask: bool = True) -> tuple[str, ...]:
    """What doesn't identify the images of a source (`Source.incidental`), by its class's name.

    Args:
        ask: import the class, unless it is ours; else all of it counts.

    Raises:
        ConfigError: it cannot be imported.
    """
    if source in _INCIDENTAL or not ask:
        return _INCIDENTAL.get(source, ())
    names: tuple[str, ...] = getattr(locate(source, "data.source"), "incidental", ())
    return names


def mode_of(monitor: str, mode: str | None = None) -> Mode:
    """Whether less or more of what is monitored is better: its name says it.

    A metric of one's own has no such name: then it is the `mode` that is given.

    Raises:
        ConfigError: a `mode` that contradicts the name, or none where the name says nothing.
    """
    known = MODES.get(str(monitor).removeprefix("val/"))
    if known is None and mode is None:
        names = [f"val/{name}" for name in MODES]
        own = "of a metric of your own mode=min or mode=max must say which is better"
        if difflib.get_close_matches(str(monitor), names):
            raise ConfigError(f"monitor={monitor}: no such metric{hint(monitor, names)} ({own})")
        raise ConfigError(f"monitor={monitor}: {own}")
    if known is not None and mode not in (None, known):
        better = "less" if known == "min" else "more"
        raise ConfigError(f"mode={mode}: of {monitor} {better} is better, and its name says so")
    return known or typing.cast(Mode, mode)
