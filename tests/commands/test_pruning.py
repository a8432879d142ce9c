"""Searches whose hopeless jobs end early."""

import json
import shutil
import statistics
import time

import pytest

optuna = pytest.importorskip("optuna")

from tests.commands.searches import (  # noqa: E402
    MEDIAN,
    WIDE,
    assert_told_alike,
    epochs_of,
    folder_of,
    results,
    search,
    storage,
    with_test,
)
from tests.forked import call  # noqa: E402


def states(folder):
    return {folder_of(folder, trial.params): trial.state.name for trial in storage(folder).trials}


def expected_epochs(folder):
    """By the median rule, from what jobs logged: after how many epochs each of them ends."""
    finished, expected = [], {}
    for trial in storage(folder).trials:
        name = folder_of(folder, trial.params)
        values = epochs_of(folder / name)
        expected[name] = 4
        for epoch in range(3) if len(finished) >= 5 else ():
            others = [each[epoch] for each in finished]
            if max(values[: epoch + 1]) < statistics.median(others):
                expected[name] = epoch + 1
                break
        else:
            finished.append(values)
    return expected


AVERAGED = search("s", 10, *MEDIAN, "average=ema", "trainer.callbacks.ema.decay=0.9")


@pytest.fixture(scope="module")
def whole(made_once):
    """A search's folder, and what was told."""

    def make(folder):
        folder.mkdir()
        status, out, err = call("mnist_lab.train", *AVERAGED, folder=folder)
        assert status == 0, err
        (folder / "told.txt").write_text(out)

    folder = made_once("pruned", make)
    return folder / "outputs/sweeps/s", (folder / "told.txt").read_text()


@pytest.mark.slow
def test_what_is_below_the_median_ends_after_its_epoch(whole, lab_train, lab_compare, tmp_path):
    folder = tmp_path / "outputs/sweeps/s"
    shutil.copytree(whole[0], folder)
    found = results(folder)
    pruned = assert_told_alike(folder)
    assert len(found) == 10
    assert 1 <= len(pruned) <= 5
    assert {name: each["epochs"] for name, each in found.items()} == expected_epochs(folder)
    (winner,) = with_test(found)
    assert winner not in pruned
    assert f"Pruned: {len(pruned)} of 10 jobs" in whole[1]
    for name in pruned:
        value = f"val/accuracy {epochs_of(folder / name)[-1]:.4f}"
        reason = f"{value} after epoch {found[name]['epochs']} (median)"
        assert found[name]["reason"] == reason
        assert whole[1].count(f" {name}: pruned: {reason}, ") == 1
        assert (folder / name / "checkpoints/last.ckpt").exists()
        assert not (folder / name / "failed.txt").exists()
        config = (folder / name / "config.yaml").read_text()
        assert "pruning" not in config
    again = lab_train(*AVERAGED)
    assert again.status == 0
    assert results(folder) == found
    compared = lab_compare(f"runs={folder}")
    assert compared.status == 0
    for name in pruned:
        assert f"{name}: pruned: {found[name]['reason']}" in " ".join(compared.out.split())


@pytest.mark.slow
def test_killed_it_goes_on_as_if_it_had_not_been(whole, lab_train, start, tmp_path):
    expected, _ = whole
    folder = tmp_path / "outputs/sweeps/s"
    for count in (1, 6):
        process = start(*AVERAGED)
        while len(results(folder)) < count:
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
    assert lab_train(*AVERAGED).status == 0
    assert_told_alike(folder)
    assert states(folder) == states(expected)
    assert {name: epochs_of(folder / name) for name in results(folder)} == {
        name: epochs_of(expected / name) for name in results(expected)
    }


def test_a_job_that_was_pruned_before_anybody_was_told(lab_train, tmp_path):
    """Its command was killed in between: the point is running still, as far as is known."""
    assert lab_train(*search("s", 3, *MEDIAN, "trainer.max_epochs=1")).status == 0
    folder = tmp_path / "outputs/sweeps/s"
    journal = folder / "search.journal"
    lines = journal.read_text().splitlines(keepends=True)
    ended = [i for i, line in enumerate(lines) if '"op_code":6' in line]
    del lines[ended[1]]
    journal.write_text("".join(lines))
    name = folder_of(folder, storage(folder).trials[1].params)
    path = folder / name / "result.json"
    changed = json.loads(path.read_text()) | {"status": "pruned", "reason": "so it was"}
    changed["metrics"] = dict.fromkeys(changed["metrics"])
    path.write_text(json.dumps(changed))
    called = lab_train(*search("s", 3, *MEDIAN, "trainer.max_epochs=1"))
    assert called.status == 0
    assert f" {name}: pruned: so it was, finished before" in called.out
    assert [trial.state.name for trial in storage(folder).trials] == [
        "COMPLETE", "PRUNED", "COMPLETE"]  # fmt: skip
    assert json.loads(path.read_text()) == changed


@pytest.mark.slow
def test_hyperband_ends_jobs_at_its_rungs(lab_train, tmp_path):
    arguments = [*WIDE, "trainer.max_epochs=9", "hydra.sweeper.pruner=hyperband"]
    assert lab_train(*search("s", 6, *arguments)).status == 0
    folder = tmp_path / "outputs/sweeps/s"
    pruned = assert_told_alike(folder)
    assert {results(folder)[name]["epochs"] for name in pruned} <= {2, 4}
    assert pruned


@pytest.mark.slow
def test_jobs_side_by_side_report_to_one_storage(lab_train, tmp_path):
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    launcher = ["hydra/launcher=joblib", "hydra.launcher.n_jobs=2", "hydra.sweeper.n_jobs=2"]
    called = lab_train(*search("s", 10, *MEDIAN), *launcher)
    assert called.status == 0, called.err
    folder = tmp_path / "outputs/sweeps/s"
    assert_told_alike(folder)
    assert len(with_test(results(folder))) == 1


def test_refused(lab_train):
    for arguments, told in (
        ([*WIDE, "hydra.sweeper.pruner=mean"], "hydra.sweeper.pruner=mean: must be null or one"),
        (
            [*WIDE, "hydra.sweeper.pruner=hyperband", "trainer.max_epochs=1,2"],
            "hydra.sweeper.pruner=hyperband: needs one trainer.max_epochs for all",
        ),
        (
            [*MEDIAN, "trainer.max_epochs=1", "data.val_size=0"],
            "monitor=val/accuracy: no result has it to search by",
        ),
    ):
        called = lab_train(*search(f"s{len(arguments)}", 5, *arguments))
        assert called.status == 1
        assert told in called.err
        assert len(called.err.strip().splitlines()) == 1
