"""Checkpoints: saved and read back, refused when they are not ours, and as a starting point."""

import hashlib
import importlib
import math
import os
import pickle
import sys
import zipfile
from contextlib import suppress
from functools import partial
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from lightning.pytorch.callbacks import ModelCheckpoint
from omegaconf import OmegaConf

from mnist_lab import Diverged, LabError
from mnist_lab.data import DataModule, Digits
from mnist_lab.data.typical import Typical
from mnist_lab.models import (
    MLP,
    Classifier,
    ConvNet,
    LeNet,
    checkpoint,
    load,
    schedules,
)
from mnist_lab.models.checkpoint import picture_form
from mnist_lab.runs import trained
from mnist_lab.settings.changes import choices
from mnist_lab.training.handover import HandOver


def small_digits() -> DataModule:
    return DataModule(Digits(), val_size=200, train_size=100, batch_size=50)


def save(model: Classifier, folder: Path, **settings) -> Path:
    """Fit for two steps with what a run uses to keep its best weights; the checkpoint."""
    best = ModelCheckpoint(folder / "checkpoints", "best", enable_version_counter=False)
    trainer = L.Trainer(
        accelerator="cpu",
        max_epochs=1,
        callbacks=[best, HandOver()],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **settings,
    )
    trainer.fit(model, small_digits())
    return Path(best.best_model_path)


@pytest.fixture(scope="module")
def saved(tmp_path_factory) -> Path:
    return save(MLP(hidden=[8]), tmp_path_factory.mktemp("saved"))


def changed(saved: Path, folder: Path, **parts) -> Path:
    """A copy of the checkpoint with other parts."""
    path = folder / "changed.ckpt"
    torch.save(torch.load(saved, weights_only=True) | parts, path)
    return path


def images() -> torch.Tensor:
    # RandomState's streams never change
    random = np.random.RandomState(0)
    return torch.from_numpy(random.randint(0, 256, (50, 1, 28, 28), dtype=np.uint8))


def plain(value) -> bool:
    """Whether there is nothing in it but what JSON and Python's literals can say."""
    if type(value) is dict:
        return all(type(key) is str and plain(x) for key, x in value.items())
    if type(value) in (list, tuple):
        return all(map(plain, value))
    return type(value) in (str, int, float, bool, type(None))


# Saved and loaded


@pytest.mark.parametrize(
    "make",
    [
        partial(LeNet),
        partial(LeNet, widths=[4, 5], hidden=[], image_size=20, pool="max", resize="bilinear"),
        partial(MLP, hidden=(8, 6), norm="after", dropout=0.4, name="mine", label_smoothing=0.1),
        partial(MLP, hidden=[], num_classes=12, image_size=30, resize="pad", normalize="none"),
        partial(ConvNet, widths=[[3, 3], [4]], norm="before", scheduler=schedules.cosine),
        partial(ConvNet, norm="none", scheduler=partial(schedules.onecycle, peak=0.01)),
    ],
)
def test_a_loaded_model_is_the_saved_one(make, tmp_path):
    model = make()
    path = save(model, tmp_path)
    loaded = load(path)
    assert type(loaded) is type(model)
    assert not any(module.training for module in loaded.modules())
    with torch.no_grad():
        assert torch.equal(loaded(images()), model.eval()(images()))
    assert dict(loaded.hparams) == dict(model.hparams)
    for key in ("name", "num_classes", "image_size", "resize", "normalize", "label_smoothing"):
        assert getattr(loaded, key) == getattr(model, key)
    for key, value in make.keywords.items():
        if key != "scheduler":
            assert str(loaded.hparams[key]) == str(value).replace("(", "[").replace(")", "]")


def test_a_runs_folder_stands_for_its_best_checkpoint(saved):
    folder = saved.parent.parent
    assert saved == folder / "checkpoints/best.ckpt"
    torch.testing.assert_close(load(folder)(images()), load(saved)(images()), rtol=0, atol=0)
    assert checkpoint.read(str(folder))["state_dict"].keys() == load(saved).state_dict().keys()


def test_a_checkpoint_says_what_it_is_of_in_plain_values(saved):
    assert torch.serialization.get_unsafe_globals_in_checkpoint(saved) == []
    content = torch.load(saved, weights_only=True)
    assert content["mnist_lab"]["class"] == "mnist_lab.models.mlp.MLP"
    assert content["mnist_lab"]["data"] == {
        "name": "digits",
        "classes": [str(digit) for digit in range(10)],
        "val_size": 200,
        "train_size": 100,
        "split_seed": 0,
        "test_size": None,
        "root": None,
    }
    assert content["mnist_lab"]["metrics"].keys() >= {"val/loss", "val/accuracy", "val/f1"}
    assert content["hyper_parameters"]["hidden"] == [8]
    (tally,) = content["mnist_lab"].pop("tally")  # of each process
    assert tally["sums"].shape == (3,)
    typical = content["mnist_lab"].pop("typical")
    images, labels = small_digits().tensors("train")
    mean = images[labels == 7].double().mean(0).round()
    assert torch.equal(typical.pop("means")[7], mean.byte())
    assert plain(typical)
    assert plain(content["mnist_lab"])
    assert plain(content["hyper_parameters"])


def test_metrics_in_a_checkpoint_are_those_of_its_weights(saved):
    content = checkpoint.read(saved)
    images, labels = small_digits().tensors("val")
    accuracy = (load(saved)(images).argmax(1) == labels).double().mean().item()
    assert content["mnist_lab"]["metrics"]["val/accuracy"] == pytest.approx(accuracy)


