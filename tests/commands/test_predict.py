"""`python -m mnist_lab.predict`: the same labels from whatever holds the images."""

import bz2
import csv
import gzip
import io
import os
import struct
import sys
import zipfile

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image, ImageOps

from mnist_lab import models, predict
from mnist_lab.cli import command
from mnist_lab.data import DataModule, Digits, FolderSource
from mnist_lab.settings.conf import CONF
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer

NAMES = ["label", *(f"pixel{i}" for i in range(784))]
LOADING = "Loading PyTorch and Lightning ...\n"


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder: LeNet on the bundled digits."""
    return fitted(DataModule(Digits(), val_size=200), tmp_path_factory.mktemp("trained") / "run")


def fitted(data, folder, epochs=4, **settings):
    trainer = default_trainer(folder, max_epochs=epochs, accelerator="cpu")
    run.train(data, models.LeNet(pool="max", **settings), trainer)
    return folder


@pytest.fixture
def lab_predict(tmp_path, monkeypatch, capsys):
    """`python -m mnist_lab.predict ARGUMENTS` within this process: exit status, output, errors."""
    monkeypatch.chdir(tmp_path)

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["predict", *arguments, "hydra.job.name=predict"])
        status = 0
        try:
            command.run(predict.main)
        except SystemExit as stop:
            status = stop.code if isinstance(stop.code, int) else 1
            print(stop.code if isinstance(stop.code, str) else "", file=sys.stderr)
        return (status, *capsys.readouterr())

    return call


@pytest.fixture(scope="module")
def images():
    return Digits().read(None, "test")[0].squeeze(1).numpy()


def save(model, path):
    """As a run does, without one."""
    content = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "mnist_lab": {"class": f"{type(model).__module__}.{type(model).__name__}", "data": None},
    }
    torch.save(content, path)


def expected(folder, images):
    """What the bare network says: probabilities `(N, K)`."""
    with torch.inference_mode():
        return models.load(folder)(torch.from_numpy(images).unsqueeze(1)).softmax(1).numpy()


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def idx(images):
    return struct.pack(">HBB3I", 0, 8, 3, *images.shape) + images.tobytes()


def table(images, labels=None):
    rows = images.reshape(-1, 784).tolist()
    if labels is not None:
        rows = [[label, *row] for label, row in zip(labels, rows, strict=True)]
    header = NAMES if labels is not None else NAMES[1:]
    return "".join(",".join(map(str, row)) + "\n" for row in [header, *rows])


def as_pngs(folder, images):
    folder.mkdir()
    for i, each in enumerate(images):
        Image.fromarray(each).save(folder / f"{i:05}.png")


def zipped(name, content):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(name, content)
    return packed.getvalue()


def write_inputs(folder, images):
    np.save(folder / "x.npy", images)
    np.savez_compressed(folder / "x.npz", x=images, y=np.zeros(len(images)))
    (folder / "x.idx.bz2").write_bytes(bz2.compress(idx(images)))
    (folder / "test.zip").write_bytes(zipped("test.csv", table(images)))
    (folder / "x.idx").write_bytes(idx(images))
    (folder / "x.idx.gz").write_bytes(gzip.compress(idx(images)))
    (folder / "test.csv").write_text(table(images))
    (folder / "train.csv").write_text(table(images, [7] * len(images)))
    (folder / "test.csv.gz").write_bytes(gzip.compress(table(images).encode()))
    as_pngs(folder / "png", images)


INPUTS = [
    "x.idx", "x.idx.gz", "x.idx.bz2", "test.csv", "train.csv", "test.csv.gz", "test.zip", "x.npy",
    "x.npz", "png",
]  # fmt: skip


def assert_predicts(path, probabilities, classes="0123456789"):
    found = rows(path)
    each = np.array([[float(row[f"p{k}"]) for k in range(len(classes))] for row in found])
    # Another division into batches sums in another order.
    np.testing.assert_allclose(each, probabilities, atol=1e-6)
    assert [row["prediction"] for row in found] == [classes[k] for k in each.argmax(1)]
    assert [float(row["confidence"]) for row in found] == each.max(1).tolist()
    assert (each.argmax(1) == probabilities.argmax(1)).all()
    return found


@pytest.mark.parametrize("source", INPUTS)
def test_every_kind_of_input_gives_what_the_network_says(
    source, trained, images, lab_predict, tmp_path
):
    write_inputs(tmp_path, images)
    probabilities = expected(trained, images)
    status, out, err = lab_predict(
        f"checkpoint={trained}", f"input={source}", "output=out.csv", "batch_size=77"
    )
    assert (status, err) == (0, "")
    assert out == LOADING + "360 predictions: out.csv\n"
    found = assert_predicts(tmp_path / "out.csv", probabilities)
    first = "file" if source == "png" else "index"
    assert list(found[0]) == [first, "prediction", "confidence", *(f"p{k}" for k in range(10))]
    places = [f"{i:05}.png" for i in range(360)] if source == "png" else map(str, range(360))
    assert [row[first] for row in found] == list(places)
    left = {*INPUTS, "out.csv"}
    assert {path.name for path in tmp_path.iterdir()} == left  # no log, no folder of Hydra's


def test_how_a_table_was_understood_is_told(trained, images, lab_predict, tmp_path):
    listed = enumerate(images.reshape(-1, 784).tolist())
    rows = "".join(";".join(map(str, [i, *row, i % 10])) + "\n" for i, row in listed)
    (tmp_path / "x.txt").write_text(rows)
    status, out, err = lab_predict(f"checkpoint={trained}", "input=x.txt", "output=out.csv")
    assert (status, err) == (0, "")
    assert out.splitlines()[1] == (
        "x.txt is read thus: no header; the first column counts, and is left out; the last column "
        "is the label; separated by semicolons"
    )
    assert_predicts(tmp_path / "out.csv", expected(trained, images))


DAMAGES = {
    "invert=true": lambda images: 255 - images,
    "transpose=true": lambda images: images.transpose(0, 2, 1),
    "scale=255": lambda images: (images > 127).astype(np.uint8),
}


@pytest.mark.parametrize("form", ["csv", "idx", "npy", "npz"])
@pytest.mark.parametrize("remedy", DAMAGES)
def test_images_unlike_those_trained_on_are_refused_and_put_right_as_told(
    remedy, form, trained, images, lab_predict, tmp_path
):
    damaged = np.ascontiguousarray(DAMAGES[remedy](images))
    name = f"x.{form}"
    if form == "csv":
        (tmp_path / name).write_text(table(damaged))
    elif form == "idx":
        (tmp_path / name).write_bytes(idx(damaged))
    else:
        (np.save if form == "npy" else np.savez)(tmp_path / name, damaged)
    arguments = [f"checkpoint={trained}", f"input={name}", "output=out.csv"]
    status, _, err = lab_predict(*arguments)
    assert status == 1
    assert len(err.splitlines()) == 1
    assert err.startswith(f"input={name}: images unlike those that the network was trained on")
    assert f"{remedy} puts that right" in err
    assert not (tmp_path / "out.csv").exists()
    status, _, err = lab_predict(*arguments, remedy)
    assert status == 0
    assert err == "" or remedy == "scale=255"  # which two levels are still odd
    right = DAMAGES[remedy](images) * 255 if remedy == "scale=255" else images
    assert_predicts(tmp_path / "out.csv", expected(trained, right))
    key = remedy.partition("=")[0]
    as_they_are = f"{key}={1 if key == 'scale' else 'false'}"
    status, *_ = lab_predict(*arguments, as_they_are, "overwrite=true")
    assert status == 0
    assert_predicts(tmp_path / "out.csv", expected(trained, damaged))


def test_a_checkpoint_file_and_a_single_picture(trained, images, lab_predict, tmp_path):
    Image.fromarray(images[0]).save(tmp_path / "one.png")
    checkpoint = trained / "checkpoints" / "last.ckpt"
    status, out, err = lab_predict(f"checkpoint={checkpoint}", "input=one.png")
    assert status == 0, err
    guess = expected(checkpoint, images[:1])[0]
    told = f"one.png: {guess.argmax()}, with a confidence of {guess.max():.3f}\n"
    assert out == LOADING + told + "1 prediction: predictions.csv\n"
    (row,) = assert_predicts(tmp_path / "predictions.csv", expected(checkpoint, images[:1]))
    assert row["file"] == "one.png"


def test_a_submission(trained, images, lab_predict, tmp_path):
    (tmp_path / "test.csv").write_text(table(images))
    status, _, err = lab_predict(f"checkpoint={trained}", "input=test.csv", "format=kaggle")
    assert status == 0, err
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    guesses = expected(trained, images).argmax(1)
    assert lines == ["ImageId,Label", *(f"{i},{k}" for i, k in enumerate(guesses, 1))]


def test_numbered_pictures_have_their_numbers_as_ids(trained, images, lab_predict, tmp_path):
    numbers = [1, 2, 10, 11, 300]
    (tmp_path / "png").mkdir()
    for number, image in zip(numbers, images, strict=False):
        Image.fromarray(image).save(tmp_path / "png" / f"{number}.png")
    status, _, err = lab_predict(f"checkpoint={trained}", "input=png", "format=kaggle")
    assert status == 0, err
    guesses = expected(trained, images[:5]).argmax(1)
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[1:] == [f"{i},{k}" for i, k in zip(numbers, guesses, strict=True)]


def test_classes_have_their_names_and_pictures_their_folders(lab_predict, tmp_path):
    """Trained on folders, predicted in a folder of folders: mostly the folder's own name."""
    images, labels = Digits().read(None, "train")
    names = ["cinq", "deux", "un, ou une"]
    for name, digit in zip(names, (5, 2, 1), strict=True):
        (tmp_path / "own" / name).mkdir(parents=True)
        for i, each in enumerate(images[labels == digit]):
            picture = ImageOps.invert(Image.fromarray(each[0].numpy())).resize((90, 90))
            picture.save(tmp_path / "own" / name / f"{i}.png")
    data = DataModule(FolderSource(names), root=str(tmp_path / "own"), val_size=0.1)
    folder = fitted(data, tmp_path / "run", epochs=6, num_classes=3)
    status, _, err = lab_predict(f"checkpoint={folder}", "input=own")
    assert status == 0, err
    found = rows(tmp_path / "predictions.csv")
    assert list(found[0])[-3:] == ["p_cinq", "p_deux", "p_un, ou une"]
    assert {row["prediction"] for row in found} == set(names)
    hits = [row["file"].rpartition("/")[0] == row["prediction"] for row in found]
    assert len(hits) == sum(int((labels == digit).sum()) for digit in (5, 2, 1))
    assert np.mean(hits) > 0.9


