"""Our models on a stranger's data, a stranger's model on our data, and both a stranger's."""

import csv
import json
import os
import signal
from pathlib import Path

import pytest
import torch
from lightning.pytorch import seed_everything
from lightning.pytorch.callbacks import LambdaCallback
from lightning.pytorch.loggers import CSVLogger, Logger

from mnist_lab import LabError, models
from mnist_lab.data import DataModule, Digits
from mnist_lab.models import LeNet, checkpoint
from mnist_lab.training.run import train
from mnist_lab.training.trainer import default_trainer
from tests.training.strangers import Bars, Mute, Net

OF_IMAGES = {"mistakes", "samples", "class_distribution", "confusions", "predictions"}
OF_THE_INSIDE = {"filters", "outputs", "feature_maps_1", "feature_maps_2", "feature_maps_3"}
OF_NUMBERS = {"curves", "confusion_matrix", "per_class", "reliability"}


def trainer(folder, epochs=2, callbacks=None, **settings):
    return default_trainer(
        folder, max_epochs=epochs, accelerator="cpu", callbacks=callbacks or {}, **settings
    )


def left_in(folder):
    figures = {path.stem for path in (folder / "figures").iterdir()}
    names = {path.name for path in folder.iterdir()}
    assert {"report.html", "predictions.csv", "per_class.csv", "result.json"} <= names
    return figures


