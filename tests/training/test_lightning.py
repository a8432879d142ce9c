"""What Lightning ships, added to a run: each row of docs/callbacks.md."""

import os
import signal
from pathlib import Path

import lightning.pytorch as L
import pytest
import torch
from lightning.pytorch import callbacks, loggers, seed_everything
from torch import nn

from mnist_lab import LabError
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import MLP, Classifier, checkpoint
from mnist_lab.training import run
from mnist_lab.training.continuation import RandomState
from mnist_lab.training.handover import HandOver
from mnist_lab.training.history import History
from mnist_lab.training.trainer import default_trainer
from tests.conftest import ROOT

SMALL = (
    *("data=digits", "data.batch_size=128", "model=mlp", "model.hidden=[8]"),
    *("trainer.max_epochs=2", "trainer.log_every_n_steps=3", "test=false"),
    *("trainer.accelerator=cpu", "trainer.callbacks.dashboard=null"),
)
BY_FOLDER = ("GradientAccumulationScheduler", "OnExceptionCheckpoint")  # from config.yaml
STEPS = 20  # in all; the signal comes within the second epoch


def rows(heading):
    """Name, verdict and settings of each row of a section's table."""
    text = (ROOT / "docs/callbacks.md").read_text()
    table = text.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    cells = [line.strip("|").split("|") for line in table.splitlines() if line.startswith("| `")]
    return {name.strip(" `"): (goes.strip(), how.strip(" `")) for name, _, goes, how in cells}


CALLBACKS, LOGGERS = rows("Callbacks"), rows("Loggers")
REFUSED = [name for name, (goes, _) in CALLBACKS.items() if goes.startswith("refused")]
REFUSED += ["BackboneFinetuning"]  # with our models


def size(batch):
    return len(batch[1])


class Frozen(callbacks.BaseFinetuning):
    """The hidden layer learns in the second epoch only."""

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.network[1])

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.network[1], optimizer, lr=1e-3)


class Writing(callbacks.BasePredictionWriter):
    pass


class Noting(callbacks.Checkpoint):
    pass


FROM_PYTHON = {
    "BaseFinetuning": Frozen,
    "BasePredictionWriter": Writing,
    "Callback": callbacks.Callback,
    "Checkpoint": Noting,
    "LambdaCallback": lambda: callbacks.LambdaCallback(on_train_batch_end=lambda *_: None),
    "ThroughputMonitor": lambda: callbacks.ThroughputMonitor(size),
}


def added(name):
    """The settings that the table gives for a callback."""
    how = CALLBACKS[name][1]
    target = f"_target_: lightning.pytorch.callbacks.{name}"
    if how.startswith("trainer."):
        return [f"+trainer.callbacks.x={{{target}}}", how]
    return [f"+trainer.callbacks.x={{{target}{', ' if how else ''}{how}}}"]


def weights(folder):
    return checkpoint.read(folder / "checkpoints" / "last.ckpt")["state_dict"]


def assert_same(one, other):
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor, other[name]), name


def test_the_table_has_what_lightning_ships():
    assert CALLBACKS.keys() == set(callbacks.__all__)
    assert LOGGERS.keys() == set(loggers.__all__)


@pytest.mark.parametrize("name", sorted(CALLBACKS.keys() - set(REFUSED) - FROM_PYTHON.keys()))
def test_a_run_with_it_that_was_stopped_and_continued(name, lab_train, tmp_path, monkeypatch):
    def run_in(folder):
        return lab_train(*SMALL, *added(name), f"hydra.run.dir={folder}")

    assert run_in("whole").status == 0
    with monkeypatch.context() as patch:
        patch.setattr(RandomState, "on_train_batch_end", stop_at(15), raising=False)
        assert run_in("cut").status == 128 + signal.SIGTERM
    continued = lab_train("resume=cut") if name in BY_FOLDER else run_in("cut")
    assert continued.status == 0
    if name == "ModelPruning":
        assert "continued, but not exactly" in continued.out
        return
    assert_same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))
    ours = [{p.name for p in (tmp_path / f / "checkpoints").iterdir()} for f in ("whole", "cut")]
    assert ours[0] == ours[1]


