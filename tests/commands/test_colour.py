"""Every command on images of 32x32 in colour."""

import json

import numpy as np
import pytest
from PIL import Image

from mnist_lab.data.pictures import Shape, read_whole
from tests.commands.runs import read
from tests.data.cifar import write_cifar10


@pytest.fixture
def root(tmp_path, monkeypatch):
    write_cifar10(tmp_path / "data", monkeypatch)
    return tmp_path / "data"


@pytest.mark.slow
def test_a_run_in_colour_and_what_follows_it(lab_train, lab_evaluate, lab_compare, root, tmp_path):
    few = ["model.widths=[4,8]", "model.blocks=1", "data.val_size=20", "trainer.max_epochs=1"]
    called = lab_train("experiment=cifar10", f"data.root={root}", *few, "hydra.run.dir=run")
    assert called.status == 0, called.err
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert (result["dataset"], result["model"]) == ("cifar10", "resnet")
    # 3x3 from 3 to 4, 4 to 4 twice, 4 to 8, 8 to 8, 1x1 from 4 to 8; six normalisations; linear
    sizes = 9 * (3 * 4 + 2 * 4 * 4 + 4 * 8 + 8 * 8) + 4 * 8 + 2 * (3 * 4 + 3 * 8) + 8 * 10 + 10
    assert result["parameters"] == sizes
    with Image.open(tmp_path / "run/figures/samples.png") as picture:
        assert len(np.unique(np.asarray(picture.convert("RGB")).reshape(-1, 3), axis=0)) > 5000
    called = lab_evaluate("checkpoint=run", f"data.root={root}", "inside=3", "corrupt=fog",
                          "output=out")  # fmt: skip
    assert called.status == 0, called.err
    assert read(tmp_path / "out")["images"] == 20
    called = lab_compare("runs=run")
    assert called.status == 0, called.err


@pytest.mark.slow
def test_photographs_are_learnt_told_apart_and_labelled(
    lab_train, lab_evaluate, lab_predict, tmp_path
):
    random = np.random.RandomState(0)
    for name, colour in (("leaf", (30, 160, 40)), ("sky", (60, 120, 230))):
        (tmp_path / "photographs" / name).mkdir(parents=True)
        for i in range(30):
            noise = random.randint(-30, 31, (30 + i, 50, 3)) + colour
            picture = Image.fromarray(noise.clip(0, 255).astype(np.uint8))
            picture.save(tmp_path / "photographs" / name / f"{i}.png")
    called = lab_train("data=folder", "data.root=photographs", "data.source.form=plain",
                       "data.source.size=16", "data.batch_size=8", "model=mlp",
                       "trainer.max_epochs=3", "hydra.run.dir=run")  # fmt: skip
    assert called.status == 0, called.err
    assert json.loads((tmp_path / "run/result.json").read_text())["metrics"]["test/accuracy"] == 1
    called = lab_evaluate("checkpoint=run", "split=all", "output=out")
    assert called.status == 0, called.err
    told = read(tmp_path / "out")
    assert (told["images"], told["metrics"]["accuracy"]) == (60, 1)
    called = lab_predict("checkpoint=run", "input=photographs", "output=table.csv")
    assert called.status == 0, called.err
    rows = (tmp_path / "table.csv").read_text().splitlines()[1:]
    assert len(rows) == 60
    assert all(row.split("/")[0] == row.split(",")[1] for row in rows)
    names = [row.split(",")[0] for row in rows]
    pixels = [read_whole(tmp_path / "photographs" / name, Shape(3, 16, 16)) for name in names]
    np.save(tmp_path / "x.npy", np.stack(pixels).transpose(0, 2, 3, 1))
    called = lab_predict("checkpoint=run", "input=x.npy", "output=array.csv", "batch_size=7")
    assert called.status == 0, called.err
    of_array = (tmp_path / "array.csv").read_text().splitlines()[1:]
    assert [row.split(",")[1] for row in of_array] == [row.split(",")[1] for row in rows]
    np.save(tmp_path / "y.npy", np.zeros((2, 28, 28), np.uint8))
    (tmp_path / "empty.npy").touch()
    (tmp_path / "torn.npz").write_bytes(b"PK\3\4 and no more")
    for refused, told in (
        (["input=y.npy"], "y.npy: its shape is (2, 28, 28); images here are (N, 16, 16, 3)"),
        (["input=table.csv"], "table.csv: no picture, and no array of images"),
        (["input=empty.npy"], "empty.npy: no picture, and no array of images"),
        (["input=torn.npz"], "torn.npz: no picture, and no array of images"),
        (["input=x.npy", "scale=255"], "scale=255: run takes bytes as they are"),
        (["input=x.npy", "lines=true"], "lines=true: run was trained on whole pictures"),
    ):
        called = lab_predict("checkpoint=run", *refused, "output=other.csv")
        assert (called.status, len(called.err.splitlines())) == (1, 1)
        assert told in called.err


def test_channels_that_do_not_fit_the_data_are_refused_in_a_line(lab_train, root):
    called = lab_train("data=cifar10", f"data.root={root}", "data.val_size=20",
                       "model=mlp", "model.in_channels=1")  # fmt: skip
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert "model.in_channels=1: the images have 3" in line
