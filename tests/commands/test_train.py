"""`python -m mnist_lab.train` from its arguments to its folder."""

import csv
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import yaml

from mnist_lab import models
from mnist_lab.data import DataModule

QUICK = ["data=digits", "trainer.max_epochs=2", "trainer.accelerator=cpu"]
UNDRAWN = ["artefacts=few", "trainer.callbacks.dashboard=null"]
FEW = [*QUICK, *UNDRAWN]
FILES = [
    "checkpoints/best.ckpt",
    "checkpoints/last.ckpt",
    "config.yaml",
    "figures/confusion_matrix.png",
    "figures/curves.png",
    "metrics.csv",
    "per_class.csv",
    "predictions.csv",
    "report.html",
    "result.json",
    "train.log",
]
KEYS = [
    "status",
    "metrics",
    "per_class",
    "best_epoch",
    "epochs",
    "steps",
    "ended_by",
    "weights",
    "parameters",
    "seconds",
    "images_per_second",
    "seed",
    "dataset",
    "model",
    "device",
    "precision",
    "threads",
    "config_hash",
    "versions",
    "git",
]


def only_folder(root: Path) -> Path:
    (folder,) = root.glob("outputs/*/*/*/")
    return folder


def rows(path: Path) -> list[dict[str, str]]:
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


def test_a_run_leaves_its_folder(lab_train, tmp_path):
    called = lab_train(*QUICK, "seed=0")
    assert called.status == 0, called.err
    folder = only_folder(tmp_path)
    assert folder.parts[-3:-1] == ("digits", "lenet")
    for name in FILES:
        assert (folder / name).stat().st_size > 0, name
    assert list(folder.glob("tensorboard/events.out.tfevents.*"))
    result = json.loads((folder / "result.json").read_text())
    assert list(result) == KEYS
    assert result["status"] == "completed"
    assert (result["seed"], result["dataset"], result["model"]) == (0, "digits", "lenet")
    assert (result["epochs"], result["steps"], result["parameters"]) == (2, 2 * 20, 61_706)
    assert (result["ended_by"], result["weights"]) == ("trainer.max_epochs=2", "trained")
    assert sorted(result["seconds"]) == ["data", "fit", "test", "total"]

    by_epoch = rows(folder / "metrics.csv")
    assert [row["epoch"] for row in by_epoch] == ["0", "1"]
    best = by_epoch[result["best_epoch"]]
    for key in ("val/loss", "val/accuracy"):
        assert result["metrics"][key] == pytest.approx(float(best[key]), rel=1e-6)
    assert float(best["val/accuracy"]) == max(float(row["val/accuracy"]) for row in by_epoch)
    assert {row["lr"] for row in by_epoch} == {"0.001"}

    predicted = rows(folder / "predictions.csv")
    hits = [row["truth"] == row["prediction"] for row in predicted]
    assert len(hits) == 360
    assert sum(hits) / len(hits) == pytest.approx(result["metrics"]["test/accuracy"])
    for row in predicted[:20]:
        each = [float(row[f"p{k}"]) for k in range(10)]
        assert sum(each) == pytest.approx(1, abs=1e-4)
        assert float(row["confidence"]) == pytest.approx(max(each))
        assert each.index(max(each)) == int(row["prediction"])

    assert "Conv2d" in (folder / "train.log").read_text()
    assert "61,706" in called.out
    assert str(folder) in called.out
    assert "tensorboard --logdir" in called.out
    assert "Ended by:     trainer.max_epochs=2" in called.out
    assert f"Report:       {folder}/report.html" in called.out
    assert re.findall(r"epoch (\d/\d) ", called.out) == ["1/2", "2/2"]
    assert re.search(rf"best epoch\s+│ {result['best_epoch'] + 1} of 2\s", called.out)
    assert "litlogger" not in called.out + called.err


def test_the_checkpoint_alone_gives_the_accuracy_that_the_run_reported(lab_train, tmp_path):
    lab_train(*FEW, "model=bn_cnn")
    folder = only_folder(tmp_path)
    result = json.loads((folder / "result.json").read_text())
    model = models.load(folder)
    data = models.read(folder)["mnist_lab"]["data"]
    assert data["name"] == "digits"
    from mnist_lab.data import Digits

    images, labels = DataModule(Digits(), val_size=data["val_size"]).tensors("test")
    with torch.inference_mode():
        accuracy = (model(images).argmax(1) == labels).double().mean().item()
    assert accuracy == pytest.approx(result["metrics"]["test/accuracy"], abs=1e-7)