def stop_at(step):
    def on_train_batch_end(self, trainer, *_):
        if trainer.global_step == step:
            os.kill(os.getpid(), signal.SIGTERM)

    return on_train_batch_end


@pytest.mark.parametrize("name", sorted(FROM_PYTHON))
def test_from_python(name, tmp_path):
    def trained(folder, stop=False):
        seed_everything(0, verbose=False)
        data, model = DataModule(Digits(), val_size=200, batch_size=128), MLP(hidden=[8])
        stopping = callbacks.LambdaCallback(on_train_batch_end=lambda *a: stop_at(15)(None, *a))
        both = {"x": FROM_PYTHON[name](), "stop": stopping if stop else None, "dashboard": None}
        settings = {"max_epochs": 2, "accelerator": "cpu", "log_every_n_steps": 3}
        trainer = default_trainer(folder, callbacks=both, **settings)
        assert both["x"] in trainer.callbacks  # itself, not a copy
        return run.train(data, model, trainer, resume=True, test=False)

    assert trained(tmp_path / "whole").steps == STEPS
    with pytest.raises(SystemExit, match=str(128 + signal.SIGTERM)):
        trained(tmp_path / "cut", stop=True)
    assert trained(tmp_path / "cut").steps == STEPS
    assert_same(weights(tmp_path / "cut"), weights(tmp_path / "whole"))


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_go_is_refused_in_a_line(name, lab_train):
    arguments = ", swa_lrs: 0.01" if name == "StochasticWeightAveraging" else ""
    target = f"{{_target_: lightning.pytorch.callbacks.{name}{arguments}}}"
    done = lab_train(*SMALL, f"+trainer.callbacks.x={target}")
    assert done.status == 1
    assert len(done.err.splitlines()) == 1
    assert done.err.startswith(f"{name}: ")


class WithBackbone(Classifier):
    def __init__(self, **shared):
        super().__init__(**shared)
        self.backbone = nn.Sequential(nn.Flatten(), nn.Linear(784, 8), nn.ReLU())
        self.network = nn.Sequential(self.backbone, nn.Linear(8, 10))


def test_a_backbone_is_trained_from_its_epoch_on(digits, tmp_path):
    seed_everything(0, verbose=False)
    model = WithBackbone()
    seen = []
    before = model.backbone[1].weight.clone()
    watch = callbacks.LambdaCallback(
        on_train_epoch_end=lambda *_: seen.append(torch.equal(before, model.backbone[1].weight))
    )
    late = callbacks.BackboneFinetuning(1, verbose=False)
    trainer = default_trainer(
        tmp_path, callbacks={"late": late, "watch": watch}, max_epochs=2, accelerator="cpu"
    )
    run.train(digits, model, trainer, test=False)
    assert seen == [True, False]


def test_checkpoints_are_written_by_a_subclass_of_ours_that_is_given(tmp_path):
    class Noting(checkpoint.CheckpointIO):
        def save_checkpoint(self, content, path, storage_options=None):
            written.append(path)
            super().save_checkpoint(content, path, storage_options)

    written: list = []
    settings = {"accelerator": "cpu", "max_epochs": 1, "limit_train_batches": 2}
    trainer = default_trainer(tmp_path / "run", plugins=[Noting()], **settings)
    run.train(DataModule(Digits(), val_size=100), MLP(hidden=[8]), trainer, test=False)
    assert {path.name for path in map(Path, written)} == {"best.ckpt", "last.ckpt"}


