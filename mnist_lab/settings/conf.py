"""Where `conf/` lies, and what its files describe.

Imports nothing heavy: `--help`, `--cfg job` and a mistyped key answer before torch is loaded.
"""

import json
import os
import typing
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import InterpolationToMissingValueError

from mnist_lab.settings import packages
from mnist_lab.settings.former import present
from mnist_lab.settings.signatures import ConfigError, build, check, hint, locate, no_such_setting
from mnist_lab.system.files import class_names

CONF = str(packages.CONF)
"""Our configuration's folder."""

# Groups whose files describe an object that `make` builds, and all that describe one.
MADE = ("data", "augment", "corrupt", "model", "optimizer", "scheduler", "distil", "attack")
GROUPS = (*MADE, "trainer")


def validate_on_fold(cfg: DictConfig, given: Collection[str]) -> None:
    """Take away the `val_size` that a file has set, where the data is divided into folds.

    Args:
        given: the keys of what was set by hand; of these a `data.val_size` stays, and is refused.
    """
    data = cfg.get("data")
    folds = OmegaConf.is_dict(data) and data.get("folds") is not None
    if folds and "val_size" in data and "data.val_size" not in given:
        data.val_size = None


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration resolved to plain values, but for `${folder}`: so a run can be moved."""
    cfg = cfg.copy()
    cfg.folder = r"\${folder}"
    return present(typing.cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True)))


def in_folder(plain: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """What `to_plain` gave (or `config.yaml` holds), with every path below `folder`."""

    def placed(value: Any) -> Any:
        if isinstance(value, Mapping):
            # In a file all keys are text; those of arguments are names, others may be numbers.
            numbers = "_target_" not in value and all(str(key).isdecimal() for key in value)
            return {int(key) if numbers else key: placed(each) for key, each in value.items()}
        if isinstance(value, list):
            return [placed(each) for each in value]
        return value.replace("${folder}", str(folder)) if isinstance(value, str) else value

    return {**placed(plain), "folder": str(folder)}


def make(name: str, **settings: Any) -> Any:
    """What `conf/NAME.yaml` describes, with these of its settings changed, built.

    `make("data/mnist", train_size=1000)` is a DataModule, `make("model/bn_cnn")` a Classifier. A
    dictionary changes what it names, as on the command line; an object is passed on.
    `make("corrupt/mnist_c")` are the corruptions by name.

    Raises:
        ConfigError: there is no such file, it describes no object, or a setting doesn't fit.
    """
    group, _, choice = name.partition("/")
    known = sorted(packages.files(group))
    if choice not in known:
        raise ConfigError(f"{name}: no such choice{hint(choice, known) if known else ''}")
    if group == "trainer":
        raise ConfigError(
            f"{name}: is for a run's folder; training.default_trainer(FOLDER) makes one"
        )
    if group not in MADE:
        raise ConfigError(f"{name}: sets what a run is made of; it is no {', '.join(MADE)}")
    OmegaConf.register_new_resolver("class_names", class_names, replace=True)
    described = _composed(name)
    if described[group] is None:  # augment/none, attack/none
        for key in settings:
            raise no_such_setting(f"{group}.{key}", of=name)
        return None
    if group == "model":  # as a run calls it
        settings.setdefault("name", choice)
    objects = {}
    for key, value in settings.items():
        try:
            plain = json.loads(json.dumps(value, default=os.fspath))
        except (TypeError, ValueError):
            objects[key] = value
        else:  # before it is resolved: others are computed from it
            OmegaConf.update(described, f"{group}.{key}", plain, merge=True, force_add=True)
    validate_on_fold(described, [f"{group}.{key}" for key in settings])
    try:
        missing = OmegaConf.missing_keys(described)
    except InterpolationToMissingValueError as error:  # something is computed from it
        missing = {str(error).splitlines()[0].rpartition(": ")[2]}
    for key in missing:
        raise ConfigError(f"{key}: a value is missing")
    changed = typing.cast(dict[str, Any], OmegaConf.to_container(described[group], resolve=True))
    changed |= objects
    parts = {f"{group}.": changed}
    if "_target_" not in changed:  # corrupt/mnist_c
        parts = {f"{group}.{key}.": each for key, each in changed.items()}
    for path, part in parts.items():
        if not isinstance(part, Mapping):
            raise no_such_setting(path.rstrip("."), list(changed), of=name)
        check(part, locate(part["_target_"], path.rstrip(".")), path)
    return build({group: changed})[group]


def _composed(name: str) -> DictConfig:
    """What a file of `conf/` describes, also within a program that Hydra runs."""
    from hydra import compose, initialize_config_dir
    from hydra.core.global_hydra import GlobalHydra

    packages.let_hydra_find_them()
    program = GlobalHydra.instance().hydra
    GlobalHydra.instance().clear()
    try:
        with initialize_config_dir(CONF, version_base="1.3"):
            return compose(name)
    finally:
        GlobalHydra.instance().hydra = program
