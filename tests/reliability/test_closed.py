"""Nobody vouches for a file: whatever it holds, nothing of it runs, and one line refuses it."""

import datetime
import gzip
import hashlib
import io
import os
import pickle
import random
import resource
import shutil
import signal
import struct
import sys
import zipfile
from pathlib import Path
from typing import NamedTuple

import pytest
import torch
import yaml

from mnist_lab import LabError, folder, models
from mnist_lab.data import FileError
from mnist_lab.data.idx import read_idx
from mnist_lab.folder import FolderError
from mnist_lab.models import MLP, CheckpointError, checkpoint

SEAL_LENGTH = len("sha256:") + 64


def asked_in_three_ways(path: Path) -> None:
    """Each way to a checkpoint refuses it, in a line that names the file."""
    for ask in (models.read, models.load, lambda path: checkpoint.init_from(tiny(), path)):
        with pytest.raises(CheckpointError) as caught:
            ask(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


def refused(path: Path, **options) -> str:
    """The one line with which it is not loaded, but for the file's name, with which it begins."""
    with pytest.raises(CheckpointError) as caught:
        models.load(path, **options)
    assert len(str(caught.value).splitlines()) == 1
    assert str(caught.value).startswith(f"{path}: ")
    return str(caught.value).removeprefix(f"{path}: ")


class Outcome(NamedTuple):
    told: str
    megabytes: float
    seconds: float


def apart(action, *arguments, seconds: int = 5, room: int = 2 << 30) -> Outcome:
    """What comes of it in a process of its own: there a hang ends, and memory can be measured."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
            resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))
            taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
            resource.setrlimit(resource.RLIMIT_AS, (taken + room, taken + room))
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            try:
                action(*arguments)
                told = "accepted"
            except Exception as error:
                kind = "" if isinstance(error, LabError) else "another error: "
                told = f"{kind}{type(error).__name__}: {error}"
            more = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            os.write(writing, f"{more / 1024} {told[:2000]}".encode(errors="replace"))
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as pipe:
        answer = pipe.read().decode()
    _, status, usage = os.wait4(child, 0)
    if os.WIFSIGNALED(status):
        answer = f"0 ended by {signal.Signals(os.WTERMSIG(status)).name}"
    megabytes, _, told = answer.partition(" ")
    return Outcome(told, float(megabytes or 0), usage.ru_utime + usage.ru_stime)


# Code


@pytest.fixture
def trace(tmp_path) -> Path:
    """A file that exists once any payload has run."""
    return tmp_path / "trace"


@pytest.fixture
def trap(tmp_path, trace, monkeypatch):
    """A package that leaves the trace when it is imported, and when any of it is called."""
    package = tmp_path / "packages" / "trap"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(
        "from pathlib import Path\n"
        f"TRACE = Path({str(trace)!r})\n"
        "TRACE.touch()\n"
        "def run(*args, **kwargs):\n    TRACE.touch()\n"
        "class Trap:\n    def __init__(self, *args, **kwargs):\n        TRACE.touch()\n"
    )
    monkeypatch.syspath_prepend(package.parent)
    yield
    sys.modules.pop("trap", None)


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A package with a user's own model, and one whose name begins alike."""
    for name in ("mine", "miner"):
        package = tmp_path / "packages" / name
        package.mkdir(parents=True)
        (package / "__init__.py").write_text(
            "from mnist_lab.models import MLP\nclass Net(MLP):\n    pass\n"
        )
    monkeypatch.syspath_prepend(tmp_path / "packages")
    yield
    for name in ("mine", "miner"):
        sys.modules.pop(name, None)


class Payload:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self):
        return eval, (self.code,)


# Checkpoints


def tiny() -> MLP:
    return MLP(hidden=[], image_size=1)


def content(model: models.Classifier | None = None, **parts) -> dict:
    """What the Trainer hands on to be written, but for the states of what isn't the model."""
    model = model or tiny()
    about = {"class": f"{type(model).__module__}.{type(model).__name__}", "metrics": {}}
    return {
        "epoch": 0,
        "global_step": 1,
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "mnist_lab": {**about, "data": None, "tally": []},
    } | parts


def archive(saved: dict) -> bytes:
    buffer = io.BytesIO()
    torch.save(saved, buffer)
    return buffer.getvalue()


