"""Two processes that train one model: real ones, over gloo, beside one that does it alone."""

import csv
import json
import os
import signal
import subprocess
import sys
import time

import pytest
import torch

from mnist_lab import models
from mnist_lab.system.processes import rank
from tests.forked import call

# Batches of 60 leave one of 37 in 1,237 images: processes with 19 and 18.
COMMON = ["data=digits", "data.batch_size=60", "model.widths=[4,8,16]", "model.hidden=[]"]


def begin(folder, *arguments, environment=None):
    """`python -m mnist_lab.train ARGUMENTS` in a process group of its own, as from a shell."""
    return subprocess.Popen(
        [sys.executable, "-m", "mnist_lab.train", *arguments],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def finish(process, status=0):
    out, _ = process.communicate(timeout=200)
    assert process.returncode == status, out
    return out


def table(path):
    with open(path, newline="") as file:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(file)]


@pytest.mark.slow
def test_two_processes_learn_what_one_does_and_count_each_image_once(tmp_path):
    shared = [*COMMON, "trainer.max_epochs=3"]
    free = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    ddp = ("trainer=ddp", "hydra.run.dir=two", "threads=2")
    pair = begin(tmp_path, *shared, *ddp, environment=free)
    status, *told = call("mnist_lab.train", *shared, "hydra.run.dir=one", folder=tmp_path)
    out = ["".join(told), finish(pair)]
    assert status == 0, out[0]
    one, two = tmp_path / "one", tmp_path / "two"
    for name in ("metrics.csv", "predictions.csv"):
        for row, other in zip(table(one / name), table(two / name), strict=True):
            row.pop("images_per_second", None)
            assert {key: other[key] for key in row} == pytest.approx(row, abs=1e-5)
    results = [json.loads((each / "result.json").read_text()) for each in (one, two)]
    assert results[1]["threads"] == 2  # and not what Lightning then takes
    assert results[0]["metrics"] == pytest.approx(results[1]["metrics"], abs=1e-5)
    assert results[0]["metrics"]["test/accuracy"] == results[1]["metrics"]["test/accuracy"]
    assert sum(each["support"] for each in results[1]["per_class"].values()) == 360
    # The second process is heard of only by its errors.
    assert not any("sync_dist" in each or "srun" in each for each in out)
    assert out[1].count("epoch 1/3") == out[0].count("epoch 1/3") == 1
    assert sorted(p.name for p in two.glob("figures/*")) == sorted(
        p.name for p in one.glob("figures/*")
    )


@pytest.mark.slow
def test_two_processes_that_are_ended_continue_to_the_same_weights(tmp_path):
    shared = ["data=digits", "data.batch_size=60", "trainer=ddp", "model=mlp",
              "model.dropout=0.3", "augment=affine",
              "trainer.max_epochs=20", "trainer.callbacks.early_stopping=null",
              "trainer.log_every_n_steps=5", "artefacts=few",
              "trainer.callbacks.dashboard=null"]  # fmt: skip
    whole = begin(tmp_path, *shared, "hydra.run.dir=whole")
    ended = begin(tmp_path, *shared, "hydra.run.dir=ended")
    last = tmp_path / "ended/checkpoints/last.ckpt"
    while not last.exists():
        assert ended.poll() is None
        time.sleep(0.02)
    os.kill(ended.pid, signal.SIGTERM)  # the first of them alone
    out = finish(ended, 128 + signal.SIGTERM)
    assert "Stopped by SIGTERM after step" in out
    step = models.read(last)["global_step"]
    assert step < 420
    assert step % 5 == 0 or step % 21 == 0
    states = models.read(last)["callbacks"]["RandomState"]["processes"]
    assert len(states) == 2
    assert not torch.equal(states[0]["torch"], states[1]["torch"])
    finish(begin(tmp_path, "resume=ended"))
    finish(whole)
    weights = [
        models.read(tmp_path / name / "checkpoints/last.ckpt")["state_dict"]
        for name in ("whole", "ended")
    ]
    for name, value in weights[0].items():
        assert torch.equal(value, weights[1][name]), name


@pytest.mark.slow
def test_two_processes_that_diverge_end_both(tmp_path):
    arguments = ["data=digits", "model=mlp", "trainer=ddp", "optimizer=sgd", "optimizer.lr=1e30"]
    out = finish(begin(tmp_path, *arguments, "hydra.run.dir=run"), 1)
    assert json.loads((tmp_path / "run/result.json").read_text())["status"] == "diverged"
    assert "Traceback" not in out
    assert "the training loss is" in out


def test_jobs_of_a_sweep_are_of_one_process_each(lab_train):
    called = lab_train("-m", "data=digits", "trainer=ddp", "seed=0", "sweep=two")
    assert called.status == 1
    assert "trainer.devices=1 with hydra/launcher=joblib" in called.out


@pytest.mark.parametrize(
    ("said", "number"),
    [({}, 0), ({"LOCAL_RANK": "1"}, 1), ({"RANK": "5", "LOCAL_RANK": "1"}, 5),
     ({"SLURM_PROCID": "3"}, 3)],
)  # fmt: skip
def test_a_process_knows_its_number(said, number, monkeypatch):
    for name in ("RANK", "LOCAL_RANK", "SLURM_PROCID"):
        monkeypatch.delenv(name, raising=False)
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert rank() == number
