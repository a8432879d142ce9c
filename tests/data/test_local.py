"""One's own data: the splits of a table and of folders, and what is wrong with them."""

import csv
import gzip
import json
import shutil
import zipfile

import numpy as np
import pytest
import torch
import torchvision
from PIL import Image

from mnist_lab import LabError
from mnist_lab.data import DataError, DataModule, Digits, FolderSource, KaggleSource
from mnist_lab.data.pictures import read_picture
from mnist_lab.system.files import class_names


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


def test_a_packed_table_or_an_array_is_the_same_table(kaggle):
    expected = KaggleSource().read(kaggle, "train")
    rows = np.loadtxt(kaggle / "train.csv", delimiter=",", skiprows=1)
    content = (kaggle / "train.csv").read_bytes()
    (kaggle / "train.csv").unlink()
    np.save(kaggle / "train.npy", rows)
    np.savez(kaggle / "train.npz", x=rows[:, 1:].reshape(-1, 28, 28), y=rows[:, 0])
    (kaggle / "train.csv.gz").write_bytes(gzip.compress(content))
    with zipfile.ZipFile(kaggle / "train.zip", "w") as archive:
        archive.writestr("train.csv", content)
    with pytest.raises(DataError, match=r"which of train\.csv\.gz, train\.npy, .* is meant\?"):
        KaggleSource().prepare(kaggle, None)
    names = ["train.csv.gz", "train.npy", "train.npz", "train.zip"]
    for name in names:
        (kaggle / name).rename(kaggle / f"_{name}")
    for name in names:
        (kaggle / f"_{name}").rename(kaggle / name)
        for one, other in zip(KaggleSource().read(kaggle, "train"), expected, strict=True):
            assert torch.equal(one, other)
        (kaggle / name).unlink()


def test_how_a_table_was_understood_and_what_it_lacks_is_logged(kaggle, caplog):
    lines = (kaggle / "train.csv").read_text().splitlines()
    kept = [line.replace(",", ";") for line in lines if not line.startswith(("3,", "8,"))]
    (kaggle / "train.csv").write_text("\n".join(kept))
    with caplog.at_level("INFO"):
        KaggleSource().prepare(kaggle, None)
    path = kaggle / "train.csv"
    assert caplog.messages == [
        f"{path} is read thus: separated by semicolons",
        f"{path}: no images of 3, 8",
    ]


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


NAMED = {
    "plain": ("train", "val", "test"),
    "long": ("training", "validation", "testing"),
    "capitals": ("Train", "Valid", "Test"),
    "sets": ("training_set", "dev", "test_set"),
    "no test": ("train", "val", None),
    "no validation": ("TRAINING", None, "TESTING"),
}


@pytest.mark.parametrize("names", NAMED.values(), ids=NAMED)
def test_the_usual_names_of_splits_are_splits(names, folder, tmp_path, caplog):
    """Of 40 pictures of each class 7 are for validation and 3 for the test, where there is one."""
    root = tmp_path / "split"
    parts = dict(zip(("train", "val", "test"), names, strict=True))
    places = {"train": slice(0, 30), "val": slice(30, 37), "test": slice(37, 40)}
    images, expected = {}, {}
    for name in ("one", "seven", "two"):
        pictures = sorted((folder / name).iterdir())
        for split, part in parts.items():
            if part is not None:
                (root / part / name).mkdir(parents=True)
                for picture in pictures[places[split]]:
                    picture.rename(root / part / name / picture.name)
                    expected.setdefault(split, set()).add((name, read_picture(
                        root / part / name / picture.name).tobytes()))  # fmt: skip
    source = FolderSource(class_names(str(root)))
    assert source.classes == ["one", "seven", "two"]
    data = DataModule(source, root=str(root), val_size=0.2)
    with caplog.at_level("INFO"):
        for split in ("train", "val", "test"):
            tensors = zip(*data.tensors(split), strict=True)
            images[split] = {(source.classes[k], x.numpy().tobytes()) for x, k in tensors}
    for split in ("val", "test") if names[1] and names[2] else ():
        assert images[split] == expected[split]
    if names[1] is None:
        assert len(images["val"]) == 0.2 * 90
        assert images["val"] | images["train"] == expected["train"]
    if names[2] is None:  # a tenth of train
        assert images["val"] == expected["val"]
        assert len(images["test"]) == 9
        assert images["test"] | images["train"] == expected["train"]
    (line,) = caplog.messages
    assert line.startswith(f"{root}: 3 classes; train: {81 if names[2] is None else 90} pictures")
    assert f"of {names[0]}, " in line


def test_a_validation_split_that_is_not_wanted_is_told(folder, tmp_path, caplog):
    folder.rename(tmp_path / "train")
    shutil.copytree(tmp_path / "train", tmp_path / "root" / "val")
    (tmp_path / "train").rename(tmp_path / "root" / "train")
    root = tmp_path / "root"
    data = DataModule(FolderSource(class_names(str(root))), root=str(root), val_size=0)
    with caplog.at_level("INFO"):
        assert len(data.tensors("train")[1]) == 108
    assert caplog.messages[1] == f"data.val_size=0: the validation split of {root} is not used"


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["val", "test"], "holds test, val; should hold a folder for each class, or splits alone"),
        (["train", "val", "one"], "holds one, train, val; should"),
        (["train", "training", "test"], "holds test, train, training; should"),
        (["Train", "train"], "holds Train, train; should"),
        (["train", "one", "two"], "holds one, train, two; should"),
        (["train"], "holds train; should"),
        (["mnist"], "holds mnist alone; data.root=.*/mnist has the classes"),
    ],
    ids=str,
)
def test_folders_that_may_be_splits_or_classes_are_refused(names, told, folder, tmp_path):
    for name in names:
        shutil.copytree(folder, tmp_path / "root" / name)
    with pytest.raises(LabError, match=told):
        class_names(str(tmp_path / "root"))


def test_whole_pictures_are_in_colour_and_of_the_size_that_is_said(tmp_path):
    for name, colour in (("red", (255, 0, 0)), ("sky", (0, 128, 255))):
        (tmp_path / name).mkdir()
        for width in (10, 40, 300):
            Image.new("RGB", (width, 50), colour).save(tmp_path / name / f"{width}.png")
    names = class_names(str(tmp_path))
    images, labels = FolderSource(names, form="plain", size=12, test_size=2).read(tmp_path, "train")
    colours = torch.tensor([[255, 0, 0], [0, 128, 255]], dtype=torch.uint8)
    assert torch.equal(images, colours[labels][:, :, None, None].expand(4, 3, 12, 12))
    grey = FolderSource(names, form="plain", size=12, grey=True, test_size=2)
    images, labels = grey.read(tmp_path, "train")
    assert images[:, 0, 6, 6].tolist() == [[76, 104][label] for label in labels]


@pytest.mark.parametrize(
    "settings",
    [{"form": "plain"}, {"size": 32}, {"grey": True}, {"form": "plain", "size": 0}],
    ids=str,
)
def test_forms_that_do_not_go_together_are_refused(settings):
    with pytest.raises(ValueError, match="size"):
        FolderSource(["a", "b"], **settings)


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


@pytest.mark.slow
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