def test_an_unreadable_picture_is_named_and_the_others_are_predicted(
    trained, images, lab_predict, tmp_path
):
    as_pngs(tmp_path / "png", images[:20])
    (tmp_path / "png" / "00003.png").write_bytes(b"no picture")
    Image.new("L", (300, 300), 9).save(tmp_path / "png" / "00017.png")
    (tmp_path / "png" / "notes.txt").touch()
    status, out, err = lab_predict(
        f"checkpoint={trained}", "input=png", "output=out.csv", "batch_size=4"
    )
    assert status == 1
    assert "00003.png: not a readable picture" in err
    assert "00017.png: a blank picture" in err
    assert "2 of 20 pictures were not readable" in err
    assert "Left alone, being no pictures: notes.txt" in err
    assert "18 predictions" in out
    good = [i for i in range(20) if i not in (3, 17)]
    found = assert_predicts(tmp_path / "out.csv", expected(trained, images[good]))
    assert [row["file"] for row in found] == [f"{i:05}.png" for i in good]
    # In a submission the ids of the others stay their own.
    lab_predict(f"checkpoint={trained}", "input=png", "format=kaggle")
    assert [int(row["ImageId"]) for row in rows(tmp_path / "submission.csv")] == [
        i + 1 for i in good
    ]


BAD = {
    "no checkpoint": (["checkpoint=nowhere"], "nowhere: there is no such file"),
    "a folder without one": (["checkpoint=empty"], "empty/checkpoints/best.ckpt: there is no"),
    "no checkpoint in it": (["checkpoint=text.ckpt"], "text.ckpt: not a readable checkpoint"),
    "another format": (["checkpoint=other.ckpt"], "other.ckpt: not a checkpoint of mnist_lab"),
    "no input": (["input=nowhere"], "nowhere: No such file or directory"),
    "no picture": (["input=nowhere.png"], "nowhere.png: No such file or directory"),
    "an empty folder": (["input=empty"], "empty: holds no pictures (.png, .jpg"),
    "only a bad picture": (["input=bad.png"], "bad.png: not a readable picture"),
    "a huge picture": (["input=huge.png"], "huge.png: more than the 50,000,000 pixels allowed"),
    "an empty file": (["input=empty.csv"], "empty.csv: empty"),
    "other columns": (["input=other.csv"], "other.csv: columns missing: pixel0, pixel1"),
    "text in a late row": (
        ["input=late.csv"],
        "late.csv: line 361, column pixel783: 'x' is no number from 0 to 255",
    ),
    "a short IDX": (["input=short.idx"], "short.idx: ends before the last of its 360 images"),
    "a long IDX": (["input=long.idx"], "long.idx: goes on after the last of its 360 images"),
    "none of them": (["input=text.ckpt"], "text.ckpt: neither picture nor IDX file nor table"),
    "labels": (["input=labels.idx"], "labels.idx: its shape is (5,), not that of images"),
    "a short archive": (["input=short.gz"], "short.gz: Compressed file ended before"),
    "a damaged archive": (["input=damaged.gz"], "damaged.gz: "),
    "an output that exists": (["output=x.idx"], "output=x.idx: exists; overwrite=true"),
    "an output in no folder": (["output=no/such.csv"], "output=no/such.csv: cannot be written"),
    "a folder as output": (["output=empty", "overwrite=true"], "output=empty: is a folder"),
    "batch_size": (["batch_size=0"], "batch_size=0: should be"),
    "format": (["format=xml"], "format=xml: should be 'csv' or 'kaggle'"),
    "a remedy for pictures": (
        ["input=good.png", "invert=true"],
        "invert, scale and transpose are for",
    ),
    "too bright": (["scale=2"], "x.idx: a pixel times 2 is no number from 0 to 255"),
    "a scale": (["scale=-1"], "scale=-1: should be greater than 0"),
    "three channels": (["checkpoint=colour.ckpt"], "colour.ckpt: takes images of 3 channels"),
    "device": (["device=abacus"], "device=abacus: "),
    "a typing error": (["chekpoint=x"], "chekpoint: no such setting; did you mean checkpoint?"),
}


