"""Runs found and read, and why others are left out."""

import pytest

from mnist_lab import LabError
from mnist_lab.comparison import gather
from mnist_lab.comparison.groups import arrange


@pytest.fixture
def below(tmp_path):
    return tmp_path / "runs"


def test_patterns_and_folders_find_each_run_once(write_run, below):
    for name in ("x/a", "x/b", "y[1]/c"):
        write_run(name, model__norm=name)
    (below / "x/a/figures/config.yaml").parent.mkdir()
    (below / "x/a/figures/config.yaml").touch()  # in a run's folder nothing else is a run
    assert [path.name for path in gather.find([str(below)])] == ["a", "b", "c"]
    assert [path.name for path in gather.find([f"{below}/x/*", str(below / "x")])] == ["a", "b"]
    assert [path.name for path in gather.find([str(below / "y[1]")])] == ["c"]
    assert [path.name for path in gather.find([f"{below}/**/b"])] == ["b"]
    assert gather.find([str(below / "x/a")]) == [below / "x/a"]


@pytest.mark.parametrize("missing", ["nowhere", "no*where"])
def test_folders_that_are_not_there(missing, tmp_path):
    with pytest.raises(LabError, match="no such folder"):
        gather.find([str(tmp_path / missing)])


def test_a_foreign_folder_is_refused_by_name(tmp_path, write_run, below):
    write_run("a")
    (tmp_path / "photos").mkdir()
    with pytest.raises(LabError, match="photos: there is no run in or below it"):
        gather.find([str(below), str(tmp_path / "photos")])


def test_the_same_run_counts_once(write_run, below):
    write_run("a", seed=3)
    write_run("b", seed=3)
    runs, left_out = gather.read(gather.find([str(below), f"{below}/*"]))
    assert [run.folder.name for run in runs] == ["a"]
    (lost,) = left_out
    assert lost.folder.name == "b"
    assert lost.reason == f"has the settings and the seed of {below / 'a'}"
    (table,) = arrange(runs, left_out)
    assert table.groups[0].asked == 1


def test_of_the_same_run_twice_the_tested_one_counts(write_run, below, untested):
    write_run("a", result=untested)
    write_run("b")
    runs, left_out = gather.read(gather.find([str(below)]))
    assert [run.folder.name for run in runs] == ["b"]
    assert [run.folder.name for run in left_out] == ["a"]


def test_what_is_not_finished_or_not_whole_is_named_and_never_averaged_in(write_run, below):
    write_run("whole", seed=0, test=0.9)
    (write_run("unfinished", seed=1) / "result.json").unlink()
    write_run("diverged", seed=2, result={"status": "diverged", "reason": "loss is nan"})
    write_run("pruned", seed=13, result={"status": "pruned", "reason": "below the median"})
    (write_run("half", seed=3) / "result.json").write_text('{"status": "compl')
    write_run("typed", seed=4, result={"parameters": "many"})
    write_run("nan", seed=5, test=float("nan"))
    write_run("null", seed=6, val=None)
    write_run("huge", seed=7, test=1e300)
    (write_run("no_config", seed=8) / "config.yaml").unlink()
    (write_run("foreign", seed=9) / "config.yaml").write_text("services: {web: {}}")
    write_run("seedless", seed=None)
    write_run("classless", seed=10, result={"per_class": None})
    write_run("recall", seed=11, recalls=(0.5, 1.5))
    (write_run("large", seed=12) / "result.json").write_text(" " * (1 << 22) + "{}")
    runs, left_out = gather.read(gather.find([str(below)]))
    assert [run.folder.name for run in runs] == ["whole"]
    reasons = {lost.folder.name: lost.reason for lost in left_out}
    starts = {
        "unfinished": "unfinished: there is no result.json",
        "diverged": "diverged: loss is nan",
        "pruned": "pruned: below the median",
        "half": "damaged: result.json: cannot be read",
        "typed": "damaged: result.json: parameters: Input should be a valid integer",
        "nan": "damaged: result.json: accuracy or seconds.fit is no finite number",
        "null": "damaged: result.json: has no val/accuracy",
        "huge": "damaged: result.json: accuracy or seconds.fit is no finite number",
        "no_config": "its settings are not known (no config.yaml): lenet on digits, test/acc",
        "foreign": "damaged: config.yaml: not the configuration of a run",
        "seedless": "damaged: config.yaml: seed=None: not a seed",
        "classless": "damaged: result.json: has no per_class",
        "recall": "damaged: result.json: per_class.1.recall: Input should be less than",
        "large": "damaged: result.json: larger than any result",
    }
    assert reasons.keys() == starts.keys()
    for name, start in starts.items():
        assert reasons[name].startswith(start), reasons[name]
    (table,) = arrange(runs, left_out)
    assert table.groups[0].test.tolist() == [0.9]
    # Of those whose settings could be read.
    assert table.groups[0].asked == len(left_out) + 1 - len({"no_config", "foreign", "seedless"})


def test_a_monitored_value_that_no_result_holds_gives_way_to_accuracy(write_run, below):
    write_run("a", monitor="train/loss", mode="min", val=0.25, test=0.75)
    ((run,), _) = gather.read(gather.find([str(below)]))
    assert (run.quantity, run.mode, run.val, run.test) == ("accuracy", "max", 0.25, 0.75)


def test_runs_are_compared_by_another_metric_than_they_monitored(write_run, below):
    metrics = {"val/loss": 0.3, "val/accuracy": 0.9, "test/loss": 0.2, "test/accuracy": 0.9}
    errors = {"test/corruption_error": 0.25, "test/corruption_error/fog": 0.5}
    write_run("a", result={"metrics": metrics | errors})
    write_run("b", seed=1, result={"metrics": metrics})
    for metric, expected in (("corruption_error", 0.25), ("corruption_error/fog", 0.5)):
        (run,), (other,) = gather.read(gather.find([str(below)]), metric)
        assert (run.quantity, run.mode, run.val, run.test) == (metric, "min", None, expected)
        assert (other.folder.name, other.reason) == ("b", f"was not measured by {metric}")
    runs, _ = gather.read(gather.find([str(below)]), "loss")
    assert [(run.quantity, run.mode, run.val, run.test) for run in runs] == [
        ("loss", "min", 0.3, 0.2)
    ] * 2
