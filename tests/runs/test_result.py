"""`result.json`: what is written comes back, whichever version wrote it."""

import json
import subprocess
import sys

import pytest

from mnist_lab import LabError
from mnist_lab.runs.result import ClassScores, Commit, Result, Seconds

RESULT = Result(
    status="completed",
    metrics={
        "val/loss": 0.31842938,
        "val/accuracy": None,
        "test/loss": 1e-05,
        "test/accuracy": 0.9,
    },
    per_class={"3": ClassScores(precision=1.0, recall=None, f1=0.1, support=36)},
    best_epoch=1,
    epochs=2,
    steps=40,
    ended_by="trainer.max_epochs=2",
    weights="averaged",
    parameters=15306,
    seconds=Seconds(data=0.2, fit=1.5, test=None, total=6.9),
    images_per_second=2416.892232285794,
    seed=42,
    dataset="digits",
    model="speed_cnn",
    device="cpu",
    precision="32-true",
    threads=1,
    config_hash=None,
    versions={"python": "3.11.7", "torch": "2.15.0+cu132"},
    git=Commit(commit="7aaf", dirty=False),
)


def test_the_file_is_what_it_was_and_comes_back(tmp_path):
    RESULT.write(tmp_path)
    text = (tmp_path / "result.json").read_text()
    assert list(json.loads(text)) == [
        "status", "metrics", "per_class", "best_epoch", "epochs", "steps", "ended_by",
        "weights", "parameters", "seconds", "images_per_second", "seed", "dataset", "model",
        "device", "precision", "threads", "config_hash", "versions", "git",
    ]  # fmt: skip
    assert '  "metrics": {\n    "val/loss": 0.31842938,\n    "val/accuracy": null,\n' in text
    assert '"test/loss": 1e-05,' in text
    assert '"git": {\n    "commit": "7aaf",\n    "dirty": false\n  }\n}\n' in text
    assert Result.read(tmp_path) == RESULT


def test_keys_that_others_lack_or_add_are_no_matter(tmp_path, write_run):
    result = Result.read(write_run("a", result={"of": "another tool"}))
    assert (result.steps, result.best_epoch, result.git, result.seconds.total) == (None,) * 4
    assert Result.read(tmp_path) is None


@pytest.mark.parametrize(
    ("key", "value"),
    [("parameters", "12"), ("epochs", -1), ("epochs", 2.5), ("seconds", None), ("status", "fine"),
     ("metrics", {"val/loss": "0.1"}), ("per_class", {"3": {"recall": 1.5, "support": 1}})],
)  # fmt: skip
def test_values_of_another_kind_are_refused_by_key(key, value, write_run):
    with pytest.raises(LabError, match=rf"result\.json: {key}.*not the result of a run"):
        Result.read(write_run("a", result={key: value}))


def test_reading_imports_neither_torch_nor_lightning():
    code = "import sys, mnist_lab.runs.result; print({'torch', 'lightning'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