def test_lists_stand_for_all_of_them_and_are_checked(lab_train, tmp_path):
    rate = "{_target_: lightning.pytorch.callbacks.LearningRateMonitor"
    csv = "{_target_: lightning.pytorch.loggers.CSVLogger, save_dir: '${folder}', name: own}"
    done = lab_train(
        *SMALL[:-1],
        *("~trainer.callbacks", f"+trainer.callbacks=[{rate}}}]"),
        *("~trainer.logger", f"+trainer.logger=[{csv}]"),
        "+trainer.plugins=[{_target_: lightning.pytorch.plugins.MixedPrecision, precision: "
        "bf16-mixed, device: cpu}]",
        "trainer.precision=null",
        "hydra.run.dir=listed",
    )
    assert done.status == 0, done.err
    assert "lr-Adam" in (tmp_path / "listed/own/version_0/metrics.csv").read_text()
    for key, wrong, told in (
        ("callbacks", f"[{rate}, every: 2}}]", "trainer.callbacks[0].every: no such setting"),
        ("logger", f"[{rate}}}]", "trainer.logger[0]._target_=lightning"),
        ("callbacks", f"[{csv}]", "trainer.callbacks[0]._target_=lightning"),
        ("callbacks", "[{_target_: no.such}]", "trainer.callbacks[0]._target_=no.such"),
    ):
        done = lab_train(*SMALL[:-1], f"~trainer.{key}", f"+trainer.{key}={wrong}")
        assert (done.status, done.err[: len(told)]) == (1, told)
    done = lab_train(*SMALL, f"trainer.callbacks=[{rate}}}]")
    assert (done.status, done.err) == (
        1,
        "trainer.callbacks: holds settings by name; a list takes their place with "
        f"~trainer.callbacks +trainer.callbacks=[{rate}}}]\n",
    )


@pytest.mark.slow
def test_a_sweep_with_callbacks_and_loggers(lab_train, tmp_path):
    target = "{_target_: lightning.pytorch"
    done = lab_train(
        *("-m", "sweep=x", "seed=0,1", *SMALL),
        f"+trainer.callbacks.rate={target}.callbacks.LearningRateMonitor}}",
        f"+trainer.callbacks.average={target}.callbacks.EMAWeightAveraging, decay: 0.9}}",
        f"+trainer.callbacks.each={target}.callbacks.ModelCheckpoint, save_top_k: -1}}",
        f"+trainer.logger.csv={target}.loggers.CSVLogger, save_dir: '${{folder}}', name: csv}}",
        f"+trainer.logger.two={target}.loggers.TensorBoardLogger, save_dir: '${{folder}}'}}",
    )
    assert done.status == 0, done.err
    folders = sorted((tmp_path / "outputs/sweeps/x").glob("*seed-*"))
    assert len(folders) == 2
    for folder in folders:
        assert len(list((folder / "checkpoints").glob("epoch=*.ckpt"))) == 2
        assert (folder / "csv/version_0/metrics.csv").exists()
        assert list(folder.glob("lightning_logs/version_0/events.*"))
        assert "lr-Adam" in (folder / "metrics.csv").read_text().splitlines()[0]


def test_a_trainer_of_ones_own(digits, tmp_path):
    monitor = callbacks.LearningRateMonitor()
    trainer = L.Trainer(
        default_root_dir=tmp_path, max_epochs=1, accelerator="cpu", callbacks=[monitor]
    )
    result = run.train(digits, MLP(hidden=[8]), trainer)
    assert result.steps == 20  # 1,237 images in batches of 64
    assert result.best_epoch == 0


def test_what_a_list_or_an_object_from_python_replaces(tmp_path):
    only = callbacks.LearningRateMonitor()
    trainer = default_trainer(tmp_path, callbacks=[only], logger=loggers.CSVLogger(tmp_path))
    assert isinstance(trainer.logger, loggers.CSVLogger)
    ours = [type(c) for c in trainer.callbacks if "mnist_lab" in type(c).__module__]
    assert ours == [HandOver]  # of model and data, whatever is done with them
    assert only in trainer.callbacks
    with pytest.raises(LabError, match=r"trainer\.callbacks\.x=type: .*instance of Callback"):
        default_trainer(tmp_path, callbacks={"x": int})


def test_the_tuner_finds_a_learning_rate_and_a_batch_size(digits, tmp_path):
    from lightning.pytorch.tuner import Tuner

    def trainer():
        return default_trainer(tmp_path, accelerator="cpu", callbacks={"dashboard": None})

    model = MLP(hidden=[8])
    found = Tuner(trainer()).lr_find(model, datamodule=digits, num_training=30, update_attr=False)
    assert 1e-8 < found.suggestion() < 1
    tuner = Tuner(trainer())
    assert tuner.scale_batch_size(model, datamodule=digits, max_trials=3) == 8  # 2, 4, 8
    assert digits.batch_size == 8