def test_the_stored_configuration_repeats_the_run(lab_train, tmp_path):
    lab_train(*FEW, "model=mlp", "augment=affine", "seed=3")
    folder = only_folder(tmp_path)
    first = json.loads((folder / "result.json").read_text())
    again = tmp_path / "again"
    called = lab_train(
        "--config-dir", str(folder), "--config-name", "config", f"hydra.run.dir={again}"
    )
    assert called.status == 0, called.err
    second = json.loads((again / "result.json").read_text())
    assert second["metrics"] == first["metrics"]
    assert second["config_hash"] == first["config_hash"]
    assert not (again / ".hydra").exists()
    assert "] epoch 2/2" in (again / "train.log").read_text()
    # Many of it, with seeds of their own, in folders named as those of any sweep.
    called = lab_train(
        "--config-dir", str(folder), "--config-name", "config", "-m", "seed=0,1", "sweep=again",
        "trainer.fast_dev_run=true",
    )  # fmt: skip
    assert called.status == 0, called.err
    assert "python -m mnist_lab.compare runs=outputs/sweeps/again" in called.out
    names = sorted(path.name for path in tmp_path.glob("outputs/sweeps/again/*/"))
    assert names == ["seed-0_fast_dev_run-True", "seed-1_fast_dev_run-True"]


@pytest.mark.slow
def test_a_repetition_takes_as_many_threads(lab_train, tmp_path, monkeypatch):
    """Of which the last bits of sums depend, and so all weights after some steps."""

    def told(name, *arguments):
        folder = tmp_path / name
        called = lab_train(*arguments)
        assert called.status == 0, called.err
        result = json.loads((folder / "result.json").read_text())
        weights = torch.load(folder / "checkpoints/best.ckpt", weights_only=True)["state_dict"]
        return result["threads"], result["config_hash"], weights

    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    try:
        threads, identity, weights = told("run", *FEW, "hydra.run.dir=run")
        assert threads == 2
        monkeypatch.setenv("OMP_NUM_THREADS", "1")
        stored = ("--config-dir", str(tmp_path / "run"), "--config-name", "config")
        threads, again, same = told("again", *stored, "hydra.run.dir=again")
        assert (threads, again) == (2, identity)
        assert all(torch.equal(weight, same[name]) for name, weight in weights.items())
        threads, other, apart = told("one", *stored, "threads=1", "hydra.run.dir=one")
        assert (threads, other) == (1, identity)  # it is the same run, but for the last bits
        assert not all(torch.equal(weight, apart[name]) for name, weight in weights.items())
        threads, _, _ = told("run", "resume=run", "trainer.max_epochs=3")
        assert threads == 2
    finally:
        torch.set_num_threads(1)


def test_config_yaml_holds_the_resolved_settings(lab_train, tmp_path):
    lab_train(*FEW, "optimizer.lr=0.002", "trainer.max_epochs=1")
    stored = yaml.safe_load((only_folder(tmp_path) / "config.yaml").read_text())
    assert stored["optimizer"]["lr"] == 0.002
    assert "optimizer" not in stored["model"]  # it stands once
    assert stored["model"]["name"] == "lenet"
    assert stored["trainer"]["callbacks"]["best"]["monitor"] == "val/accuracy"


def test_without_validation_the_last_checkpoint_is_tested(lab_train, tmp_path):
    called = lab_train(*QUICK, "data.val_size=0")
    assert called.status == 0, called.err
    result = json.loads((only_folder(tmp_path) / "result.json").read_text())
    assert result["metrics"]["val/loss"] is None
    assert result["metrics"]["val/accuracy"] is None
    assert result["best_epoch"] == 1
    assert result["metrics"]["test/accuracy"] > 0.5
    assert "No validation split" in called.out


def test_fast_dev_run_leaves_no_result(lab_train, tmp_path):
    called = lab_train("data=digits", "trainer.fast_dev_run=true")
    assert called.status == 0, called.err
    assert not list(tmp_path.rglob("result.json"))
    assert not list(tmp_path.rglob("*.ckpt"))


