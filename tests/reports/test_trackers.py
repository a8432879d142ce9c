"""Runs in MLflow, W&B and Trackio, by their own clients and without a network."""

import json
import socket
import sys
import time
from importlib.util import find_spec

import pytest
import torch
from filelock import FileLock
from PIL import Image

from mnist_lab import models
from mnist_lab.reports import trackers
from mnist_lab.training import History
from tests.forked import call
from tests.reports.tracked import NAMES, held, settings

CLASSES = {"mlflow": trackers.MLflow, "wandb": trackers.Wandb, "trackio": trackers.Trackio}
VALUES = {"model": "mlp", "optimizer.lr": 0.001, "data.train_size": None, "trainer.max_epochs": 3}
TINY = ["data=digits", "data.train_size=100", "model=mlp", "model.hidden=[8]"]
UNDRAWN = [f"trainer.callbacks.{name}=null" for name in ("figures", "report", "dashboard")]


def needs(*clients):
    """Their extras are not among what everybody has."""
    for client in clients:
        if find_spec(client) is None:
            pytest.skip(f"no {client}: pip install mnist-lab[{client}]")


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    """For machines that are busy with other tests, too."""
    monkeypatch.setattr(trackers, "PATIENCE", 240.0)


@pytest.fixture
def folder(tmp_path):
    """A run's, as it is when its first step is due."""
    path = tmp_path / "group" / "run"
    path.mkdir(parents=True)
    (path / "config.yaml").write_text("seed: 1\n")
    return path


def log_epoch(loggers, epoch, trained=True):
    """As Lightning does: first what was validated, then what was trained."""
    for logger in loggers:
        logger.log_metrics({"epoch": epoch, "val/loss": 1 / (epoch + 1)})
    if trained:
        for logger in loggers:
            logger.log_metrics({"epoch": epoch, "train/loss": 2 / (epoch + 1)})


def finish(folder):
    """What a run leaves in its folder before it is closed."""
    (folder / "figures").mkdir()
    Image.new("RGB", (20, 10)).save(folder / "figures/curves.png")
    (folder / "checkpoints").mkdir()
    (folder / "checkpoints/best.ckpt").write_bytes(b"weights")
    metrics = {"val/loss": 0.25, "test/accuracy": 0.75, "test/loss": None}
    result = {"status": "completed", "epochs": 4, "metrics": metrics}
    (folder / "result.json").write_text(json.dumps(result))


def ours(caplog):
    return [record for record in caplog.records if record.name.startswith("mnist_lab")]


@pytest.mark.parametrize("client", NAMES)
def test_a_run_that_ended_within_an_epoch_goes_on_as_the_same(client, folder, tmp_path, caplog):
    needs(client)

    def tracker():
        return CLASSES[client](str(folder), **settings(client, tmp_path, checkpoint=True))

    first = tracker()
    first.on_run_begun(VALUES)
    for epoch in range(3):
        log_epoch([History(str(folder)), first], epoch, trained=epoch < 2)
    first.on_run_closed()
    (run,) = held(client, tmp_path)
    known = run.id
    assert run.curves["val/loss"] == [(0, 1), (1, 0.5)]
    assert run.status == {"mlflow": "KILLED", "wandb": 1, "trackio": None}[client]
    assert run.files["config.yaml"] == b"seed: 1\n"

    second = tracker()
    second.on_run_begun({**VALUES, "trainer.max_epochs": 4})
    for epoch in (2, 3):
        log_epoch([History(str(folder)), second], epoch)
    finish(folder)
    second.on_run_closed()
    (run,) = held(client, tmp_path)
    assert run.id == known
    assert run.curves["val/loss"] == [(epoch, pytest.approx(1 / (epoch + 1))) for epoch in range(4)]
    assert [epoch for epoch, _ in run.curves["train/loss"]] == [0, 1, 2, 3]
    assert run.final == {"final/val_loss": 0.25, "final/test_accuracy": 0.75}
    assert run.figures == {"curves"}
    assert run.files["result.json"] == (folder / "result.json").read_bytes()
    assert run.files["best.ckpt"] == b"weights"
    assert run.status == {"mlflow": "FINISHED", "wandb": 0, "trackio": None}[client]
    assert str(run.settings["optimizer.lr"]) == "0.001"
    assert run.settings["model"] == "mlp"
    assert "run" in run.name
    assert not ours(caplog)  # MLflow's store, which the test reads, has lines of its own


def test_a_setting_that_mlflow_does_not_let_change_is_a_tag(folder, tmp_path):
    needs("mlflow")
    from mlflow import MlflowClient

    for epochs in (3, 4):
        tracker = trackers.MLflow(str(folder), **settings("mlflow", tmp_path))
        tracker.on_run_begun({"trainer.max_epochs": epochs})
        tracker.on_run_closed()
    (run,) = held("mlflow", tmp_path)
    tags = MlflowClient(f"sqlite:///{tmp_path}/mlflow.db").get_run(run.id).data.tags
    assert run.settings == {"trainer.max_epochs": "3"}
    assert tags["trainer.max_epochs"] == "4"
    assert tags["group"] == "group"


