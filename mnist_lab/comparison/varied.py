"""In which settings many configurations differ, and what to call each of them by that."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from mnist_lab.reports.figures.style import shortened
from mnist_lab.settings.changes import choices
from mnist_lab.settings.roles import whole_numbers

MAX_LENGTH = 40  # of a value, as it is shown


@dataclass(frozen=True)
class Setting:
    """One in which configurations differ.

    Attributes:
        key: as it is set: `model.norm`; for a choice of a class `optimizer`, `model`.
        name: the key, short where that is clear: `norm`.
        values: one a configuration, as they are shown; None where it has no such setting.
        along: keys of settings that change whenever this one does: their effects are one. They
            have the first one's key as their `leader`.
    """

    key: str
    name: str
    values: tuple[str | None, ...]
    along: tuple[str, ...] = ()
    leader: str | None = None


def distinguish(
    configs: Sequence[Mapping[str, Any]], alone: str
) -> tuple[list[Setting], list[str]]:
    """The settings in which nested configurations differ, and a name for each by them.

    What follows from the choice of a class (its own settings) is not told again, nor what an
    interpolation repeats. A single configuration is called `alone`.
    """
    columns = _columns([_flat(each) for each in _by_choice(configs)])
    leaders = _leaders(columns)
    leader_of = {key: leader for leader, along in leaders.items() for key in along}
    keys = [key for key in columns if key in leaders or key in leader_of]
    short = [_short(key) for key in keys]
    settings = [
        Setting(
            _key(key),
            name if short.count(name) == 1 else _key(key),
            _shown(key, columns[key]),
            tuple(map(_key, leaders.get(key, ()))),
            _key(leader_of[key]) if key in leader_of else None,
        )
        for key, name in zip(keys, short, strict=True)
    ]
    names: list[str] = []
    for index in range(len(configs)):
        parts = ((s.name, s.values[index]) for s in settings)
        name = " ".join(f"{name}={value}" for name, value in parts if value is not None) or alone
        names.append(name)
    counts = dict.fromkeys(names, 0)
    for index, name in enumerate(names):  # values that are shown alike, as 1 and "1" are
        counts[name] += 1
        names[index] += f" ({counts[name]})" if counts[name] > 1 else ""
    return settings, names


# Groups of `conf/`, and where an interpolation repeats them.
_GROUPS = {"augment": "data", "optimizer": "model", "scheduler": "model"}


def _by_choice(configs: Sequence[Mapping[str, Any]]) -> Sequence[Mapping[str, Any]]:
    """With the names that `conf/` has for choices, where all configurations have one unchanged."""
    for group, parent in _GROUPS.items():
        known = {_json(whole_numbers(v)): name for name, v in choices(group).items()}
        names = [known.get(_json(each.get(group))) for each in configs]
        if None not in names:
            configs = [
                {**each, group: name, parent: {**each.get(parent, {}), group: name}}
                for each, name in zip(configs, names, strict=True)
            ]
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


def _columns(flats: Sequence[dict[str, str]]) -> dict[str, tuple[str | None, ...]]:
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


def _leaders(columns: Mapping[str, tuple[str | None, ...]]) -> dict[str, list[str]]:
    """Keys that tell the configurations apart, and those that change exactly along with each."""
    leaders: dict[str, list[str]] = {}
    patterns: dict[tuple[int, ...], list[str]] = {}
    for key, column in columns.items():
        kept = [each for alike in patterns.values() for each in alike]
        if any(_follows(key, column, choice, columns[choice]) for choice in kept):
            continue
        numbers: dict[str | None, int] = {}
        pattern = tuple(numbers.setdefault(value, len(numbers)) for value in column)
        alike = patterns.setdefault(pattern, [])
        if any(_same_name(known, key) and columns[known] == column for known in alike):
            continue  # what an interpolation repeats
        alike.append(key)
        if len(alike) == 1:
            leaders[key] = []
        else:
            leaders[alike[0]].append(key)
    return leaders


def _follows(
    key: str, column: Sequence[str | None], choice: str, chosen: Sequence[str | None]
) -> bool:
    # `model.optimizer` repeats `optimizer`: what follows from the one follows in the other.
    group = choice.rpartition(".")[0]
    within = f".{key}".find(f".{group}.") >= 0
    return (
        _is_choice(choice)
        and within
        and len(set(zip(chosen, column, strict=True))) == len(set(chosen))
    )


def _same_name(one: str, other: str) -> bool:
    return f".{other}".endswith(f".{one}") or one.rpartition(".")[2] == other.rpartition(".")[2]


def _key(key: str) -> str:
    return key.rpartition(".")[0] if _is_choice(key) else key


def _short(key: str) -> str:
    return _key(key).rpartition(".")[2]


def _shown(key: str, column: Sequence[str | None]) -> tuple[str | None, ...]:
    """Values without quotes, classes without their modules unless two share a name."""
    plain = {value: _text(value) for value in column if value is not None}
    if _is_choice(key):
        last = {value: text.rpartition(".")[2] for value, text in plain.items()}
        plain = last if len(set(last.values())) == len(last) else plain
    short = dict(zip(plain, shortened([*plain.values()], MAX_LENGTH), strict=True))
    return tuple(None if value is None else short[value] for value in column)


def _text(value: str) -> str:
    if value == "null":
        return "none"
    return printable(str(json.loads(value)) if value.startswith('"') else value)
