"""`python -m mnist_lab.evaluate`: the figures that the run itself has, and what else one asks."""

import csv
import json
import math
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from hydra.utils import instantiate
from omegaconf import OmegaConf
from PIL import Image
from sklearn.metrics import confusion_matrix

from mnist_lab import models, predict
from mnist_lab.cli import command
from mnist_lab.data import DataModule, Digits, FolderSource, RandomAffine
from mnist_lab.metrics.significance import wilson
from mnist_lab.models import LeNet, checkpoint
from mnist_lab.reports import gallery
from mnist_lab.settings.conf import CONF
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer


def fitted(data, folder, epochs=3, **settings):
    torch.manual_seed(0)
    trainer = default_trainer(folder, max_epochs=epochs, accelerator="cpu")
    run.train(data, LeNet(pool="max", **settings), trainer)
    return folder


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A run's folder: LeNet on the bundled digits."""
    return fitted(DataModule(Digits(), val_size=200), tmp_path_factory.mktemp("trained") / "run")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """Another, worse one, which has another split."""
    data = DataModule(Digits(), val_size=0.25, train_size=300, split_seed=3)
    return fitted(data, tmp_path_factory.mktemp("other") / "run", epochs=1)


def read(folder):
    return json.loads((folder / "evaluation.json").read_text())


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def shown(folder, images):
    """Probabilities as the bare network has them."""
    with torch.inference_mode():
        return models.load(folder)(images).double().softmax(1).numpy()


