"""In what a run's configuration differs from the one that stands in `conf/`."""

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any, cast

import yaml

from mnist_lab.settings import packages
from mnist_lab.settings.conf import CONF, GROUPS
from mnist_lab.settings.identity import whole_numbers
from mnist_lab.settings.roles import ROLES, Role


def changed(plain: Mapping[str, Any]) -> dict[str, str]:
    """Choices other than the defaults' and, beside what a choice says, values that were changed.

    Args:
        plain: what `config.yaml` holds.
    """
    defaults = _read(Path(CONF, "train.yaml"))
    chosen = {key: name for each in defaults.pop("defaults") if isinstance(each, dict)
              for key, name in each.items()}  # fmt: skip
    found: dict[str, str] = {}
    for group in filter(chosen.get, GROUPS):  # of `corrupt` no run has a choice
        given = plain.get(group)
        if isinstance(given, Mapping):
            added = defaults.get(group, ())  # by train.yaml, to all choices alike
            given = {k: v for k, v in given.items() if k not in added}
        beside = {name: dict(_differences(given, described, group))
                  for name, described in choices(group).items()}  # fmt: skip
        name = min(
            beside,
            key=lambda each: (
                _class(choices(group)[each]) != _class(given),
                len(beside[each]),
                each != chosen[group],
            ),
        )
        if name != chosen[group]:
            found[group] = name
        found |= beside[name]
    rest = {key: value for key, value in plain.items()
            if key not in GROUPS and ROLES.get(key) != Role.PLACE}  # fmt: skip
    known = {key: value for key, value in defaults.items() if key in rest}
    return found | dict(_differences(rest, known, ""))


@cache
def choices(group: str) -> dict[str, Any]:
    """What each file of a group says, by its name, with those of the group that it builds on.

    A file that builds on others in another way, as only Hydra can tell, is left out.
    """
    found = {}
    for name, path in packages.files(group).items():
        content = _whole(path)
        if content is not None:
            found[name] = content[group] if set(content) == {group} else content
    return found


def _whole(path: Path) -> dict[str, Any] | None:
    content = _read(path)
    for base in content.pop("defaults", []):
        if base == "_self_":
            continue
        name, _, key = str(base).partition("@")
        places = [path.with_name(f"{name}.yaml"), packages.CONF / path.parent.name / f"{name}.yaml"]
        there = [place for place in places if place.is_file()]
        below = _whole(there[0]) if there else None
        if below is None:
            return None
        content = _merged({key: below} if key else below, content)
    return content


def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    return {**below} | {
        key: _merged(below[key], value)
        if isinstance(value, Mapping) and isinstance(below.get(key), Mapping)
        else value
        for key, value in above.items()
    }


def _class(described: Any) -> Any:
    return described.get("_target_") if isinstance(described, Mapping) else None


# libyaml's where it is, fifteen times as fast as OmegaConf's; to both 1e-3 is a number.
_Loader: Any = type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+"),
    list("-+0123456789"),
)


def _read(path: Path) -> dict[str, Any]:
    return cast(dict[str, Any], yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader))


def _differences(given: Any, default: Any, key: str) -> Iterator[tuple[str, str]]:
    """Keys with the values that are not the default ones; an interpolation may be any."""
    if isinstance(given, Mapping) and isinstance(default, Mapping):
        for name in {**default, **given}:
            below = f"{key}.{name}" if key else name
            if name not in given:
                yield below, "left out"
            elif name not in default:
                yield below, _text(given[name])
            else:
                yield from _differences(given[name], default[name], below)
    elif not isinstance(default, Mapping) and "${" in str(default):
        return
    elif whole_numbers(given) != whole_numbers(default):
        yield key, _text(given)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
