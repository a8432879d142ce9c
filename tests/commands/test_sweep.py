"""Sweeps: killed and repeated, extended, with jobs that fail, and those that are refused."""

import gc
import json
import os
import random
import subprocess
import sys
import time

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from mnist_lab import models
from tests.commands import runs

MLP = ["-m", "data=digits", "model=mlp", "model.hidden=[16]", "trainer.max_epochs=2",
       *(f"trainer.callbacks.{name}=null" for name in runs.NOT_DRAWN)]  # fmt: skip
QUICK = [*MLP, "trainer.accelerator=cpu", "sweep=s"]
PARALLEL = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2"]
NAME = "data-digits_model-mlp_hidden-16"


def results(sweep):
    """By job: the content of its `result.json`, and when that was written."""
    found = {path.parent.name: path for path in sweep.glob("*/result.json")}
    return {
        name: (json.loads(path.read_text()), path.stat().st_mtime_ns)
        for name, path in found.items()
    }


def outcome(sweep):
    return {
        name: (result["metrics"], (sweep / name / "predictions.csv").read_text())
        for name, (result, _) in results(sweep).items()
    }


def table(out):
    """The rows of the table at the end, without its rules."""
    return [[cell.strip() for cell in line.split("│")[1:-1]] for line in out.splitlines()
            if line.startswith("│")]  # fmt: skip


@pytest.fixture(params=[1, pytest.param(4, marks=pytest.mark.slow)])
def trials(request):
    return request.param


@pytest.mark.timeout(3600)
def test_killed_at_random_moments_no_job_is_lost_or_run_twice(trials, start, tmp_path):
    seed = random.SystemRandom().randrange(2**32)
    print(f"seed {seed}")
    moments = random.Random(seed)
    sweep = [*MLP, "trainer.accelerator=cpu", "seed=0,1,2"]
    begin = time.monotonic()
    whole = start(*sweep, "sweep=whole")
    whole.join()
    life = time.monotonic() - begin
    assert whole.exitcode == 0
    expected = outcome(tmp_path / "outputs/sweeps/whole")
    assert len(expected) == 3
    killed = 0
    for trial in range(trials):
        folder = tmp_path / f"outputs/sweeps/trial{trial}"
        written = {}
        for _ in range(2):
            process = start(*sweep, f"sweep=trial{trial}")
            process.join(moments.uniform(0, 0.7 * life))
            killed += process.is_alive()
            process.kill()
            process.join()
            found = results(folder)
            assert {name: found[name] for name in written} == written, f"seed {seed}"
            written = found
        final = start(*sweep, f"sweep=trial{trial}")
        final.join()
        assert final.exitcode == 0, f"trial {trial} of seed {seed}"
        found = results(folder)
        assert {name: found[name] for name in written} == written, f"seed {seed}"
        assert outcome(folder) == expected, f"trial {trial} of seed {seed}"
    print(f"{killed} processes killed")


def test_more_values_extend_a_sweep(lab_train, tmp_path):
    folder = tmp_path / "outputs/sweeps/s"
    assert lab_train(*QUICK, "seed=0").status == 0
    first = results(folder)
    called = lab_train(*QUICK, "seed=0,1")
    assert called.status == 0, called.err
    assert len(results(folder)) == 2
    assert {name: results(folder)[name] for name in first} == first
    lines = [line for line in called.out.splitlines() if line.startswith("#")]
    assert [line.split()[0] for line in lines] == ["#0", "#1"]
    assert [line.endswith("finished before") for line in lines] == [True, False]
    rows = table(called.out)
    best = sorted(results(folder).items(), key=lambda x: -x[1][0]["metrics"]["val/accuracy"])
    assert [row[1] for row in rows] == [name for name, _ in best]
    assert [row[0] for row in rows] == ["1", "2"]
    for row, (_, (result, _)) in zip(rows, best, strict=True):
        assert row[2] == f"{result['metrics']['val/accuracy']:.4f}"
        assert row[3] == f"{result['metrics']['test/accuracy']:.4f}"
    # Fewer values: the table still has all jobs of the sweep.
    assert len(table(lab_train(*QUICK, "seed=1").out)) == 2


