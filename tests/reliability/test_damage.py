"""Files that are damaged, or aren't what they should be, are refused in a line."""

import datetime
import random
from pathlib import Path

import pytest
import torch

from mnist_lab import LabError, models
from mnist_lab.models import checkpoint
from mnist_lab.runs import folder
from mnist_lab.runs.result import Result
from tests.reliability.hostile import (
    ALLOWED_MEGABYTES,
    apart,
    archive,
    change,
    content,
    put,
    refused,
    sealed,
    tiny,
    told_by,
)

SEAL_LENGTH = len("sha256:") + 64


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "checkpoints" / "good.ckpt"
    checkpoint.CheckpointIO().save_checkpoint(content(), path)
    assert models.load(path).state_dict().keys() == tiny().state_dict().keys()
    return path.read_bytes()


def unreadable(path: Path) -> bool:
    try:
        models.read(path)
    except LabError:
        return True
    return False


def test_one_flipped_bit_anywhere_is_noticed(good, tmp_path):
    """One in each byte, and each of the checksum behind the end."""
    chance = random.Random(0)
    seal = len(good) - SEAL_LENGTH
    flips = [(place, 1 << chance.randrange(8)) for place in range(seal)]
    flips += [(place, 1 << bit) for place in range(seal, len(good)) for bit in range(8)]
    for place, bit in flips:
        flipped = bytearray(good)
        flipped[place] ^= bit
        assert unreadable(put(tmp_path, flipped)), f"bit {bit} of byte {place} of {len(good)}"


def test_any_missing_end_is_noticed(good, tmp_path):
    ends = {*range(0, len(good), 37), *range(len(good) - SEAL_LENGTH - 200, len(good))}
    for length in sorted(ends):
        assert unreadable(put(tmp_path, good[:length])), f"{length} bytes of {len(good)}"


@pytest.mark.parametrize("more", [b"\0", b"\n", b"sha256:", b"PK", bytes(1000)])
def test_what_is_added_to_the_end_is_noticed(more, good, tmp_path):
    assert unreadable(put(tmp_path, good + more))


MISFITS = {
    "network.1.bias has the shape [2], not [10]": {"network.1.bias": torch.zeros(2)},
    "network.1.bias has the shape [], not [10]": {"network.1.bias": torch.tensor(0.0)},
    "network.1.weight has the shape [1, 10], not [10, 1]": {"network.1.weight": torch.zeros(1, 10)},
    "network.1.weight is missing": {"network.1.weight": None},
    "mean is missing": {"mean": None},
    "extra is not a weight of this model": {"extra": torch.zeros(1)},
    "mean is not a tensor": {"mean": [0.0]},
}


@pytest.mark.parametrize(("line", "changes"), MISFITS.items(), ids=MISFITS.keys())
def test_weights_that_do_not_fit_are_named(line, changes, tmp_path):
    weights = tiny().state_dict() | changes
    weights = {name: weight for name, weight in weights.items() if weight is not None}
    path = put(tmp_path, sealed(archive(content(state_dict=weights))))
    assert refused(path) == line
    if "mean" not in line:  # a starting point's normalisation is the new model's
        with pytest.raises(LabError) as caught:
            checkpoint.init_from(tiny(), path)
        assert str(caught.value) == f"init_from={path}: {line}"


def test_a_key_of_several_lines_is_told_in_one(tmp_path):
    weights = tiny().state_dict() | {"a\nb": torch.zeros(1)}
    assert "not a weight of this model" in refused(
        put(tmp_path, archive(content(state_dict=weights)))
    )


# A run's folder


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data.root", datetime.date(2020, 2, 2)),
        ("model.name", b"bytes"),
        ("model", {3: 4}),
        ("seed", 10**5000),
        ("model.name", "\ud800"),
        ("init_from", "a\0b"),
        ("scheduler", [1]),
        ("scheduler", {"_target_": 3}),
        ("trainer", {}),
        ("augment", {"_target_": "torch._C.PyTorchFileWriter", "x": 1}),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
def test_settings_of_no_use_are_told_in_a_line(key, value, lab_train, run_folder):
    if isinstance(value, int):  # more digits than Python writes, as hexadecimal ones
        path = run_folder / "config.yaml"
        path.write_text(path.read_text().replace("\nseed: 42", f"\nseed: {hex(value)}"))
    else:
        change(run_folder, key, value)
    assert told_by(lab_train(f"resume={run_folder}", "trainer.max_epochs=2"))
    assert not (run_folder / "checkpoints").exists()