def test_settings_from_a_yaml_file_are_plain_too(tmp_path):
    """Also where nobody asked hydra to convert its lists."""
    model = instantiate(OmegaConf.create(choices("model")["lenet_maxpool"]))
    loaded = load(save(model, tmp_path))
    assert plain(dict(loaded.hparams))
    assert loaded.hparams["widths"] == [6, 10]


# Refused


def refused(path: Path, named: Path | None = None) -> str:
    """What the error says, which begins with the path."""
    with pytest.raises(LabError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{named or path}: ")
    return str(caught.value).removeprefix(f"{named or path}: ")


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


# Of classes that are trusted by name


def test_classes_of_others_are_made_where_they_are_trusted(saved, tmp_path, monkeypatch):
    text = "from mnist_lab.models import MLP\nclass Theirs(MLP):\n    pass\n"
    (tmp_path / "models_of_others.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    about = {"class": "models_of_others.Theirs"}
    path = changed(saved, tmp_path, mnist_lab=about)
    assert "models_of_others.Theirs is not of mnist_lab.models" in refused(path)
    with pytest.raises(LabError, match=r"models_of_others\.Theirs"):
        load(path, trust=["models_of"])  # a package's name, not the beginning of one
    loaded = load(path, trust=["models_of_others"])
    assert type(loaded).__name__ == "Theirs"
    assert torch.equal(loaded(images()), load(saved)(images()))


# Sealed


@pytest.fixture(scope="module")
def sealed(tmp_path_factory) -> Path:
    io = checkpoint.CheckpointIO()
    return save(MLP(hidden=[8]), tmp_path_factory.mktemp("sealed"), plugins=[io])


def test_a_sealed_checkpoint_ends_in_the_sha256_of_the_rest(sealed):
    content = sealed.read_bytes()
    assert content[-64:].decode() == hashlib.sha256(content[:-71]).hexdigest()
    assert list(sealed.parent.iterdir()) == [sealed]
    weights = torch.load(sealed, weights_only=True)["state_dict"]  # any reader can have it
    for name, value in load(sealed).state_dict().items():
        assert torch.equal(value, weights[name])


def test_a_torn_off_seal_is_noticed(sealed, tmp_path):
    path = tmp_path / "torn.ckpt"
    path.write_bytes(sealed.read_bytes()[:-71])
    assert refused(path) == "damaged: its checksum is missing"


def test_weights_that_are_not_finite_leave_the_last_checkpoint_alone(sealed, tmp_path):
    path = tmp_path / "last.ckpt"
    before = sealed.read_bytes()
    path.write_bytes(before)
    content = checkpoint.read(sealed)
    content["state_dict"]["network.3.bias"][4] = float("nan")
    with pytest.raises(Diverged, match=r"network\.3\.bias is not finite after step 2"):
        checkpoint.CheckpointIO().save_checkpoint(content, path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


# As a starting point


def start(path: Path, model: Classifier) -> dict[str, torch.Tensor]:
    """The model's own state before it took over the checkpoint's."""
    model.mean.fill_(0.7)
    model.std.fill_(0.9)
    own = {name: value.clone() for name, value in model.state_dict().items()}
    checkpoint.init_from(model, path)
    return own


def kept(model: Classifier, own: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in model.state_dict().items() if torch.equal(value, own[name])}


def test_all_weights_are_taken_over_but_not_the_normalisation(tmp_path):
    path = save(ConvNet(widths=[[3], [4]], hidden=[5]), tmp_path)
    model = ConvNet(widths=[[3], [4]], hidden=[5])
    own = start(path, model)
    assert kept(model, own) == {"mean", "std"}
    for name, value in checkpoint.read(path)["state_dict"].items():
        if name not in ("mean", "std"):
            torch.testing.assert_close(model.state_dict()[name], value, rtol=0, atol=0)


def test_the_last_layer_stays_where_the_number_of_classes_differs(saved):
    model = MLP(hidden=[8], num_classes=26)
    own = start(saved, model)
    assert kept(model, own) == {"mean", "std", "network.3.weight", "network.3.bias"}
    weights = checkpoint.read(saved)["state_dict"]
    for name in ("network.1.weight", "network.1.bias"):
        torch.testing.assert_close(model.state_dict()[name], weights[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    "other",
    [
        LeNet(),
        MLP(hidden=[9]),
        MLP(hidden=[8, 8]),
        MLP(hidden=[]),
        MLP(hidden=[8], norm="after"),
        MLP(hidden=[8], in_channels=3),
    ],
    ids=lambda model: f"{model.name}-{model.network[1]}",
)
def test_another_architecture_is_no_starting_point(other, saved):
    with pytest.raises(LabError) as caught:
        checkpoint.init_from(other, saved)
    assert str(caught.value).startswith(f"init_from={saved}: ")


def test_another_image_size_is_another_architecture(tmp_path):
    """Its last layer differs in its inputs; none of it may be taken over in part."""
    path = save(ConvNet(widths=[[3]], kernel_sizes=[3]), tmp_path)
    model = ConvNet(widths=[[3]], kernel_sizes=[3], image_size=32)
    with pytest.raises(
        LabError, match=r"network.5.weight has the shape \[10, 588\], not \[10, 768\]"
    ):
        checkpoint.init_from(model, path)


def test_a_missing_starting_point_is_named(tmp_path):
    path = tmp_path / "missing.ckpt"
    with pytest.raises(LabError) as caught:
        checkpoint.init_from(MLP(hidden=[8]), path)
    assert str(path) in str(caught.value)


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
