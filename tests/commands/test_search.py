"""Searches: their points, ended and continued, extended, exhausted, and those that are refused."""

import time

import pytest

optuna = pytest.importorskip("optuna")

from mnist_lab.cli.search import journal  # noqa: E402
from mnist_lab.runs.folder import claimed  # noqa: E402
from tests.commands.searches import (  # noqa: E402
    FIXED,
    NOT_DRAWN,
    SPACE,
    folder_of,
    results,
    search,
    storage,
    with_test,
)


def test_the_best_of_its_points_is_tested_and_no_other(lab_train, lab_compare, tmp_path):
    called = lab_train(*search("s", 4, *SPACE))
    assert called.status == 0
    folder = tmp_path / "outputs/sweeps/s"
    found = results(folder)
    assert len(found) == 4
    (winner,) = with_test(found)
    accuracy = {name: each["metrics"]["val/accuracy"] for name, each in found.items()}
    assert accuracy[winner] == max(accuracy.values())
    assert storage(folder).best_value == accuracy[winner]
    for trial in storage(folder).trials:
        assert trial.value == accuracy[folder_of(folder, trial.params)]
    for name, each in found.items():
        assert (each["per_class"] is None) == (name != winner)
        assert (folder / name / "predictions.csv").exists() == (name == winner)
    (best,) = [line for line in called.out.splitlines() if line.startswith("Best: ")]
    params = dict(word.split("=") for word in best.removeprefix("Best: ").split())
    assert params.keys() == {"optimizer.lr", "data.batch_size"}
    assert folder_of(folder, {**params, "optimizer.lr": float(params["optimizer.lr"])}) == winner
    told = lab_compare(f"runs={folder}")
    assert told.status == 0
    assert "Not all runs were tested" in told.out
    assert "nan" not in told.out
    best = next(line for line in told.out.splitlines() if line.startswith("│ 1 "))
    assert f"{100 * accuracy[winner]:.2f}" in best


def test_the_winner_alone_is_drawn_and_nothing_else_is_promised(lab_train, tmp_path):
    drawn = [each for each in search("s", 2, *SPACE) if each not in NOT_DRAWN]
    called = lab_train(*drawn, "trainer.callbacks.dashboard=null")
    assert called.status == 0, called.err
    folder = tmp_path / "outputs/sweeps/s"
    reports = [path.parent.name for path in folder.glob("*/report.html")]
    assert reports == with_test(results(folder))
    assert "Figures and reports" not in called.out


def test_killed_it_goes_on_as_if_it_had_not_been(lab_train, start, tmp_path):
    assert lab_train(*search("whole", 5, *SPACE)).status == 0
    expected = results(tmp_path / "outputs/sweeps/whole")
    folder = tmp_path / "outputs/sweeps/killed"
    for count in (1, 3):
        process = start(*search("killed", 5, *SPACE))
        while len(results(folder)) < count:
            assert process.is_alive()
            time.sleep(0.01)
        process.kill()
        process.join()
    assert lab_train(*search("killed", 5, *SPACE)).status == 0
    found = results(folder)
    assert found.keys() == expected.keys()
    for name, each in found.items():
        assert each["metrics"] == expected[name]["metrics"]
    states = [trial.state.name for trial in storage(folder).trials]
    assert states.count("COMPLETE") == 5
    assert "RUNNING" not in states


def test_more_trials_extend_it_by_new_points(lab_train, tmp_path):
    folder = tmp_path / "outputs/sweeps/s"
    assert lab_train(*search("s", 2, *SPACE)).status == 0
    before = results(folder)
    assert lab_train(*search("s", 4, *SPACE)).status == 0
    after = results(folder)
    assert len(after) == 4
    for name, each in before.items():
        if name not in with_test(before) + with_test(after):  # not run again, and not tested
            assert after[name] == each
        assert after[name]["metrics"]["val/loss"] == each["metrics"]["val/loss"]
    again = lab_train(*search("s", 4, *SPACE))
    assert again.status == 0
    assert results(folder) == after


def test_a_space_without_new_points_ends_it(lab_train, tmp_path):
    called = lab_train(*search("s", 9, "data.batch_size=64,128", "optimizer=adam,sgd"))
    assert called.status == 0
    assert "No new points in this space: 4 instead of 9." in called.out
    assert len(results(tmp_path / "outputs/sweeps/s")) == 4


def test_a_point_that_diverges_is_told_and_the_others_go_on(lab_train, tmp_path):
    for _ in range(2):
        called = lab_train(*search("s", 3, "optimizer=sgd", "optimizer.lr=1e30,0.1,0.01"))
        assert called.status == 1
        found = results(tmp_path / "outputs/sweeps/s")
        assert sorted(each["status"] for each in found.values()) == [
            "completed", "completed", "diverged"]  # fmt: skip
        assert len(with_test(found)) == 1


