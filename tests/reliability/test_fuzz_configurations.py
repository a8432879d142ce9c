"""Stored configurations and results of any bytes end in a result or in an error of ours."""

import copy
from functools import cache
from pathlib import Path

import yaml
from hydra import compose, initialize_config_dir
from hypothesis import given
from hypothesis import strategies as st
from omegaconf import open_dict

from mnist_lab.runs import folder
from mnist_lab.runs.result import Result
from mnist_lab.runs.trust import vouch
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF, in_folder, to_plain
from mnist_lab.training.configured import Settings
from tests.reliability.fuzzing import ANY_KEYS, MARKS, TARGETS, VALUES, ends_well, fuzz, mutated

pytestmark = MARKS


# Stored configurations


@cache
def stored() -> dict:
    """What a run puts into its `config.yaml`."""
    with initialize_config_dir(CONF, version_base="1.3"):
        cfg = compose(
            "train",
            ["data=digits", "augment=affine", "model=mlp", "model.name=mlp", "folder=x"],
        )
    with open_dict(cfg):
        return to_plain(cfg)


def places(node, path=()) -> list[tuple]:
    """The keys to everything below."""
    found = []
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        found.append((*path, key))
        if isinstance(value, dict | list):
            found += places(value, (*path, key))
    return found


@st.composite
def configurations(draw) -> str:
    """A stored configuration in which something was replaced, added or removed."""
    plain = copy.deepcopy(stored())
    for _ in range(draw(st.integers(1, 3))):
        *groups, key = draw(st.sampled_from(places(plain)))
        group = plain
        for each in groups:
            group = group[each]
        kind = draw(st.sampled_from(["replace", "replace", "add", "remove", "target"]))
        if kind == "replace":
            group[key] = draw(VALUES)
        elif kind == "target":
            group[key] = {**(group[key] if isinstance(group[key], dict) else {})}
            group[key]["_target_"] = draw(TARGETS)
        elif kind == "remove":
            del group[key]
        elif isinstance(group, dict):
            group[draw(ANY_KEYS)] = draw(VALUES)
    return yaml.safe_dump(plain, sort_keys=False)


TOKENS = [
    "data: {}\n", "model: {}\n", "trainer: {}\n", "a", "b: ", ": ", "- ", "? ", "\n", "  ", "\t",
    "{", "}", "[", "]", ",", "'", '"', "|", ">", "&a ", "*a", "<<: ", "#", "%", "@", "---\n",
    "...\n", "!!int ", "!!float ", "!!bool ", "!!null ", "!!timestamp ", "!!binary ", "!!str ",
    "!!set ", "!!omap ", "!!pairs ", "!!seq ", "!!map ", "!!merge ", "!!value ", "!x ", "''",
    "0x", "0b", "1:59", "1_", "-", "+", ".inf", ".nan", "1e9", "2020-01-01", "=", "~", "yes",
    "_target_: torch.nn.ReLU", "!!python/object/apply:os.system ", "\ufeff", "\0", "\x85", "é",
]  # fmt: skip


GROUPS = st.sampled_from(["", "data: {}\nmodel: {}\ntrainer: {}\n"])
DUMPED = VALUES.map(yaml.safe_dump)
LINES = st.lists(st.sampled_from(TOKENS), max_size=12).map("".join) | st.text(max_size=40)
TEXTS = st.builds(lambda groups, text: f"{groups}x: {text}", GROUPS, LINES | DUMPED)


def resume(place: Path) -> None:
    """What the command does with a stored configuration before it builds anything."""
    plain = folder.continued(place, {})
    vouch(plain)
    signatures.check(in_folder(plain, place), Settings)


def resume_with(data: str | bytes, path: Path) -> None:
    data = data if isinstance(data, bytes) else data.encode("utf-8", "surrogatepass")
    (path.parent / "config.yaml").write_bytes(data)
    ends_well(resume, path.parent)


def test_a_stored_configuration_is_accepted_as_it_was(path):
    (path.parent / "config.yaml").write_text(yaml.safe_dump(stored()))
    resume(path.parent)


@fuzz
@given(data=configurations())
def test_changed_configurations(data, path):
    resume_with(data, path)


@fuzz
@given(data=TEXTS | LINES | st.binary(max_size=60))
def test_texts_as_configurations(data, path):
    resume_with(data, path)


@fuzz
@given(data=st.deferred(lambda: mutated(yaml.safe_dump(stored()).encode())))
def test_damaged_configurations(data, path):
    resume_with(data, path)


@fuzz
@given(data=st.binary(max_size=60) | mutated(b'{"status": "completed", "metrics": {"a": 1.5}}'))
def test_results(data, path):
    (path.parent / "result.json").write_bytes(data)
    ends_well(Result.read, path.parent)
