"""Nobody vouches for a file: whatever it holds, nothing of it runs, and one line refuses it."""

import gzip
import hashlib
import io
import pickle
import struct
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from mnist_lab import LabError, models
from mnist_lab.models import checkpoint
from mnist_lab.runs.result import Result
from mnist_lab.runs.trust import vouch
from mnist_lab.settings import signatures
from tests.reliability.hostile import archive, change, content, put, refused, sealed, tiny, told_by


def asked_in_three_ways(path: Path) -> None:
    """Each way to a checkpoint refuses it, in a line that names the file."""
    for ask in (models.read, models.load, lambda path: checkpoint.init_from(tiny(), path)):
        with pytest.raises(LabError) as caught:
            ask(path)
        assert str(path) in str(caught.value)
        assert len(str(caught.value).splitlines()) == 1


class Payload:
    def __init__(self, code: str) -> None:
        self.code = code

    def __reduce__(self):
        return eval, (self.code,)


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


# A run's folder


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
    assert called.out == "Loading PyTorch and Lightning ...\n"
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
        {"_target_": "mnist_lab.system.log.LogFile", "filename": "kept", "mode": "w"},
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
        assert line.rstrip().endswith("a package of your own is allowed by trust=[PACKAGE]")
        assert "mine" not in sys.modules
    called = lab_train(f"resume={run_folder}", "trust=[mine]")
    assert called.status == 0, called.err
    assert Result.read(run_folder).status == "completed"
    assert models.read(run_folder)["mnist_lab"]["class"] == "mine.Net"


@pytest.mark.parametrize(
    ("key", "target"),
    [
        ("augment", "torchvision.transforms.v2.GaussianBlur"),
        ("scheduler", "torch.optim.lr_scheduler.StepLR"),
        ("model.optimizer", "torch.optim.NAdam"),
        ("trainer.callbacks.mine", "lightning.pytorch.callbacks.ModelSummary"),
        ("trainer.logger.mine", "lightning.pytorch.loggers.CSVLogger"),
        ("trainer.logger.other", "lightning.pytorch.loggers.LitLogger"),
        ("trainer.strategy", "lightning.pytorch.strategies.SingleDeviceStrategy"),
        ("trainer.plugins", "lightning.pytorch.plugins.MixedPrecision"),
        ("trainer.profiler", "lightning.pytorch.profilers.SimpleProfiler"),
    ],
)
def test_what_the_documents_say_that_a_stored_configuration_may_name_it_may(key, target):
    stored: dict = {"_target_": target}
    for name in reversed(key.split(".")):
        stored = {name: stored}
    vouch(stored)


@pytest.mark.parametrize(
    "target",
    ["torchvision.models.resnet18", "torchvision.datasets.MNIST", "torchmetrics.MeanMetric",
     "torchvision.transforms.functional.to_tensor", "torch.nn.Linear", "torch.hub.load"],
)  # fmt: skip
def test_anything_else_of_theirs_it_may_not(target):
    with pytest.raises(signatures.ConfigError, match=r"is not of|nothing that a run is built from"):
        vouch({"augment": {"_target_": target}})


def test_trust_that_is_stored_is_worth_nothing(lab_train, run_folder, trap, trace):
    change(run_folder, "trust", ["trap"])
    change(run_folder, "augment", TRAP)
    assert "augment._target_=trap.run: is not of" in told_by(lab_train(f"resume={run_folder}"))
    assert not trace.exists()
