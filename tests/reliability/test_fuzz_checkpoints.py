"""Checkpoints of any bytes: a reader ends in a result or in an error of ours."""

import copy
import hashlib
import io
import zipfile
from functools import cache
from pathlib import Path

import torch
from hypothesis import given
from hypothesis import strategies as st

from mnist_lab import models
from mnist_lab.models import MLP, checkpoint
from tests.reliability.fuzzing import ANY_KEYS, MARKS, TARGETS, VALUES, ends_well, fuzz, mutated

pytestmark = MARKS


# Checkpoints


@cache
def model() -> MLP:
    return MLP(hidden=[2], image_size=1)


@cache
def content() -> dict:
    about = {"class": "mnist_lab.models.mlp.MLP", "data": None, "metrics": {}}
    return {
        "epoch": 0,
        "global_step": 1,
        "state_dict": copy.deepcopy(model().state_dict()),
        "hyper_parameters": dict(model().hparams),
        "mnist_lab": about | {"tally": [{"sums": torch.zeros(3), "uncounted": []}]},
    }


def archive(saved: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    return buffer.getvalue()


@cache
def good() -> dict[str, bytes]:
    """The files in a checkpoint's archive, by name."""
    with zipfile.ZipFile(io.BytesIO(archive(content()))) as file:
        return {name: file.read(name) for name in file.namelist()}


def packed(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for name, data in files.items():
            file.writestr(name, data)
    return buffer.getvalue()


@st.composite
def repacked(draw) -> bytes:
    """An archive that is whole, of files that are not."""
    files = dict(good())
    name = draw(st.sampled_from(["archive/data.pkl"] * 8 + sorted(files)))
    files[name] = draw(mutated(files[name]))
    return packed(files)


def load_all(data: bytes, path: Path) -> None:
    """Read and load it, with and without a valid seal."""
    seal = b"sha256:" + hashlib.sha256(data).hexdigest().encode()
    path.write_bytes(data + seal)
    ends_well(checkpoint.read, path)
    ends_well(models.load, path)
    ends_well(checkpoint.init_from, model(), path)


def test_a_checkpoint_is_accepted_as_it_was(path):
    for data in (archive(content()), packed(good())):
        path.write_bytes(data)
        assert models.load(path).state_dict().keys() == content()["state_dict"].keys()


@fuzz
@given(data=st.binary(max_size=200), seal=st.booleans())
def test_bytes_as_checkpoints(data, seal, path):
    path.write_bytes(data + b"sha256:" + b"0" * 64 if seal else data)
    ends_well(models.load, path)
    load_all(data, path)


@fuzz
@given(data=st.deferred(lambda: mutated(archive(content()))))
def test_damaged_checkpoints(data, path):
    load_all(data, path)


@fuzz
@given(data=repacked())
def test_checkpoints_with_damaged_pickles(data, path):
    load_all(data, path)


SIZES = st.integers(-1, 5) | st.sampled_from([2**20, 2**31, 2**40, 2**63, 10**30])
SETTINGS = {
    "hidden": st.lists(SIZES, max_size=3) | SIZES,
    "activation": st.sampled_from(["relu", "tanh", "elu"]),
    "norm": st.sampled_from(["none", "before", "after", "both"]),
    "dropout": st.floats(),
    "name": st.text(max_size=5) | st.none(),
    "in_channels": SIZES,
    "num_classes": SIZES,
    "image_size": SIZES,
    "resize": st.sampled_from(["bilinear", "pad", "crop"]),
    "normalize": st.sampled_from(["train", "none", "all"]),
    "label_smoothing": st.floats(),
    "optimizer": VALUES,
    "scheduler": VALUES,
}
NAMES = st.lists(st.sampled_from(sorted(SETTINGS)), max_size=3, unique=True)
MORE = st.dictionaries(ANY_KEYS, VALUES, max_size=1)


@st.composite
def hyper_parameters(draw) -> dict:
    """Settings of the right names and often of the right types."""
    found = dict(content()["hyper_parameters"])
    for name in draw(NAMES):
        found[name] = draw(SETTINGS[name] if draw(st.integers(0, 3)) else VALUES)
    return found | (draw(MORE) if draw(st.integers(0, 3)) == 0 else {})


def saved(parts: dict) -> bytes:
    return archive({**content(), **parts})


@fuzz
@given(found=hyper_parameters())
def test_checkpoints_with_other_settings(found, path):
    load_all(saved({"hyper_parameters": found}), path)


DTYPES = [torch.float32] * 3 + [torch.float64, torch.int64, torch.bool, torch.complex64]
KINDS = ["dense", "expanded", "huge", "meta", "sparse", "parameter", "else"]


def tensor(shape: list[int], dtype: torch.dtype, kind: str) -> torch.Tensor:
    plain = torch.zeros(shape, dtype=dtype)
    if kind == "expanded":
        return torch.zeros([1] * len(shape), dtype=dtype).expand(shape)
    if kind == "huge":
        return torch.zeros(1, dtype=dtype).expand(10**15)
    if kind == "parameter":
        return torch.nn.Parameter(plain, requires_grad=False)
    return {"meta": plain.to("meta"), "sparse": plain.to_sparse()}.get(kind, plain)


@st.composite
def weights(draw) -> dict:
    """The right names, or others, with tensors of all kinds."""
    found = dict(content()["state_dict"])
    for _ in range(draw(st.integers(1, 2))):
        name = draw(st.sampled_from(sorted(content()["state_dict"])) | ANY_KEYS)
        right = list(content()["state_dict"].get(name, torch.zeros(1)).shape)
        shape = right if draw(st.booleans()) else draw(st.lists(st.integers(0, 3), max_size=3))
        kind = draw(st.sampled_from(KINDS))
        found[name] = tensor(shape, draw(st.sampled_from(DTYPES)), kind)
        if kind == "else":
            found[name] = draw(VALUES)
        if draw(st.integers(0, 4)) == 0:
            del found[name]
    return found


ABOUT = st.dictionaries(st.sampled_from(["class", "data", "metrics", "sealed"]) | ANY_KEYS, VALUES)
CLASS = st.builds(lambda name: {"class": name}, TARGETS)


@fuzz
@given(found=weights())
def test_checkpoints_with_other_weights(found, path):
    load_all(saved({"state_dict": found}), path)


@fuzz
@given(
    found=ABOUT | CLASS | VALUES,
    part=st.sampled_from(["mnist_lab", "mnist_lab", "state_dict", "hyper_parameters"]),
)
def test_checkpoints_of_other_things(found, part, path):
    load_all(saved({part: found}), path)