def test_a_run_gets_the_figures_that_it_has(trained, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained}", "output=out")
    assert called.status == 0, called.err
    assert called.err == ""
    found, result = read(tmp_path / "out"), json.loads((trained / "result.json").read_text())
    assert found["metrics"]["accuracy"] == result["metrics"]["test/accuracy"]
    for name in ("loss", "precision", "recall", "f1"):
        assert found["metrics"][name] == pytest.approx(result["metrics"][f"test/{name}"], rel=1e-5)
    assert found["per_class"] == result["per_class"]
    table, before = (rows(folder / "predictions.csv") for folder in (tmp_path / "out", trained))
    assert [list(row) for row in table[:1]] == [list(row) for row in before[:1]]
    for name in ("index", "truth", "prediction"):
        assert [row[name] for row in table] == [row[name] for row in before]
    truth, guess = ([int(row[name]) for row in before] for name in ("truth", "prediction"))
    assert found["confusion_matrix"] == confusion_matrix(truth, guess).tolist()
    hits = sum(t == g for t, g in zip(truth, guess, strict=True))
    assert found["accuracy_interval"] == pytest.approx(wilson(hits, 360), rel=1e-6)
    described = [found[key] for key in ("images", "dataset", "split", "tta", "augment")]
    assert described == [360, "digits", "test", 1, None]
    assert found["checkpoints"] == [{"path": str(trained), "model": "lenet"}]
    assert found["without_disputed"] is None
    assert {path.name for path in tmp_path.iterdir()} == {"out"}
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {
        "evaluation.json", "predictions.csv", "per_class.csv", "report.html", "figures",
    }  # fmt: skip
    drawn = {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert drawn == {
        "confusion_matrix", "confusions", "mistakes", "per_class", "predictions", "reliability",
    }  # fmt: skip


def test_what_is_told(trained, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained / 'checkpoints/best.ckpt'}")
    assert called.status == 0, called.err
    (folder,) = (tmp_path / "outputs/evaluations").iterdir()
    assert called.out.splitlines()[-1] == f"Evaluation: {folder.relative_to(tmp_path)}"
    found = read(folder)
    page = (folder / "report.html").read_text()
    assert "lenet on digits, test" in called.out
    assert f"│ accuracy          │ {found['metrics']['accuracy']:.4f}" in called.out
    low, high = found["accuracy_interval"]
    assert f"{low:.4f} to {high:.4f}" in called.out
    assert f"interval of the accuracy: {100 * low:.2f} to {100 * high:.2f} %." in page
    assert f"<b>{100 * found['metrics']['accuracy']:.2f} %</b><span>accuracy" in page
    assert "{" not in page.partition("</style>")[2]
    for name, each in found["per_class"].items():
        assert f"│ {name}     │ {each['precision']:.4f}    │ {each['recall']:.4f}" in called.out
    assert page.count("<img ") == 6


def test_the_parts_of_train_are_those_of_the_run(trained, other, lab_evaluate, tmp_path):
    for folder, data in (
        (trained, DataModule(Digits(), val_size=200)),
        (other, DataModule(Digits(), val_size=0.25, train_size=300, split_seed=3)),
    ):
        for split in ("val", "train"):
            out = f"{folder.parent.name}-{split}"
            called = lab_evaluate(f"checkpoint={folder}", f"split={split}", f"output={out}")
            assert called.status == 0, called.err
            images, labels = data.tensors(split)
            table = rows(tmp_path / out / "predictions.csv")
            assert [int(row["truth"]) for row in table] == labels.tolist()
            each = [[float(row[f"p{k}"]) for k in range(10)] for row in table]
            np.testing.assert_allclose(each, shown(folder, images), atol=1e-5)
            metrics = json.loads((folder / "result.json").read_text())["metrics"]
            if split == "val":
                accuracy = read(tmp_path / out)["metrics"]["accuracy"]
                assert accuracy == metrics["val/accuracy"]


def test_a_setting_of_the_split_goes_before_the_stored_one(trained, lab_evaluate, tmp_path):
    given = [f"checkpoint={trained}", "split=val", "output=out", "overwrite=true"]
    assert lab_evaluate(*given, "data=digits", "data.val_size=50").status == 0
    assert read(tmp_path / "out")["images"] == 50
    assert lab_evaluate(*given, "data=digits").status == 0
    assert read(tmp_path / "out")["images"] == 200
    called = lab_evaluate(*given, "data.val_size=50")
    assert "data.val_size: no such setting; there are root, mirror" in called.err


def test_an_ensemble_and_shifts(trained, other, lab_evaluate, tmp_path):
    images, labels = Digits().read(None, "test")
    called = lab_evaluate(f"checkpoint=[{trained},{other}]", "tta=5", "output=out")
    assert called.status == 0, called.err
    steps = [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0)]
    copies = [images.roll(step, (2, 3)) for step in steps]  # the digits' border is black
    expected = np.mean([shown(f, copy) for f in (trained, other) for copy in copies], 0)
    table = rows(tmp_path / "out/predictions.csv")
    each = [[float(row[f"p{k}"]) for k in range(10)] for row in table]
    np.testing.assert_allclose(each, expected, atol=1e-5)
    accuracy = (expected.argmax(1) == labels.numpy()).mean()
    assert read(tmp_path / "out")["metrics"]["accuracy"] == pytest.approx(accuracy, rel=1e-6)
    assert "lenet + lenet on digits, test" in called.out


def test_damaged_copies(trained, lab_evaluate, tmp_path):
    arguments = [f"checkpoint={trained}", "augment=affine", "augment.degrees=40", "seed=5"]
    assert lab_evaluate(*arguments, "output=one").status == 0
    torch.manual_seed(5)
    images, labels = Digits().read(None, "test")
    damaged = RandomAffine(degrees=40, scale=0.15, shift=2)(images)
    hits = shown(trained, damaged).argmax(1) == labels.numpy()
    found = read(tmp_path / "one")
    assert found["metrics"]["accuracy"] == pytest.approx(hits.mean(), rel=1e-6)
    assert found["augment"]["degrees"] == 40
    assert lab_evaluate(*arguments, "output=two").status == 0
    same = [(tmp_path / name / "predictions.csv").read_text() for name in ("one", "two")]
    assert same[0] == same[1]


