"""Sweeps on a real Ray: one that starts for them, and one that runs already, elsewhere."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests import documents
from tests.commands import searches
from tests.scaling.slurm import free_port, wait_for

ray = pytest.importorskip("ray")
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

MLP = ["-m", "data=digits", "model=mlp", "model.hidden=[16]", "sweep=s"]


@pytest.fixture
def home(tmp_path):
    """An environment without a token of earlier Rays, and an empty folder to work in."""
    (tmp_path / "home").mkdir()
    (tmp_path / "work").mkdir()
    unset = ("RAY_AUTH_MODE", "RAY_ADDRESS", "HYDRA_FULL_ERROR")
    kept = {key: value for key, value in os.environ.items() if key not in unset}
    return {**kept, "HOME": str(tmp_path / "home"), "RAY_USAGE_STATS_ENABLED": "0"}


def begin(folder, environment, *arguments):
    command = [sys.executable, "-m", "mnist_lab.train", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=environment, stdout=pipe, stderr=pipe,
                            text=True, start_new_session=True)  # fmt: skip


def finish(process):
    try:
        out, err = process.communicate(timeout=240)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        raise
    return process.returncode, out, err


@pytest.fixture(params=["no token", "token"])
def cluster(request, home, tmp_path):
    """The address of a Ray of two cores that was started in another folder."""
    if request.param == "token":  # as an earlier Ray of this machine leaves it
        (tmp_path / "home/.ray").mkdir()
        (tmp_path / "home/.ray/auth_token").write_text("0123456789abcdef" * 4)
    port, elsewhere = free_port(), tmp_path / "elsewhere"
    elsewhere.mkdir()
    program = Path(sys.executable).parent / "ray"
    start = [program, "start", "--head", "--block", f"--port={port}", "--num-cpus=2",
             "--include-dashboard=false", f"--temp-dir={_short(tmp_path)}"]  # fmt: skip
    with open(tmp_path / "ray.log", "wb") as log:
        daemon = subprocess.Popen(start, cwd=elsewhere, env=home, stdout=log, stderr=log,
                                  start_new_session=True)  # fmt: skip
    try:
        wait_for(lambda: "Ray runtime started" in (tmp_path / "ray.log").read_text(), 90)
        yield f"127.0.0.1:{port}"
    finally:
        daemon.terminate()  # which ends the others: without them it would wait for them
        daemon.wait(60)


def _short(folder):
    """Sockets lie in it, whose paths have 107 characters at most."""
    short = Path("/tmp") / f"ray-{os.getpid()}-{folder.parent.name[-4:]}"
    return short


def _a_worker(home):
    """A process that runs a job in an environment with this home."""
    for place in Path("/proc").glob("[0-9]*"):
        try:
            command = (place / "cmdline").read_bytes()
            environment = (place / "environ").read_bytes().split(b"\0")
        except OSError:  # it has ended
            continue
        if command.startswith(b"ray::_run_job") and f"HOME={home}".encode() in environment:
            return int(place.name)
    raise AssertionError("no job is running")


def test_a_ray_of_its_own(home, tmp_path):
    jobs = [*documents.scaling("ray_local"), "data=digits", "trainer.max_epochs=1"]
    status, out, err = finish(begin(tmp_path / "work", home, *jobs))
    assert status == 0, err
    assert len(list(tmp_path.glob("work/outputs/sweeps/b/*/result.json"))) == 6
    assert "compare runs=outputs/sweeps/b" in out


def test_a_ray_that_runs_already_and_a_worker_of_it_that_vanishes(cluster, home, tmp_path):
    jobs = [*MLP, "trainer.max_epochs=150", "trainer.callbacks.early_stopping=null", "seed=0,1",
            "hydra/launcher=ray_cluster", f"hydra.launcher.ray.init.address={cluster}"]  # fmt: skip
    process = begin(tmp_path / "work", home, *jobs)
    sweep = tmp_path / "work/outputs/sweeps/s"
    wait_for(lambda: len(list(sweep.glob("*/checkpoints/last.ckpt"))) == 2, 150)
    os.kill(_a_worker(home["HOME"]), signal.SIGKILL)
    status, _, err = finish(process)
    assert status == 0, err
    assert len(list(sweep.glob("*/result.json"))) == 2
    assert not list(tmp_path.glob("elsewhere/*"))
    logs = [path.read_text() for path in sweep.glob("*/train.log")]
    for number in (1, 150):  # each epoch once: the one that vanished continued
        assert [text.count(f"epoch {number}/150 ") for text in logs] == [1, 1]


def test_a_ray_that_is_not_there_is_told_at_once(home, tmp_path):
    with socket.socket() as held:  # a port on which nobody answers
        held.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{held.getsockname()[1]}"
        jobs = [*MLP, "hydra/launcher=ray_cluster", f"hydra.launcher.ray.init.address={address}"]
        status, _, err = finish(begin(tmp_path / "work", home, *jobs))
    assert status == 1
    assert err.strip().splitlines()[-1].startswith(f"hydra.launcher.ray.init.address={address}: ")
    assert "Traceback" not in err


def test_jobs_of_a_search_report_to_one_storage(home, tmp_path):
    launcher = ["hydra/launcher=ray_local", "hydra.sweeper.n_jobs=2"]
    jobs = searches.search("s", 8, *searches.MEDIAN, *launcher)
    status, _, err = finish(begin(tmp_path / "work", home, *jobs))
    assert status == 0, err
    folder = tmp_path / "work/outputs/sweeps/s"
    searches.assert_told_alike(folder)
    assert len(searches.with_test(searches.results(folder))) == 1
