"""Checkpoints that are refused: files of any kind, of others, and whatever does not fit."""

import importlib
import math
import os
import pickle
import sys
import zipfile
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from mnist_lab import LabError
from mnist_lab.data.typical import Typical
from mnist_lab.models import MLP, checkpoint
from mnist_lab.models.checkpoint import picture_form
from mnist_lab.runs import trained
from tests.models.checkpoints import changed, refused, save


def test_what_is_missing_is_refused(tmp_path):
    missing = tmp_path / "missing.ckpt"
    assert refused(missing) == "there is no such file"
    assert refused(tmp_path, named=tmp_path / "checkpoints/best.ckpt") == "there is no such file"


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"Training notes, no checkpoint at all.\n",
        b"Results of the run\n",
        b"epoch,val/loss\n0,0.5\n",  # how a run's metrics.csv begins
        b"Mean of 3 runs\n",
        b"U\x8c\xff\xb1 not text either",
        b"GIF89a",
        pickle.dumps([1, 2, 3], protocol=2),
    ],
)
def test_files_of_another_kind_are_refused(content, tmp_path):
    path = tmp_path / "other.ckpt"
    path.write_bytes(content)
    assert refused(path).startswith("not a")


@pytest.mark.parametrize("part", [0.1, 0.5, 0.99])
def test_truncated_files_are_refused(saved, part, tmp_path):
    content = saved.read_bytes()
    path = tmp_path / "truncated.ckpt"
    path.write_bytes(content[: int(part * len(content))])
    assert refused(path).startswith("not a readable checkpoint: ")


@pytest.mark.parametrize("content", [{}, [], torch.zeros(3), {"state_dict": {}}])
def test_other_content_is_refused(content, tmp_path):
    path = tmp_path / "other.ckpt"
    torch.save(content, path)
    assert refused(path) == "not a checkpoint of mnist_lab"


@pytest.mark.parametrize(
    ("dotted", "reason"),
    [
        ("os.system", "is not of mnist_lab.models"),
        ("builtins.eval", "is not of mnist_lab.models"),
        ("eval", "is not of mnist_lab.models"),
        ("torch.nn.Linear", "is not of mnist_lab.models"),
        ("mnist_lab.models_of_others.Trap", "is not of mnist_lab.models"),
        ("mnist_lab.models.classifier.nn", "is not a Classifier"),
        ("mnist_lab.models.classifier.Adam", "is not a Classifier"),
        ("mnist_lab.models.schedules.cosine", "is not a Classifier"),
        ("mnist_lab.models.mlp.Missing", "is not a Classifier"),
        ("mnist_lab.models.missing.MLP", ""),
        ("mnist_lab.models.Classifier", ""),
    ],
)
def test_only_classes_of_this_package_are_made(dotted, reason, saved, tmp_path):
    trace = tmp_path / "trace"
    about = {"class": dotted, "data": None, "metrics": {}}
    arguments = {"command": f"touch {trace}"}  # what os.system would take
    path = changed(saved, tmp_path, mnist_lab=about, hyper_parameters=arguments)
    assert reason in refused(path)
    assert not trace.exists()


def test_modules_of_others_are_not_even_imported(saved, tmp_path, monkeypatch):
    trace = tmp_path / "trace"
    (tmp_path / "snare.py").write_text(f"open({str(trace)!r}, 'w')\nclass MLP: ...\n")
    monkeypatch.syspath_prepend(tmp_path)
    path = changed(saved, tmp_path, mnist_lab={"class": "snare.MLP"})
    assert "snare.MLP is not of mnist_lab.models; a package of your own is allowed by trust=" in (
        refused(path)
    )
    assert not trace.exists()
    importlib.import_module("snare")
    assert trace.exists()
    del sys.modules["snare"]