def sealed(data: bytes) -> bytes:
    return data + b"sha256:" + hashlib.sha256(data).hexdigest().encode()


def put(folder: Path, data: bytes) -> Path:
    path = folder / "some.ckpt"
    path.write_bytes(data)
    return path


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("good") / "checkpoints" / "good.ckpt"
    checkpoint.CheckpointIO().save_checkpoint(content(), path)
    assert models.load(path).state_dict().keys() == tiny().state_dict().keys()
    return path.read_bytes()


def bare(saved: dict) -> bytes:
    return pickle.dumps(saved, protocol=2)


def modern(saved: dict) -> bytes:
    """A torch archive whose pickle is of Python's own kind, as any tool could put it there."""
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive(content()))) as old,
        zipfile.ZipFile(buffer, "w") as new,
    ):
        for name in old.namelist():
            data = pickle.dumps({"x": saved["x"]}) if name.endswith(".pkl") else old.read(name)
            new.writestr(name, data)
    return buffer.getvalue()


@pytest.mark.filterwarnings("ignore:Detected pickle protocol")
@pytest.mark.parametrize("seal", [sealed, bytes], ids=["sealed", "unsealed"])
@pytest.mark.parametrize("form", [bare, archive, modern])
def test_a_payload_is_not_run(form, seal, tmp_path, trace):
    write = f"open({str(trace)!r}, 'w').close()"
    data = form(content(x=Payload(write)))
    asked_in_three_ways(put(tmp_path, seal(data)))
    assert not trace.exists()
    if form is bare:
        pickle.loads(data)
    else:
        torch.load(io.BytesIO(data), weights_only=False)
    assert trace.exists()


@pytest.mark.parametrize(
    "parts",
    [
        {"x": Payload("open('trace', 'w').close()")},
        {"global_step": None},
        {"mnist_lab": {}},
        {},
    ],
    ids=["a payload", "no step", "no class", "another model"],
)
def test_a_last_checkpoint_of_no_use_is_told_in_a_line(parts, lab_train, run_folder, trace):
    (run_folder / "checkpoints").mkdir()
    last = run_folder / "checkpoints" / "last.ckpt"
    last.write_bytes(sealed(archive(content(**parts))))
    assert str(last) in told_by(lab_train(f"resume={run_folder}"))
    assert not trace.exists()


TRAP = {"_target_": "trap.run"}


@pytest.mark.parametrize(
    "settings",
    [
        {"_target_": "os.system", "command": "touch {trace}"},
        {"name": {"_target_": "os.system", "command": "touch {trace}"}},
        {"name": {"_target_": "builtins.eval", "_args_": ["open('{trace}', 'w')"]}},
        {"optimizer": {"_target_": "subprocess.Popen", "args": ["touch", "{trace}"]}},
        {"optimizer": "builtins.eval"},
        {"_instantiator": "os.system"},
        {"_instantiator": "trap.run", "_class_path": "trap.Trap"},
        {"_instantiator": "lightning.pytorch.cli.instantiate_module", "_class_path": "trap.Trap"},
        TRAP,
        {"name": TRAP},
        {"name": {**TRAP, "_partial_": True}},
        {"optimizer": TRAP},
        {"scheduler": {"_target_": "trap.Trap"}},
        {"hidden": [TRAP]},
        {"hidden": TRAP},
        {"_args_": [TRAP]},
        {"_convert_": TRAP},
        {"image_size": "${oc.create:{_target_: trap.run}}"},
    ],
    ids=str,
)
def test_settings_that_name_code_are_refused(settings, tmp_path, trap, trace):
    text = yaml.safe_dump(settings).replace("{trace}", str(trace))
    saved = content(hyper_parameters={**tiny().hparams, **yaml.safe_load(text)})
    assert refused(put(tmp_path, sealed(archive(saved))))
    assert "trap" not in sys.modules
    assert not trace.exists()


def test_a_users_class_is_made_where_its_package_is_trusted(tmp_path, mine):
    saved = content()
    saved["mnist_lab"]["class"] = "mine.Net"
    path = put(tmp_path, sealed(archive(saved)))
    for trust in ([], ["min"], ["miner"], ["mine.Net"], ["mine.other"]):
        assert "its class mine.Net" in refused(path, trust=trust)
        assert "mine" not in sys.modules
    assert type(models.load(path, trust=["mine"])).__module__ == "mine"


