"""Ranges that annotations say hold from Python as from YAML."""

import copy
import inspect
import pickle
from typing import Annotated, TypedDict, Unpack

import numpy as np
import pytest
from annotated_types import Ge

from mnist_lab.settings.ranges import Count, Positive, Ranged, Seed, Share, ranged
from mnist_lab.settings.signatures import ConfigError, build, check


class Thing(Ranged):
    def __init__(self, size: Count, *, share: Share | None = None, sizes: list[Count] = []) -> None:  # noqa: B006
        self.size = size


class Rest(TypedDict, total=False):
    size: Count


class Special(Thing):
    def __init__(self, rate: Positive, name: str = "x", **rest: Unpack[Rest]) -> None:
        super().__init__(**rest)


@ranged
def function(count: Annotated[int, Ge(3)], text: int = 0, **rest: Seed) -> int:
    return count


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda: Thing(0), "size=0: should be greater than or equal to 1"),
        (lambda: Thing(np.int64(0)), "size=0"),
        (lambda: Thing(2, share=1.5), "share=1.5: should be less than or equal to 1"),
        (lambda: Thing(2, share=float("nan")), "share=nan"),
        (lambda: Thing(size=2, sizes=[3, 0]), r"sizes=\[3, 0\]"),
        (lambda: Special(0.0, size=1), "rate=0.0: should be greater than 0"),
        (lambda: Special(1.0, size=0), "size=0"),
        (lambda: function(2), "count=2: should be greater than or equal to 3"),
    ],
)
def test_what_lies_outside_is_refused(make, text):
    with pytest.raises(ConfigError, match=f"^{text}") as caught:
        make()
    assert isinstance(caught.value, ValueError)


def test_what_lies_within_is_passed_on_as_it_is():
    size = np.int64(3)
    assert Thing(size).size is size
    assert Thing(1, share=None).size == 1
    assert function(3, text="no range, not looked at") == 3
    for again in (copy.deepcopy(Thing(5)), pickle.loads(pickle.dumps(Thing(5)))):
        assert again.size == 5


def test_what_does_not_belong_to_a_call_is_pythons_to_refuse():
    with pytest.raises(TypeError, match="missing"):
        Thing()
    with pytest.raises(TypeError, match="unexpected"):
        Thing(1, length=2)


def test_signatures_stay_what_they_are():
    assert list(inspect.signature(Thing).parameters) == ["size", "share", "sizes"]
    assert list(inspect.signature(function).parameters) == ["count", "text", "rest"]


def test_yaml_is_refused_before_and_by_its_key():
    thing = {"_target_": f"{__name__}.Thing", "size": 0}
    with pytest.raises(ConfigError, match=r"^part\.size=0: should be greater"):
        check({"part": thing}, lambda part: None)
    with pytest.raises(ConfigError, match=r"^part\.size=0: should be greater"):
        build({"part": thing})