def test_inside(trained, lab_evaluate, tmp_path):
    called = lab_evaluate(f"checkpoint={trained}", "inside=7", "output=out")
    assert called.status == 0, called.err
    drawn = {path.stem for path in (tmp_path / "out/figures").iterdir()}
    assert drawn >= {"filters", "feature_maps_1", "feature_maps_2", "feature_maps_3", "outputs"}
    assert "output for image 7 of the split" in (tmp_path / "out/report.html").read_text()
    images, _ = Digits().read(None, "test")
    expected = gallery.of_network(models.load(trained), images[7], [str(d) for d in range(10)])
    gallery.save(tmp_path / "expected", expected)
    for path in (tmp_path / "expected").iterdir():
        assert path.read_bytes() == (tmp_path / "out/figures" / path.name).read_bytes()


def test_disputed_labels_are_told_beside_the_accuracy(trained, lab_evaluate, tmp_path):
    table = rows(trained / "predictions.csv")
    right = [row["prediction"] == row["truth"] for row in table]
    disputed = sorted([right.index(False), right.index(True), 300])
    arguments = [f"checkpoint={trained}", f"+disputed.digits.test={[*disputed, 300]}"]
    called = lab_evaluate(*arguments, "output=out")
    assert called.status == 0, called.err
    found = read(tmp_path / "out")
    assert found["metrics"]["accuracy"] == pytest.approx(np.mean(right), rel=1e-6)
    rest = np.delete(right, disputed)
    assert found["without_disputed"]["accuracy"] == pytest.approx(rest.mean(), rel=1e-6)
    assert found["without_disputed"]["images"] == 357
    low, high = wilson(rest.sum(), 357)
    assert found["without_disputed"]["accuracy_interval"] == pytest.approx([low, high], rel=1e-6)
    told = (
        f"Without the 3 labels that have no majority behind them: accuracy {100 * rest.mean():.2f} "
        f"% ({100 * low:.2f} to {100 * high:.2f} %)."
    )
    assert told in " ".join(called.out.split())
    assert told in (tmp_path / "out/report.html").read_text()
    assert lab_evaluate(*arguments, "split=val", "output=val").status == 0
    assert read(tmp_path / "val")["without_disputed"] is None


def test_ones_own_pictures(lab_evaluate, tmp_path):
    images, labels = Digits().read(None, "train")
    for place in ("one", "two"):
        for digit in (1, 2):
            (tmp_path / place / f"number {digit}").mkdir(parents=True)
            for i, each in enumerate(images[labels == digit][:60]):
                path = tmp_path / place / f"number {digit}" / f"{i}.png"
                Image.fromarray(each[0].numpy()).resize((60, 60)).save(path)
    names = ["number 1", "number 2"]
    data = DataModule(FolderSource(names), root=str(tmp_path / "one"), val_size=0.1)
    folder = fitted(data, tmp_path / "run", num_classes=2)
    given = [f"checkpoint={folder}", "output=out", "overwrite=true"]
    assert lab_evaluate(*given, "data.root=one").status == 0
    result = json.loads((folder / "result.json").read_text())
    assert read(tmp_path / "out")["metrics"]["accuracy"] == result["metrics"]["test/accuracy"]
    assert lab_evaluate(*given, "data=folder", "data.root=two", "split=train").status == 0
    assert set(read(tmp_path / "out")["per_class"]) == set(names)
    assert {row["truth"] for row in rows(tmp_path / "out/predictions.csv")} == set(names)


