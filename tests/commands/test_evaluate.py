"""`python -m mnist_lab.evaluate`: the figures that the run itself has, and what else one asks."""

import json

import numpy as np
import pytest
import torch
from sklearn.metrics import confusion_matrix

from mnist_lab import models
from mnist_lab.data import Digits, RandomAffine
from mnist_lab.metrics.significance import wilson
from mnist_lab.reports import gallery
from tests.commands.runs import read, rows, shown


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
        "risk_coverage",
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
    assert page.count("<img ") == 7


@pytest.mark.slow
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


@pytest.mark.slow
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


@pytest.mark.slow
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


def test_missing_settings_are_named(lab_evaluate):
    called = lab_evaluate()
    assert called.status == 1
    assert "checkpoint: a value is missing" in called.err


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["inisde=x"]])
def test_composing_imports_neither_torch_nor_lightning(arguments, heavy_imports, tmp_path):
    assert heavy_imports("mnist_lab.evaluate", *arguments) == set()
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
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
