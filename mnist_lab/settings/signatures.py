"""A composed configuration held against the constructors that it names.

Imports nothing heavy: `--help`, `--cfg job` and a mistyped key answer before torch is loaded.
"""

import difflib
import inspect
import json
import logging
import numbers
import sys
import types
import typing
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from omegaconf import DictConfig, OmegaConf, open_dict

from mnist_lab import LabError

OWN = "a package of your own is allowed by trust=[PACKAGE]"
"""What is said where a file names a class that isn't trusted."""
# What `conf/train.yaml` sets of all data and models.
_SET_OF_ALL = {"data": {"seed"}, "model": {"name", "num_classes"}}
_INSTANTIATE_KEYS = {"_target_", "_partial_", "_convert_", "_recursive_", "_args_"}

_NUMBERS = (numbers.Number, numbers.Complex, numbers.Real, numbers.Rational, numbers.Integral)

PARTS: Mapping[str, str] = {
    "augment": "data",
    "optimizer": "model",
    "scheduler": "model",
    "distil": "model",
    "attack": "model",
}
"""What stands at a configuration's root, and the object beside it that `build` hands it to."""


class ConfigError(LabError, ValueError):
    """A setting that doesn't fit; the text names the key, what came and what is allowed."""


def check(settings: Mapping[str, Any], target: Callable[..., Any], path: str = "") -> None:
    """Hold settings against the signature of what they will be passed to, at every level.

    Types and ranges are compared strictly, as JSON has them: `"32"` and `true` are no integers, `3`
    is a float. What only a constructor can know (combinations) shows in `build`.

    Raises:
        ConfigError: an unknown, missing or mistyped setting, or a `_target_` that doesn't fit.
    """
    known, required, rest = parameters(target)
    of_hydra = _INSTANTIATE_KEYS if "_target_" in settings else set()
    others = [name for name in settings if name not in {*known, *of_hydra}]
    if others and rest is None:
        raise no_such_setting(f"{path}{others[0]}", list(known))
    for name in [*known, *others]:
        if name in settings:
            _check_value(settings[name], known.get(name, rest), path + name)
    missing = required - settings.keys()
    if missing and not settings.get("_partial_"):
        raise ConfigError(f"{path}{sorted(missing)[0]}: a value is missing")


