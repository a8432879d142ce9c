"""torchvision's datasets, from files in their own formats, which tests write."""

import bz2
import struct

import numpy as np
import pytest
import torch
import torchvision.datasets
from PIL import Image
from scipy.io import savemat

from mnist_lab.data import DataError, TorchvisionSource
from mnist_lab.settings import make
from tests.data.cifar import md5, write_cifar10

RANDOM = np.random.RandomState(0)


@pytest.fixture
def cifar10(tmp_path, monkeypatch):
    """A root with a tiny CIFAR-10, its images and labels."""
    return tmp_path / "data", *write_cifar10(tmp_path / "data", monkeypatch)


def test_cifar10_is_read_in_colour(cifar10):
    root, images, labels = cifar10
    data = make("data/cifar10", root=str(root), val_size=10)
    data.prepare_data()
    data.setup("fit")
    data.setup("test")
    found, truth = data.tensors("test")
    assert torch.equal(found, torch.from_numpy(images[100:]))
    assert truth.tolist() == labels[100:].tolist()
    train = data.source.read(root, "train")
    assert torch.equal(train[0], torch.from_numpy(images[:100]))
    assert train[1].tolist() == labels[:100].tolist()
    assert (data.source.channels, data.classes[6]) == (3, "frog")
    assert [path.name for path in root.iterdir()] == ["cifar-10-batches-py"]  # and no lock


def test_a_broken_file_is_no_dataset_and_the_error_a_line(cifar10, monkeypatch):
    root, *_ = cifar10
    (root / "cifar-10-batches-py/data_batch_3").write_bytes(b"short")
    monkeypatch.setattr(torchvision.datasets.CIFAR10, "url", "http://localhost:9/cifar.tar.gz")
    source = make("data/cifar10").source
    with pytest.raises(DataError, match=r"^CIFAR10 cannot be had: ") as caught:
        source.prepare(root, None)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(root.glob(".CIFAR10.part*"))


def test_svhn_and_usps(tmp_path, monkeypatch):
    images = RANDOM.randint(256, size=(32, 32, 3, 12)).astype(np.uint8)
    labels = np.arange(12) % 10
    sums = {}
    for split in ("train", "test"):
        path = tmp_path / f"{split}_32x32.mat"
        # There 10 is the digit 0.
        savemat(path, {"X": images, "y": np.where(labels == 0, 10, labels)[:, None]})
        sums[split] = ["", path.name, md5(path)]
    monkeypatch.setattr(torchvision.datasets.SVHN, "split_list", sums)
    source = make("data/svhn").source
    source.prepare(tmp_path, None)
    found, truth = source.read(tmp_path, "train")
    assert torch.equal(found, torch.from_numpy(images.transpose(3, 2, 0, 1)))
    assert truth.tolist() == labels.tolist()

    pixels = RANDOM.randint(256, size=(5, 256))
    lines = [
        " ".join([str(label + 1), *(f"{i + 1}:{value / 127.5 - 1}" for i, value in enumerate(row))])
        for label, row in enumerate(pixels)
    ]
    sums = {}
    for split, name in (("train", "usps.bz2"), ("test", "usps.t.bz2")):
        (tmp_path / name).write_bytes(bz2.compress("\n".join(lines).encode()))
        sums[split] = ["", name, md5(tmp_path / name)]
    monkeypatch.setattr(torchvision.datasets.USPS, "split_list", sums)
    source = make("data/usps").source
    source.prepare(tmp_path, None)
    found, truth = source.read(tmp_path, "test")
    assert truth.tolist() == [0, 1, 2, 3, 4]
    assert found.shape == (5, 1, 16, 16)
    assert (found.flatten(1).int() - torch.from_numpy(pixels)).abs().max() <= 1


def idx(array):
    codes = {"uint8": 8, ">i4": 12}
    code = codes["uint8" if array.dtype == np.uint8 else ">i4"]
    head = struct.pack(f">HBB{array.ndim}I", 0, code, array.ndim, *array.shape)
    return head + array.tobytes()


