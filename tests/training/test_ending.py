"""What callbacks make of a run's end."""

from pathlib import Path

from lightning.pytorch.callbacks import Callback

from mnist_lab.models import MLP
from mnist_lab.settings.former import present
from mnist_lab.settings.identity import fingerprint
from mnist_lab.training import run
from mnist_lab.training.trainer import default_trainer
from tests import documents

NONE = {"figures": None, "tables": None, "report": None, "dashboard": None}


class Noting(Callback):
    """Notes what it was told, and what stood in the folder then."""

    def on_run_end(self, run) -> None:
        self.run, self.files = run, {path.name for path in run.folder.iterdir()}


class Afterwards(Noting):
    told_last = True


def test_the_end_is_told_before_the_result_is_written(digits, tmp_path):
    callbacks = {"after": (after := Afterwards()), **NONE, "tables": {}, "mine": (mine := Noting())}
    trainer = default_trainer(tmp_path, max_epochs=1, accelerator="cpu", callbacks=callbacks)
    model = MLP(hidden=[8])
    result = run.train(digits, model, trainer)
    assert mine.run is after.run
    assert (mine.run.trainer, mine.run.model, mine.run.data) == (trainer, model, digits)
    assert mine.run.result is result
    assert mine.run.evaluation.metrics["accuracy"] == result.metrics["test/accuracy"]
    assert {"predictions.csv", "per_class.csv"} <= mine.files == after.files
    assert "result.json" not in after.files


def test_each_of_what_is_left_can_be_left_out(lab_train, tmp_path):
    short = ["data=digits", "model=mlp", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    without = [f"trainer.callbacks.{name}=null" for name in NONE]
    assert lab_train(*short, *without, "hydra.run.dir=run").status == 0
    left = {path.name for path in (tmp_path / "run").iterdir()} - {".lock", "train.log"}
    assert left == {"checkpoints", "config.yaml", "metrics.csv", "result.json", "tensorboard"}


def test_the_callback_in_the_document(lab_train, tmp_path, monkeypatch):
    blocks = documents.blocks("docs/callbacks.md", "python")
    (source,) = (block for block in blocks if block.startswith("# worst.py"))
    (tmp_path / "worst.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    command = "+trainer.callbacks.worst={_target_: worst.WorstClass, file: worst.txt}"
    assert command in (documents.ROOT / "docs/callbacks.md").read_text()
    short = ["data=digits", "model=mlp", "trainer.max_epochs=1", "trainer.accelerator=cpu"]
    done = lab_train(*short, command, "trainer.callbacks.figures=null", "hydra.run.dir=run")
    assert done.status == 0, done.err
    folder, _, recall = (tmp_path / "worst.txt").read_text().split()
    assert Path(folder).name == "run"
    assert 0 <= float(recall) <= 1
    assert 'alt="recall"' in (tmp_path / "run/report.html").read_text()


def test_what_was_stored_before_there_were_such_callbacks_gets_them():
    callbacks = {"_target_": "mnist_lab.callbacks.as_list", "dashboard": None, "tables": None}
    before = {"data": {}, "trainer": {"callbacks": callbacks}}
    today = present(before)
    assert today["trainer"]["callbacks"] == {
        "_target_": "mnist_lab.training.trainer.as_list",
        "figures": {"_target_": "mnist_lab.reports.callbacks.Figures"},
        "report": {"_target_": "mnist_lab.reports.callbacks.Report"},
        "dashboard": None,
        "tables": None,
    }
    assert present(today) == today
    assert fingerprint(today) == fingerprint(before)
