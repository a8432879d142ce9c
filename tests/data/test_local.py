"""One's own data: the splits of a table and of folders, and what is wrong with them."""

import csv
import json

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from mnist_lab import LabError
from mnist_lab.data import DataError, DataModule, Digits, FolderSource, KaggleSource
from mnist_lab.files import class_names


def digit_images():
    images, labels = Digits().read(None, "train")
    return images.squeeze(1).numpy(), labels.numpy()


@pytest.fixture
def kaggle(tmp_path):
    """A folder with the digits as train.csv."""
    images, labels = digit_images()
    (tmp_path / "kaggle").mkdir()
    with open(tmp_path / "kaggle/train.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["label", *(f"pixel{i}" for i in range(784))])
        writer.writerows(np.column_stack([labels, images.reshape(-1, 784)]).tolist())
    return tmp_path / "kaggle"


@pytest.fixture
def folder(tmp_path):
    """Some digits as pictures, the classes not in the digits' order."""
    images, labels = digit_images()
    for name, digit in (("two", 2), ("one", 1), ("seven", 7)):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i, image in enumerate(images[labels == digit][:40]):
            Image.fromarray(image).save(tmp_path / "own" / name / f"{i:02}.png")
    return tmp_path / "own"


def test_a_table_is_divided_into_splits_that_share_no_image(kaggle):
    images, labels = digit_images()
    data = DataModule(KaggleSource(test_size=0.2), root=str(kaggle), val_size=100)
    parts = {split: data.tensors(split) for split in ("train", "val", "test")}
    sizes = {split: len(part[1]) for split, part in parts.items()}
    assert sizes == {"train": 1437 - 287 - 100, "val": 100, "test": 287}
    truth = sorted((image.tobytes(), label) for image, label in zip(images, labels, strict=True))
    found = sorted(
        (image.numpy().tobytes(), int(label))
        for part in parts.values()
        for image, label in zip(*part, strict=True)
    )
    assert found == truth
    shares = np.bincount(labels) * 287 / 1437
    assert np.abs(np.bincount(parts["test"][1]) - shares).max() < 1


def test_the_test_split_is_the_same_whatever_the_other_splits_are(kaggle):
    one = DataModule(KaggleSource(), root=str(kaggle), val_size=100, split_seed=0, seed=0)
    other = DataModule(KaggleSource(), root=str(kaggle), val_size=0.3, split_seed=5, seed=7)
    assert torch.equal(one.tensors("test")[0], other.tensors("test")[0])


def test_folders_are_read_as_imagefolder_does(folder):
    reference = torchvision.datasets.ImageFolder(folder)
    assert class_names(str(folder)) == reference.classes == ["one", "seven", "two"]
    source = FolderSource(class_names(str(folder)), test_size=30)
    parts = [source.read(folder, split) for split in ("train", "test")]
    assert [len(labels) for _, labels in parts] == [90, 30]
    assert parts[1][1].bincount().tolist() == [10, 10, 10]
    truth = sorted((image.convert("L").tobytes(), label) for image, label in reference)
    found = sorted(
        (image.numpy().tobytes(), int(label))
        for part in parts
        for image, label in zip(*part, strict=True)
    )
    assert found == truth


def test_train_and_test_folders_are_the_splits(folder, tmp_path):
    root = tmp_path / "split"
    root.mkdir()
    folder.rename(root / "train")
    for name in ("one", "seven", "two"):
        (root / "test" / name).mkdir(parents=True)
        (root / "train" / name / "03.png").rename(root / "test" / name / "03.png")
    (root / "train" / ".cache").mkdir()
    source = FolderSource(class_names(str(root)))
    assert source.classes == ["one", "seven", "two"]
    assert len(source.read(root, "train")[1]) == 117
    assert source.read(root, "test")[1].tolist() == [0, 1, 2]
    (root / "test" / "eight").mkdir()
    with pytest.raises(DataError, match="test: the classes are eight, one, seven, two, not one"):
        FolderSource(source.classes).prepare(root, None)


def test_what_cannot_be_used_is_named(folder, kaggle, tmp_path):
    def refused(match, root=folder, **settings):
        with pytest.raises(LabError, match=match):
            FolderSource(class_names(str(root)), **settings).prepare(root, None)

    with pytest.raises(DataError, match=r"train\.csv: No such file"):
        KaggleSource().prepare(folder, None)
    with pytest.raises(DataError, match=r"data\.source\.test_size=1\.5: a fraction lies between"):
        KaggleSource(test_size=1.5).prepare(kaggle, None)
    refused(r"data\.source\.test_size must lie between 0 and 120, not 121", test_size=121)
    refused("nowhere: No such file", tmp_path / "nowhere")
    refused("needs a folder for each of 2 or more classes", folder / "one")
    (folder / "one/bad.png").write_bytes(b"x")
    (folder / "two/bad.png").write_bytes(b"x")
    refused(r"one/bad\.png: not a readable picture: .* \(and 1 more of 122\)")
    (folder / "empty").mkdir()
    refused("empty: holds no pictures")
    (folder / "empty").rmdir()
    (folder / "${oc.env:HOME}").mkdir()
    refused("can't be the name of a class")


def result(root):
    (path,) = root.glob("outputs/*/*/*/result.json")
    return json.loads(path.read_text())


def test_training_on_a_table(lab_train, kaggle, tmp_path):
    called = lab_train(
        "experiment=kaggle_cnn", "data=kaggle", f"data.root={kaggle}", "trainer.max_epochs=1"
    )
    assert called.status == 0, called.err
    assert result(tmp_path)["dataset"] == "kaggle"
    assert sum(values["support"] for values in result(tmp_path)["per_class"].values()) == 144


def test_training_on_folders_needs_no_number_of_classes(lab_train, folder, tmp_path):
    called = lab_train("data=folder", f"data.root={folder}", "trainer.max_epochs=1")
    assert called.status == 0, called.err
    assert list(result(tmp_path)["per_class"]) == ["one", "seven", "two"]
    called = lab_train("data=folder", f"data.root={folder}", "model.num_classes=10")
    assert called.status == 1
    assert "model.num_classes=10: folder has 3" in called.err


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["data=folder"], "data.root: a value is missing"),
        (["data=kaggle"], "data.root: a value is missing"),
        (["data=folder", "data.root=nowhere"], "data.root=nowhere: No such file or directory"),
        (["data=kaggle", "data.root=nowhere"], "nowhere/train.csv: No such file or directory"),
        (["data=folder", "data.root=own", "data.val_size=500"], "data.val_size must lie between"),
    ],
)
def test_bad_input_is_told_in_a_line(arguments, told, lab_train, folder):
    called = lab_train(*arguments)
    assert called.status == 1
    lines = called.err.splitlines()
    assert len(lines) == 1
    assert told in lines[0]