@pytest.fixture(params=["refuses", "silent"])
def address(request):
    """That of a server that isn't there, or that never answers."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        if request.param == "silent":
            server.listen()
        yield f"http://127.0.0.1:{server.getsockname()[1]}"


def assert_one_line(tracker, folder, caplog):
    tracker.on_run_begun(VALUES)
    start = time.monotonic()
    for epoch in range(100):
        log_epoch([tracker], epoch)
    assert time.monotonic() - start < 2
    (folder / "result.json").write_text('{"status": "completed", "epochs": 3, "metrics": {}}')
    tracker.on_run_closed()
    assert time.monotonic() - start < trackers.PATIENCE + 10
    (record,) = ours(caplog)
    assert record.levelname == "WARNING"
    assert "\n" not in record.getMessage()
    return record.getMessage()


@pytest.mark.slow
def test_a_server_that_does_not_answer_is_a_line(address, folder, caplog):
    needs("mlflow")
    History(str(folder)).log_metrics({"epoch": 0, "train/loss": 1.0})
    tracker = trackers.MLflow(str(folder), uri=address)
    assert address.removeprefix("http://").split(":")[0] in assert_one_line(tracker, folder, caplog)


def test_a_full_disk_is_a_line(folder, mounted, tmp_path, caplog):
    needs("mlflow")
    disk = mounted(tmp_path / "disk", "100k")
    History(str(folder)).log_metrics({"epoch": 0, "train/loss": 1.0})
    tracker = trackers.MLflow(str(folder), **settings("mlflow", disk))
    assert "full" in assert_one_line(tracker, folder, caplog)


def test_without_its_client_it_is_refused_before_the_run(lab_train, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)  # as one that isn't installed
    called = lab_train(*TINY, "tracker=wandb")
    assert called.status == 1
    (line,) = called.err.strip().splitlines()[-1:]
    assert "pip install 'mnist-lab[wandb]'" in line
    assert not list(tmp_path.rglob("config.yaml"))


@pytest.mark.parametrize("tracker", ["none", "trackio"])
def test_a_run_imports_no_client(tracker, tmp_path):
    needs(*{tracker} - {"none"})
    (tmp_path / "own.py").write_text(f"""
import sys
from mnist_lab import train
sys.argv = ["train", *{[*TINY, *UNDRAWN]!r}, "trainer.max_epochs=1", "tracker={tracker}"]
train.main()
print(sorted({{"mlflow", "wandb", "trackio", "mnist_lab.reports.trackers"}} & set(sys.modules)))
""")
    status, out, err = call(tmp_path / "own.py", folder=tmp_path)
    assert status == 0, err
    loaded = [] if tracker == "none" else ["mnist_lab.reports.trackers"]
    assert out.splitlines()[-1] == str(loaded)


@pytest.mark.slow
def test_a_run_that_was_killed_and_went_on_is_the_one_without_trackers(lab_train, start, tmp_path):
    needs(*NAMES)
    arguments = [*TINY, *UNDRAWN, "data.batch_size=1", "trainer.max_epochs=5"]
    assert lab_train(*arguments, "hydra.run.dir=without").status == 0

    line = [*arguments, f"tracker=[{','.join(NAMES)}]", "hydra.run.dir=outputs/run"]
    folder = tmp_path / "outputs/run"
    process = start(*line)
    while (
        not (folder / "metrics.csv").exists() or "\n1," not in (folder / "metrics.csv").read_text()
    ):
        assert process.is_alive()
        time.sleep(0.005)
    process.kill()  # its trackers' processes find out by themselves
    process.join()
    before = models.read(folder / "checkpoints/last.ckpt")["epoch"]
    assert lab_train("resume=outputs/run").status == 0

    weights = [
        models.read(path / "checkpoints/best.ckpt")["state_dict"]
        for path in (tmp_path / "without", folder)
    ]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    hashes = {
        json.loads((path / "result.json").read_text())["config_hash"]
        for path in (tmp_path / "without", folder)
    }
    assert len(hashes) == 1
    assert before < 4
    for client in NAMES:
        (run,) = held(client, tmp_path / "outputs")
        assert run.id == json.loads((folder / f"trackers/{client}.json").read_text())["id"]
        assert [epoch for epoch, _ in run.curves["val/loss"]] == [0, 1, 2, 3, 4]
        assert "final/test_accuracy" in run.final


@pytest.mark.slow
def test_each_job_of_a_sweep_is_a_run_of_its_own(lab_train, tmp_path):
    needs("mlflow", "wandb")
    called = lab_train("-m", *TINY, *UNDRAWN, "trainer.max_epochs=1", "seed=0,1", "sweep=two",
                       "tracker=[mlflow,wandb]", "hydra/launcher=joblib")  # fmt: skip
    assert called.status == 0, called.err
    jobs = {path.parent for path in (tmp_path / "outputs/sweeps/two").glob("*/result.json")}
    assert len(jobs) == 2
    for client, status in (("mlflow", "FINISHED"), ("wandb", 0)):
        for job in jobs:  # on a busy machine its process may be at it still
            while not (job / f"trackers/{client}.json").exists():
                time.sleep(0.1)
            with FileLock(job / f"trackers/.{client}.lock", 240):
                pass
        runs = held(client, tmp_path / "outputs")
        assert {run.name for run in runs} == {job.name for job in jobs}
        assert {str(run.settings["seed"]) for run in runs} == {"0", "1"}
        assert [run.status for run in runs] == [status] * 2
        assert all(len(run.curves["val/loss"]) == 1 for run in runs)
