"""Where `conf/` lies, and a composed configuration held against the constructors it names.

Imports nothing heavy: `--help`, `--cfg job` and a mistyped key answer before torch is loaded.
"""

import difflib
import hashlib
import inspect
import json
import logging
import os
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from omegaconf import DictConfig, OmegaConf, open_dict

from mnist_lab import FileOrSettingError
from mnist_lab.files import class_names

_here = Path(__file__).resolve().parent
CONF = str(_here / "conf" if (_here / "conf").is_dir() else _here.parent / "conf")
"""The configuration's folder: inside an installed wheel, beside the package in a checkout."""

Mode = Literal["min", "max"]
_INSTANTIATE_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}

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

# Groups whose files describe an object that `make` builds, and all that describe one.
MADE = ("data", "augment", "model", "optimizer", "scheduler")
GROUPS = (*MADE, "trainer")

# Whose classes a stored configuration may name, and which functions.
_PACKAGES = ("mnist_lab", "lightning", "torch", "torchvision.transforms")
_FUNCTIONS = {"mnist_lab.callbacks.as_list", "mnist_lab.run.precision"}


OWN = "a package of your own is allowed by trust=[PACKAGE]"


class ConfigError(FileOrSettingError):
    """A setting that doesn't fit; the text names the key, what came and what is allowed."""


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


def to_plain(cfg: DictConfig) -> dict[str, Any]:
    """The configuration resolved to plain values, but for `${folder}`: so a run can be moved."""
    cfg = cfg.copy()
    cfg.folder = r"\${folder}"
    return typing.cast(dict[str, Any], OmegaConf.to_container(cfg, resolve=True))


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
    """A hash of what determines the result, see `influential`."""
    kept = json.dumps(influential(plain, incidental), sort_keys=True)
    return hashlib.sha256(kept.encode()).hexdigest()[:16]


def vouch(stored: Any, trust: Sequence[str] = (), path: str = "") -> None:
    """Refuse a configuration from a file whose targets are not of a kind that a run is built from.

    Allowed are the kinds of classes that a run has of torch (optimizers and their schedules),
    lightning and mnist_lab, torchvision's transforms, what the packages named in `trust` hold, and
    the few functions of ours that `conf/` names. Nothing else is imported.

    Raises:
        ConfigError: the first other target.
    """
    if isinstance(stored, list):
        stored = dict(enumerate(stored))
    if not isinstance(stored, Mapping):
        return
    if "_target_" in stored:
        dotted, key = str(stored["_target_"]), f"{path}_target_"
        packages = (*_PACKAGES, *trust)
        if not dotted.startswith(tuple(f"{package}." for package in packages)):
            raise ConfigError(f"{key}={dotted}: is not of {', '.join(packages)}; {OWN}")
        target = _locate(dotted, path.rstrip("."))
        if not _vouched(target, dotted, trust):
            raise ConfigError(f"{key}={dotted}: is nothing that a run is built from")
    for name, value in stored.items():
        vouch(value, trust, f"{path}{name}.")


def _vouched(target: Any, dotted: str, trust: Sequence[str]) -> bool:
    from lightning.fabric.loggers.logger import Logger
    from lightning.pytorch import Callback, Trainer
    from lightning.pytorch.plugins import Precision
    from lightning.pytorch.profilers import Profiler
    from lightning.pytorch.strategies import Strategy
    from torch import nn
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from mnist_lab.models import Classifier

    def within(packages: Sequence[str]) -> bool:
        home = f"{getattr(target, '__module__', '')}."
        return home.startswith(tuple(f"{package}." for package in packages))

    if within(trust):
        return True
    if not inspect.isclass(target):
        schedule = dotted.startswith("mnist_lab.models.schedules.")
        return within(["mnist_lab"]) and (schedule or dotted in _FUNCTIONS)
    if within(["torchvision.transforms"]):
        return issubclass(target, nn.Module)
    kinds = (Callback, Classifier, Logger, LRScheduler, Optimizer, Precision, Profiler, Strategy)
    return within(["mnist_lab.data"]) or (
        within(_PACKAGES) and issubclass(target, (*kinds, Trainer))
    )