class Trap:
    """Unpickled, it makes a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self):
        return os.mkdir, (str(self.folder),)


@pytest.mark.parametrize("write", ["zip", "legacy", "pickle"])
def test_code_in_a_pickle_is_not_run(write, saved, tmp_path):
    path, trace = tmp_path / "trap.ckpt", tmp_path / "trace"
    content = torch.load(saved, weights_only=True) | {"trap": Trap(trace)}
    if write == "pickle":
        path.write_bytes(pickle.dumps(content, protocol=2))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=write == "zip")
    assert refused(path).startswith("not a readable checkpoint: ")
    with pytest.raises(LabError):
        checkpoint.init_from(MLP(hidden=[8]), path)
    assert not trace.exists()
    with suppress(RuntimeError):  # a bare pickle is no checkpoint, which shows too late
        torch.load(path, weights_only=False)
    assert trace.exists()


def test_weights_that_do_not_fit_their_settings_are_refused(saved, tmp_path):
    weights = torch.load(saved, weights_only=True)["state_dict"]
    wrong = weights | {"network.1.weight": torch.zeros(7, 784)}
    assert "network.1.weight" in refused(changed(saved, tmp_path, state_dict=wrong))
    less = {name: value for name, value in weights.items() if name != "network.3.bias"}
    assert "network.3.bias" in refused(changed(saved, tmp_path, state_dict=less))


@pytest.mark.parametrize(
    "parts",
    [
        {"mnist_lab": {}},
        {"mnist_lab": None},
        {"mnist_lab": {"class": 3}},
        {"hyper_parameters": {"hidden": [8], "unheard_of": 1}},
        {"hyper_parameters": {"hidden": [8], "num_classes": 0}},
        {"hyper_parameters": None},
        {"state_dict": None},
    ],
)
def test_damaged_descriptions_are_refused(parts, saved, tmp_path):
    assert refused(changed(saved, tmp_path, **parts))


@pytest.mark.parametrize(
    "odd",
    [
        lambda weight: weight.to_sparse(),
        lambda weight: torch.quantize_per_tensor(weight, 0.1, 0, torch.qint8),
        lambda weight: weight.to("meta"),
        lambda weight: weight.tolist(),
    ],
    ids=["sparse", "quantized", "meta", "list"],
)
@pytest.mark.filterwarnings("ignore:.*quantize", "ignore:.*[Ss]parse", "ignore:.*TypedStorage")
def test_weights_of_another_kind_are_refused(odd, saved, tmp_path):
    weights = torch.load(saved, weights_only=True)["state_dict"]
    weights["network.1.weight"] = odd(weights["network.1.weight"])
    assert refused(changed(saved, tmp_path, state_dict=weights))


def test_a_small_file_cannot_ask_for_a_large_model(saved, tmp_path):
    """One number can stand for a whole tensor, which has the right shape."""
    number, units = torch.zeros(1, 1), 20_000
    content = torch.load(saved, weights_only=True)
    weights = content["state_dict"] | {
        "network.1.weight": number.expand(units, 784),
        "network.1.bias": number[0].expand(units),
        "network.3.weight": number.expand(10, units),
    }
    settings = content["hyper_parameters"] | {"hidden": [units]}
    path = changed(saved, tmp_path, state_dict=weights, hyper_parameters=settings)
    assert path.stat().st_size < 200_000  # of 64 million that the model takes
    assert refused(path)


@pytest.mark.parametrize("part", ["state_dict", "hyper_parameters"])
def test_missing_parts_are_refused(part, saved, tmp_path):
    content = torch.load(saved, weights_only=True)
    del content[part]
    path = tmp_path / "less.ckpt"
    torch.save(content, path)
    assert refused(path)


def test_compressed_files_are_refused(saved, tmp_path):
    path = tmp_path / "compressed.ckpt"
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))
    assert refused(path) == "not a readable checkpoint: it is compressed"


TYPICAL = Typical(torch.zeros(3, 1, 28, 28, dtype=torch.uint8), (3.0, 1.0), 255)._asdict()


@pytest.mark.parametrize(
    "changed",
    [
        {"means": 3},
        {"means": torch.zeros(3, 1, 28, 28)},
        {"means": torch.zeros(3, 3, 28, 28, dtype=torch.uint8)},
        {"means": torch.zeros(0, 1, 28, 28, dtype=torch.uint8)},
        {"means": torch.zeros(11, 1, 1, 1, dtype=torch.uint8)},  # each would become 28x28
        {"means": torch.zeros(1, 1, 1, 1, dtype=torch.uint8).expand(10**5, 1, 999, 999)},
        {"means": torch.zeros(3, 1, 28, 28, dtype=torch.uint8).to_sparse()},
        {"distance": (1.0,)},
        {"distance": (math.nan, 1.0)},
        {"distance": "ab"},
        {"peak": 0},
        {"peak": None},
        {"more": 1},
    ],
    ids=str,
)
def test_training_images_that_a_checkpoint_describes_wrongly(changed, tmp_path):
    saved = save(MLP(hidden=[]), tmp_path)
    content = torch.load(saved, weights_only=True)
    content["mnist_lab"] |= {"typical": TYPICAL, "data": None, "sealed": False}
    torch.save(content, tmp_path / "x.ckpt")
    assert trained.load(tmp_path / "x.ckpt", "cpu").typical.peak == 255
    content["mnist_lab"]["typical"] = {**TYPICAL, **changed}
    torch.save(content, tmp_path / "x.ckpt")
    with pytest.raises(LabError, match="its training images are not described"):
        trained.load(tmp_path / "x.ckpt", "cpu")


@pytest.mark.parametrize(
    "whole",
    [
        {"_target_": "os.system"},
        {"form": "digit"},
        {"size": "${oc.env:HOME}"},
        ["form"],
        {"size": True},
    ],
    ids=str,
)
def test_a_form_of_pictures_names_nothing_to_build(whole):
    with pytest.raises(LabError, match=r"^x\.ckpt: "):
        picture_form({"whole": whole}, "x.ckpt")
    good = {"form": "plain", "size": 8, "grey": True}
    assert picture_form({"whole": good}, "x.ckpt") == good