def test_a_run_on_ones_own_pictures_knows_their_folder(
    lab_train, lab_evaluate, tmp_path, monkeypatch
):
    """It is remembered for another working folder, too, and `split=all` is all of its pictures."""
    images, labels = Digits().read(None, "train")
    for digit in (1, 2):  # of which 1 has the label 0
        (tmp_path / "own" / str(digit)).mkdir(parents=True)
        for i, each in enumerate(images[labels == digit][: 30 + 10 * digit]):
            Image.fromarray(each[0].numpy()).save(tmp_path / "own" / str(digit) / f"{i}.png")
    sizes = ["data.source.test_size=0.2", "data.val_size=0.25", "data.train_size=0.5"]
    called = lab_train("data=folder", "data.root=own", *sizes, "trainer.max_epochs=1",
                       "trainer.accelerator=cpu", "hydra.run.dir=run")  # fmt: skip
    assert called.status == 0, called.err
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    called = lab_evaluate("checkpoint=../run", "output=out")
    assert called.status == 0, called.err
    assert f"data.root={tmp_path / 'own'}, which was trained on" in called.out
    found = read(tmp_path / "elsewhere/out")
    assert (found["images"], set(found["per_class"])) == (18, {"1", "2"})
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert found["metrics"]["accuracy"] == result["metrics"]["test/accuracy"]
    assert found["per_class"] == result["per_class"]
    for path in (tmp_path / "run", tmp_path / "elsewhere/out"):
        table = rows(path / "predictions.csv")
        assert list(table[0]) == ["index", "truth", "prediction", "confidence", "p1", "p2"]
        assert [row["truth"] for row in table].count("1") == 8  # a fifth of 40
        for row in table:
            assert row["confidence"] == row[f"p{row['prediction']}"]
    assert lab_evaluate("checkpoint=../run", "output=all", "split=all").status == 0
    assert read(tmp_path / "elsewhere/all")["images"] == 40 + 50
    (tmp_path / "own").rename(tmp_path / "gone")
    called = lab_evaluate("checkpoint=../run", "output=none")
    assert (called.status, len(called.err.splitlines())) == (1, 1)
    assert f"data.root={tmp_path / 'own'}: No such file" in called.err
    assert lab_evaluate("checkpoint=../run", "output=none", "data.root=../gone").status == 0


@pytest.mark.parametrize(
    ("name", "root", "told"),
    [
        ("folder", "${oc.env:HOME}", "data.root: the checkpoint names none that can be used"),
        ("folder", ["a"], "data.root: the checkpoint names none that can be used"),
        ("digits", "nowhere", None),  # whose images lie in none
    ],
)
def test_a_folder_that_a_checkpoint_names_is_only_read(
    name, root, told, trained, lab_evaluate, tmp_path
):
    content = models.read(trained)
    content["mnist_lab"]["data"] |= {"name": name, "root": root}
    checkpoint.CheckpointIO().save_checkpoint(content, tmp_path / "forged.ckpt")
    called = lab_evaluate("checkpoint=forged.ckpt", "output=out")
    assert called.status == (0 if told is None else 1)
    assert told is None or told in called.err
    assert not (tmp_path / "nowhere").exists()


def test_overwriting(trained, other, lab_evaluate, tmp_path):
    given = [f"checkpoint={trained}", "output=out"]
    (tmp_path / "out").mkdir()  # an empty one will do
    assert lab_evaluate(*given, "inside=0").status == 0
    before = (tmp_path / "out/evaluation.json").read_text()
    killed = tmp_path / "out/.mnist_lab-0123456789abcdef.part"  # of one that was killed
    killed.mkdir()
    (killed / "evaluation.json").touch()
    called = lab_evaluate(*given)
    assert called.status == 1
    assert "output=out: exists; overwrite=true replaces it" in called.err
    assert (tmp_path / "out/evaluation.json").read_text() == before
    assert lab_evaluate(f"checkpoint={other}", "output=out", "overwrite=true").status == 0
    assert (tmp_path / "out/evaluation.json").read_text() != before
    assert not (tmp_path / "out/figures/filters.png").exists()
    assert not killed.exists()
    # What is somebody else's stays, and so does a run.
    (tmp_path / "out/notes.txt").write_text("mine")
    called = lab_evaluate(*given, "overwrite=true")
    assert "output=out: holds something else: notes.txt" in called.err
    called = lab_evaluate(f"checkpoint={trained}", f"output={trained}", "overwrite=true")
    assert "holds something else" in called.err
    assert (trained / "checkpoints/best.ckpt").exists()


