"""Checkpoints: saved and read back, sealed, and of classes that are trusted."""

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf

from mnist_lab import Diverged, LabError
from mnist_lab.models import MLP, ConvNet, LeNet, checkpoint, load, schedules
from mnist_lab.settings.changes import choices
from tests.models.checkpoints import changed, refused, save, small_digits


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