@pytest.mark.slow
def test_points_that_failed_are_tried_again(lab_train, tmp_path, monkeypatch):
    folder = tmp_path / "outputs/sweeps/s"
    weights = tmp_path / "weights"
    arguments = search("s", 3, *SPACE, f"init_from={weights}")
    called = lab_train(*arguments)
    assert called.status == 1
    assert "weights" in called.err
    assert results(folder) == {}
    assert lab_train(*FIXED[:-1], "hydra.run.dir=weights").status == 0
    assert lab_train(*arguments).status == 0
    assert len(results(folder)) == 3
    assert len(with_test(results(folder))) == 1
    assert lab_train(*search("whole", 3, *SPACE, f"init_from={weights}")).status == 0
    assert results(tmp_path / "outputs/sweeps/whole").keys() == results(folder).keys()


def test_what_no_result_has_cannot_be_searched_by(lab_train, tmp_path):
    called = lab_train(*search("s", 3, *SPACE, "data.val_size=0"))
    assert called.status == 1
    assert "monitor=val/accuracy: no result has it to search by" in called.err
    assert len(results(tmp_path / "outputs/sweeps/s")) == 1


@pytest.mark.slow
def test_points_side_by_side(lab_train, tmp_path):
    called = lab_train(*search("s", 4, *SPACE, "hydra/launcher=joblib", "hydra.sweeper.n_jobs=2"))
    assert called.status == 0
    found = results(tmp_path / "outputs/sweeps/s")
    assert len(found) == 4
    assert len(with_test(found)) == 1


def test_refused(lab_train, tmp_path):
    assert lab_train(*search("s", 1, *SPACE, "mode=max")).status == 0
    for arguments, told in (
        (["optimizer.lr=interval(0.1,0.2)", SPACE[1]], "is a search over"),
        ([*SPACE, "model.hidden=[8]"], "is a search over model.hidden=[16]; name this one"),
        ([*SPACE, "mode=min"], "mode=min: of val/accuracy more is better"),
        (["data.batch_size=32,64"], "is a sweep of"),
        ([*SPACE, "hydra.sweeper.n_trials=0"], "n_trials=0: must be a whole number from 1 on"),
        (["optimizer.lr=tag(log,interval(0,1))", SPACE[1]], "optimizer.lr=tag(log,interval(0,1))"),
        ([], "nothing to search"),
    ):
        name = "new" if arguments == [] else "s"
        called = lab_train(*search(name, 1, "mode=max"), *arguments)
        assert called.status == 1
        assert told in called.err
        assert len(called.err.strip().splitlines()) == 1


def test_a_storage_that_is_none(lab_train, tmp_path):
    assert lab_train(*search("s", 1, *SPACE)).status == 0
    for name in ("search.journal", "search.db"):
        (tmp_path / "outputs/sweeps/s" / name).write_text("no database")
        called = lab_train(*search("s", 2, *SPACE))
        assert called.status == 1
        assert f"{name}: cannot be used" in called.err


@pytest.mark.slow
def test_one_of_an_earlier_version_goes_on_where_it_lies(lab_train, tmp_path):
    assert lab_train(*search("whole", 3, *SPACE)).status == 0
    assert lab_train(*search("s", 1, *SPACE)).status == 0
    folder = tmp_path / "outputs/sweeps/s"
    database = f"sqlite:///{folder / 'search.db'}"
    optuna.copy_study(from_study_name="search", from_storage=journal(folder), to_storage=database)
    (folder / "search.journal").unlink()
    assert lab_train(*search("s", 3, *SPACE)).status == 0
    assert not (folder / "search.journal").exists()
    assert len(optuna.load_study(study_name="search", storage=database).trials) == 3
    assert results(folder).keys() == results(tmp_path / "outputs/sweeps/whole").keys()
    called = lab_train(*search("s", 4, *SPACE, "hydra.sweeper.pruner=median"))
    assert called.status == 1
    assert "search.db: a search of an earlier version" in called.err
    assert len(called.err.strip().splitlines()) == 1


def test_two_searches_in_one_folder_are_one_too_many(lab_train, tmp_path):
    assert lab_train(*search("s", 1, *SPACE)).status == 0
    with claimed(tmp_path / "outputs/sweeps/s"):
        called = lab_train(*search("s", 2, *SPACE))
    assert called.status == 1
    assert called.err.strip() == "outputs/sweeps/s: another process is running in this folder"
    assert len(results(tmp_path / "outputs/sweeps/s")) == 1


@pytest.mark.slow
def test_the_space_that_is_ready_composes(lab_train):
    called = lab_train("search=training", "model=mlp", "data=digits", "model.hidden=[16]",
                       "trainer.max_epochs=1", "hydra.sweeper.n_trials=2", "sweep=s")  # fmt: skip
    assert called.status == 0
