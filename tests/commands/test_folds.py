"""Cross-validation by the commands: a sweep over folds, its table, compare, evaluate."""

import json

import numpy as np
import pytest
import yaml
from scipy import stats

from mnist_lab.data import DataModule, Digits
from mnist_lab.export import samples
from mnist_lab.export.handed import handed
from tests.commands import runs

SWEEP = ["-m", "sweep=cv", "data=digits", "model=mlp", "model.hidden=[16],[4]", "data.folds=3",
         "data.fold=range(0,3)", "trainer.max_epochs=1", "trainer.accelerator=cpu",
         *(f"trainer.callbacks.{name}=null" for name in runs.NOT_DRAWN)]  # fmt: skip


def metric(folder):
    return json.loads((folder / "result.json").read_text())["metrics"]["val/accuracy"]


@pytest.mark.slow
def test_a_sweep_over_folds_and_what_is_made_of_it(lab_train, lab_compare, lab_evaluate, tmp_path):
    called = lab_train(*SWEEP)
    assert called.status == 0, called.err
    sweep = tmp_path / "outputs/sweeps/cv"
    folders = {}
    for path in sweep.glob("*/config.yaml"):
        plain = yaml.safe_load(path.read_text())
        assert plain["data"]["val_size"] is None
        folders[plain["model"]["hidden"][0], plain["data"]["fold"]] = path.parent
    assert len(folders) == 6
    values = {hidden: [metric(folders[hidden, k]) for k in range(3)] for hidden in (16, 4)}
    rows = [line.split("\u2502")[1:-1] for line in called.out.splitlines()]
    rows = [[cell.strip() for cell in row] for row in rows]
    table = [row for row in rows if len(row) == 4]
    assert [row[:2] for row in table] == [["model.hidden=[16]", "3"], ["model.hidden=[4]", "3"]]
    for hidden, row in zip((16, 4), table, strict=True):
        mean = np.mean(values[hidden])
        half = stats.t.ppf(0.975, 2) * np.sqrt((1 / 3 + 1 / 2) * np.var(values[hidden], ddof=1))
        assert row[2:] == [f"{mean:.4f}", f"{mean - half:.4f} to {mean + half:.4f}"]

    called = lab_compare("runs=outputs/sweeps/cv")
    assert called.status == 0, called.err
    gap = 100 * (np.mean(values[16]) - np.mean(values[4]))
    said = " ".join(called.out.split())
    assert f"{gap:.2f}" in said
    assert "paired over 3 folds" in said
    assert "digits, split_seed=0, folds=3, by accuracy" in said

    # Validation images are those of the checkpoint's fold.
    folder = folders[16, 2]
    data = DataModule(Digits(), val_size=None, folds=3, fold=2)
    given = [f"checkpoint={folder}", "split=val", "overwrite=true", "output=out"]
    called = lab_evaluate(*given)
    assert called.status == 0, called.err
    table = runs.rows(tmp_path / "out/predictions.csv")
    assert [int(row["truth"]) for row in table] == data.tensors("val")[1].tolist()
    assert runs.read(tmp_path / "out")["metrics"]["accuracy"] == values[16][2]
    assert lab_evaluate(*given, "data=digits", "data.fold=1").status == 0
    assert runs.read(tmp_path / "out")["images"] == 479
    plain = ["data=digits", "data.folds=null", "data.fold=null", "data.val_size=100"]
    assert lab_evaluate(*given, *plain).status == 0
    assert runs.read(tmp_path / "out")["images"] == 100
    called = lab_evaluate(f"checkpoint=[{folder},{folders[16, 1]}]", "split=val")
    assert "split=val: the checkpoints have different ones" in called.err
    assert samples.dataset(*handed([str(folder)])).fold == 2


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        (["data.folds=5", "data.fold=5"], "data: fold=5: folds=5 are fold=0 to fold=4"),
        (["data.folds=5"], "data: fold=None: folds=5 are fold=0 to fold=4"),
        (["data.fold=1"], "data: fold=1: of how many?"),
        (["data.folds=1", "data.fold=0"], "data.folds=1: should be greater than or equal to 2"),
        (["data.folds=5", "data.fold=0", "data.val_size=200"],
         "data: val_size=200: contradicts folds=5, of which one is validated on; val_size=null"),
        (["data.repeat=1"], "data: repeat=1: draws other folds, and there are none"),
    ],
)  # fmt: skip
def test_contradictions_are_a_line(settings, told, lab_train, tmp_path):
    called = lab_train("data=digits", *settings)
    assert called.status == 1
    (line,) = called.err.splitlines()
    assert told in line
    assert not list(tmp_path.rglob("config.yaml"))
