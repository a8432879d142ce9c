"""Whatever bytes come, a reader ends in a result or in an error of ours.

MNIST_LAB_FUZZ=100000 tries that many examples of each kind.
"""

import bz2
import contextlib
import copy
import gzip
import hashlib
import inspect
import io
import math
import os
import resource
import struct
import time
import zipfile
from functools import cache
from pathlib import Path

import lightning.pytorch
import numpy as np
import pytest
import torch
import torchmetrics
import yaml
from hydra import compose, initialize_config_dir
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from omegaconf import open_dict
from PIL import Image

import mnist_lab.data
from mnist_lab import LabError, models
from mnist_lab.data.idx import read_idx
from mnist_lab.data.inputs import open_images
from mnist_lab.data.layout import PIXELS
from mnist_lab.data.pictures import read_picture
from mnist_lab.models import MLP, checkpoint, schedules
from mnist_lab.runs import folder, trust
from mnist_lab.runs.result import Result
from mnist_lab.runs.trust import vouch
from mnist_lab.settings import signatures
from mnist_lab.settings.conf import CONF, in_folder, to_plain
from mnist_lab.training import best, continuation, run, stopping, trainer

EXAMPLES = int(os.environ.get("MNIST_LAB_FUZZ", "200"))
SECONDS = 10  # of computing: more is a hang

pytestmark = [
    pytest.mark.timeout(300 + EXAMPLES),
    pytest.mark.filterwarnings("ignore"),  # torch's, of what it is made to read
]
fuzz = settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck))


def ends_well(action, *arguments) -> None:
    start = time.process_time()
    with contextlib.suppress(LabError):
        action(*arguments)
    assert time.process_time() - start < SECONDS


@pytest.fixture(scope="module", autouse=True)
def little_memory():
    """A length that was made up fails to be allocated, whatever the machine has."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + (4 << 30), before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """A file's, written anew for each example."""
    return tmp_path_factory.mktemp("fuzz") / "file"


@st.composite
def mutated(draw, data: bytes) -> bytes:
    """The data with bytes changed, added, removed and repeated in some places."""
    changed = bytearray(data)
    for _ in range(draw(st.integers(1, 6))):
        place = draw(st.integers(0, len(changed)))
        end = place + draw(st.integers(0, 8))
        kind = draw(st.sampled_from(["change", "flip", "add", "remove", "repeat", "cut"]))
        if kind == "change":
            changed[place:end] = draw(st.binary(min_size=end - place, max_size=end - place))
        elif kind == "flip" and place < len(changed):
            changed[place] ^= 1 << draw(st.integers(0, 7))
        elif kind == "add":
            changed[place:place] = draw(st.binary(max_size=8))
        elif kind == "remove":
            del changed[place:end]
        elif kind == "repeat":
            changed[place:place] = changed[place:end] * draw(st.integers(1, 4))
        elif kind == "cut" and draw(st.integers(0, 9)) == 0:
            del changed[place:]
    return bytes(changed)


# IDX files

LENGTHS = st.integers(0, 5) | st.sampled_from([2**16, 2**31 - 1, 2**31, 2**32 - 1])


@st.composite
def images(draw) -> bytes:
    """Nearly an IDX file."""
    shape = draw(st.lists(LENGTHS, max_size=5))
    magic = bytes([0, 0, draw(st.sampled_from([8, 8, 8, 9])), len(shape)])
    missing = draw(st.sampled_from([0, 0, 0, -1, 1]))
    body = bytes(max(0, min(math.prod(shape), 1000) + missing))
    return magic + struct.pack(f">{len(shape)}I", *shape) + body


@fuzz
@given(data=st.binary(max_size=100) | images() | images().flatmap(mutated))
@example(data=b"\0\0\x08\3" + struct.pack(">3I", 0, 2**32 - 1, 2**32 - 1))
def test_read_idx(data, path):
    path.write_bytes(data)
    ends_well(read_idx, path)


# Images to be labelled

TABLE = "".join(",".join(row) + "\n" for row in (PIXELS, *[["0", "255"] * 392] * 3)).encode()
IDX = b"\0\0\x08\3" + struct.pack(">3I", 5, 28, 28) + bytes(5 * 28 * 28)


