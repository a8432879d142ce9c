"""Which settings make two runs the same.

Imports nothing heavy.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

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
    source = kept["data"].get("source")
    source = source if isinstance(source, dict) else {}
    if own is None:
        own = roles.incidental(str(source.get("_target_")), ask=False)
    if "root" not in own:
        kept["data"]["root"] = plain["data"].get("root")
    for name in own:
        source.pop(name, None)
    return kept


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