def test_the_folder_that_one_stands_in(trained, lab_evaluate, tmp_path, monkeypatch):
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    for more in ([], ["overwrite=true"]):
        called = lab_evaluate(f"checkpoint={trained}", "output=.", *more)
        assert (called.status, called.err) == (0, "")
    assert read(tmp_path / "here")["images"] == 360
    assert [path.name for path in tmp_path.iterdir()] == ["here"]


def contents(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*")
            if path.is_file()}  # fmt: skip


def test_what_lies_beside_the_output_stays(trained, lab_evaluate, tmp_path):
    (tmp_path / "out.part").mkdir()
    (tmp_path / "out.part/thesis.txt").write_text("mine")
    assert lab_evaluate(f"checkpoint={trained}", "output=out").status == 0
    assert (tmp_path / "out.part/thesis.txt").read_text() == "mine"
    assert lab_evaluate(f"checkpoint={trained}", "output=out", "overwrite=true").status == 0
    assert (tmp_path / "out.part/thesis.txt").read_text() == "mine"
    names = ["evaluation.json", "figures", "per_class.csv", "predictions.csv", "report.html"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == names


def test_an_evaluation_that_cannot_be_replaced_is_as_it_was(trained, other, lab_evaluate, tmp_path):
    out = tmp_path / "out"
    assert lab_evaluate(f"checkpoint={trained}", "output=out").status == 0
    before = contents(out)
    # Nothing can be moved away from there, not even by the superuser.
    if subprocess.run(["chattr", "+i", str(out / "figures")], capture_output=True).returncode:
        pytest.skip("folders cannot be made immutable here")
    try:
        called = lab_evaluate(f"checkpoint={other}", "output=out", "overwrite=true")
        assert called.status == 1
        assert "output=out: cannot be written" in called.err
        assert contents(out) == before
        assert set(tmp_path.glob("out/.*")) == set()
    finally:
        subprocess.run(["chattr", "-i", str(out / "figures")], check=True)


def test_an_evaluation_fills_a_mounted_folder(trained, other, lab_evaluate, tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(out)]
    if subprocess.run(command, capture_output=True).returncode:
        pytest.skip("mounting is not permitted here")
    try:
        assert lab_evaluate(f"checkpoint={trained}", "output=out").status == 0
        before = read(out)
        assert lab_evaluate(f"checkpoint={other}", "output=out", "overwrite=true").status == 0
        assert read(out) != before
    finally:
        subprocess.run(["umount", "-l", str(out)], check=True)


BAD = {
    "no checkpoint": (["checkpoint=nowhere"], "nowhere: there is no such file"),
    "a folder without one": (["checkpoint=empty"], "empty/checkpoints/best.ckpt: there is no"),
    "none in it": (["checkpoint=text.ckpt"], "text.ckpt: not a readable checkpoint"),
    "another format": (["checkpoint=other.ckpt"], "other.ckpt: not a checkpoint of mnist_lab"),
    "an empty list": (["checkpoint=[]"], "checkpoint=[]: name at least one"),
    "a number": (["checkpoint=3"], "3: there is no such file"),
    "other classes among members": (
        ["checkpoint=[TRAINED,two.ckpt]"],
        "checkpoint=two.ckpt: has the classes yes, no; TRAINED has 0, 1, 2, 3, 4, 5, 6, 7, 8, 9",
    ),
    "other classes than the data's": (
        ["checkpoint=two.ckpt", "data=digits"],
        "data=digits: has the classes 0, 1, 2, 3, 4, 5, 6, 7, 8, 9; two.ckpt has yes, no",
    ),
    "an unknown dataset": (
        ["checkpoint=two.ckpt"],
        "trained on mine: say data=NAME; there are digits, fashion_mnist, folder, kaggle, kmnist,",
    ),
    "no dataset": (["checkpoint=bare.ckpt"], "bare.ckpt: was trained on no dataset: say data=NAME"),
    "a split that isn't described": (
        ["checkpoint=strange.ckpt"],
        "strange.ckpt: doesn't describe its split: val_size=",
    ),
    "different splits": (
        ["checkpoint=[TRAINED,OTHER]", "split=val"],
        "split=val: the checkpoints have different ones",
    ),
    "a split": (["split=best"], "split=best: should be 'test', 'val', 'train' or 'all'"),
    "data": (["data=emnist"], "data=emnist: no such choice; did you mean"),
    "no root": (["data=kaggle"], "data.root: a value is missing"),
    "no root of folders": (["data=folder"], "data.root: a value is missing"),
    "a value of data": (["data=digits", "data.val_size=x"], "data.val_size=x: should be a valid"),
    "a range of data": (["data=digits", "data.val_size=-1"], "data: val_size must lie between"),
    "no validation": (
        ["data=digits", "data.val_size=0", "split=val"],
        "split=val: there are no validation images",
    ),
    "augment": (["augment=shift", "augment.shift=-1"], "augment.shift=-1: should be"),
    "tta": (["tta=26"], "tta must lie between 1 and 25, not 26"),
    "inside": (["inside=360"], "inside must lie between 0 and 359, not 360"),
    "inside of many": (["checkpoint=[TRAINED,OTHER]", "inside=0"], "name one checkpoint"),
    "batch_size": (["batch_size=0"], "batch_size=0: should be"),
    "seed": (["seed=-1"], "seed=-1: should be"),
    "device": (["device=abacus"], "device=abacus: "),
    "disputed": (["+disputed.digits.test=[360]"], "disputed: there is no image 360 among 360"),
    "a file as output": (["output=text.ckpt"], "output=text.ckpt: Not a directory"),
    "a pipe as output": (["output=pipe", "overwrite=true"], "output=pipe: Not a directory"),
    "a link to nothing": (["output=dangling"], "output=dangling: is a link to nothing"),
    "below a file": (["output=text.ckpt/out"], "output=text.ckpt/out: Not a directory"),
    "a full folder": (["output=full", "overwrite=true"], "output=full: holds something else: x"),
    "a typing error": (["chekpoint=x"], "chekpoint: no such setting; did you mean checkpoint?"),
}


@pytest.mark.parametrize("arguments, told", BAD.values(), ids=BAD)  # noqa: PT006
def test_bad_input_is_told_in_a_line_and_leaves_nothing(
    arguments, told, trained, other, lab_evaluate, tmp_path
):
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/x").touch()
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "dangling").symlink_to("nowhere")
    (tmp_path / "text.ckpt").write_text("text")
    torch.save({"state_dict": {}}, tmp_path / "other.ckpt")
    described = {"name": "mine", "classes": ["yes", "no"], "val_size": 5, "train_size": None,
                 "split_seed": 0}  # fmt: skip
    write_checkpoint(tmp_path / "two.ckpt", described, num_classes=2)
    write_checkpoint(tmp_path / "bare.ckpt", None)
    digits = [str(digit) for digit in range(10)]
    strange = {**described, "name": "digits", "classes": digits, "val_size": "0 data=mnist"}
    write_checkpoint(tmp_path / "strange.ckpt", strange)
    before = {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")}
    arguments = [x.replace("TRAINED", str(trained)).replace("OTHER", str(other)) for x in arguments]
    given = {x.partition("=")[0] for x in arguments}
    rest = {"checkpoint": trained, "output": "out"}
    called = lab_evaluate(
        *arguments, *(f"{key}={value}" for key, value in rest.items() if key not in given)
    )
    assert called.status == 1
    assert told.replace("TRAINED", str(trained)) in called.err
    assert len(called.err.splitlines()) == 1
    assert {path: path.lstat().st_mtime_ns for path in tmp_path.rglob("*")} == before


def write_checkpoint(path, described, **settings):
    model = LeNet(**settings)
    content = {
        "state_dict": model.state_dict(),
        "hyper_parameters": dict(model.hparams),
        "mnist_lab": {"class": "mnist_lab.models.lenet.LeNet", "data": described},
    }
    torch.save(content, path)


def test_a_network_that_was_trained_on_no_dataset(lab_evaluate, tmp_path):
    write_checkpoint(tmp_path / "bare.ckpt", None)
    called = lab_evaluate("checkpoint=bare.ckpt", "data=digits", "output=out")
    assert called.status == 0, called.err
    assert read(tmp_path / "out")["metrics"]["loss"] == pytest.approx(math.log(10), rel=0.5)


def test_a_sweep_has_one_folder(trained, lab_evaluate, tmp_path):
    arguments = [f"checkpoint={trained}", "augment=affine", "augment.shift=0,6"]
    called = lab_evaluate("-m", *arguments)
    assert called.status == 0
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    (sweep,) = (tmp_path / "outputs/evaluations").iterdir()
    near, far = sorted(path for path in sweep.iterdir() if path.is_dir())
    assert near.name.startswith("0_augment-affine_shift-0")
    assert far.name.startswith("1_augment-affine_shift-6")
    assert read(near)["metrics"]["accuracy"] > read(far)["metrics"]["accuracy"]
    cells = [line.split("│") for line in called.out.splitlines() if "_augment-affine_" in line]
    rows_at_the_end = {row[1].strip(): row[3].strip() for row in cells if len(row) == 7}
    assert rows_at_the_end == {
        path.name: f"{read(path)['metrics']['accuracy']:.4f}" for path in (near, far)
    }


def test_what_fails_in_a_sweep_is_named_and_leaves_no_folder(trained, lab_evaluate, tmp_path):
    called = lab_evaluate("-m", f"checkpoint=nowhere,{trained},gone")
    assert called.status == 1
    assert called.err == "nowhere: there is no such file\n"
    failures = [line for line in called.out.splitlines() if "there is no such file" in line]
    assert failures == [
        "#0_checkpoint-nowhere: nowhere: there is no such file",
        "#2_checkpoint-gone: gone: there is no such file",
    ]
    assert len(list(tmp_path.glob("outputs/evaluations/*/*/evaluation.json"))) == 1
    assert len([path for path in tmp_path.glob("outputs/evaluations/*/*") if path.is_dir()]) == 1
    called = lab_evaluate("-m", f"checkpoint={trained}", "tta=1,2", "output=out")
    assert called.err == "output=out: -m gives each a folder of its own\n"


def test_missing_settings_are_named(lab_evaluate):
    called = lab_evaluate()
    assert called.status == 1
    assert "checkpoint: a value is missing" in called.err


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["inisde=x"]])
def test_composing_imports_neither_torch_nor_lightning(arguments, heavy_imports, tmp_path):
    assert heavy_imports("mnist_lab.evaluate", *arguments) == set()
    assert not list(tmp_path.iterdir())