GROUPS = "data: {}\nmodel: {}\ntrainer: {}\n"
LAUGHS = "a0: &a0 [x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]\n" for i in range(1, 10)
)
TEXTS = {
    "a call": GROUPS + "x: !!python/object/apply:os.system ['touch {trace}']",
    "an object": GROUPS + "x: !!python/object/new:os.system ['touch {trace}']",
    "a name": GROUPS + "x: !!python/name:os.system",
    "a module": GROUPS + "x: !!python/module:this",
    "a tuple": GROUPS + "x: !!python/tuple [1]",
    "laughs": LAUGHS + GROUPS,
    "an alias": "data: &a {}\nmodel: *a\ntrainer: {}\n",
    "a merged alias": "data: &a {}\nmodel: {<<: *a}\ntrainer: {}\n",
    "an alias of itself": "data: {}\nmodel: &a [*a]\ntrainer: {}\n",
    "deep": GROUPS + "x: " + "[" * 10_000 + "]" * 10_000,
    "deep and never closed": "[" * 10_000,
    "deep mappings": "{a: " * 10_000,
    "deep blocks": GROUPS + "x:\n" + "\n".join(" " * i + "a:" for i in range(1, 1300)),
    "deep dashes": GROUPS + "x: \n" + "- " * 10_000,
    "31 levels": GROUPS + "x: " + "[" * 31 + "]" * 31,
    "a million characters": GROUPS + "x: " + "a" * (1 << 20),
    "a long list": GROUPS + "x: [" + "1," * 520_000 + "1]",
    "long within the limit": "[" * 100_000,
    "latin": GROUPS.encode() + b"x: \xe9",
    "UTF-16": GROUPS.encode("utf-16"),
    "zeros": bytes(1000),
    "a list": "- data: {}\n- model: {}\n- trainer: {}\n",
    "a text": "data model trainer",
    "nothing": "",
    "two documents": GROUPS + "---\n" + GROUPS,
    "no groups": "data: {}\nmodel: {}\n",
    "groups that are none": "data: []\nmodel: {}\ntrainer: 3\n",
    "an empty number": GROUPS + "x: !!int ''",
    "an empty fraction": GROUPS + "x: !!float ''",
    "no truth": GROUPS + "x: !!bool maybe",
    "no time": GROUPS + "x: !!timestamp soon",
    "no day": GROUPS + "x: 2020-99-99",
    "a number base sixty": GROUPS + "x: 1" + ":59" * 20_000 + ".5",
    "a number of many digits": GROUPS + "x: " + "1" * 5_000,
    "a list as a key": GROUPS + "? [1]\n: 2",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_what_is_no_configuration_is_refused_quickly(text, tmp_path, trace):
    data = text if isinstance(text, bytes) else text.replace("{trace}", str(trace)).encode()
    (tmp_path / "config.yaml").write_bytes(data)
    outcome = apart(folder.read_config, tmp_path, seconds=3)
    assert outcome.told.startswith(f"LabError: {tmp_path / 'config.yaml'}: ")
    assert len(outcome.told.splitlines()) == 1
    assert outcome.megabytes < ALLOWED_MEGABYTES
    assert outcome.seconds < 2
    assert not trace.exists()


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(LabError, match="there is no run here"):
        folder.read_config(tmp_path)
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(LabError, match="cannot be read"):
        folder.read_config(tmp_path)


RESULTS = {
    "nothing": b"",
    "cut": b'{"status": "completed", "metrics": {"val/los',
    "a list": b"[]",
    "a number": b"3",
    "no metrics": b'{"status": "completed"}',
    "metrics that are none": b'{"status": "completed", "metrics": [1]}',
    "no status": b'{"metrics": {}}',
    "another status": b'{"metrics": {}, "status": "fine"}',
    "deep": b"[" * 100_000,
    "deep and whole": b'{"metrics": ' + b'{"a":' * 50_000 + b"1" + b"}" * 50_001,
    "latin": b'{"metrics": {"\xe9": 1}}',
    "zeros": bytes(1000),
    "a number of many digits": b'{"metrics": {"a": ' + b"1" * 5000 + b"}}",
}


@pytest.mark.parametrize("data", RESULTS.values(), ids=RESULTS.keys())
def test_a_damaged_result_is_refused(data, tmp_path):
    (tmp_path / "result.json").write_bytes(data)
    with pytest.raises(LabError, match=r"result\.json: ") as caught:
        Result.read(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("data", [RESULTS["cut"], RESULTS["deep"], RESULTS["no status"]])
def test_a_damaged_result_ends_the_command_in_a_line(data, lab_train, run_folder):
    (run_folder / "result.json").write_bytes(data)
    assert "result.json: " in told_by(lab_train(f"resume={run_folder}"))
    assert (run_folder / "result.json").read_bytes() == data
