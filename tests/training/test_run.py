"""`train` from Python: which epoch counts, and what the result holds."""

import csv
import json
from functools import partial
from pathlib import Path

import lightning.pytorch as L
import numpy as np
import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import EarlyStopping, LearningRateMonitor, ModelCheckpoint

from mnist_lab import LabError, models
from mnist_lab.comparison import gather
from mnist_lab.data import DataModule, Digits, RandomAffine
from mnist_lab.models import MLP, schedules
from mnist_lab.runs import folder
from mnist_lab.runs.described import described
from mnist_lab.runs.result import Result
from mnist_lab.settings.conf import make
from mnist_lab.settings.signatures import ConfigError
from mnist_lab.training import run
from mnist_lab.training.continuation import LastCheckpoint
from mnist_lab.training.history import History
from mnist_lab.training.trainer import built_from, default_trainer
from tests.forked import call


def trainer(folder, **settings):
    callbacks = {"dashboard": None, "console": None}
    return default_trainer(
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
    assert result.best_epoch == values.index(best(values))
    assert min(values) != max(values)
    assert result.metrics[monitor] == best(values)


def test_a_mode_that_contradicts_the_name_is_refused(digits, tmp_path):
    with pytest.raises(LabError, match="mode=max: of val/loss less is better, and its name says"):
        default_trainer(tmp_path, monitor="val/loss", mode="max")
    with pytest.raises(LabError, match=r"of a metric of your own mode=min or mode=max"):
        default_trainer(tmp_path, monitor="val/top2")
    for callback in (ModelCheckpoint(monitor="val/f1"), EarlyStopping("val/accuracy")):  # both min
        own = L.Trainer(default_root_dir=tmp_path, callbacks=[callback])
        with pytest.raises(LabError, match=r"mode=min: of val/\w+ more is better"):
            run.train(digits, MLP(), own)


def test_a_metric_of_ones_own_is_monitored_and_in_the_result(digits, tmp_path):
    own = trainer(tmp_path, monitor="val/top2", mode="max", max_epochs=2)
    result = run.train(digits, TopTwo(hidden=[16]), own)
    rows = epochs(tmp_path)
    assert result.metrics["val/top2"] == max(row["val/top2"] for row in rows)
    for name in ("f1", "precision", "recall"):
        best = rows[result.best_epoch]
        assert result.metrics[f"val/{name}"] == best[f"val/{name}"]
    images, labels = digits.tensors("test")
    model = TopTwo(hidden=[16])
    model.load_state_dict(models.read(tmp_path)["state_dict"])
    hits = (model(images).topk(2).indices == labels[:, None]).any(1)
    assert result.metrics["test/top2"] == pytest.approx(hits.float().mean().item())
    assert Result.read(tmp_path) == result


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
    assert result.best_epoch == 0
    assert result.metrics["val/loss"] == epochs(tmp_path)[0]["val/loss"]
    stored = models.read(best.best_model_path)["state_dict"]
    assert all(torch.equal(value, stored[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_of_epochs_level_in_accuracy_the_one_with_the_lowest_loss_counts(tmp_path):
    torch.manual_seed(67280421310721)  # with some other weights no epochs are level
    data = DataModule(Digits(), val_size=12, train_size=300)
    settings = {"max_epochs": 8, "callbacks": {"dashboard": None, "early_stopping": None}}
    result = run.train(data, MLP(hidden=[32]), trainer(tmp_path, **settings))
    values = [(-row["val/accuracy"], row["val/loss"]) for row in epochs(tmp_path)]
    level = [loss for accuracy, loss in values if accuracy == min(values)[0]]
    assert level.index(min(level)) > 0  # else this shows nothing
    assert result.best_epoch == values.index(min(values))
    assert models.read(tmp_path)["epoch"] == result.best_epoch


FROM_PYTHON = """
from mnist_lab import LabError, training
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import MLP

def train(hidden, **settings):
    trainer = training.default_trainer("run", max_epochs=1, accelerator="cpu")
    data = DataModule(Digits(), val_size=200)
    return training.train(data, MLP(hidden=hidden), trainer, **settings)

first = train([16])
for hidden, settings in (([16], {}), ([8], {}), ([8], {"resume": True})):
    try:
        train(hidden, **settings)
    except LabError as error:
        print("refused:", error)
assert train([16], resume=True).metrics == first.metrics
"""


@pytest.mark.slow
def test_from_python_a_run_is_heard_and_its_folder_is_its_own(tmp_path):
    (tmp_path / "own.py").write_text(FROM_PYTHON)
    status, out, err = call(tmp_path / "own.py", folder=tmp_path)
    assert status == 0, err
    told = out.splitlines()
    assert sum(line.startswith("epoch 1/1 ") for line in told) == 1
    assert any("test/accuracy" in line for line in told)
    refused = [line for line in told if line.startswith("refused: run")]
    other = "holds a run; give another folder, or resume=True to go on with it"
    assert [other in line for line in refused] == [True, True, False]
    assert "of another model" in refused[2]


def lenet(folder, epochs=1, seed=0, **settings):
    seed_everything(0, verbose=False)
    data = DataModule(Digits(), val_size=200, seed=seed)
    parts = {"callbacks": {"dashboard": None}}
    own = default_trainer(folder, max_epochs=epochs, accelerator="cpu", **parts)
    model = models.LeNet(optimizer=make("optimizer/adam"))
    return run.train(data, model, own, **settings)


@pytest.mark.slow
def test_a_run_from_python_is_the_commands(tmp_path, lab_train, lab_compare):
    result = lenet("python")
    both = ["data=digits", "seed=0", "trainer.accelerator=cpu", "trainer.callbacks.dashboard=null"]
    assert lab_train(*both, "trainer.max_epochs=1", "hydra.run.dir=command").status == 0
    assert folder.read_config(Path("python")) == folder.read_config(Path("command"))
    stored = json.loads(Path("command/result.json").read_text())
    assert (result.config_hash, result.metrics) == (stored["config_hash"], stored["metrics"])
    called = lab_compare("runs=[python,command]", "output=compared")
    assert "has the settings and the seed of command" in " ".join(called.out.split())
    repeats = ["--config-dir", "python", "--config-name", "config"]
    assert lab_train(*repeats, "hydra.run.dir=repeated").status == 0
    repeated = json.loads(Path("repeated/result.json").read_text())
    assert repeated["metrics"] == result.metrics

    # Continued by the command, and, of the command's, from Python.
    assert lab_train("resume=python", "trainer.max_epochs=2").status == 0
    lenet("command", epochs=2, resume=True)
    assert lab_train(*both, "trainer.max_epochs=2", "hydra.run.dir=whole").status == 0
    whole = models.read("whole/checkpoints/last.ckpt")
    assert whole["epoch"] == 1
    for each in ("python", "command"):
        assert folder.read_config(Path(each)) == folder.read_config(Path("whole"))
        continued = models.read(f"{each}/checkpoints/last.ckpt")["state_dict"]
        assert all(torch.equal(value, continued[key]) for key, value in whole["state_dict"].items())
    with pytest.raises(LabError, match=r"python: holds a run with other settings: data\.seed$"):
        lenet("python", epochs=2, seed=1, resume=True)


def invert(images):
    return 255 - images


class Shifted:
    """Keeps something else than it was given."""

    def __init__(self, amount):
        self.amount = amount + 1

    def __call__(self, images):
        return images + self.amount


def told(augment=None, seed=5, first=True, frozen=False, callbacks=None, **settings):
    seed_everything(seed, verbose=False)
    if not first:
        torch.rand(1)
    data = DataModule(Digits(), val_size=200, augment=augment)
    model = MLP(hidden=(8,), **settings)
    next(model.parameters()).requires_grad_(not frozen)
    changes = {"callbacks": {"x": callbacks}} if callbacks else {}
    made = {"monitor": "val/accuracy", **built_from[default_trainer("x", **changes)][0]}
    return described(data, model, made)


def test_what_a_run_is_made_of_is_written_as_conf_has_it(tmp_path):
    affine = {"_target_": "mnist_lab.data.RandomAffine", "degrees": 10}  # as conf/augment/rotate
    plain = told(RandomAffine(10), optimizer=partial(torch.optim.SGD, lr=np.float64(0.1)),
                 scheduler=partial(schedules.onecycle, peak=0.5))  # fmt: skip
    assert plain["seed"] == 5
    assert plain["augment"] == affine
    assert plain["model"]["hidden"] == [8]
    assert plain["model"]["name"] == "mlp"
    assert "in_channels" not in plain["model"]  # of which no file says anything
    sgd = {"_target_": "torch.optim.SGD", "_partial_": True, "lr": 0.1, "momentum": 0,
           "nesterov": False, "weight_decay": 0, "fused": None}  # fmt: skip
    assert plain["optimizer"] == sgd
    assert plain["scheduler"] == {
        "_target_": "mnist_lab.models.schedules.onecycle", "_partial_": True,
        "peak": 0.5, "warmup": 0.3, "cycle_momentum": True,
    }  # fmt: skip
    assert told(invert)["augment"] == {"_target_": f"{__name__}.invert", "_partial_": True}


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"augment": lambda images: images}, r"data\.augment: .*<lambda> is in no module"),
        ({"augment": Shifted(1)}, "do not give the same objects again"),
        ({"augment": torch.nn.Sequential(torch.nn.ReLU())}, "this Sequential was made from"),
        ({"optimizer": lambda p: torch.optim.SGD(p, lr=0.1)}, r"optimizer: .* no module"),
        ({"callbacks": LearningRateMonitor()}, "trainer: a LearningRateMonitor is an object"),
        ({"first": False}, "seed: with 5 the weights"),
        ({"frozen": True}, "seed: with 5 the weights"),
    ],
)
def test_what_plain_values_do_not_say_is_not_written(settings, reason):
    with pytest.raises(ConfigError, match=reason):
        told(**settings)


def test_a_run_that_cannot_be_written_down_says_so(tmp_path, digits, caplog):
    caplog.set_level("INFO", "mnist_lab")
    own = L.Trainer(default_root_dir=tmp_path, max_epochs=1, accelerator="cpu", logger=False,
                    enable_progress_bar=False, enable_model_summary=False)  # fmt: skip
    run.train(digits, MLP(hidden=[8]), own)
    assert not (tmp_path / "config.yaml").exists()
    line = "No config.yaml, the run can be continued from Python only: the trainer is not of"
    assert any(text.startswith(line) for text in caplog.messages)
    runs, (left_out,) = gather.read([tmp_path])
    assert not runs
    stored = json.loads((tmp_path / "result.json").read_text())["metrics"]["test/accuracy"]
    known = f"(no config.yaml): mlp on digits, test/accuracy {stored}"
    assert left_out.reason == f"its settings are not known {known}"