def test_jobs_leave_nothing_in_memory(lab_train):
    def alive():
        return sum(type(each) is models.MLP for each in gc.get_objects())

    gc.collect()
    before = alive()
    gc.disable()  # which would come round at some time
    try:
        assert lab_train(*QUICK, "seed=0,1").status == 0
        assert alive() == before
    finally:
        gc.enable()


def test_a_failing_and_a_diverging_job_do_not_stop_the_others(lab_train, tmp_path):
    arguments = [*QUICK, "optimizer=sgd", "optimizer.lr=-1,1e30,0.05"]
    for _ in range(2):
        called = lab_train(*arguments)
        assert called.status == 1
        assert "Traceback" not in called.err
        rows = table(called.out)
        assert [row[0] for row in rows] == ["1", "-", "-"]
        assert "lr-0.05" in rows[0][1]
        reasons = {row[1].split("lr-")[1].split("_")[0]: row[-1] for row in rows if row[-1]}
        assert reasons["-1"].startswith("failed: optimizer.lr: Invalid learning rate: -1")
        assert reasons["1e+30"].startswith("diverged: the training loss is")
    assert len(list(tmp_path.glob("outputs/sweeps/s/*/checkpoints/best.ckpt"))) == 1


def test_a_job_that_failed_and_now_works_is_a_failure_no_more(lab_train, tmp_path):
    arguments = [*QUICK, "seed=0"]
    folder = tmp_path / "outputs/sweeps/s"
    assert lab_train(*arguments).status == 0
    (job,) = results(folder)
    before = results(folder)[job][0]["metrics"]
    (folder / job / "result.json").write_text("{}")
    assert lab_train(*arguments).status == 1
    assert "not the result of a run" in (folder / job / "failed.txt").read_text()
    (folder / job / "result.json").unlink()
    called = lab_train(*arguments)
    assert called.status == 0, called.err
    assert not (folder / job / "failed.txt").exists()
    assert results(folder)[job][0]["metrics"] == before


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["seed=0,0"], "2 jobs of this sweep are the same: "),
        (["data.device=auto,cpu"], "2 jobs of this sweep are the same: "),
        (["sweep=a/b"], "sweep=a/b: should be a name of letters, digits and _.+-"),
        (["sweep=.."], "sweep=..: should be a name"),
        (["seed=range(0,a)"], "seed=range(0,a)"),
        (["seed=range(0,0)"], "this sweep has no jobs: a setting has no values"),
        (["seed=interval(0,1)"], "BasicSweeper does not support sweep type"),
    ],
)
def test_what_can_be_no_sweep_is_refused_before_its_first_job(arguments, told, lab_train, tmp_path):
    called = lab_train(*QUICK, *arguments)
    assert called.status == 1
    assert told in called.err
    assert "Traceback" not in called.err
    assert not list(tmp_path.rglob("config.yaml"))
    assert table(called.out) == []