def test_emnist_stands_upright_and_letters_begin_at_a(tmp_path):
    raw = tmp_path / "EMNIST/raw"
    raw.mkdir(parents=True)
    images = RANDOM.randint(256, size=(26, 28, 28)).astype(np.uint8)
    for split in ("train", "test"):
        (raw / f"emnist-letters-{split}-images-idx3-ubyte").write_bytes(idx(images))
        labels = np.arange(1, 27).astype(np.uint8)
        (raw / f"emnist-letters-{split}-labels-idx1-ubyte").write_bytes(idx(labels))
    source = make("data/emnist_letters").source
    source.prepare(tmp_path, None)
    found, truth = source.read(tmp_path, "test")
    assert truth.tolist() == list(range(26))
    assert torch.equal(found[:, 0], torch.from_numpy(images).transpose(1, 2))
    names = make("data/emnist").source.classes
    theirs = torchvision.datasets.EMNIST
    assert sorted(names) == sorted(theirs.classes_split_dict["balanced"])
    assert names == theirs.classes_split_dict["balanced"]


def test_qmnist(tmp_path):
    raw = tmp_path / "QMNIST/raw"
    raw.mkdir(parents=True)
    images = RANDOM.randint(256, size=(10, 28, 28)).astype(np.uint8)
    extended = np.zeros((10, 8), ">i4")
    extended[:, 0] = np.arange(10)
    for split in ("train", "test"):
        (raw / f"qmnist-{split}-images-idx3-ubyte").write_bytes(idx(images))
        (raw / f"qmnist-{split}-labels-idx2-int").write_bytes(idx(extended))
    source = make("data/qmnist").source
    source.prepare(tmp_path, None)
    found, truth = source.read(tmp_path, "train")
    assert torch.equal(found[:, 0], torch.from_numpy(images))
    assert truth.tolist() == list(range(10))


def plain(**settings):
    described = {"name": "own", "dataset": "EuroSAT", "classes": 10, "train": {}, "test": {}}
    return TorchvisionSource(**{**described, **settings})


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (
            {"dataset": "CIFAR"},
            "dataset=CIFAR: torchvision has no such dataset; did you mean CIFAR",
        ),
        ({"dataset": "MNIST", "train": {"trian": True}}, "data.source.train: MNIST: "),
        ({"dataset": "FakeData"}, "data.source.train: FakeData: "),
    ],
)
def test_what_does_not_fit_is_refused_in_a_line(tmp_path, settings, told):
    with pytest.raises(DataError) as caught:
        plain(**settings).prepare(tmp_path, None)
    assert told in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


class Items(torchvision.datasets.VisionDataset):
    """Items as they are given."""

    items: list

    def __getitem__(self, index):
        return self.items[index]

    def __len__(self):
        return len(self.items)


@pytest.mark.parametrize(
    ("items", "settings", "told"),
    [
        ([("text", 1)], {}, "its items are no picture and label"),
        ([(Image.new("L", (2, 2)), "cat")], {}, "a label is a str, no number"),
        ([(Image.new("L", (2, 2)), 0), (Image.new("L", (4, 2)), 1)], {}, "2 sizes, up to 2x4"),
        ([(Image.new("L", (2, 2)), 3)], {"classes": 3}, "its labels go from 3 to 3"),
        ([(Image.new("L", (2, 2)), 0)], {"first_label": 1}, "its labels go from 0 to 0"),
    ],
)
def test_items_that_do_not_fit_are_refused_in_a_line(tmp_path, monkeypatch, items, settings, told):
    monkeypatch.setattr(torchvision.datasets, "Items", Items, raising=False)
    Items.items = items
    source = plain(dataset="Items", **settings)
    source.prepare(tmp_path, None)
    with pytest.raises(DataError, match=told) as caught:
        source.read(tmp_path, "train")
    assert len(str(caught.value).splitlines()) == 1


def test_pictures_are_resized_by_area_and_converted(tmp_path, monkeypatch):
    monkeypatch.setattr(torchvision.datasets, "Items", Items, raising=False)
    quarters = np.kron([[0, 40], [80, 120]], np.ones((2, 2))).astype(np.uint8)
    Items.items = [(Image.fromarray(quarters), 0), (Image.new("RGB", (2, 2), (90, 90, 90)), 1)]
    images, labels = plain(dataset="Items", size=2, classes=2).read(tmp_path, "train")
    assert images[0, 0].tolist() == [[0, 40], [80, 120]]
    assert images[1, 0].tolist() == [[90, 90], [90, 90]]
    assert labels.tolist() == [0, 1]
    images, _ = plain(dataset="Items", size=2, classes=2, channels=3).read(tmp_path, "train")
    assert images.shape == (2, 3, 2, 2)
