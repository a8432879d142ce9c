"""Configurations as earlier versions stored them, brought to today's form, and back to the first.

Imports nothing heavy.
"""

from collections.abc import Mapping
from typing import Any

from mnist_lab.settings.signatures import PARTS

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
_FIRST_NAMES = {new: old for old, new in _RENAMED.items()}

# What every run did at its end before it was done by callbacks.
_OF_EVERY_END = {
    name: {"_target_": f"mnist_lab.reports.callbacks.{name.title()}"}
    for name in ("figures", "tables", "report")
}


def present(stored: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration in today's form, whichever it had.

    In the first form some classes had other names, figures, tables and report were made without a
    callback, and `optimizer`, `scheduler` and `augment` were repeated where they are used.
    """
    settings: dict[str, Any] = _named(stored, _RENAMED)
    callbacks = stored["trainer"].get("callbacks")
    written = callbacks.get("_target_") if isinstance(callbacks, Mapping) else None
    if written == "mnist_lab.callbacks.as_list":  # as it is no longer called
        settings["trainer"]["callbacks"] = {**_OF_EVERY_END, **settings["trainer"]["callbacks"]}
    for part, owner in PARTS.items():
        repeats = settings.get(owner) or {}
        if part in repeats and part in settings and repeats[part] == settings[part]:
            del repeats[part]
    return settings


def first(settings: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a configuration in the form of the first versions, which a run's hash is of."""
    stored: dict[str, Any] = _named(settings, _FIRST_NAMES)
    for part, owner in PARTS.items():
        if part in stored:
            stored[owner].setdefault(part, stored[part])
    return stored


def _named(settings: Any, names: Mapping[str, str]) -> Any:
    """A copy of nested plain values with other names of classes."""
    if isinstance(settings, Mapping):
        copy = {key: _named(value, names) for key, value in settings.items()}
        if isinstance(copy.get("_target_"), str):
            copy["_target_"] = names.get(copy["_target_"], copy["_target_"])
        return copy
    if isinstance(settings, list):
        return [_named(value, names) for value in settings]
    return settings
