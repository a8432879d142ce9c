"""The configuration of a run that was started from Python, read off the objects it is made of."""

import inspect
import json
import os
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import lightning.pytorch as L
import numpy as np
import torch
import yaml

from mnist_lab.models import Classifier
from mnist_lab.models.classifier import Shared
from mnist_lab.settings import signatures
from mnist_lab.settings.changes import choices
from mnist_lab.settings.conf import CONF, MADE
from mnist_lab.settings.signatures import ConfigError


def described(
    data: L.LightningDataModule,
    model: L.LightningModule,
    root: Mapping[str, Any],
    seed: int | None = None,
) -> dict[str, Any]:
    """What `config.yaml` would hold, had the command built these objects.

    It is built, and must give the same once more: for a run that begins, also the same weights and
    the same random numbers after them.

    Args:
        root: the other keys at the configuration's root, `trainer` among them.
        seed: of a run that is continued; one that begins has that of torch's generator.

    Raises:
        ConfigError: something that no plain values say.
    """
    begins = seed is None
    seed = torch.initial_seed() if seed is None else seed
    if not 0 <= seed < 2**32:
        raise ConfigError("seed: there was no seed_everything(SEED) before the model was built")
    groups = _groups(data, model)
    patience = {"sweep_patience": _train_yaml()["sweep_patience"]}
    of_commands = {"sweep": None, **patience, "artefacts": None, "resume": None, "trust": []}
    plain = {**groups, **root, "seed": seed, **of_commands}
    try:
        text = json.dumps({**plain, "folder": "${folder}"}, default=_refuse)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"trainer: {error}") from error
    if "${" in text.replace("${folder}", ""):
        raise ConfigError("a text with ${ in it would be taken for an interpolation")
    for owner, target in (("data", type(data)), ("model", type(model))):
        parts = {part: groups[part] for part, its in signatures.PARTS.items() if its == owner
                 if groups[part] is not None}  # fmt: skip
        signatures.check({**groups[owner], **parts}, target, f"{owner}.")

    state = torch.get_rng_state()
    torch.default_generator.manual_seed(seed)
    try:
        built = signatures.build(groups)
        drawn = torch.get_rng_state()
    finally:
        torch.set_rng_state(state)
    if _groups(built["data"], built["model"]) != groups:
        raise ConfigError("data or model: their settings do not give the same objects again")
    if begins and not (torch.equal(drawn, state) and _same(built["model"], model)):
        raise ConfigError(
            f"seed: with {seed} the weights or the random numbers after them would be others; "
            "seed_everything(SEED) belongs right before the model is built"
        )
    found: dict[str, Any] = json.loads(text)
    return found


def _refuse(value: object) -> None:
    raise ConfigError(
        f"trainer: a {type(value).__name__} is an object; a dictionary with its _target_ and its "
        "settings could be written down"
    )


def _same(one: L.LightningModule, other: L.LightningModule) -> bool:
    def trained(model: L.LightningModule) -> list[tuple[str, bool]]:
        return [(name, p.requires_grad) for name, p in model.named_parameters()]

    a, b = one.state_dict(), other.state_dict()
    equal = a.keys() == b.keys() and all(torch.equal(a[name], b[name].cpu()) for name in a)
    return equal and trained(one) == trained(other)


def _groups(data: L.LightningDataModule, model: L.LightningModule) -> dict[str, Any]:
    named = _settings_in_conf()
    if isinstance(model, Classifier):
        shared = {key: value for key, value in vars(model).items() if key in Shared.__annotations__}
        given = {**model.hparams, **shared, "compile": model._compile}
        of_model = _target(type(model), given, "model", named)
        parts = {"optimizer": model._make_optimizer, "scheduler": model._make_scheduler}
    else:
        of_model, parts = _plain(model, "model", named), {}
    of_data = _plain(data, "data", named)
    return {
        "data": of_data,
        "augment": of_data.pop("augment", None),
        "model": of_model,
        "optimizer": _plain(parts.get("optimizer"), "optimizer", named),
        "scheduler": _plain(parts.get("scheduler"), "scheduler", named),
        "distil": of_model.pop("distil", None),
        "attack": of_model.pop("attack", None),
    }


def _plain(value: Any, key: str, named: Mapping[str, set[str]]) -> Any:
    """A value as YAML has it; an object by what its constructor's arguments are called in it."""
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | float | str):
        return value
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, Mapping):
        return {str(name): _plain(each, f"{key}.{name}", named) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(each, key, named) for each in value]
    if isinstance(value, partial) and not value.args:
        whole = {**_target(value.func, {}, key, named), "_partial_": True}
        return whole | {
            name: _plain(v, f"{key}.{name}", named) for name, v in value.keywords.items()
        }
    if inspect.isfunction(value) or inspect.isclass(value):
        return {**_target(value, {}, key, named), "_partial_": True}
    kind: Any = type(value)
    own = inspect.isfunction(kind.__init__)
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:] if own else []
    rest = any(each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in parameters)
    lacking = [each.name for each in parameters if not hasattr(value, each.name)]
    bare = kind.__init__ is object.__init__ and kind.__new__ is object.__new__
    if rest or lacking or not (own or bare):
        raise ConfigError(f"{key}: what this {kind.__name__} was made from cannot be told from it")
    given = {each.name: getattr(value, each.name) for each in parameters}
    return _target(kind, given, key, named)


def _target(
    target: Callable[..., Any], given: Mapping[str, Any], key: str, named: Mapping[str, set[str]]
) -> dict[str, Any]:
    """As files in `conf/` have it: with defaults of those settings alone that they name."""
    parts, name = target.__module__.split("."), target.__qualname__
    homes = [".".join(parts[: end + 1]) for end in range(len(parts))]
    homes = [home for home in homes if getattr(sys.modules.get(home), name, None) is target]
    if not homes or homes == ["__main__"]:
        raise ConfigError(f"{key}: {name} is in no module that the command could import")
    dotted = f"{homes[0]}.{name}"
    owners = reversed(inspect.getmro(target)) if inspect.isclass(target) else [target]
    defaults = {
        parameter.name: parameter.default
        for owner in owners
        for parameter in inspect.signature(
            owner.__init__ if inspect.isclass(owner) else owner
        ).parameters.values()
        if parameter.default is not parameter.empty
    }
    shown = named.get(dotted, set()) | named.get(key, set())
    values = {name: defaults[name] for name in defaults if name in shown} | dict(given)
    return {
        "_target_": dotted,
        **{
            name: plain
            for name, value in values.items()
            for plain in [_plain(value, f"{key}.{name}", named)]
            if name in shown or name not in defaults or value != defaults[name]
        },
    }


def _train_yaml() -> dict[str, Any]:
    content: dict[str, Any] = yaml.safe_load(Path(CONF, "train.yaml").read_text(encoding="utf-8"))
    return content


def _settings_in_conf() -> dict[str, set[str]]:
    """What all files in `conf/` that are of a class name; what runs name of `data` and `model`."""
    root = _train_yaml()
    found = {group: set(root[group]) for group in ("data", "model")}

    def look(node: Any) -> None:
        if isinstance(node, dict):
            if "_target_" in node:
                found[node["_target_"]] = found.get(node["_target_"], set(node)) & set(node)
            for each in node.values():
                look(each)

    for group in MADE:
        look(choices(group))
    return found
