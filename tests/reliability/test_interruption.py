"""Signals, kills and processes that meet: real ones."""

import json
import os
import random
import shlex
import signal
import time

import pytest
import torch

from mnist_lab import models
from tests.forked import fork

LONG = ["data=digits", "trainer.max_epochs=1000", "trainer.callbacks.early_stopping=null"]


def wait_for(path, process, seconds=120):
    end = time.monotonic() + seconds
    while not path.exists():
        assert process.is_alive() if hasattr(process, "is_alive") else process.poll() is None
        assert time.monotonic() < end, f"{path} never came"
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("number", "status", "name"),
    [
        (signal.SIGINT, 130, "run"),
        (signal.SIGTERM, 143, 'it\'s "2" of [3], ü=(1) & $a;'),
        (signal.SIGUSR1, 138, "a b"),
    ],
)
def test_a_signal_ends_the_run_so_that_it_can_continue(number, status, name, start, tmp_path):
    folder = tmp_path / name
    process = start(*LONG, f"hydra.run.dir={name}")
    wait_for(folder / "checkpoints/last.ckpt", process)
    os.kill(process.pid, number)
    process.join(60)
    assert process.exitcode == status
    log = (folder / "train.log").read_text()
    assert f"Stopped by {number.name} after step" in log
    line = log.rpartition("Continue with: ")[2].splitlines()[0]
    *head, resume = shlex.split(line)  # as a shell takes it apart when it is pasted
    assert head == ["python", "-m", "mnist_lab.train"]
    step = models.read(folder / "checkpoints/last.ckpt")["global_step"]
    assert f"after step {step}." in log
    assert not (folder / "result.json").exists()
    epochs = step // 20 + 1
    grown = start(resume, "data.device=cpu", f"trainer.max_epochs={1000 + epochs}")
    wait_for_step(folder, step, grown)


def wait_for_step(folder, step, process):
    """The continued run's last.ckpt gets beyond the step."""
    end = time.monotonic() + 120
    while models.read(folder / "checkpoints/last.ckpt")["global_step"] <= step:
        assert process.is_alive()
        assert time.monotonic() < end
        time.sleep(0.1)


SLOW_STEP = """
import time
from lightning.pytorch.callbacks import Callback
from mnist_lab import models, training
from mnist_lab.data import DataModule, Digits

class Slow(Callback):
    def on_train_batch_start(self, trainer, *_):
        if trainer.global_step == 3:
            print("slow", flush=True)
            time.sleep(300)

trainer = training.default_trainer("run", accelerator="cpu")
trainer.callbacks.append(Slow())
training.train(DataModule(Digits(), val_size=200), models.LeNet(), trainer)
"""


def test_a_second_ctrl_c_does_not_wait_for_the_step(tmp_path):
    (tmp_path / "own.py").write_text(SLOW_STEP)
    ours, theirs = os.pipe()
    with open(os.devnull) as nothing, open(ours) as output:
        streams = [nothing.fileno(), theirs, theirs]
        process = fork(tmp_path / "own.py", streams=streams, folder=tmp_path, **os.environ)
        os.close(theirs)
        assert any(line == "slow\n" for line in output)
        os.kill(process.pid, signal.SIGINT)
        time.sleep(1)
        assert process.is_alive()  # the step is to be finished
        os.kill(process.pid, signal.SIGINT)
        process.join(10)
    assert process.exitcode == -signal.SIGINT


def test_two_processes_never_share_a_folder(start, tmp_path):
    first = start(*LONG, "hydra.run.dir=run")
    wait_for(tmp_path / "run/config.yaml", first)
    second = start(*LONG, "hydra.run.dir=run")
    second.join(60)
    assert second.exitcode == 1
    assert first.is_alive()


def test_runs_started_together_have_folders_of_their_own(start, tmp_path):
    quick = ["data=digits", "trainer.max_epochs=1", "artefacts=few"]
    processes = [start(*quick, "trainer.callbacks.dashboard=null") for _ in range(4)]
    for process in processes:
        process.join(120)
        assert process.exitcode == 0
    assert len(list(tmp_path.glob("outputs/digits/lenet/*/result.json"))) == 4


CHAOS = [
    "model=bn_cnn", "model.widths=[[4],[8]]", "model.kernel_sizes=[3,3]", "model.dropout=0.2",
    "augment=affine", "optimizer=sgd", "scheduler=onecycle", "trainer.max_epochs=3",
    "data.train_size=2000", "data.val_size=1000", "checkpoint_every_n_steps=7",
]  # fmt: skip


@pytest.mark.mnist
@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_chaos(start, tmp_path, mnist_root):
    """Killed at random moments of its life and continued: the same weights, every time."""
    trials = int(os.environ.get("MNIST_LAB_CHAOS", "5"))
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    common = [*CHAOS, f"data.root={mnist_root}"]

    def run(folder, *arguments):
        process = start(*arguments, f"hydra.run.dir={folder}")
        return process

    begin = time.monotonic()
    whole = run("whole", *common)
    whole.join()
    life = time.monotonic() - begin
    assert whole.exitcode == 0
    expected = models.read(tmp_path / "whole/checkpoints/last.ckpt")["state_dict"]
    table = (tmp_path / "whole/predictions.csv").read_text()
    killed = 0
    for trial in range(trials):
        folder = tmp_path / f"trial{trial}"
        for _ in range(moments.choice([1, 1, 2])):
            process = run(folder, *common)
            process.join(moments.uniform(0, life))
            killed += process.is_alive()
            process.kill()
            process.join()
        final = run(folder, *common)
        final.join()
        assert final.exitcode == 0, f"trial {trial} of seed {seed}"
        found = models.read(folder / "checkpoints/last.ckpt")["state_dict"]
        assert all(torch.equal(found[key], expected[key]) for key in expected), f"seed {seed}"
        assert (folder / "predictions.csv").read_text() == table
        assert json.loads((folder / "result.json").read_text())["status"] == "completed"
    print(f"{trials} of {trials} the same; {killed} processes killed")