@pytest.fixture(scope="module")
def mnist(mnist_root, tmp_path_factory):
    """A run on some of MNIST, and its data."""
    source = instantiate(OmegaConf.load(f"{CONF}/data/mnist.yaml").source, _convert_="all")
    data = DataModule(source, root=str(mnist_root), train_size=6000)
    return fitted(data, tmp_path_factory.mktemp("mnist") / "run", epochs=2), data


@pytest.mark.mnist
def test_mnist(mnist, mnist_root, lab_evaluate, tmp_path, monkeypatch):
    """The run's own accuracy, what is told beside it, and the labels that `predict` gives."""
    folder, data = mnist
    called = lab_evaluate(f"checkpoint={folder}", f"data.root={mnist_root}", "output=out")
    assert called.status == 0, called.err
    found, result = read(tmp_path / "out"), json.loads((folder / "result.json").read_text())
    assert found["metrics"]["accuracy"] == result["metrics"]["test/accuracy"]
    assert (found["dataset"], found["images"]) == ("mnist", 10_000)
    disputed = found["without_disputed"]["disputed"]
    assert len(set(disputed)) == 15
    table = rows(tmp_path / "out/predictions.csv")
    right = np.array([row["prediction"] == row["truth"] for row in table])
    kept = np.delete(right, disputed)
    assert found["without_disputed"]["accuracy"] == pytest.approx(kept.mean(), rel=1e-6)
    assert right[disputed].mean() < right.mean() - 0.1  # they are the hard ones
    assert "Without the 15 labels" in called.out

    images = data.tensors("test")[0][:300].squeeze(1).numpy()
    (tmp_path / "png").mkdir()
    for i, each in enumerate(images):
        Image.fromarray(each).save(tmp_path / "png" / f"{i:03}.png")
    lines = [",".join(f"pixel{i}" for i in range(784))]
    lines += [",".join(map(str, each.flatten().tolist())) for each in images]
    (tmp_path / "test.csv").write_text("\n".join(lines) + "\n")
    expected = [row["prediction"] for row in table[:300]]
    for source in ("png", "test.csv"):
        arguments = [f"checkpoint={folder}", f"input={source}", f"output={source}.out"]
        monkeypatch.setattr(sys, "argv", ["predict", *arguments])
        command.run(predict.main)
        assert [row["prediction"] for row in rows(tmp_path / f"{source}.out")] == expected