@pytest.mark.parametrize("arguments, told", BAD.values(), ids=BAD)  # noqa: PT006
def test_bad_input_is_told_in_a_line_and_leaves_nothing(
    arguments, told, trained, images, lab_predict, tmp_path
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.ckpt").write_text("text")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    Image.fromarray(images[0]).save(tmp_path / "good.png")
    save(models.LeNet(in_channels=3), tmp_path / "colour.ckpt")
    (tmp_path / "bad.png").write_text("text")
    (tmp_path / "huge.png").write_bytes(b"P5 30000 30000 255\n")
    (tmp_path / "empty.csv").touch()
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "late.csv").write_text(table(images).rstrip().rpartition(",")[0] + ",x\n")
    (tmp_path / "x.idx").write_bytes(idx(images))
    (tmp_path / "short.idx").write_bytes(idx(images)[:-1])
    (tmp_path / "long.idx").write_bytes(idx(images) + b"0")
    (tmp_path / "labels.idx").write_bytes(b"\0\0\x08\x01\0\0\0\x0512345")
    packed = gzip.compress(idx(images))
    (tmp_path / "short.gz").write_bytes(packed[:-500])
    (tmp_path / "damaged.gz").write_bytes(packed[:9000] + b"damage" * 200 + packed[10_200:])
    before = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}
    given = {x.partition("=")[0] for x in arguments}
    rest = {"checkpoint": trained, "input": "x.idx", "output": "out.csv", "batch_size": 100}
    status, _, err = lab_predict(
        *arguments, *(f"{key}={value}" for key, value in rest.items() if key not in given)
    )
    assert status == 1
    assert told in err
    assert len(err.splitlines()) == 1
    assert {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def test_a_link_is_written_through_and_what_is_no_file_stays(
    trained, images, lab_predict, tmp_path
):
    (tmp_path / "x.idx").write_bytes(idx(images))
    (tmp_path / "before.csv").write_text("before")
    (tmp_path / "link").symlink_to("before.csv")
    (tmp_path / "dangling").symlink_to("new.csv")
    os.mkfifo(tmp_path / "pipe")
    arguments = [f"checkpoint={trained}", "input=x.idx", "overwrite=true"]
    for name, place in (("link", "before.csv"), ("dangling", "new.csv")):
        status, _, err = lab_predict(*arguments, f"output={name}")
        assert (status, err) == (0, "")
        assert (tmp_path / name).is_symlink()
        assert len(rows(tmp_path / place)) == len(images)
    status, _, err = lab_predict(*arguments, "output=pipe")
    assert (status, err) == (1, "output=pipe: is no file that could be replaced\n")
    assert (tmp_path / "pipe").is_fifo()


def test_it_is_no_sweep(lab_predict, tmp_path):
    status, _, err = lab_predict("-m", "checkpoint=a,b", "input=x")
    assert (status, err) == (1, "predict takes one checkpoint and one input=FOLDER, not -m\n")
    assert not list(tmp_path.iterdir())


def test_help_is_the_commented_configuration(lab_predict):
    status, out, _ = lab_predict("--help")
    assert status == 0
    assert "input: ???       # a picture, a folder of pictures" in out
    assert "defaults" not in out
    assert "hydra" not in out


def test_missing_settings_are_named(lab_predict):
    status, _, err = lab_predict("input=x")
    assert status == 1
    assert "checkpoint: a value is missing" in err


def test_what_was_there_stays_until_the_new_is_whole(trained, images, lab_predict, tmp_path):
    (tmp_path / "x.idx").write_bytes(idx(images)[:-1])
    (tmp_path / "out.csv").write_text("before")
    arguments = [f"checkpoint={trained}", "input=x.idx", "output=out.csv", "overwrite=true"]
    assert lab_predict(*arguments, "batch_size=10")[0] == 1
    assert (tmp_path / "out.csv").read_text() == "before"
    (tmp_path / "x.idx").write_bytes(idx(images))
    assert lab_predict(*arguments)[0] == 0
    assert_predicts(tmp_path / "out.csv", expected(trained, images))


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["inptu=x"]])
def test_composing_imports_neither_torch_nor_lightning(arguments, heavy_imports, tmp_path):
    assert heavy_imports("mnist_lab.predict", *arguments) == set()
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def mnist(mnist_root, tmp_path_factory):
    """A run on some of MNIST, and its test images."""
    source = instantiate(OmegaConf.load(f"{CONF}/data/mnist.yaml").source, _convert_="all")
    data = DataModule(source, root=str(mnist_root), train_size=6000)
    folder = fitted(data, tmp_path_factory.mktemp("mnist") / "run", epochs=2)
    return folder, data.tensors("test")[0].squeeze(1).numpy()


