"""Ranges of settings, said in annotations, and refused alike from YAML and from Python.

Imports nothing heavy.
"""

import functools
import inspect
import math
import typing
from collections.abc import Callable, Mapping
from typing import Annotated, Any, Self

from annotated_types import Ge, Interval

from mnist_lab.settings.signatures import ConfigError, parameters, within

Count = Annotated[int, Ge(1)]
"""One at least."""
Threads = Annotated[int, Interval(ge=1, le=1024)]  # with many more, OpenMP ends the process
Seed = Annotated[int, Interval(ge=0, lt=2**32)]
Positive = Annotated[float, Interval(gt=0, lt=math.inf)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Interval(ge=0, le=1)]
LessThanOne = Annotated[float, Interval(ge=0, lt=1)]


class Ranged:
    """A base of classes whose constructor refuses what its annotations don't allow.

    Only those with a range count: a constructor judges the rest as it likes.

    Raises:
        ConfigError: a ValueError, too; the text names the argument.
    """

    def __new__(cls, *args: Any, **kwargs: Any) -> Self:
        # Not around `__init__`: Lightning reads hyper-parameters off the frames that call it.
        _refuse(cls, args, kwargs)
        return super().__new__(cls)


F = typing.TypeVar("F", bound=Callable[..., Any])


def ranged(function: F) -> F:
    """Have a function refuse what its annotations don't allow, likewise."""

    @functools.wraps(function)
    def refusing(*args: Any, **kwargs: Any) -> Any:
        _refuse(function, args, kwargs)
        return function(*args, **kwargs)

    return typing.cast(F, refusing)


def _refuse(target: Callable[..., Any], args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> None:
    from pydantic import ValidationError

    signature, adapters = _adapters(target)
    # Partly: what is lacking or unknown is refused by the call itself, and a copy is given none.
    try:
        given = signature.bind_partial(*args, **kwargs)
    except TypeError:
        return
    values = {**given.arguments, **given.kwargs}
    for name in adapters.keys() & values.keys():
        try:
            adapters[name].validate_python(values[name])
        except ValidationError as error:
            first = error.errors()[0]
            key, value = within(name, values[name], first["loc"])
            raise ConfigError(f"{key}={value}: {first['msg'].removeprefix('Input ')}") from None


@functools.cache
def _adapters(target: Callable[..., Any]) -> tuple[inspect.Signature, dict[str, Any]]:
    """A signature, and what judges those of its arguments that have a range."""
    from pydantic import TypeAdapter

    known, _, _ = parameters(target)
    ranged = {name: TypeAdapter(hint) for name, hint in known.items() if _has_range(hint)}
    return inspect.signature(target), ranged


def _has_range(hint: Any) -> bool:
    return hasattr(hint, "__metadata__") or any(map(_has_range, typing.get_args(hint)))