def rows(path):
    with open(path, newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("floats", [False, True])
def test_our_model_on_their_data(floats, tmp_path, caplog):
    caplog.set_level("INFO", "mnist_lab")
    seed_everything(0, verbose=False)
    data, model = Bars(floats=floats), LeNet(num_classes=3)
    result = train(data, model, trainer(tmp_path, 3))
    pixels = data.train.tensors[0].double() / (1 if floats else 255)
    assert model.mean.item() == pytest.approx(pixels.mean().item())
    assert model.std.item() == pytest.approx(pixels.std(correction=0).item())
    assert (result.dataset, result.model, result.steps) == ("Bars", "lenet", 30)
    assert result.metrics["val/accuracy"] > 0.5
    assert result.metrics["test/accuracy"] > 0.5
    assert result.images_per_second == pytest.approx(600 / result.seconds.fit)
    assert [row["truth"] for row in rows(tmp_path / "predictions.csv")] == [
        str(label.item()) for label in data.test.tensors[1]
    ]
    assert left_in(tmp_path) == OF_NUMBERS
    (line,) = (text for text in caplog.messages if text.startswith("Bars is not a DataModule"))
    assert "classes are numbers" in line
    assert "no figures of its images" in line.replace("\n", " ")
    read = models.load(tmp_path)
    with model.judging():
        assert torch.equal(read(data.test.tensors[0]), model(data.test.tensors[0]))


@pytest.mark.slow
def test_their_model_on_our_data_continues_bitwise(tmp_path, caplog):
    caplog.set_level("INFO", "mnist_lab")

    def run_in(folder, stop=None):
        def on_train_batch_end(trainer, *_):
            if trainer.global_step == stop:
                os.kill(os.getpid(), signal.SIGTERM)

        seed_everything(0, verbose=False)
        callbacks = {"stop": LambdaCallback(on_train_batch_end=on_train_batch_end)}
        settings = {"monitor": "val_loss", "mode": "min", "log_every_n_steps": 3}
        data = DataModule(Digits(), val_size=200)
        return train(data, Net(), trainer(folder, callbacks=callbacks, **settings), resume=True)

    result = run_in(tmp_path / "whole")
    assert (result.dataset, result.model, result.steps) == ("digits", "net", 40)
    assert result.metrics["val/accuracy"] is None
    epochs = [float(row["val_loss"]) for row in rows(tmp_path / "whole/metrics.csv")]
    assert result.metrics["val_loss"] == min(epochs)
    table = rows(tmp_path / "whole/predictions.csv")
    right = sum(row["truth"] == row["prediction"] for row in table) / len(table)
    assert result.metrics["test/accuracy"] == pytest.approx(right)
    assert right > 0.5
    assert left_in(tmp_path / "whole") == OF_NUMBERS | OF_IMAGES
    assert any(text.startswith("Net is not a Classifier") for text in caplog.messages)

    with pytest.raises(SystemExit):
        run_in(tmp_path / "cut", stop=27)
    assert run_in(tmp_path / "cut").metrics == result.metrics
    one, other = (checkpoint.read(tmp_path / name)["state_dict"] for name in ("whole", "cut"))
    assert all(torch.equal(weight, other[name]) for name, weight in one.items())


def test_a_model_without_logits_is_trained_and_said_to_be_not_tested(tmp_path, caplog):
    caplog.set_level("INFO", "mnist_lab")
    result = train(Bars(floats=True), Mute(classes=3), trainer(tmp_path, 1))
    assert result.metrics["test/accuracy"] is None
    assert any(text.startswith("Mute: its forward gives no logits") for text in caplog.messages)
    assert any(text.startswith("No validation split") for text in caplog.messages)
    assert not (tmp_path / "figures").exists()


def test_what_was_to_be_monitored_and_is_not_logged_is_told(tmp_path):
    with pytest.raises(LabError, match="val/accuracy"):
        train(Bars(floats=True), Net(classes=3), trainer(tmp_path, 1))


@pytest.mark.slow
def test_both_by_the_command_and_continued(lab_train, tmp_path):
    package = "tests.training.strangers"
    (tmp_path / "conf/data").mkdir(parents=True)
    (tmp_path / "conf/model").mkdir()
    (tmp_path / "conf/data/bars.yaml").write_text(
        f"_target_: {package}.Bars\nfloats: true\nbatch_size: 40\n"
    )
    (tmp_path / "conf/model/net.yaml").write_text(f"_target_: {package}.Net\nclasses: 3\n")
    command = ["--config-dir", str(tmp_path / "conf"), "data=bars", "model=net", "model.width=8"]
    settings = ["monitor=val_loss", "mode=min", "trainer.accelerator=cpu", "trainer.max_epochs=1"]
    done = lab_train(*command, *settings, "hydra.run.dir=run")
    assert done.status == 0, done.err
    assert f"model: {package}.Net takes no name, num_classes, optimizer, scheduler" in done.out
    assert left_in(tmp_path / "run") == OF_NUMBERS
    done = lab_train("resume=run", "trainer.max_epochs=3", "trust=[tests]")
    assert done.status == 0, done.err
    stored = json.loads((tmp_path / "run/result.json").read_text())
    assert (stored["steps"], stored["epochs"]) == (15, 3)
    assert "Finished before" in lab_train("resume=run", "trust=[tests]").out


class Keeping(Logger):
    """Of a tracker that takes pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.settings, self.metrics, self.pictures = {}, {}, set()

    name = version = "keeping"

    def log_hyperparams(self, params) -> None:
        self.settings |= params

    def log_metrics(self, metrics, step=None) -> None:
        self.metrics |= metrics

    def log_image(self, key, images, step=None) -> None:
        assert Path(images[0]).exists()
        self.pictures.add(key)


@pytest.mark.slow
def test_loggers_of_others_get_settings_final_metrics_and_figures(digits, tmp_path):
    keeping, table = Keeping(), CSVLogger(tmp_path, name="csv")
    loggers = {"keeping": keeping, "csv": table}
    result = train(digits, LeNet(), trainer(tmp_path, 1, logger=loggers))
    assert keeping.settings["model.image_size"] == 32
    assert keeping.settings["optimizer"] == "Adam"
    assert keeping.metrics["final/test_accuracy"] == result.metrics["test/accuracy"]
    assert keeping.metrics["final/val_loss"] == result.metrics["val/loss"]
    assert keeping.pictures == OF_NUMBERS | OF_IMAGES | OF_THE_INSIDE
    (last,) = (row for row in rows(tmp_path / "csv/version_0/metrics.csv") if row["final/val_loss"])
    assert float(last["final/test_f1"]) == pytest.approx(result.metrics["test/f1"])
    assert "image_size" in (tmp_path / "csv/version_0/hparams.yaml").read_text()
    assert "final" not in (tmp_path / "metrics.csv").read_text()