# Damage


def unreadable(path: Path) -> bool:
    try:
        models.read(path)
    except CheckpointError:
        return True
    return False


def test_one_flipped_bit_anywhere_is_noticed(good, tmp_path):
    chance = random.Random(0)
    seal = len(good) - SEAL_LENGTH
    places = {*range(100), *chance.sample(range(seal), 500), *range(len(good) - 100, seal)}
    flips = [(place, 1 << chance.randrange(8)) for place in sorted(places)]
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
        with pytest.raises(CheckpointError) as caught:
            checkpoint.init_from(tiny(), path)
        assert str(caught.value) == f"init_from={path}: {line}"


def test_a_key_of_several_lines_is_told_in_one(tmp_path):
    weights = tiny().state_dict() | {"a\nb": torch.zeros(1)}
    assert "not a weight of this model" in refused(
        put(tmp_path, archive(content(state_dict=weights)))
    )


# Bombs: small files that ask for much. What they ask for takes 200 MB and more.

ALLOWED_MEGABYTES = 100
NUMBER = torch.zeros(1, 1)


def of_one_layer(units: int) -> dict:
    return {"hyper_parameters": {"hidden": [units]}}


def of_right_shapes(settings: dict) -> dict:
    """Weights in full, for settings that make something beside the weights large."""
    settings = {"hidden": [1], "image_size": 1, **settings}
    with torch.device("meta"):
        shapes = MLP(**settings).state_dict()
    weights = {name: torch.zeros(weight.shape) for name, weight in shapes.items()}
    return content(state_dict=weights, hyper_parameters=settings)


def one_number_for_all(units: int) -> dict:
    """Each weight is one stored number, of the shape that the settings ask for."""
    weights = {
        "network.1.weight": NUMBER.expand(units, 784),
        "network.1.bias": NUMBER[0].expand(units),
        "network.3.weight": NUMBER.expand(10, units),
        "network.3.bias": NUMBER[0].expand(10),
    }
    own = {"mean": NUMBER.view(1, 1, 1), "std": NUMBER.view(1, 1, 1)}
    return {"state_dict": weights | own, **of_one_layer(units)}


def one_storage_for_all(layers: int) -> dict:
    """Each weight is stored in full, but all in the same place."""
    settings = {"hidden": [1000] * layers, "image_size": 1}
    with torch.device("meta"):
        shapes = MLP(**settings).state_dict()
    stored = torch.zeros(1_000_000)
    weights = {k: stored[: v.numel()].view(v.shape) for k, v in shapes.items()}
    return {"state_dict": weights, "hyper_parameters": settings}


def laughs(depth: int, width: int = 10) -> list:
    """A list of many times the same list of many times the same list, ..."""
    nested: list = [1]
    for _ in range(depth):
        nested = [nested] * width
    return nested


class Zeros:
    def __init__(self, count: int) -> None:
        self.count = count

    def __reduce__(self):
        return bytearray, (self.count,)


def entries(data: bytes) -> tuple[list[bytes], int]:
    """The entries of an archive's directory, and where it begins."""
    end = data.rindex(b"PK\5\6")
    start = struct.unpack_from("<L", data, end + 16)[0]
    found, place = [], start
    while data[place : place + 4] == b"PK\1\2":
        length = 46 + sum(struct.unpack_from("<3H", data, place + 28))
        found.append(data[place : place + length])
        place += length
    return found, start


def closed(body: bytes, count: int, length: int, start: int) -> bytes:
    """With the end record that points at the directory."""
    return body + struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, length, start, 0)


def repacked(saved: dict, compression: int) -> bytes:
    buffer = io.BytesIO()
    with (
        zipfile.ZipFile(io.BytesIO(archive(saved))) as old,
        zipfile.ZipFile(buffer, "w", compression, compresslevel=1) as new,
    ):
        for name in old.namelist():
            new.writestr(name, old.read(name))
    return buffer.getvalue()