def test_a_test_split_that_was_cut_off_is_cut_off_again(lab_train, lab_evaluate, tmp_path):
    images, labels = Digits().read(None, "test")
    for index, (image, label) in enumerate(zip(images, labels, strict=True)):
        folder = tmp_path / "own" / str(int(label))
        folder.mkdir(parents=True, exist_ok=True)
        Image.fromarray(image[0].numpy()).save(folder / f"{index}.png")
    own = ["data=folder", "data.root=own"]
    sizes = ["data.source.test_size=0.25", "data.val_size=50"]
    called = lab_train(*own, *sizes, "trainer.max_epochs=1", "hydra.run.dir=run")
    assert called.status == 0, called.err
    called = lab_evaluate("checkpoint=run", *own, "output=out")
    assert called.status == 0, called.err
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert read(tmp_path / "out")["images"] == 90
    assert read(tmp_path / "out")["metrics"]["accuracy"] == result["metrics"]["test/accuracy"]


def test_images_are_damaged_as_named_and_everything_says_how(lab_evaluate, trained, tmp_path):
    plain = lab_evaluate(f"checkpoint={trained}", "output=plain")
    assert plain.status == 0, plain.err
    for degrees in (0, 90):
        called = lab_evaluate(f"checkpoint={trained}", "augment=rotate", f"output=by{degrees}",
                              f"augment.degrees={degrees}")  # fmt: skip
        assert called.status == 0, called.err
        text = f"test, damaged by RandomAffine degrees {degrees}"
        assert text in " ".join(called.out.split())
        assert text in (tmp_path / f"by{degrees}/report.html").read_text()
    accuracy = {
        name: json.loads((tmp_path / name / "evaluation.json").read_text())["metrics"]["accuracy"]
        for name in ("plain", "by0", "by90")
    }
    assert accuracy["by0"] == accuracy["plain"] > accuracy["by90"]
    called = lab_evaluate("-m", f"checkpoint={trained}", "augment=none,rotate", "augment.degrees=5")
    assert called.status == 1
    assert "augment.degrees: no such setting of augment=none" in called.out
    assert len(list(tmp_path.glob("outputs/evaluations/*/*/evaluation.json"))) == 1