def test_init_from_starts_with_the_weights_of_another_run(lab_train, tmp_path):
    lab_train("data=digits", "trainer.max_epochs=6", *UNDRAWN)
    first = only_folder(tmp_path)
    accuracy = json.loads((first / "result.json").read_text())["metrics"]["test/accuracy"]
    # A step too small to change anything: what is tested is what was loaded.
    called = lab_train("data=digits", "trainer.max_epochs=1", "optimizer.lr=1e-12", *UNDRAWN,
                       f"init_from={first}", "hydra.run.dir=second")  # fmt: skip
    assert called.status == 0, called.err
    result = json.loads((tmp_path / "second/result.json").read_text())
    assert result["metrics"]["test/accuracy"] == pytest.approx(accuracy)


def test_a_sweeps_jobs_tell_their_monitored_value(lab_train, tmp_path):
    called = lab_train("-m", "data=digits", "trainer.max_epochs=1", "optimizer=adam,sgd",
                       "hydra.sweep.dir=sweep")  # fmt: skip
    assert called.status == 0, called.err
    told = dict(re.findall(r"#\d ([\w-]+): val/accuracy (0\.\d+), ", called.out))
    found = {
        path.parent.name: json.loads(path.read_text())["metrics"]["val/accuracy"]
        for path in tmp_path.glob("sweep/*/result.json")
    }
    assert told == {name: f"{value:.4f}" for name, value in found.items()}
    names = sorted(found)
    assert names == [
        "data-digits_optimizer-adam_max_epochs-1",
        "data-digits_optimizer-sgd_max_epochs-1",
    ]


def test_a_run_that_early_stopping_ended_says_so_and_has_no_more_epochs(lab_train, tmp_path):
    # A step too small to change anything: the second epoch is no better than the first.
    stopping = ["optimizer.lr=1e-12", "trainer.callbacks.early_stopping.patience=1"]
    called = lab_train(*FEW, "trainer.max_epochs=4", *stopping, "hydra.run.dir=run")
    assert called.status == 0, called.err
    told = "early stopping after epoch 2: val/accuracy did not improve in the last 1 records"
    assert f"Ended by:     {told}" in called.out
    before = (tmp_path / "run/result.json").read_text()
    assert json.loads(before)["ended_by"].startswith(told)
    called = lab_train("resume=run", "trainer.max_epochs=9")
    assert called.status == 1
    assert f"max_epochs=9: more epochs change nothing: this run was ended by {told}" in called.err
    assert (tmp_path / "run/result.json").read_text() == before
    assert "max_epochs: 4\n" in (tmp_path / "run/config.yaml").read_text()


def test_a_run_tested_on_some_images_tells_of_these(lab_train, tmp_path):
    limited = ["data.eval_batch_size=100", "+trainer.limit_test_batches=1"]
    assert lab_train(*QUICK, "artefacts=few", *limited, "hydra.run.dir=run").status == 0
    assert len((tmp_path / "run/predictions.csv").read_text().splitlines()) == 1 + 100
    assert len((tmp_path / "run/tensorboard/embedding.tsv").read_text().splitlines()) == 100
    result = json.loads((tmp_path / "run/result.json").read_text())
    assert sum(each["support"] for each in result["per_class"].values()) == 100


@pytest.mark.parametrize(
    ("overrides", "steps", "val", "images"),
    [
        (["+trainer.limit_val_batches=0"], 2 * 20, False, 2 * 1237),
        (["+trainer.max_steps=5"], 5, False, 5 * 64),
        (["+trainer.max_steps=25", *UNDRAWN], 25, True, 1237 + 5 * 64),
        (["+trainer.limit_train_batches=3", *UNDRAWN], 2 * 3, True, 2 * 3 * 64),
        (["trainer.log_every_n_steps=0", *UNDRAWN], 2 * 20, True, 2 * 1237),
        # 65 images in batches of 64: of a single one batch normalisation could make nothing.
        (["model=mlp", "model.hidden=[8]", "model.norm=after", "data.train_size=65", *UNDRAWN],
         2, True, 130),
    ],
)  # fmt: skip
def test_unusual_settings_are_run_to_the_end(overrides, steps, val, images, lab_train, tmp_path):
    """Those without validation drawn, too."""
    called = lab_train(*QUICK, *overrides)
    assert called.status == 0, called.err
    result = json.loads((only_folder(tmp_path) / "result.json").read_text())
    assert result["steps"] == steps
    assert result["images_per_second"] * result["seconds"]["fit"] == pytest.approx(images)
    assert (result["metrics"]["val/accuracy"] is not None) == val
    assert 0 <= result["best_epoch"] < 2
    assert result["metrics"]["test/accuracy"] is not None