@pytest.mark.mnist
@pytest.mark.parametrize("source", ["png", "test.csv"])
def test_mnist_as_pictures_or_table_gets_the_labels_that_the_run_reported(
    source, mnist, lab_predict, tmp_path
):
    folder, images = mnist
    if source == "png":
        as_pngs(tmp_path / "png", images)
    else:
        (tmp_path / "test.csv").write_text(table(images))
    status, _, err = lab_predict(f"checkpoint={folder}", f"input={source}", "output=out.csv")
    assert status == 0, err
    reported = [row["prediction"] for row in rows(folder / "predictions.csv")]
    assert [row["prediction"] for row in rows(tmp_path / "out.csv")] == reported


@pytest.mark.mnist
def test_photographs_of_mnist_get_the_originals_labels(mnist, lab_predict, tmp_path):
    """Large, coloured, dark on light, noisy, JPEG: the same label as the original's of 19 in 20."""
    folder, images = mnist
    random = np.random.RandomState(0)
    (tmp_path / "photos").mkdir()
    for i, each in enumerate(images[:300]):
        large = Image.fromarray(each).resize((300, 300), Image.Resampling.BICUBIC)
        page = ImageOps.expand(large, tuple(random.randint(0, 150, 4).tolist()))
        photo = np.asarray(ImageOps.colorize(page, (235, 225, 205), (60, 40, 90)), float)
        photo += np.linspace(-20, 20, photo.shape[1])[:, None] + random.normal(0, 4, photo.shape)
        picture = Image.fromarray(photo.clip(0, 255).astype(np.uint8))
        picture.save(tmp_path / "photos" / f"{i:03}.jpg", quality=60)
    status, _, err = lab_predict(f"checkpoint={folder}", "input=photos", "output=out.csv")
    assert status == 0, err
    originals = expected(folder, images[:300]).argmax(1)
    found = [int(row["prediction"]) for row in rows(tmp_path / "out.csv")]
    assert (originals == found).mean() > 0.95
