"""In which settings many configurations differ, and what to call each of them by that."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_lab.reports.figures.style import shortened
from mnist_lab.settings.changes import choices
from mnist_lab.settings.identity import whole_numbers
from mnist_lab.settings.signatures import PARTS

MAX_LENGTH = 40  # of a value, as it is shown

Values = tuple[str | None, ...]
"""Of one setting by configuration, or of one configuration by setting; None where it has none."""


@dataclass(frozen=True)
class Setting:
    """One in which configurations differ.

    Attributes:
        key: as it is set: `model.norm`; for a choice of a class `optimizer`, `model`.
        name: the key, short where that is clear: `norm`.
        leader: the key of the first setting that changes whenever this one does, unless it is this
            one: their effects are one.
    """

    key: str
    name: str
    leader: str | None = None


def distinguish(
    configs: Sequence[Mapping[str, Any]], alone: str
) -> tuple[list[Setting], list[Values], list[str]]:
    """The settings in which nested configurations differ; each one's values of them, and its name.

    What follows from the choice of a class (its own settings) is not told again, nor what an
    interpolation repeats. A single configuration is called `alone`.
    """
    columns = _columns([_flat(config) for config in _by_choice(configs)])
    leaders = _leaders(columns)
    often = Counter(_last(_key(key)) for key in leaders)
    settings = []
    for key, leader in leaders.items():
        name = _last(_key(key)) if often[_last(_key(key))] == 1 else _key(key)
        settings.append(Setting(_key(key), name, None if leader == key else _key(leader)))
    shown = [_shown(key, columns[key]) for key in leaders]
    rows = [tuple(column[index] for column in shown) for index in range(len(configs))]
    names: list[str] = []
    used: Counter[str] = Counter()
    for row in rows:
        parts = zip(settings, row, strict=True)
        name = " ".join(f"{s.name}={value}" for s, value in parts if value is not None) or alone
        used[name] += 1  # values that are shown alike, as 1 and "1" are
        names.append(f"{name} ({used[name]})" if used[name] > 1 else name)
    return settings, rows, names


def natural(value: str | None) -> tuple[bool, float, str]:
    """A key to sort values of settings by: numbers by size, before texts."""
    try:
        return (False, float(value or ""), "")
    except ValueError:
        return (True, 0.0, value or "")


def _by_choice(configs: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """With the names that `conf/` has for choices, where all configurations have one unchanged."""
    for group in PARTS:
        known = {_json(whole_numbers(v)): name for name, v in choices(group).items()}
        names = [known.get(_json(config.get(group))) for config in configs]
        if None not in names:
            configs = [{**config, group: name} for config, name in zip(configs, names, strict=True)]
    return configs


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True)


def printable(text: str) -> str:
    """In one line; what cannot be seen, or would steer a terminal, is written as Python does."""
    return "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _flat(nested: Mapping[str, Any], path: str = "") -> dict[str, str]:
    """Values as JSON by dotted key."""
    flat: dict[str, str] = {}
    for key, value in nested.items():
        if isinstance(value, Mapping) and value:
            flat |= _flat(value, f"{path}{key}.")
        else:
            flat[f"{path}{key}"] = json.dumps(value, ensure_ascii=False)
    return flat


def _columns(flats: Sequence[dict[str, str]]) -> dict[str, Values]:
    """The keys whose values differ; the choice of no class is a class's name like any other."""
    chosen = {key.removesuffix("._target_") for flat in flats for key in flat
              if key.endswith("._target_")}  # fmt: skip
    for flat in flats:
        for key in chosen & flat.keys():
            flat[f"{key}._target_"] = flat.pop(key)
    keys = sorted({key for flat in flats for key in flat}, key=_preference)
    columns = {key: tuple(flat.get(key) for flat in flats) for key in keys}
    return {key: column for key, column in columns.items() if len(set(column)) > 1}


def _preference(key: str) -> tuple[bool, int, int, str]:
    return (not _is_choice(key), key.count("."), len(key), key)


def _is_choice(key: str) -> bool:
    return key == "model.name" or key.endswith("._target_")


def _leaders(columns: Mapping[str, Values]) -> dict[str, str]:
    """Keys that tell the configurations apart, each with the first that changes whenever it does.

    That is itself, unless an earlier one divides the configurations in the same way.
    """
    leaders: dict[str, str] = {}
    first: dict[tuple[int, ...], str] = {}
    for key, column in columns.items():
        if any(_follows(key, column, known, columns[known]) for known in leaders):
            continue
        if any(_last(known) == _last(key) and columns[known] == column for known in leaders):
            continue  # what an interpolation repeats
        numbers: dict[str | None, int] = {}
        pattern = tuple(numbers.setdefault(value, len(numbers)) for value in column)
        leaders[key] = first.setdefault(pattern, key)
    return leaders


def _follows(key: str, column: Values, choice: str, chosen: Values) -> bool:
    """Whether a class that was chosen has this setting, and the choice says its value."""
    return (
        _is_choice(choice)
        and key.startswith(f"{_key(choice)}.")
        and len(set(zip(chosen, column, strict=True))) == len(set(chosen))
    )


def _last(key: str) -> str:
    return key.rpartition(".")[2]


def _key(key: str) -> str:
    return key.rpartition(".")[0] if _is_choice(key) else key


def _shown(key: str, column: Values) -> Values:
    """Values without quotes, classes without their modules unless two share a name."""
    plain = {value: _text(value) for value in column if value is not None}
    if _is_choice(key):
        last = {value: _last(text) for value, text in plain.items()}
        plain = last if len(set(last.values())) == len(last) else plain
    short = dict(zip(plain, shortened([*plain.values()], MAX_LENGTH), strict=True))
    return tuple(None if value is None else short[value] for value in column)


def _text(value: str) -> str:
    if value == "null":
        return "none"
    return printable(str(json.loads(value)) if value.startswith('"') else value)