def test_another_optimizer_by_its_class_keeps_what_it_has_of_the_settings(lab_train, tmp_path):
    called = lab_train(*FEW, "optimizer._target_=torch.optim.NAdam", "optimizer.lr=0.002")
    assert called.status == 0, called.err
    assert "optimizer: torch.optim.NAdam takes no fused: left out" in called.out
    stored = yaml.safe_load((only_folder(tmp_path) / "config.yaml").read_text())
    kept = {"_target_": "torch.optim.NAdam", "_partial_": True, "lr": 0.002, "weight_decay": 0.0,
            "betas": [0.9, 0.999], "eps": 1e-8}  # fmt: skip
    assert stored["optimizer"] == kept


def test_an_epoch_without_validation_tells_none(lab_train):
    called = lab_train(*FEW, "trainer.max_epochs=3", "+trainer.check_val_every_n_epoch=2")
    assert called.status == 0, called.err
    told = [line for line in called.out.splitlines() if line.startswith("epoch ")]
    assert ["val loss" in line for line in told] == [False, True, False]


@pytest.mark.slow
def test_full_error_gives_the_traceback(tmp_path):
    command = [sys.executable, "-m", "mnist_lab.train", "seed=x"]
    done = subprocess.run(
        command,
        cwd=tmp_path,
        env=_environment(HYDRA_FULL_ERROR="1"),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ConfigError: seed=x" in done.stderr


@pytest.mark.parametrize("arguments", [["--help"], ["--cfg", "job"], ["model=lenett"]])
def test_composing_imports_neither_torch_nor_lightning(arguments, tmp_path):
    code = (
        "import runpy, sys\n"
        "try:\n    runpy.run_module('mnist_lab.train', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "loaded = {'torch', 'lightning', 'numpy', 'pydantic', 'matplotlib'} & sys.modules.keys()\n"
        "print('LOADED', sorted(loaded))\n"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=tmp_path, env=_environment(), capture_output=True, text=True)
    assert "LOADED []" in done.stdout, done.stderr


def test_the_first_line_comes_before_what_takes_long_is_loaded(tmp_path):
    code = (
        "import runpy, sys\n"
        "class Out:\n"
        "    def write(self, text):\n"
        "        if text.strip():\n"
        "            sys.__stdout__.write(f'{text} torch: {\"torch\" in sys.modules}')\n"
        "            sys.__stdout__.flush()\n"
        "            raise SystemExit\n"
        "    def flush(self): ...\n"
        "    def isatty(self): return False\n"
        "sys.stdout = Out()\n"
        "runpy.run_module(sys.argv.pop(1), run_name='__main__')\n"
    )
    for module, *arguments in (
        ["train", "data=digits"],
        ["evaluate", "checkpoint=a"],
        ["predict", "checkpoint=a", "input=a"],
    ):
        command = [sys.executable, "-c", code, f"mnist_lab.{module}", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=_environment(), capture_output=True, text=True
        )
        assert done.stdout == "Loading PyTorch and Lightning ... torch: False", done.stderr


@pytest.mark.mnist
def test_mnist_end_to_end(lab_train, tmp_path, mnist_root, monkeypatch):
    monkeypatch.setenv("MNIST_LAB_DATA", str(mnist_root))
    called = lab_train("model=bn_cnn", "trainer.max_epochs=1", "data.train_size=6000")
    assert called.status == 0, called.err
    result = json.loads((only_folder(tmp_path) / "result.json").read_text())
    assert result["metrics"]["test/accuracy"] > 0.93
    assert len(rows(only_folder(tmp_path) / "predictions.csv")) == 10_000
    support = [int(values["support"]) for values in result["per_class"].values()]
    assert support == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]


def _environment(**more: str) -> dict[str, str]:
    import os

    kept = {k: v for k, v in os.environ.items() if k != "HYDRA_FULL_ERROR"}
    return {**kept, **more}
