"""What each setting is for, and so which settings make two runs the same."""

import hashlib
import json
import typing
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from mnist_lab.settings.signatures import ConfigError, hint

Mode = Literal["min", "max"]

# What says where, on what and how talkatively a run happens, not what comes out of it.
_WITHOUT_INFLUENCE = (
    "folder",
    "resume",
    "trust",
    "sweep",
    "test",
    "checkpoint_every_n_steps",
    *(f"data.{key}" for key in ("root", "mirror", "device", "eval_batch_size")),
    *(f"trainer.{key}" for key in ("default_root_dir", "accelerator", "devices", "num_nodes")),
    *(f"trainer.{key}" for key in ("logger", "log_every_n_steps", "enable_progress_bar")),
    "trainer.precision.accelerator",
    *(f"trainer.callbacks.{key}" for key in ("console", "dashboard", "last")),
    *(f"trainer.callbacks.{key}" for key in ("figures", "tables", "report")),
)

MODES: Mapping[str, Mode] = {
    "loss": "min",
    "accuracy": "max",
    "precision": "max",
    "recall": "max",
    "f1": "max",
}
"""Whether less or more is better, by the names of what every classifier logs."""

# Sources whose images are known by their checksums: what says only where to get them, as the class
# itself says (`Source.incidental`). It stands here, too, for who can't wait for its import.
INCIDENTAL: Mapping[str, tuple[str, ...]] = {
    "mnist_lab.data.IDXSource": ("root", "urls"),
    "mnist_lab.data.Digits": ("root",),
}

# What files of runs and of users may still call by the name that it had before.
_RENAMED = {
    "mnist_lab.callbacks.Console": "mnist_lab.training.console.Console",
    "mnist_lab.callbacks.History": "mnist_lab.training.history.History",
    "mnist_lab.callbacks.as_list": "mnist_lab.training.trainer.as_list",
    "mnist_lab.continuation.BestCheckpoint": "mnist_lab.training.best.BestCheckpoint",
    "mnist_lab.continuation.Divergence": "mnist_lab.training.stopping.Divergence",
    "mnist_lab.continuation.EarlyStopping": "mnist_lab.training.stopping.EarlyStopping",
    "mnist_lab.continuation.LastCheckpoint": "mnist_lab.training.continuation.LastCheckpoint",
    "mnist_lab.continuation.RandomState": "mnist_lab.training.continuation.RandomState",
    "mnist_lab.dashboard.Board": "mnist_lab.reports.dashboard.Board",
    "mnist_lab.dashboard.Dashboard": "mnist_lab.reports.dashboard.Dashboard",
    "mnist_lab.run.precision": "mnist_lab.training.trainer.precision",
}
_FORMER = {new: old for old, new in _RENAMED.items()}


def with_present_names(settings: Any, names: Mapping[str, str] = _RENAMED) -> Any:
    """A copy of nested plain values in which each `_target_` has the name that it has today."""
    if isinstance(settings, Mapping):
        copy = {key: with_present_names(value, names) for key, value in settings.items()}
        if isinstance(copy.get("_target_"), str):
            copy["_target_"] = names.get(copy["_target_"], copy["_target_"])
        return copy
    if isinstance(settings, list):
        return [with_present_names(value, names) for value in settings]
    return settings


# What every run did at its end before it was done by callbacks.
_OF_EVERY_END = {
    name: {"_target_": f"mnist_lab.reports.callbacks.{name.title()}"}
    for name in ("figures", "tables", "report")
}


def as_of_today(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A stored or composed configuration as it would be written today.

    Classes have their present names, and callbacks by name that were written down when figures,
    tables and report were made without one have these, too.
    """
    trainer = settings.get("trainer")
    if isinstance(trainer, Mapping) and isinstance(trainer.get("callbacks"), Mapping):
        callbacks = trainer["callbacks"]
        if callbacks.get("_target_") == "mnist_lab.callbacks.as_list":  # no longer written
            trainer = {**trainer, "callbacks": {**_OF_EVERY_END, **callbacks}}
            settings = {**settings, "trainer": trainer}
    present: dict[str, Any] = with_present_names(settings)
    return present


def mode_of(monitor: str, mode: str | None = None) -> Mode:
    """Whether less or more of what is monitored is better: its name says it.

    A metric of one's own has no such name: then it is the `mode` that is given.

    Raises:
        ConfigError: a `mode` that contradicts the name, or none where the name says nothing.
    """
    known = MODES.get(str(monitor).removeprefix("val/"))
    if known is None and mode is None:
        raise ConfigError(
            f"monitor={monitor}: no such metric{hint(str(monitor), [f'val/{n}' for n in MODES])} "
            "(of one of your own mode=min or mode=max must say which is better)"
        )
    if known is not None and mode not in (None, known):
        better = "less" if known == "min" else "more"
        raise ConfigError(f"mode={mode}: of {monitor} {better} is better, and its name says so")
    return known or typing.cast(Mode, mode)


def influential(
    plain: Mapping[str, Any], incidental: Sequence[str] | None = None
) -> dict[str, Any]:
    """What determines the result: all but paths, devices and loggers; 0.0 is told as 0.

    Args:
        incidental: the source's own word on what doesn't identify its images; without it, of a
            source that isn't ours everything does.
    """
    kept: dict[str, Any] = whole_numbers(plain)
    root = kept["data"].get("root")
    source = kept["data"].get("source")
    if not isinstance(source, dict):
        source = {}
    if incidental is None:
        incidental = INCIDENTAL.get(str(source.get("_target_")), ())
    for key in _WITHOUT_INFLUENCE:
        *groups, name = key.split(".")
        group: Any = kept
        for each in groups:
            group = group.get(each) if isinstance(group, dict) else None
        if isinstance(group, dict):
            group.pop(name, None)
    for name in incidental:
        source.pop(name, None)
    if "root" not in incidental:
        kept["data"]["root"] = root
    return kept


def whole_numbers(value: Any) -> Any:
    """A copy of nested plain values, with whole floats as integers: both say the same."""
    if isinstance(value, Mapping):
        return {str(key): whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [whole_numbers(each) for each in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return int(value) if whole else value


def without_influence(key: str, source: str | None = None) -> bool:
    """Whether a setting (or all of a group) says nothing about the result.

    Args:
        source: the class of the dataset's source, where it is asked of `data.root`, too.
    """
    if key == "data.root" and source is not None and "root" not in INCIDENTAL.get(source, ()):
        return False
    without = ("study", "search", *_WITHOUT_INFLUENCE)
    return any(f"{key}.".startswith(f"{each}.") for each in without)


def fingerprint(plain: Mapping[str, Any], incidental: Sequence[str] | None = None) -> str:
    """A hash of what determines the result, see `influential`.

    It is made of the names that classes had at first, so that a run's hash never changes.
    """
    kept = with_present_names(influential(plain, incidental), _FORMER)
    text = json.dumps(kept, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
