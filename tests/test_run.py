"""`run.train` from Python: which epoch counts, and what the result holds."""

import csv
import json
import subprocess
import sys

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint

from mnist_lab import LabError, models, run
from mnist_lab.callbacks import History
from mnist_lab.continuation import LastCheckpoint
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import MLP


def trainer(folder, **settings):
    callbacks = {"dashboard": None, "console": None}
    return run.default_trainer(
        folder,
        accelerator="cpu",
        logger={"tensorboard": None},
        **{"callbacks": callbacks} | settings,
    )


def epochs(folder):
    with open(folder / "metrics.csv", newline="") as file:
        return [{k: float(v) for k, v in row.items() if v} for row in csv.DictReader(file)]


class TopTwo(MLP):
    """Logs a metric of its own, of validation and of the test."""

    metrics = (*MLP.metrics, "top2")

    def validation_step(self, batch, batch_idx):
        logits = super().validation_step(batch, batch_idx)
        self._log("val", logits, batch[1])
        return logits

    def test_step(self, batch, batch_idx):
        logits = super().test_step(batch, batch_idx)
        self._log("test", logits, batch[1])
        return logits

    def _log(self, split, logits, labels):
        hits = (logits.topk(2).indices == labels[:, None]).any(1).float()
        self.log(f"{split}/top2", hits.mean(), on_epoch=True, batch_size=len(labels))


@pytest.mark.parametrize(("monitor", "best"), [("val/loss", min), ("val/f1", max)])
def test_the_best_epoch_is_that_which_the_monitored_name_says(monitor, best, digits, tmp_path):
    # The rate makes the last epochs worse than the first ones.
    optimizer = lambda parameters: torch.optim.SGD(parameters, lr=0.1)  # noqa: E731
    rates = lambda optimizer, steps: torch.optim.lr_scheduler.LambdaLR(  # noqa: E731
        optimizer, lambda step: 1.0 if step < steps / 2 else 30.0
    )
    model = MLP(hidden=[16], optimizer=optimizer, scheduler=rates)
    result = run.train(digits, model, trainer(tmp_path, monitor=monitor, max_epochs=4))
    values = [row[monitor] for row in epochs(tmp_path)]
    assert result["best_epoch"] == values.index(best(values))
    assert min(values) != max(values)
    assert result["metrics"][monitor] == best(values)


def test_a_mode_that_contradicts_the_name_is_refused(digits, tmp_path):
    with pytest.raises(LabError, match="mode=max: of val/loss less is better, and its name says"):
        run.default_trainer(tmp_path, monitor="val/loss", mode="max")
    with pytest.raises(LabError, match=r"monitor=val/top2: no such metric.*must say which"):
        run.default_trainer(tmp_path, monitor="val/top2")
    for callback in (ModelCheckpoint(monitor="val/f1"), EarlyStopping("val/accuracy")):  # both min
        own = L.Trainer(default_root_dir=tmp_path, callbacks=[callback])
        with pytest.raises(LabError, match=r"mode=min: of val/\w+ more is better"):
            run.train(digits, MLP(), own)


def test_a_metric_of_ones_own_is_monitored_and_in_the_result(digits, tmp_path):
    own = trainer(tmp_path, monitor="val/top2", mode="max", max_epochs=2)
    result = run.train(digits, TopTwo(hidden=[16]), own)
    rows = epochs(tmp_path)
    assert result["metrics"]["val/top2"] == max(row["val/top2"] for row in rows)
    for name in ("f1", "precision", "recall"):
        best = rows[result["best_epoch"]]
        assert result["metrics"][f"val/{name}"] == best[f"val/{name}"]
    images, labels = digits.tensors("test")
    model = TopTwo(hidden=[16])
    model.load_state_dict(models.read(tmp_path)["state_dict"])
    hits = (model(images).topk(2).indices == labels[:, None]).any(1)
    assert result["metrics"]["test/top2"] == pytest.approx(hits.float().mean().item())
    assert json.loads((tmp_path / "result.json").read_text()) == result


def test_what_is_tested_is_of_the_first_checkpoint_that_monitors(digits, tmp_path):
    """Not of one that holds the last weights."""
    # Of a rate that grows, the first epoch is the best.
    rates = lambda optimizer, steps: torch.optim.lr_scheduler.LambdaLR(  # noqa: E731
        optimizer, lambda step: 1.0 if step < steps / 2 else 1000.0
    )
    model = MLP(hidden=[16], scheduler=rates)
    best = ModelCheckpoint(tmp_path / "mine", monitor="val/loss")
    own = L.Trainer(
        default_root_dir=tmp_path, max_epochs=2, accelerator="cpu", logger=History(str(tmp_path)),
        callbacks=[LastCheckpoint(str(tmp_path)), ModelCheckpoint(tmp_path / "every"), best],
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    result = run.train(digits, model, own)
    assert result["best_epoch"] == 0
    assert result["metrics"]["val/loss"] == epochs(tmp_path)[0]["val/loss"]
    stored = models.read(best.best_model_path)["state_dict"]
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())


def test_of_epochs_level_in_accuracy_the_one_with_the_lowest_loss_counts(tmp_path):
    data = DataModule(Digits(), val_size=12, train_size=300)
    settings = {"max_epochs": 8, "callbacks": {"dashboard": None, "early_stopping": None}}
    result = run.train(data, MLP(hidden=[32]), trainer(tmp_path, **settings))
    values = [(-row["val/accuracy"], row["val/loss"]) for row in epochs(tmp_path)]
    level = [loss for accuracy, loss in values if accuracy == min(values)[0]]
    assert level.index(min(level)) > 0  # else this shows nothing
    assert result["best_epoch"] == values.index(min(values))
    assert models.read(tmp_path)["epoch"] == result["best_epoch"]


FROM_PYTHON = """
from mnist_lab import LabError, run
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import MLP

def train(hidden, **settings):
    trainer = run.default_trainer("run", max_epochs=1, accelerator="cpu")
    return run.train(DataModule(Digits(), val_size=200), MLP(hidden=hidden), trainer, **settings)

first = train([16])
for hidden, settings in (([16], {}), ([8], {}), ([8], {"resume": True})):
    try:
        train(hidden, **settings)
    except LabError as error:
        print("refused:", error)
assert train([16], resume=True)["metrics"] == first["metrics"]
"""


def test_from_python_a_run_is_heard_and_its_folder_is_its_own(tmp_path):
    done = subprocess.run([sys.executable, "-c", FROM_PYTHON], cwd=tmp_path, capture_output=True,
                          text=True, check=True)  # fmt: skip
    told = done.stdout.splitlines()
    assert sum(line.startswith("epoch 1/1 ") for line in told) == 1
    assert any("test/accuracy" in line for line in told)
    refused = [line for line in told if line.startswith("refused: run")]
    other = "holds a run; give another folder, or resume=True to go on with it"
    assert [other in line for line in refused] == [True, True, False]
    assert "of another model" in refused[2]
