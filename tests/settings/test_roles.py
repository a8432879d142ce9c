"""What each setting is for."""

import inspect
from pathlib import Path

import pytest
import yaml
from hydra.utils import get_object

from mnist_lab import data
from mnist_lab.settings.conf import CONF, GROUPS
from mnist_lab.settings.roles import (
    REPEATED,
    ROLES,
    Role,
    incidental,
    keys,
    role_of,
    without_influence,
)


def constructors(node, path):
    """Keys and what they are arguments of, below a node of a file in `conf/`."""
    if isinstance(node, dict):
        if "_target_" in node:
            for name, parameter in inspect.signature(
                get_object(node["_target_"])
            ).parameters.items():
                if parameter.kind is not parameter.VAR_KEYWORD:
                    yield f"{path}.{name}"
        for name, value in node.items():
            yield f"{path}.{name}"
            yield from constructors(value, f"{path}.{name}")


def known_keys():
    for group in GROUPS:
        for file in sorted(Path(CONF, group).glob("*.yaml")):
            node = yaml.safe_load(file.read_text())
            node.pop("defaults", None)
            yield from constructors(node.get(group, node), group)
    for command in ("train", "evaluate", "predict", "compare", "export"):
        root = yaml.safe_load(Path(CONF, f"{command}.yaml").read_text())
        for name, value in root.items():
            if name not in ("defaults", "hydra"):
                yield from [f"{name}.{key}" for key in value] if name in GROUPS else [name]


def has_row(key):
    """Its own, or one of an object's whose settings are all alike."""
    own = ("trainer.callbacks",)  # each by its name
    above = [part for part in ROLES if key.startswith(f"{part}.")]
    return key in ROLES or (bool(above) and key.rpartition(".")[0] not in own)


def test_every_setting_that_conf_knows_has_a_role():
    names = set(known_keys()) - {"trainer.callbacks._target_"}
    assert {"seed", "data.batch_size", "model.widths", "trainer.strategy", "optimizer.lr"} <= names
    assert sorted(key for key in names if not has_row(key)) == []


@pytest.mark.parametrize(
    "key",
    ["data.workers", "trainer.callbacks.mine", "workers"],
)
def test_a_setting_that_nobody_has_thought_of_has_none_and_counts(key):
    assert not has_row(key)
    assert role_of(key) == Role.METHOD


def test_settings_are_found_by_their_role():
    assert set(keys(Role.CHANGEABLE)) == {
        "trainer.max_epochs", "checkpoint_every_n_steps", "data.root", "data.mirror",
        "data.device", "trainer.accelerator", "trainer.devices", "trainer.num_nodes",
        "threads", "artefacts",
    }  # fmt: skip
    assert keys(Role.DATA, "trainer.") == [
        "trainer.limit_val_batches", "trainer.limit_test_batches", "trainer.overfit_batches",
    ]  # fmt: skip
    assert {key.removeprefix("data.") for key in keys(Role.SPLIT)} == {
        "val_size", "train_size", "split_seed", "folds", "fold", "repeat",
    }  # fmt: skip


def test_what_conf_computes_from_a_changeable_setting_is_known():
    def repeats(node, path):
        if isinstance(node, dict):
            for name, value in node.items():
                yield from repeats(value, f"{path}.{name}")
        elif isinstance(node, str) and node.removeprefix("${").rstrip("}") in keys(Role.CHANGEABLE):
            yield node.removeprefix("${").rstrip("}"), path

    files = [(group, file) for group in GROUPS for file in Path(CONF, group).glob("*.yaml")]
    found = [pair for group, file in files
             for pair in repeats(yaml.safe_load(file.read_text()), group)]  # fmt: skip
    assert sorted(found) == sorted(REPEATED.items())


@pytest.mark.parametrize(
    ("key", "without"),
    [
        ("trainer.callbacks.console.x", True),
        ("trainer.callbacks.last", True),
        ("trainer.precision.accelerator", True),
        ("trainer.precision", False),
        ("study", True),
        ("arm", False),
        ("data", False),
        ("data.source.urls", False),
    ],
)
def test_what_is_below_a_setting_counts_as_it_does(key, without):
    assert without_influence(key) is without


class Pictures(data.Digits):
    """One's own source, that knows its images by their checksums."""

    incidental = ("root", "quality")


class Checked:
    """One's own, that says nothing."""


def test_a_source_says_which_of_its_settings_do_not_identify_its_images():
    theirs = f"{__name__}.Pictures"
    assert incidental(theirs) == ("root", "quality")
    assert incidental(theirs, ask=False) == ()
    assert without_influence("data.root", theirs)
    assert not without_influence("data.root", f"{__name__}.Checked")


def test_what_our_sources_say_is_what_is_known_without_importing_them():
    ours = [name for name in data.__all__ if name.endswith("Source") or name == "Digits"]
    for name in ours:
        known = incidental(f"mnist_lab.data.{name}", ask=False)
        assert getattr(data, name).incidental == known