def claiming(size: int) -> bytes:
    """One entry of the directory claims to be larger than the whole file."""
    data = repacked(content(), zipfile.ZIP_STORED)
    found, start = entries(data)
    index = next(i for i, entry in enumerate(found) if b"/data/0" in entry)
    found[index] = found[index][:20] + struct.pack("<2L", size, size) + found[index][28:]
    return closed(data[:start] + b"".join(found), len(found), len(b"".join(found)), start)


def overlapping(copies: int) -> bytes:
    """Many entries of the directory stand for the same bytes."""
    stored = torch.zeros(10**6, dtype=torch.uint8)
    data = repacked(content(x=[stored + i for i in range(2, copies)]), zipfile.ZIP_STORED)
    found, _ = entries(data)
    kept, place, first = bytearray(), 0, None
    for index, entry in enumerate(found):
        place = struct.unpack_from("<L", entry, 42)[0]
        size = struct.unpack_from("<L", entry, 20)[0]
        if size == len(stored) and first is not None:
            start = first
        else:
            start = len(kept)
            name, extra = struct.unpack_from("<2H", data, place + 26)
            kept += data[place : place + 30 + name + extra + size]
            first = start if size == len(stored) else first
        found[index] = entry[:42] + struct.pack("<L", start) + entry[46:]
    return closed(kept + b"".join(found), len(found), len(b"".join(found)), len(kept))


def two_faced(megabytes: int) -> bytes:
    """Two directories: one where the end record points, and an innocent one right before it.

    Python's zipfile goes by the latter, as if something had been put in front of the archive.
    """
    bomb = torch.zeros(megabytes << 20, dtype=torch.uint8)
    data = repacked(content(x=bomb), zipfile.ZIP_DEFLATED)
    found, start = entries(data)
    real = b"".join(found)
    size = [struct.unpack_from("<L", entry, 20)[0] for entry in found]
    shown = b"".join(
        entry[:10] + bytes(2) + entry[12:20] + struct.pack("<2L", n, n) + entry[28:]
        for entry, n in zip(found, size, strict=True)
    )
    return closed(data[:start] + real + shown, len(found), len(real), start)


BOMBS = {
    "a trillion units": lambda: archive(content(**of_one_layer(10**12))),
    "a quarter of a million units": lambda: archive(content(**of_one_layer(250_000))),
    "large images": lambda: archive(content(hyper_parameters={"hidden": [8], "image_size": 4000})),
    "one number for all": lambda: archive(content(**one_number_for_all(250_000))),
    "one number for a trillion": lambda: archive(content(**one_number_for_all(10**12))),
    "one storage for all": lambda: archive(content(**one_storage_for_all(100))),
    "an expanded weight": lambda: archive(
        content(state_dict=tiny().state_dict() | {"network.1.weight": NUMBER.expand(10**12, 1)})
    ),
    "bytearray": lambda: archive(content(x=Zeros(200 << 20))),
    "claims more than it is": lambda: claiming(1 << 30),
    "overlapping": lambda: overlapping(200),
    "two directories": lambda: two_faced(200),
    "laughs": lambda: archive(content(hyper_parameters={"hidden": laughs(9)})),
    "broad laughs": lambda: archive(content(hyper_parameters={"hidden": laughs(3, 500)})),
    "laughing class": lambda: archive(content(mnist_lab={"class": laughs(9)})),
    "many layers": lambda: archive(content(hyper_parameters={"hidden": [1] * 50_000})),
}


@pytest.mark.parametrize("make", BOMBS.values(), ids=BOMBS.keys())
def test_a_checkpoint_takes_no_more_memory_than_its_size(make, tmp_path):
    path = put(tmp_path, sealed(make()))
    megabytes = path.stat().st_size / 2**20
    outcome = apart(models.load, path)
    assert outcome.told.startswith("CheckpointError: ")
    assert outcome.megabytes < ALLOWED_MEGABYTES + 3 * megabytes
    assert outcome.seconds < 5