def test_a_folder_of_another_sweep_is_refused_and_left_as_it_was(lab_train, tmp_path):
    folder = tmp_path / "outputs/sweeps/s"

    def listing():
        return {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*")}

    assert lab_train(*QUICK, "seed=0").status == 0
    before = listing()
    called = lab_train(*QUICK, "optimizer=adam,sgd")
    assert called.status == 1
    settings = "data, model, model.hidden, seed, trainer.max_epochs"
    assert f"outputs/sweeps/s: is a sweep of {settings}; give this sweep a name" in called.err
    assert listing() == before
    (folder / "sweep.json").write_text("[")
    assert "sweep.json: cannot be read" in lab_train(*QUICK, "seed=0").err
    (folder / "sweep.json").unlink()
    called = lab_train(*QUICK, "seed=0")
    assert called.status == 1
    assert "outputs/sweeps/s: holds something that is no sweep" in called.err


def test_what_makes_a_sweep_another_one(lab_train, tmp_path):
    folder = tmp_path / "outputs/sweeps/s"
    folder.mkdir(parents=True)
    (folder / f".mnist_lab-{'0f' * 8}.part").touch()  # killed while it was written
    quick = ["trainer.fast_dev_run=true", "data=digits", "sweep=s"]
    job = ["seed=0", "data.batch_size=32", "data.train_size=100"]
    assert lab_train("study=batch_size", *quick, *job).status == 0
    # Where the data lie and how often a checkpoint is written doesn't matter, the study does.
    again = lab_train("study=batch_size", *quick, *job, "data.root=x", "checkpoint_every_n_steps=9")
    assert again.status == 0, again.err
    other = lab_train("study=batch_steps", *quick, *job)
    assert other.status == 1
    assert "data.train_size, seed, study=batch_size, trainer.fast_dev_run; give" in other.err


@pytest.mark.slow
def test_a_sweep_without_seeds_is_extended_by_some(lab_train, tmp_path):
    quick = ["-m", "data=digits", "trainer.fast_dev_run=true", "sweep=s"]
    assert lab_train(*quick, "data.batch_size=32,64").status == 0
    called = lab_train(*quick, "data.batch_size=32,64", "seed=0,1")
    assert called.status == 0, called.err
    assert len(list(tmp_path.glob("outputs/sweeps/s/*/"))) == 2 + 4
    assert lab_train(*quick, "data.batch_size=32", "optimizer=sgd").status == 1


def test_a_damaged_result_does_not_hide_the_table(lab_train, tmp_path):
    folder = tmp_path / "outputs/sweeps/s"
    assert lab_train(*QUICK, "seed=0,1").status == 0
    for damage in ({"metrics": {"val/accuracy": "x"}}, {"seconds": None}):
        path = sorted(folder.glob("*/result.json"))[0]
        path.write_text(json.dumps(json.loads(path.read_text()) | damage))
        called = lab_train(*QUICK, "seed=1")
        assert called.status == 0, called.err
        assert [row[-1].endswith("not the result of a run") for row in table(called.out)] == [
            False, True]  # fmt: skip


def test_sweeps_without_a_name_get_folders_of_their_own(lab_train, tmp_path):
    for _ in range(2):
        assert lab_train(*MLP, "trainer.fast_dev_run=true").status == 0
    assert len(list(tmp_path.glob("outputs/sweeps/*/sweep.json"))) == 2


@pytest.mark.slow
def test_in_parallel_the_results_are_the_same(lab_train, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    arguments = [*MLP, "trainer.accelerator=cpu", "seed=0,1", "optimizer=sgd",
                 "optimizer.lr=0.05,-1"]  # fmt: skip
    command = [sys.executable, "-m", "mnist_lab.train", *arguments, "sweep=parallel", *PARALLEL]
    done = subprocess.run(
        command, cwd=tmp_path, env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert [row[-1][:6] for row in table(done.stdout)] == ["", "", "failed", "failed"]
    assert sum(line.startswith("#") for line in done.stdout.splitlines()) == 4
    assert lab_train(*arguments, "sweep=sequential").status == 1
    both = [outcome(tmp_path / "outputs/sweeps" / name) for name in ("parallel", "sequential")]
    assert both[0] == both[1]
    assert len(both[0]) == 2


@pytest.mark.slow
def test_a_sweep_whose_first_jobs_all_fail_alike_stops(lab_train, tmp_path):
    jobs = [*QUICK, "optimizer=sgd", "seed=0,1,2,3,4"]
    for patience, started in (("", 3), ("sweep_patience=2", 2), ("sweep_patience=null", 5)):
        called = lab_train(*jobs, "optimizer.lr=-1", *[patience] * bool(patience))
        assert called.status == 1
        assert sum(line.startswith("#") for line in called.out.splitlines()) == started
        told = called.err.strip()
        assert len(told.splitlines()) == 1
        assert "Invalid learning rate: -1" in told
        assert told.startswith(f"outputs/sweeps/s: its first {started} jobs") == (started < 5)
    mended = lab_train(*QUICK, "optimizer=sgd", "seed=0,1", "optimizer.lr=0.05")
    assert mended.status == 0, mended.err


@pytest.mark.slow
def test_in_parallel_it_stops_as_well(lab_train, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    called = lab_train(*QUICK, "optimizer=sgd", "optimizer.lr=-1", "seed=range(0,9)", *PARALLEL)
    assert called.status == 1
    assert "(sweep_patience=3): optimizer.lr: Invalid learning rate: -1" in called.err
    assert "Traceback" not in called.err
    assert 3 <= len(list(tmp_path.glob("outputs/sweeps/s/*/failed.txt"))) <= 4


@pytest.mark.slow
def test_what_a_sweep_is_spared_is_drawn_when_asked_for(lab_train, tmp_path):
    """And is then, byte for byte, what it would have been at once."""
    sweep = ("-m", "data=digits", "model=lenet", "trainer.max_epochs=1", "trainer.accelerator=cpu",
             "trainer.callbacks.dashboard=null", "seed=0,1")  # fmt: skip
    *job, _ = sweep
    hint = "Figures and reports of these runs: the same command with artefacts=all"

    def drawn(name):
        (folder,) = (tmp_path / "outputs/sweeps" / name).glob("*seed-0*")
        pictures = {path.name: path.read_bytes() for path in folder.glob("figures/*.png")}
        return folder, pictures, (folder / "report.html").exists()

    called = lab_train(*sweep, "sweep=few")
    assert called.status == 0, called.err
    assert hint in called.out
    few, pictures, report = drawn("few")
    assert (pictures, report) == ({}, False)
    before = {name: (few / name).read_bytes() for name in ("result.json", "predictions.csv")}
    called = lab_train(*job, "seed=0", "sweep=all", "artefacts=all")
    assert hint not in called.out
    at_once, expected, report = drawn("all")
    assert len(expected) > 10
    assert report

    lab_train(f"resume={few}")  # a single run
    _, pictures, report = drawn("few")
    assert pictures == expected
    assert report
    called = lab_train(*sweep, "sweep=few", "artefacts=all")  # and those that are left
    assert hint not in called.out
    assert len(list(tmp_path.glob("outputs/sweeps/few/*/report.html"))) == 2
    assert before == {name: (few / name).read_bytes() for name in before}
    places = (str(folder / "tensorboard") for folder in (few, at_once))
    boards = [EventAccumulator(place, {"images": 0}).Reload() for place in places]
    later, now = ({tag: board.Images(tag) for tag in board.Tags()["images"]} for board in boards)
    assert {"test/confusion", "mistakes", "filters"} == set(later) == set(now)
    for tag, (image,) in now.items():
        assert later[tag][0].encoded_image_string == image.encoded_image_string
        assert later[tag][0].step == image.step

    # Nothing is promised where settings have no report.
    called = lab_train(*job, "seed=0", "sweep=none", "trainer.callbacks.report=null")
    assert "Figures and reports" not in called.out

    # Whoever follows a run elsewhere gets its figures at once.
    tracker = "+trainer.logger.csv={_target_: lightning.pytorch.loggers.CSVLogger, save_dir: csv}"
    assert lab_train(*job, "seed=0", "sweep=followed", tracker).status == 0
    assert drawn("followed")[1:] == (expected, True)

    # More epochs: what is drawn of the shorter run is no longer true.
    lab_train(f"resume={few}", "trainer.max_epochs=2", "artefacts=few")
    assert drawn("few")[1:] == ({}, False)
