"""Which settings make two runs the same.

Imports nothing heavy.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from mnist_lab import LabError
from mnist_lab.settings import roles
from mnist_lab.settings.former import first


def influential(plain: Mapping[str, Any], own: Sequence[str] | None = None) -> dict[str, Any]:
    """What determines the result: all but paths, devices and loggers; 0.0 is told as 0.

    Args:
        own: the source's own word on what doesn't identify its images (`Source.incidental`);
            without it, of a source that isn't ours everything does.
    """
    kept: dict[str, Any] = _deciding(whole_numbers(plain))
    for part in ("distil", "attack"):  # of which runs of earlier versions don't speak
        if kept.get(part) is None:
            kept.pop(part, None)
    if kept["data"].get("folds") is None:  # likewise
        for name, none in (("folds", None), ("fold", None), ("repeat", 0)):
            if kept["data"].get(name) == none:
                kept["data"].pop(name, None)
    source = kept["data"].get("source")
    source = source if isinstance(source, dict) else {}
    if source.get("form") == "digit":  # likewise
        del source["form"]
        for name in ("size", "grey"):
            if not source.get(name):
                source.pop(name, None)
    if own is None:
        own = roles.incidental(str(source.get("_target_")), ask=False)
    if "root" not in own:
        kept["data"]["root"] = plain["data"].get("root")
    for name in own:
        source.pop(name, None)
    return kept


class Repetition(NamedTuple):
    """What a run has in common with those that repeat it, and what tells it from them.

    Attributes:
        settings: all that influences its result but its seed and its fold.
        folds: how many folds its data have; None where they are not divided into any.
        draw: what tells it from those that count beside it: the repeat that its folds were drawn
            for and which of them is held out, or else its seed.
    """

    settings: dict[str, Any]
    seed: int
    folds: int | None
    draw: tuple[int, ...]


def repetition(plain: Mapping[str, Any]) -> Repetition:
    """Of a run by its `config.yaml`; the data's seed follows the run's unless it was set.

    Raises:
        LabError: its seed or its fold is none.
    """
    settings = influential(plain)
    data, seed = settings["data"], settings.pop("seed", None)
    if type(seed) is not int or not 0 <= seed < 2**32:
        raise LabError(f"config.yaml: seed={seed}: not a seed")
    if data.get("seed") == seed:
        del data["seed"]
    folds = data.get("folds")
    if folds is None:
        return Repetition(settings, seed, None, (seed,))
    fold, repeat = data.pop("fold", None), data.pop("repeat", 0)
    whole = all(type(each) is int for each in (folds, fold, repeat))
    if not whole or not 0 <= fold < folds or folds < 2:
        raise LabError(f"config.yaml: data.fold={fold}: not one of data.folds={folds}")
    return Repetition(settings, seed, folds, (repeat, fold))


def _deciding(settings: Mapping[str, Any], path: str = "") -> dict[str, Any]:
    return {
        name: _deciding(value, f"{path}{name}.") if isinstance(value, dict) else value
        for name, value in settings.items()
        if not roles.without_influence(f"{path}{name}")
    }


def whole_numbers(value: Any) -> Any:
    """A copy of nested plain values, with whole floats as integers: both say the same."""
    if isinstance(value, Mapping):
        return {str(key): whole_numbers(each) for key, each in value.items()}
    if isinstance(value, list):
        return [whole_numbers(each) for each in value]
    whole = isinstance(value, float) and value.is_integer() and abs(value) < 1e15
    return int(value) if whole else value


def fingerprint(plain: Mapping[str, Any], own: Sequence[str] | None = None) -> str:
    """A hash of what determines the result, see `influential`.

    It is made of the form that configurations had at first, so that a run's hash never changes.
    """
    text = json.dumps(first(influential(plain, own)), sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]
