"""Sweeps as arrays of a real Slurm: to their end, requeued, at their limit, and refused."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from mnist_lab import models
from tests import documents
from tests.commands import searches
from tests.scaling.slurm import cluster, told, wait_for

pytestmark = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.timeout(900)]

MLP = ["data=digits", "model=mlp", "model.hidden=[16]", "model.dropout=0.3"]
LONG = [*MLP, "trainer.callbacks.early_stopping=null"]
ARRAY = ["-m", "hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1"]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory):
    with cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield {**environment, "OMP_NUM_THREADS": "1"}


def begin(folder, slurm, *arguments):
    command = [sys.executable, "-m", "mnist_lab.train", *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, env=slurm, stdout=pipe, stderr=pipe, text=True)


def last(folder):
    return models.read(folder / "checkpoints/last.ckpt")


def same_weights(one, other):
    assert last(one)["global_step"] == last(other)["global_step"]
    mine, theirs = last(one)["state_dict"], last(other)["state_dict"]
    return all(bool((mine[name] == theirs[name]).all()) for name in mine)


def job_ids(sweep):
    """Of the array's tasks, from submitit's folders."""
    return [path.name for path in (sweep / ".submitit").iterdir() if re.fullmatch(r"\d+_\d+",
            path.name)]  # fmt: skip


def test_an_array_runs_and_is_compared(slurm, tmp_path, lab_compare):
    jobs = [*documents.scaling("launcher=slurm"), "data=digits", "trainer.max_epochs=1"]
    process = begin(tmp_path, slurm, *jobs, "hydra.launcher.cpus_per_task=1")
    out, err = process.communicate(timeout=400)
    assert process.returncode == 0, err
    assert "python -m mnist_lab.compare runs=outputs/sweeps/c" in out
    sweep = tmp_path / "outputs/sweeps/c"
    assert len(list(sweep.glob("*/result.json"))) == 6
    assert len(job_ids(sweep)) == 6
    compared = lab_compare(f"runs={sweep}")
    assert compared.status == 0
    assert "3 seeds" in compared.out


def test_requeued_and_out_of_time_jobs_end_with_the_same_weights(slurm, tmp_path):
    """One is put back by the administrator, the other by its time limit."""
    length = "trainer.max_epochs=400"
    alone = begin(tmp_path, slurm, *LONG, length, "hydra.run.dir=whole")
    array = begin(tmp_path, slurm, *ARRAY, *LONG, length, "seed=42,43", "sweep=s")
    sweep = tmp_path / "outputs/sweeps/s"
    wait_for(lambda: len(list(sweep.glob("*/checkpoints/last.ckpt"))) == 2, 200)
    first, second = sorted(sweep.glob("*seed*"))
    one, other = sorted(job_ids(sweep))
    told(slurm, "scontrol", "requeue", one)
    wait_for(lambda: "Stopped by SIGTERM" in (first / "train.log").read_text(), 60)
    # A limit of one minute, of which the notice takes all.
    told(slurm, "scontrol", "update", f"JobId={other}", "TimeLimit=1")
    log = sweep / f".submitit/{other}/{other}_0_log.out"
    wait_for(lambda: "Caught signal SIGUSR2" in log.read_text(), 150)
    wait_for(lambda: "TimeLimit=00:01:00" in told(slurm, "scontrol", "show", "job", other), 30)
    told(slurm, "scontrol", "update", f"JobId={other}", "TimeLimit=30")
    _, err = array.communicate(timeout=600)
    assert array.returncode == 0, err
    alone.communicate(timeout=300)
    assert same_weights(tmp_path / "whole", first)
    assert (second / "result.json").exists()
    for number in (1, 400):  # each epoch once: it continued
        assert (second / "train.log").read_text().count(f"epoch {number}/400 ") == 1
    for number in (one, other):
        details = told(slurm, "scontrol", "show", "job", number)
        assert int(re.search(r"Restarts=(\d+)", details)[1]) >= 1, details


NO_SLURM = {"PATH": str(Path(sys.executable).parent)}


@pytest.mark.parametrize(
    ("setting", "environment", "words"),
    [
        ("hydra.launcher.partition=nope", {}, "invalid partition"),
        ("hydra.launcher.timeout_min=3", NO_SLURM, "slurm cluster"),
    ],
)
def test_what_the_cluster_refuses_is_told_in_a_line(setting, environment, words, slurm, tmp_path):
    arguments = [*ARRAY, setting, *MLP, "seed=0,1", "sweep=s"]
    process = begin(tmp_path, {**slurm, **environment}, *arguments)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1
    assert words in err
    assert "Traceback" not in err


def test_jobs_of_a_search_report_to_one_storage(slurm, tmp_path):
    launcher = ["hydra/launcher=slurm", "hydra.launcher.cpus_per_task=1", "hydra.sweeper.n_jobs=2"]
    process = begin(tmp_path, slurm, *searches.search("s", 8, *searches.MEDIAN, *launcher))
    _, err = process.communicate(timeout=600)
    assert process.returncode == 0, err
    folder = tmp_path / "outputs/sweeps/s"
    searches.assert_told_alike(folder)
    assert len(searches.with_test(searches.results(folder))) == 1