def check(settings: Mapping[str, Any], target: Callable[..., Any], path: str = "") -> None:
    """Hold settings against the signature of what they will be passed to, at every level.

    Types are compared strictly, as JSON has them: `"32"` and `true` are no integers, `3` is a
    float. What only a constructor can know (ranges) shows in `build`.

    Raises:
        ConfigError: an unknown, missing or mistyped setting, or a `_target_` that doesn't fit.
    """
    known, required, rest = _parameters(target)
    for name in settings.keys() - known.keys() - _INSTANTIATE_KEYS:
        if rest is None:
            raise ConfigError(f"{path}{name}: no such setting{hint(name, list(known))}")
    for name in [*known, *(settings.keys() - known.keys() - _INSTANTIATE_KEYS)]:
        if name in settings:
            _check_value(settings[name], known.get(name, rest), path + name)
    missing = required - settings.keys()
    if missing and not settings.get("_partial_"):
        raise ConfigError(f"{path}{sorted(missing)[0]}: a value is missing")


def build(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Instantiate every `_target_`; a value that a constructor refuses is a `ConfigError`."""
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    try:
        return typing.cast(dict[str, Any], instantiate(settings, _convert_="all"))
    except InstantiationException as error:
        key = str(error).rpartition("full_key: ")[2]
        reason = error.__cause__ or error
        raise ConfigError(f"{key}: {str(reason) or type(reason).__name__}") from error


def make(name: str, **settings: Any) -> Any:
    """What `conf/NAME.yaml` describes, with these of its settings changed, built.

    `make("data/mnist", train_size=1000)` is a DataModule, `make("model/bn_cnn")` a Classifier. A
    dictionary changes what it names, as on the command line; an object is passed on.

    Raises:
        ConfigError: there is no such file, it describes no object, or a setting doesn't fit.
    """
    group, _, choice = name.partition("/")
    known = sorted(path.stem for path in (Path(CONF) / group).glob("*.yaml"))
    if choice not in known:
        raise ConfigError(f"{name}: no such choice{hint(choice, known) if known else ''}")
    if group == "trainer":
        raise ConfigError(f"{name}: is for a run's folder; run.default_trainer(FOLDER) makes one")
    if group not in MADE:
        raise ConfigError(f"{name}: sets what a run is made of; it is no {', '.join(MADE)}")
    from hydra import compose, initialize_config_dir

    OmegaConf.register_new_resolver("class_names", class_names, replace=True)
    with initialize_config_dir(CONF, version_base="1.3"):
        described = compose(name)
    if described[group] is None:  # augment/none
        for key in settings:
            raise ConfigError(f"{group}.{key}: no such setting of {name}")
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
    for key in OmegaConf.missing_keys(described):
        raise ConfigError(f"{key}: a value is missing")
    changed = typing.cast(dict[str, Any], OmegaConf.to_container(described[group], resolve=True))
    changed |= objects
    check(changed, _locate(changed["_target_"], group), f"{group}.")
    return build({group: changed})[group]


def leave_out(cfg: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Take from a configuration what a class that was named by hand lacks; say what that was.

    `optimizer._target_=torch.optim.RMSprop` has no use for the `betas` and `fused` of the optimizer
    in whose place it is put. What was set by hand stays, and is refused where it doesn't fit.
    """
    typed = {text.lstrip("+").partition("=")[0] for text in overrides}
    told = []
    for key in sorted(key for key in typed if key.endswith("._target_")):
        group = key.removesuffix("._target_")
        node = OmegaConf.select(cfg, group)
        known = settings_of(node._target_, group)
        out = [
            str(name)
            for name in node
            if known is not None and name not in {*known, *_INSTANTIATE_KEYS}
        ]
        out = [name for name in out if f"{group}.{name}" not in typed]
        with open_dict(cfg):
            for name in out:
                del node[name]
        if out:
            told.append(f"{group}: {node._target_} takes no {', '.join(out)}: left out")
    return told


def settings_of(dotted: str, key: str) -> list[str] | None:
    """The settings of what a `_target_` at `key` names; None where it takes any.

    Raises:
        ConfigError: it cannot be imported.
    """
    known, _, rest = _parameters(_locate(dotted, key))
    return list(known) if rest is None else None


def _parameters(target: Callable[..., Any]) -> tuple[dict[str, Any], set[str], Any]:
    """Known parameters and their types, the required ones, and the type of any others."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function)
    except (NameError, TypeError):
        hints = {}  # annotations that exist for type checkers alone: names are checked still
    known: dict[str, Any] = {}
    required = set()
    rest = None
    for name, parameter in inspect.signature(target).parameters.items():
        hint = hints.get(name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            if typing.get_origin(hint) is typing.Unpack:
                known |= typing.get_type_hints(typing.get_args(hint)[0])
            else:
                rest = hint
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            known[name] = hint
            if parameter.default is parameter.empty:
                required.add(name)
    return known, required, rest


def _check_value(value: Any, expected: Any, key: str) -> None:
    if isinstance(value, Mapping) and "_target_" in value:
        target = _locate(value["_target_"], key)
        fitting = [t for t in typing.get_args(expected) or [expected] if t is not type(None)]
        # A function, and what a partial will make, cannot be told from here.
        judged = all(map(inspect.isclass, fitting)) and not value.get("_partial_")
        if judged and isinstance(target, type) and not issubclass(target, tuple(fitting)):
            names = " or ".join(t.__name__ for t in fitting)
            raise ConfigError(f"{key}._target_={value['_target_']}: must be a {names}")
        check(value, target, key + ".")
        return
    if isinstance(value, list) and any(isinstance(v, Mapping) and "_target_" in v for v in value):
        for index, each in enumerate(value):
            _check_value(each, _element(expected), f"{key}[{index}]")
        return
    from pydantic import PydanticUserError, TypeAdapter, ValidationError

    if expected is Any:
        return
    try:
        adapter = TypeAdapter[Any](expected, config={"arbitrary_types_allowed": True})
    except PydanticUserError:  # a type that configures itself takes no configuration
        adapter = TypeAdapter[Any](expected)
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError) as error:
        raise ConfigError(f"{key}: does not fit: {error}") from error
    except TypeError:  # from Python: objects stand for themselves
        text = None
    try:
        if text is None:
            adapter.validate_python(value, strict=True)
        else:
            adapter.validate_json(text, strict=True)
    except ValidationError as error:
        told = dict.fromkeys(
            e["msg"].removeprefix("Input ") for e in error.errors() if "isinstance" not in e["msg"]
        )
        union = typing.get_origin(expected) in (typing.Union, types.UnionType)
        kinds = typing.get_args(expected) if union else (expected,)
        named = [kind.__name__ for kind in kinds if isinstance(kind, type)]
        wanted = f"should be a {' or '.join(named)}" if len(named) == len(kinds) else "does not fit"
        wanted = wanted.replace("NoneType", "null")
        given = value if text is not None else type(value).__name__
        raise ConfigError(f"{key}={given}: {' or '.join(told) or wanted}") from None


def _element(expected: Any) -> Any:
    """What a list that fits the type is a list of."""
    for kind in typing.get_args(expected) or (expected,):
        origin = typing.get_origin(kind)
        if inspect.isclass(origin) and issubclass(origin, Iterable):
            return typing.get_args(kind)[0]
    return Any  # a constructor that gives no types


def _locate(dotted: str, key: str) -> Callable[..., Any]:
    from hydra.utils import get_object

    logging.getLogger("hydra.utils").disabled = True  # it logs what it raises, too
    try:
        target = get_object(dotted)
    except Exception as error:  # whatever importing that module raises
        reason = " ".join(str(error).splitlines()[:2])
        raise ConfigError(f"{key}._target_={dotted}: cannot be imported: {reason}") from error
    if not callable(target):
        raise ConfigError(f"{key}._target_={dotted}: is not a class or function")
    return typing.cast(Callable[..., Any], target)


def hint(name: str, known: Sequence[str]) -> str:
    """The nearest known name, or all of them where they are few, to end an error with."""
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; there are {', '.join(known)}" if 0 < len(known) < 25 else ""
