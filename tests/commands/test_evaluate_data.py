"""Which images evaluate looks at: the run's own split, another's, one's own pictures."""

import json
import math
import sys

import numpy as np
import pytest
from PIL import Image

from mnist_lab import models, predict
from mnist_lab.cli import command
from mnist_lab.data import DataModule, Digits, FolderSource
from mnist_lab.models import checkpoint
from tests.commands.runs import fitted, read, rows, shown, write_checkpoint


@pytest.mark.slow
def test_the_parts_of_train_are_those_of_the_run(trained, other, lab_evaluate, tmp_path):
    for folder, data in (
        (trained, DataModule(Digits(), val_size=200)),
        (other, DataModule(Digits(), val_size=0.25, train_size=300, split_seed=3)),
    ):
        for split in ("val", "train"):
            out = f"{folder.name}-{split}"
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_a_network_that_was_trained_on_no_dataset(lab_evaluate, tmp_path):
    write_checkpoint(tmp_path / "bare.ckpt", None)
    called = lab_evaluate("checkpoint=bare.ckpt", "data=digits", "output=out")
    assert called.status == 0, called.err
    assert read(tmp_path / "out")["metrics"]["loss"] == pytest.approx(math.log(10), rel=0.5)


@pytest.mark.slow
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


@pytest.mark.slow
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