@cache
def of_numpy(save) -> bytes:
    content = io.BytesIO()
    save(content, np.zeros((3, 28, 28), np.uint8))
    return content.getvalue()


ZIP = io.BytesIO()
with zipfile.ZipFile(ZIP, "w", zipfile.ZIP_DEFLATED) as _archive:
    _archive.writestr("test.csv", TABLE)
OPENED = [TABLE, IDX, ZIP.getvalue(), *map(of_numpy, (np.save, np.savez, np.savez_compressed))]


@cache
def picture(kind: str) -> bytes:
    content = io.BytesIO()
    Image.linear_gradient("L").resize((40, 30)).save(content, kind)
    return content.getvalue()


def labelled(path: Path) -> None:
    for _places, pixels in open_images(path, 2).batches:
        assert pixels.shape[1:] == (1, 28, 28)


@fuzz
@given(
    data=st.binary(max_size=100)
    | images()
    | st.sampled_from(OPENED).flatmap(mutated)
    | st.sampled_from(OPENED).map(gzip.compress).flatmap(mutated)
    | st.sampled_from(OPENED).map(bz2.compress).flatmap(mutated)
)
def test_open_images(data, path):
    path.write_bytes(data)
    ends_well(labelled, path)


@fuzz
@given(
    data=st.binary(max_size=100)
    | st.sampled_from(["PNG", "JPEG", "BMP", "GIF", "PPM", "TIFF", "WEBP", "AVIF"])
    .map(picture)
    .flatmap(mutated)
)
def test_read_picture(data, path):
    path.write_bytes(data)
    ends_well(read_picture, path)


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


MODULES = [
    torch, torch._C, torch.nn, torch.optim, torch.optim.lr_scheduler, torch.utils.data,
    torch.distributions, torch.cuda, torch.jit, torch.storage, torchmetrics,
    torchmetrics.classification, lightning.pytorch, lightning.pytorch.callbacks,
    lightning.pytorch.loggers, lightning.pytorch.strategies, lightning.pytorch.profilers,
    mnist_lab.data, models, continuation, stopping, best, trainer, schedules, mnist_lab,
    signatures, trust, run,
]  # fmt: skip
CLASSES = sorted(
    f"{module.__name__}.{name}"
    for module in MODULES
    for name, value in vars(module).items()
    if inspect.isclass(value)
)
ODD_TARGETS = [
    "os.system", "builtins.eval", "torch", "torch.", ".", "", "torch.nn", "torch.os.system",
    "mnist_lab.training.trainer.as_list", "mnist_lab.training.trainer.precision",
    "mnist_lab.train.main",
    "torch.nn.Linear.forward", "torch.float32", "mnist_lab.models.schedules.cosine",
]  # fmt: skip
ODD_TEXTS = ["${folder}", "${oc.env:HOME}", "${", "\0", "a\nb", "\ud800", "~", "=", "1e3"]
KEYS = ["_target_", "_partial_", "_args_", "_convert_", "_recursive_", "lr", "params", "callbacks"]

TARGETS = st.sampled_from(CLASSES) | st.sampled_from(ODD_TARGETS) | st.text(max_size=20)
LEAVES = (
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10)
    | st.sampled_from(ODD_TEXTS) | st.just(10**400) | st.binary(max_size=5) | st.dates()
)  # fmt: skip
ANY_KEYS = st.text(max_size=5) | st.sampled_from(KEYS) | LEAVES.filter(lambda x: x == x)


def nested(inner):
    return (
        st.lists(inner, max_size=4)
        | st.dictionaries(ANY_KEYS, inner, max_size=4)
        | st.builds(
            lambda target, more: {**more, "_target_": target},
            TARGETS,
            st.dictionaries(st.sampled_from(KEYS), inner, max_size=3),
        )
    )


# Anything that YAML can say, with a preference for what builds something.
VALUES = st.recursive(LEAVES, nested, max_leaves=6)


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
    signatures.check(in_folder(plain, place), run.Settings)


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