def build(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Instantiate every `_target_`, and hand over `PARTS`.

    Raises:
        ConfigError: a value that a constructor refuses.
    """
    from hydra.errors import InstantiationException
    from hydra.utils import instantiate

    built: dict[str, Any] = {}
    for key in sorted(settings, key=lambda key: key not in PARTS):  # these first
        described, parts = settings[key], {}
        if key in PARTS.values() and "_target_" in described:
            taken = settings_of(described["_target_"], key)
            parts = {
                part: built[part]
                for part, owner in PARTS.items()
                if owner == key and part in settings and part not in described
                if taken is None or part in taken
            }
            described = {**described, "_partial_": True} if parts else described
        try:
            made = instantiate({key: described}, _convert_="all")[key]
            built[key] = made(**parts) if parts else made
        except Exception as error:  # whatever a constructor raises
            reason: BaseException = error
            if isinstance(error, InstantiationException):
                key = str(error).rpartition("full_key: ")[2]
                reason = error.__cause__ or error
            text = str(reason) or type(reason).__name__
            part, _, rest = text.partition(": ")
            if part in parts:  # the model's word on its optimizer, say
                raise ConfigError(f"{_blamed(part, settings[part], rest)}: {rest}") from error
            within = isinstance(reason, ConfigError)  # it names an argument
            raise ConfigError(f"{key}{'.' if within else ': '}{text}") from error
    return built


def _blamed(key: str, settings: Mapping[str, Any], reason: str) -> str:
    """The one setting that has the value with which the reason ends, else all of them."""
    value = reason.rpartition(" ")[2]
    alike = [name for name, each in settings.items() if str(each) == value]
    return f"{key}.{alike[0]}" if len(alike) == 1 else key


def leave_out(cfg: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Take from a configuration what a class that was named by hand lacks; say what that was.

    `optimizer._target_=torch.optim.RMSprop` has no use for the `betas` and `fused` of the optimizer
    in whose place it is put; nor has somebody else's data or model of what `conf/train.yaml` sets
    for every one. What was set by hand stays, and is refused where it doesn't fit.
    """
    typed = {text.lstrip("+").partition("=")[0] for text in overrides}
    told = []
    named = {key.removesuffix("._target_") for key in typed if key.endswith("._target_")}
    for group in sorted({*named, *_SET_OF_ALL}):
        node = OmegaConf.select(cfg, group)
        if not (OmegaConf.is_dict(node) and "_target_" in node):
            continue
        known = settings_of(node._target_, group)
        out = [
            str(name)
            for name in node
            if known is not None and name not in {*known, *_INSTANTIATE_KEYS}
        ]
        out = [
            name
            for name in out
            if f"{group}.{name}" not in typed and (group in named or name in _SET_OF_ALL[group])
        ]
        with open_dict(cfg):
            for name in out:
                del node[name]
        if known is not None:  # `build` hands over none of these
            out += [
                part
                for part, owner in PARTS.items()
                if owner == group and part not in known and cfg.get(part) is not None
            ]
        if out:
            told.append(f"{group}: {node._target_} takes no {', '.join(out)}: left out")
    return told


def settings_of(dotted: str, key: str) -> list[str] | None:
    """The settings of what a `_target_` at `key` names; None where it takes any.

    Raises:
        ConfigError: it cannot be imported.
    """
    known, _, rest = parameters(locate(dotted, key))
    return list(known) if rest is None else None


def parameters(target: Callable[..., Any]) -> tuple[dict[str, Any], set[str], Any]:
    """Known parameters and their types, ranges and all, the required ones, the type of others."""
    function = target.__init__ if inspect.isclass(target) else target
    try:
        hints = typing.get_type_hints(function, include_extras=True)
    except (NameError, TypeError):
        hints = {}  # annotations that exist for type checkers alone: names are checked still
    known: dict[str, Any] = {}
    required = set()
    rest = None
    for name, parameter in inspect.signature(target).parameters.items():
        hint = hints.get(name, Any)
        if parameter.kind is parameter.VAR_KEYWORD:
            if typing.get_origin(hint) is typing.Unpack:
                known |= typing.get_type_hints(typing.get_args(hint)[0], include_extras=True)
            else:
                rest = hint
        elif parameter.kind is not parameter.VAR_POSITIONAL:
            known[name] = hint
            if parameter.default is parameter.empty:
                required.add(name)
    return known, required, rest


def _check_value(value: Any, expected: Any, key: str) -> None:
    if _describes(value):
        target = locate(value["_target_"], key)
        fitting = [t for t in typing.get_args(expected) or [expected] if t is not type(None)]
        # A function, and what a partial will make, cannot be told from here.
        known = all(map(inspect.isclass, fitting)) and Any not in fitting
        judged = known and not value.get("_partial_")
        if judged and isinstance(target, type) and not issubclass(target, tuple(fitting)):
            names = " or ".join(t.__name__ for t in fitting)
            raise ConfigError(f"{key}._target_={value['_target_']}: must be a {names}")
        check(value, target, key + ".")
        return
    if isinstance(value, list) and any(map(_describes, value)):
        for index, each in enumerate(value):
            _check_value(each, _element(expected), f"{key}[{index}]")
        return
    if isinstance(value, Mapping) and any(map(_describes, value.values())):
        for name, each in value.items():
            _check_value(each, _element(expected), f"{key}.{name}")
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
        if text is None or _is_a(value, expected):
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
        places = {within(key, value, e["loc"])[0] for e in error.errors()}
        if told and len(places) == 1:
            key, value = within(key, value, error.errors()[0]["loc"])
        given = value if text is not None else type(value).__name__
        raise ConfigError(f"{key}={given}: {' or '.join(told) or wanted}") from None


def within(key: str, value: Any, place: Sequence[int | str]) -> tuple[str, Any]:
    """The setting inside nested ones that pydantic refuses, and its value."""
    for part in place:  # the last may be names of types
        if not (isinstance(value, Mapping) and part in value):
            break
        key, value = f"{key}.{part}", value[part]
    return key, value


def _is_a(value: Any, expected: Any) -> bool:
    """Whether it fits an abstract class of numbers, of which JSON knows nothing.

    torchvision's settings are such (`numbers.Number`).
    """
    kinds = typing.get_args(expected) or (expected,)
    numeric = tuple(kind for kind in kinds if inspect.isclass(kind) and kind in _NUMBERS)
    return isinstance(value, numeric) and not isinstance(value, bool)


def _describes(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _element(expected: Any) -> Any:
    """What a list or dictionary that fits the type is one of."""
    for kind in (expected, *typing.get_args(expected)):
        origin = typing.get_origin(kind)
        if inspect.isclass(origin) and issubclass(origin, Iterable):
            return typing.get_args(kind)[-1]
    return Any  # a constructor that gives no types


def locate(dotted: str, key: str) -> Callable[..., Any]:
    from hydra.utils import get_object

    logging.getLogger("hydra.utils").disabled = True  # it logs what it raises, too
    try:
        target = get_object(dotted)
    except Exception as error:  # whatever importing that module raises
        reason = " ".join(str(error).splitlines()[:2])
        home, _, name = dotted.rpartition(".")
        nearest = difflib.get_close_matches(name, dir(sys.modules.get(home)), n=1)
        remedy = f"; did you mean {home}.{nearest[0]}?" if home in sys.modules and nearest else ""
        raise ConfigError(
            f"{key}._target_={dotted}: cannot be imported: {reason}{remedy}"
        ) from error
    if not callable(target):
        raise ConfigError(f"{key}._target_={dotted}: is not a class or function")
    return typing.cast(Callable[..., Any], target)


def no_such_setting(key: str, *known: Sequence[str], of: str = "") -> ConfigError:
    """The error that tells of a key whose last part is no setting.

    Args:
        known: the settings that there are, of each choice that lacks it; the first hint counts.
        of: which choices these are, where there are several.
    """
    name = key.rpartition(".")[2]
    hints = (hint(name, names) for names in known)
    choices = f" of {of}" if of else ""
    return ConfigError(f"{key}: no such setting{choices}{next(filter(None, hints), '')}")


def hint(name: str, known: Sequence[str]) -> str:
    """The nearest known name, or all of them where they are few, to end an error with."""
    nearest = difflib.get_close_matches(name, known, n=1)
    if nearest:
        return f"; did you mean {nearest[0]}?"
    return f"; there are {', '.join(known)}" if 0 < len(known) < 25 else ""