@pytest.mark.parametrize("settings", [{"num_classes": 6_000}, {"in_channels": 500_000}], ids=str)
def test_a_model_takes_no_more_memory_than_its_weights(settings, tmp_path):
    path = put(tmp_path, sealed(archive(of_right_shapes(settings))))
    outcome = apart(models.load, path)
    assert outcome.told == "accepted"
    assert outcome.megabytes < ALLOWED_MEGABYTES  # not those of 6,000 x 6,000 counts, say


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: repacked(content(), zipfile.ZIP_DEFLATED), "it is compressed"),
        (lambda: claiming(1 << 30), "it claims to be larger than it is"),
        (lambda: claiming(5000), "it claims to be larger than it is"),
    ],
    ids=["compressed", "claims a gigabyte", "claims a little too much"],
)
def test_an_archive_that_would_expand_is_not_unpacked(make, line, tmp_path):
    assert refused(put(tmp_path, sealed(make()))) == f"not a readable checkpoint: {line}"


# A run's folder


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A folder of a finished run, made by the command."""
    from mnist_lab import command, train

    path = tmp_path_factory.mktemp("finished") / "run"
    settings = ["data=digits", "data.train_size=100", "model=mlp", "model.hidden=[8]"]
    trainer = ["trainer.max_epochs=1", "trainer.accelerator=cpu", "hydra.job.name=train"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["train", *settings, *trainer, f"hydra.run.dir={path}"])
        command.run(train.main)
    return path


@pytest.fixture
def run_folder(finished, tmp_path) -> Path:
    """The same, before it was trained."""
    path = tmp_path / "run"
    path.mkdir()
    shutil.copy(finished / "config.yaml", path)
    return path


def change(run_folder: Path, key: str, value) -> None:
    """Put the value into `config.yaml`."""
    path = run_folder / "config.yaml"
    stored = yaml.safe_load(path.read_text())
    *groups, name = key.split(".")
    group = stored
    for each in groups:
        group = group[each]
    group[name] = value
    path.write_text(yaml.safe_dump(stored, sort_keys=False))


def told_by(called) -> str:
    """The one line of a command that did nothing else."""
    assert called.status == 1
    lines = called.err.splitlines()
    assert len(lines) == 1
    return lines[0]


PROCESS = "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler"
SPAWN = {
    "entrypoint": "touch", "args": ["{trace}"], "env": {}, "stdout": None, "stderr": None,
    "local_rank_id": 0, "numa_options": None,
}  # fmt: skip
ADAM = {"_target_": "torch.optim.Adam", "_partial_": True}
COMMAND = {"command": "touch {trace}"}
TARGETS = {
    "os": ("augment", "os.system", COMMAND),
    "eval": ("augment", "builtins.eval", {"_args_": ["open('{trace}', 'w').close()"]}),
    "Popen": ("augment", "subprocess.Popen", {"args": ["touch", "{trace}"]}),
    "os through torch": ("augment", "torch.os.system", COMMAND),
    "os through lightning": ("augment", "lightning.pytorch.trainer.trainer.os.system", COMMAND),
    "math beside the schedules": ("scheduler", "mnist_lab.models.schedules.math.fsum", {}),
    "torch.hub": (
        "augment", "torch.hub.load",
        {"repo_or_dir": "{hub}", "model": "net", "source": "local", "trust_repo": True},
    ),
    "torch.load": ("augment", "torch.load", {"f": "{hub}/x", "weights_only": False}),
    "a process, by a class of torch": ("augment", PROCESS, SPAWN),
    "a process, as an optimizer": ("model.optimizer", PROCESS, {**SPAWN, "_partial_": False}),
    "hydra": ("augment", "hydra.utils.instantiate", {"config": TRAP}),
    "a function": ("augment", "trap.run", {}),
    "a class": ("augment", "trap.Trap", {}),
    "of a name that begins alike": ("augment", "torch_trap.run", {}),
    "a module": ("augment", "torch.nn", {}),
    "nothing that there is": ("augment", "torch.no_such_module.run", {}),
    "of two lines": ("augment", "os.system\nEverything is fine.", COMMAND),
    "partial": ("scheduler", "trap.run", {"_partial_": True}),
    "partial of partial": (
        "augment", "functools.partial", {"_args_": [{**TRAP, "_partial_": True}]},
    ),
    "logger": ("trainer.logger.mine", "trap.Trap", {}),
    "where nothing belongs": ("notes", "trap.run", {}),
}  # fmt: skip


@pytest.mark.parametrize(("key", "target", "arguments"), TARGETS.values(), ids=TARGETS.keys())
def test_a_stored_target_is_not_run(
    key, target, arguments, lab_train, run_folder, trap, trace, tmp_path
):
    hub = tmp_path / "hub"
    hub.mkdir()
    (hub / "hubconf.py").write_text(f"open({str(trace)!r}, 'w')\ndef net(): ...\n")
    text = yaml.safe_dump({"_target_": target, **arguments})
    text = text.replace("{trace}", str(trace)).replace("{hub}", str(hub))
    change(run_folder, key, yaml.safe_load(text))
    called = lab_train(f"resume={run_folder}")
    line = told_by(called)
    assert f"{key}._target_=" in line
    assert str(target).partition("\n")[0] in line
    assert called.out == ""
    assert not trace.exists()
    assert "trap" not in sys.modules
    assert not (run_folder / "checkpoints").exists()


AFFINE = {"_target_": "mnist_lab.data.RandomAffine"}


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("model.hidden", [8, [[TRAP]]], "model.hidden"),
        ("trainer.callbacks.mine", {"a": {"b": TRAP}}, "trainer.callbacks.mine.a.b._target_"),
        ("augment", {**AFFINE, "_args_": [{"a": [TRAP]}]}, "augment._args_"),
        ("augment", {**AFFINE, "degrees": {**AFFINE, "shift": TRAP}}, "augment.degrees.shift"),
        ("augment", {**AFFINE, "_convert_": TRAP}, "augment._convert_"),
        ("model.optimizer", {**ADAM, "_args_": [[TRAP]]}, "model.optimizer._args_"),
        ("model.optimizer", {**ADAM, "params": [TRAP]}, "model.optimizer.params"),
        ("trainer.plugins", [TRAP], "trainer.plugins"),
        ("folder", TRAP, "folder"),
    ],
    ids=str,
)
def test_a_stored_target_is_found_wherever_it_is(
    key, value, told, lab_train, run_folder, trap, trace
):
    change(run_folder, key, value)
    assert told in told_by(lab_train(f"resume={run_folder}"))
    assert not trace.exists()
    assert "trap" not in sys.modules


@pytest.mark.parametrize(
    "node",
    [
        {**AFFINE, "_args_": [{"_target_": "torch._C.PyTorchFileWriter", "_args_": ["kept"]}]},
        {"_target_": "mnist_lab.command.LogFile", "filename": "kept", "mode": "w"},
        {"_target_": "torch.FileStore", "_args_": ["kept", 1]},
    ],
    ids=["_args_", "ours", "torch's"],
)
def test_a_class_that_no_run_is_built_from_is_not_made(node, lab_train, run_folder):
    kept = Path("kept")
    kept.write_text("dear")
    change(run_folder, "augment", node)
    assert told_by(lab_train(f"resume={run_folder}"))
    assert kept.read_text() == "dear"


def test_a_stored_source_cannot_put_files_of_its_own_anywhere(lab_train, run_folder, tmp_path):
    """Python runs what begins with `import` in any file of this kind that it finds at its start."""
    code = b"\nimport antigravity\n"
    packed = gzip.compress(struct.pack(">4BI", 0, 0, 8, 1, len(code)) + code)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    (mirror / "evil.pth.gz").write_bytes(packed)
    source = {
        "_target_": "mnist_lab.data.IDXSource",
        "name": "site-packages",
        "classes": [str(i) for i in range(256)],
        "sizes": {"train": 1000, "test": len(code)},
        "urls": [mirror.as_uri()],
        "md5": {"evil.pth.gz": hashlib.md5(packed).hexdigest()},
    }
    change(run_folder, "data.source", source)
    change(run_folder, "data.root", str(tmp_path))
    change(run_folder, "model.num_classes", 256)
    assert told_by(lab_train(f"resume={run_folder}"))
    assert not list(tmp_path.rglob("*.pth"))


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("data.device", "${oc.env:SECRET}"),
        ("data.device", "${oc.create:{_target_: trap.run}}"),
        ("data.device", r"\${oc.env:SECRET}"),
        ("data.device", "${"),
        ("model.name", "${oc.env:SECRET}"),
        ("model.hidden", ["${oc.decode:${oc.env:SECRET}}"]),
        ("augment", "${oc.create:{_target_: trap.run}}"),
        ("augment", {"_target_": "${oc.env:SECRET}"}),
    ],
    ids=str,
)
def test_interpolations_are_refused(key, text, lab_train, run_folder, monkeypatch, trap, trace):
    monkeypatch.setenv("SECRET", "s3cr3t")
    change(run_folder, key, text)
    assert "s3cr3t" not in told_by(lab_train(f"resume={run_folder}"))
    assert not trace.exists()


@pytest.mark.parametrize(
    "written",
    [
        r'"\x24{oc.create:{_target_: trap.run}}"',
        r'"\u0024\x7boc.create:{_target_: trap.run}}"',
        '"$\\\n    {oc.create:{_target_: trap.run}}"',
    ],
    ids=["hexadecimal", "both", "over two lines"],
)
def test_interpolations_are_refused_however_they_are_written(
    written, lab_train, run_folder, trap, trace
):
    path = run_folder / "config.yaml"
    path.write_text(path.read_text().replace("device: auto", f"device: {written}"))
    assert yaml.safe_load(path.read_text())["data"]["device"] == "${oc.create:{_target_: trap.run}}"
    assert told_by(lab_train(f"resume={run_folder}"))
    assert not trace.exists()


def test_a_users_own_model_is_resumed_where_its_package_is_trusted(
    lab_train, run_folder, mine, capsys
):
    change(run_folder, "model._target_", "mine.Net")
    for trust in ([], ["trust=[min]"], ["trust=[miner]"]):
        line = told_by(lab_train(f"resume={run_folder}", *trust))
        assert "model._target_=mine.Net: is not of mnist_lab" in line
        assert "mine" not in sys.modules
    called = lab_train(f"resume={run_folder}", "trust=[mine]")
    assert called.status == 0, called.err
    assert folder.read_result(run_folder)["status"] == "completed"
    assert models.read(run_folder)["mnist_lab"]["class"] == "mine.Net"


def test_trust_that_is_stored_is_worth_nothing(lab_train, run_folder, trap, trace):
    change(run_folder, "trust", ["trap"])
    change(run_folder, "augment", TRAP)
    assert "augment._target_=trap.run: is not of" in told_by(lab_train(f"resume={run_folder}"))
    assert not trace.exists()


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
    assert outcome.told.startswith(f"FolderError: {tmp_path / 'config.yaml'}: ")
    assert len(outcome.told.splitlines()) == 1
    assert outcome.megabytes < ALLOWED_MEGABYTES
    assert outcome.seconds < 2
    assert not trace.exists()


def test_a_missing_configuration_is_named(tmp_path):
    with pytest.raises(FolderError, match="there is no run here"):
        folder.read_config(tmp_path)
    (tmp_path / "config.yaml").mkdir()
    with pytest.raises(FolderError, match="cannot be read"):
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
    with pytest.raises(FolderError, match=r"result\.json: ") as caught:
        folder.read_result(tmp_path)
    assert len(str(caught.value).splitlines()) == 1


@pytest.mark.parametrize("data", [RESULTS["cut"], RESULTS["deep"], RESULTS["no status"]])
def test_a_damaged_result_ends_the_command_in_a_line(data, lab_train, run_folder):
    (run_folder / "result.json").write_bytes(data)
    assert "result.json: " in told_by(lab_train(f"resume={run_folder}"))
    assert (run_folder / "result.json").read_bytes() == data


# Data


@pytest.mark.parametrize(
    "shape",
    [
        (2**31, 28, 28),
        (2**31,),
        (2**32 - 1,) * 4,
        (0, 2**32 - 1, 2**32 - 1),  # no bytes, and yet more than there can be
        (2**32 - 1, 2**32 - 1, 0),
    ],
)
@pytest.mark.parametrize("rest", [0, 784])
def test_an_idx_header_that_claims_too_much_takes_no_memory(shape, rest, tmp_path):
    path = tmp_path / "images"
    path.write_bytes(struct.pack(f">4B{len(shape)}I", 0, 0, 8, len(shape), *shape) + bytes(rest))
    outcome = apart(read_idx, path)
    assert outcome.told.startswith(f"{FileError.__name__}: {path}: ")
    assert outcome.megabytes < ALLOWED_MEGABYTES