def test_folders_in_a_checkpoints_name_and_path_are_made(lab_train, tmp_path):
    target = "{_target_: lightning.pytorch.callbacks.ModelCheckpoint"
    done = lab_train(
        *SMALL,
        f"+trainer.callbacks.named={target}, "
        "filename: '{epoch}-{val/accuracy:.3f}', save_top_k: -1}",
        f"+trainer.callbacks.deep={target}, "
        "dirpath: '${folder}/a/b', filename: x, every_n_epochs: 2}",
        "hydra.run.dir=run",
    )
    assert done.status == 0, done.err
    assert [path.name for path in (tmp_path / "run/a/b").iterdir()] == ["x.ckpt"]
    made = sorted((tmp_path / "run/checkpoints").glob("epoch=*-val/accuracy=0.*.ckpt"))
    assert [path.parent.name for path in made] == ["epoch=0-val", "epoch=1-val"]


def test_history_puts_what_comes_without_an_epoch_into_the_row_of_its_epoch(tmp_path):
    history = History(str(tmp_path))
    history.log_metrics({"rate": 0.5}, step=0)
    history.log_metrics({"rate": 0.25, "test/x": 1.0}, step=1)
    history.log_metrics({"val/loss": 2.0, "epoch": 0}, step=1)
    history.log_metrics({"rate": 0.125}, step=2)
    history.log_metrics({"val/loss": 1.0, "epoch": 1}, step=3)
    expected = "epoch,rate,val/loss\n0,0.25,2.0\n1,0.125,1.0\n"
    assert (tmp_path / "metrics.csv").read_text() == expected


def test_the_trainers_logger_is_tensorboards(digits, tmp_path):
    """Whose `experiment` is what callbacks of others ask for."""
    added = callbacks.LambdaCallback(
        on_train_end=lambda trainer, _: trainer.logger.experiment.add_text("by", "somebody")
    )
    settings = {"max_epochs": 1, "limit_train_batches": 2, "accelerator": "cpu"}
    trainer = default_trainer(tmp_path, callbacks={"x": added}, **settings)
    run.train(digits, MLP(hidden=[8]), trainer, test=False)
    (events,) = (tmp_path / "tensorboard").glob("events.*")
    assert b"somebody" in events.read_bytes()


def test_what_a_logger_cannot_take_is_told_by_its_name(digits, tmp_path):
    for logger in (loggers.TensorBoardLogger(tmp_path), loggers.CSVLogger(tmp_path)):
        bad = callbacks.LambdaCallback(on_train_start=lambda t, _: t.logger.log_metrics(3))
        trainer = default_trainer(
            tmp_path / type(logger).__name__,
            callbacks={"x": bad},
            logger=[logger],
            accelerator="cpu",
        )
        told = f"^{type(logger).__name__}: 'int' object has no attribute 'items'$"
        with pytest.raises(LabError, match=told):
            run.train(digits, MLP(hidden=[8]), trainer, test=False)


@pytest.mark.parametrize(
    ("setting", "told"),
    [
        ("accumulate_grad_batches=0", "trainer.accumulate_grad_batches=0: must be positive"),
        ("check_val_every_n_epoch=0", "trainer.check_val_every_n_epoch=0: must be positive"),
        ("val_check_interval=0", "trainer.val_check_interval=0: must be positive"),
        ("devices=10000000000", "trainer: MemoryError"),
        ("gradient_clip_algorithm=abc", "trainer: `gradient_clip_algorithm` abc is invalid."),
        ("limit_val_batches=-1", "trainer: You have passed invalid value -1"),
        ("plugins=[1]", "trainer.plugins=[1]: does not fit"),
        ("profiler=abc", "trainer: When passing string value for the `profiler`"),
    ],
)
def test_values_that_the_trainer_cannot_have(setting, told, lab_train):
    done = lab_train(*SMALL, f"++trainer.{setting}")
    assert (done.status, len(done.err.splitlines())) == (1, 1)
    assert done.err.startswith(told)
