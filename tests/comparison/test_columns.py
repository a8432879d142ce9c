"""Runs read, separated, grouped, named and ranked."""

import json

import numpy as np
import pytest

from mnist_lab.comparison import answers, gather
from mnist_lab.comparison.columns import arrange
from mnist_lab.comparison.gather import ComparisonError
from mnist_lab.comparison.page import Section


def tables(folder):
    runs, left_out = gather.read(gather.find([str(folder)]))
    return arrange(runs, left_out)


def only(folder):
    (table,) = tables(folder)
    return table


@pytest.fixture
def below(tmp_path):
    return tmp_path / "runs"


def test_runs_that_differ_in_seed_alone_are_a_group(write_run, below):
    for seed, val in ((2, 0.7), (0, 0.8), (1, 0.9)):
        write_run(f"a{seed}", seed=seed, val=val, test=val / 2)
        write_run(f"b{seed}", seed=seed, val=0.1, model__norm="none", data__root=f"elsewhere{seed}")
    table = only(below)
    assert [group.name for group in table.groups] == ["norm=after", "norm=none"]
    first = table.groups[0]
    assert first.seeds == [0, 1, 2]
    assert first.val.tolist() == [0.8, 0.9, 0.7]
    assert first.test.tolist() == [0.4, 0.45, 0.35]
    assert (table.quantity, table.mode, table.ranked) == ("accuracy", "max", True)


def test_ranking_goes_by_validation_and_never_by_test(write_run, below):
    write_run("a", val=0.8, test=0.9)
    write_run("b", val=0.9, test=0.8, model__norm="none")
    assert [group.name for group in only(below).groups] == ["norm=none", "norm=after"]


def test_with_mode_min_the_lowest_is_first(write_run, below):
    for name, loss in (("after", 0.5), ("before", 0.2), ("none", 0.9)):
        metrics = {"val/loss": loss, "val/accuracy": 0.5, "test/loss": loss, "test/accuracy": 0.5}
        write_run(name, model__norm=name, monitor="val/loss", mode="min",
                  result={"metrics": metrics})  # fmt: skip
    table = only(below)
    assert [group.name for group in table.groups] == ["norm=before", "norm=after", "norm=none"]
    assert table.groups[0].test.tolist() == [0.2]


def test_without_validation_groups_stand_in_the_order_of_their_settings(write_run, below):
    for size, test in ((256, 0.9), (32, 0.8), (64, 0.99)):
        write_run(f"{size}", val=None, test=test, data__val_size=0, data__batch_size=size)
    table = only(below)
    assert not table.ranked
    assert [g.name for g in table.groups] == ["batch_size=32", "batch_size=64", "batch_size=256"]


@pytest.mark.parametrize(
    ("key", "value"),
    [("val_size", 100), ("split_seed", 1), ("source", {"_target_": "mnist_lab.data.IDXSource"})],
)
def test_what_was_tested_or_validated_on_other_images_is_a_table_of_its_own(
    key, value, write_run, below
):
    write_run("a")
    write_run("b", **{f"data__{key}": value})
    found = tables(below)
    assert [len(table.groups) for table in found] == [1, 1]
    assert len({table.title for table in found}) == 2


def test_of_a_part_of_the_test_split_too(write_run, below):
    write_run("a")
    write_run("b", trainer__limit_test_batches=1)
    assert len(tables(below)) == 2


def test_how_many_images_are_trained_on_is_a_setting_like_any_other(write_run, below):
    write_run("a", data__train_size=500)
    write_run("b", data__train_size=None)
    assert {group.name for group in only(below).groups} == {"train_size=500", "train_size=none"}


def test_the_choice_of_a_model_names_it_and_its_own_settings_are_not_told(write_run, below):
    write_run("a")
    write_run("b", model__name="mlp", model__hidden=[100], model__norm="none",
              model___target_="mnist_lab.models.MLP")  # fmt: skip
    table = only(below)
    assert {group.name for group in table.groups} == {"model=lenet", "model=mlp"}
    assert [(setting.key, setting.along) for setting in table.settings] == [("model", ())]


def test_a_choice_of_none_has_a_name(write_run, below):
    write_run("a")
    write_run("b", augment={"_target_": "mnist_lab.data.augment.Shift", "pixels": 2})
    write_run("c", augment={"_target_": "mnist_lab.data.augment.Shift", "pixels": 3})
    assert {group.name for group in only(below).groups} == {
        "augment=none", "augment=Shift pixels=2", "augment=Shift pixels=3",
    }  # fmt: skip


def test_settings_that_change_together_are_one_and_said_to_be(write_run, below):
    for size, epochs in ((32, 2), (64, 4), (128, 8)):
        write_run(f"{size}", data__batch_size=size, trainer__max_epochs=epochs)
    table = only(below)
    size, epochs = table.settings
    assert (size.key, size.along) == ("data.batch_size", ("trainer.max_epochs",))
    assert (epochs.key, epochs.leader, epochs.along) == ("trainer.max_epochs", size.key, ())
    assert {(e.setting, e.value) for e in answers.effects(table)} == {("batch_size", "32")}


def test_a_searchs_trials_are_told_apart_by_all_that_was_chosen(write_run, below):
    for number in range(3):
        choice = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": (number + 1) / 10,
                  "weight_decay": (3 - number) / 100}  # fmt: skip
        write_run(f"{number}", optimizer=choice, test=0.9 - number / 10)
    table = only(below)
    assert [setting.key for setting in table.settings] == ["optimizer.lr", "optimizer.weight_decay"]
    names = {group.runs[0].folder.name: group.name for group in table.groups}
    assert names == {
        "0": "lr=0.1 weight_decay=0.03", "1": "lr=0.2 weight_decay=0.02",
        "2": "lr=0.3 weight_decay=0.01",
    }  # fmt: skip
    assert "With optimizer.lr optimizer.weight_decay changes: their effects are one." in (
        Section.of(table).notes
    )


def test_an_interpolations_second_copy_is_not_told(write_run, below):
    for lr in (0.1, 0.2):
        choice = {"_target_": "torch.optim.Adam", "_partial_": True, "lr": lr}
        write_run(f"{lr}", optimizer=choice)
    (setting,) = only(below).settings
    assert (setting.key, setting.name, setting.along) == ("optimizer.lr", "lr", ())


def test_names_that_would_be_equal_are_told_apart(write_run, below):
    for end in "ab":
        write_run(end, model__norm="x" * 60 + end + "x" * 60)
    names = sorted(group.name for group in only(below).groups)
    assert len(set(names)) == 2
    assert [letter in name for letter, name in zip("ab", names, strict=True)] == [True, True]


def test_a_datas_seed_of_its_own_is_a_setting(write_run, below):
    write_run("a", data__seed=5)
    write_run("b", data__seed=6)
    assert {group.name for group in only(below).groups} == {"seed=5", "seed=6"}


def test_the_same_run_counts_once(write_run, below):
    write_run("a", seed=3)
    write_run("b", seed=3)
    runs, left_out = gather.read(gather.find([str(below), f"{below}/*"]))
    assert [run.folder.name for run in runs] == ["a"]
    assert [(each.folder.name, "settings and the seed" in each.reason) for each in left_out] == [
        ("b", True)
    ]
    (table,) = arrange(runs, left_out)
    assert table.groups[0].asked == 1


UNTESTED = {
    "per_class": None,
    "metrics": {"val/loss": 0.3, "val/accuracy": 0.8, "test/loss": None, "test/accuracy": None},
}


def test_of_the_same_run_twice_the_tested_one_counts(write_run, below):
    write_run("a", result=UNTESTED)
    write_run("b")
    runs, left_out = gather.read(gather.find([str(below)]))
    assert [run.folder.name for run in runs] == ["b"]
    assert [each.folder.name for each in left_out] == ["a"]


def test_a_group_of_tested_and_untested_runs_tells_the_classes_of_the_former(write_run, below):
    write_run("a", seed=0, recalls=(0.9, 0.8, 0.7), right=[True] * 4)
    write_run("b", seed=1, result=UNTESTED)
    write_run("c", seed=0, model__norm="none", result=UNTESTED)
    section = Section.of(only(below))
    (told,) = section.classes.lines
    assert told.startswith("1. best 0 (90.00 %), worst 2 (70.00 %)")


def test_images_from_other_folders_are_other_data(write_run, below):
    source = {"_target_": "mnist_lab.data.FolderSource", "name": "folder", "classes": list("abc")}
    for name, root in (("a", "cats"), ("b", "dogs")):
        write_run(name, data__root=root, data__source=source)
    assert [len(table.groups[0].runs) for table in tables(below)] == [1, 1]
    assert "root=cats" in tables(below)[0].title
    for name, root in (("c", "here"), ("d", "there")):  # MNIST is MNIST wherever it lies
        write_run(name, seed=len(root), data__root=root)
    assert len(tables(below)) == 3


def test_a_whole_number_is_the_same_with_a_point(write_run, below):
    write_run("a", seed=0, model__dropout=0)
    write_run("b", seed=1, model__dropout=0.0)
    write_run("c", seed=1, model__dropout=0.5)
    assert [len(g.runs) for g in sorted(only(below).groups, key=lambda g: g.name)] == [2, 1]


def test_what_is_not_finished_or_not_whole_is_named_and_never_averaged_in(write_run, below):
    write_run("whole", seed=0, test=0.9)
    (write_run("unfinished", seed=1) / "result.json").unlink()
    write_run("diverged", seed=2, result={"status": "diverged", "reason": "loss is nan"})
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
    reasons = {each.folder.name: each.reason for each in left_out}
    told = {
        "unfinished": "unfinished: there is no result.json",
        "diverged": "diverged: loss is nan",
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
    assert reasons.keys() == told.keys()
    for name, start in told.items():
        assert reasons[name].startswith(start), reasons[name]
    (table,) = arrange(runs, left_out)
    assert table.groups[0].test.tolist() == [0.9]
    # Of those whose settings could be read.
    assert table.groups[0].asked == len(left_out) + 1 - len({"no_config", "foreign", "seedless"})


@pytest.mark.parametrize("missing", ["nowhere", "no*where"])
def test_folders_that_are_not_there(missing, tmp_path):
    with pytest.raises(ComparisonError, match="no such folder"):
        gather.find([str(tmp_path / missing)])


def test_a_foreign_folder_is_refused_by_name(tmp_path, write_run, below):
    write_run("a")
    (tmp_path / "photos").mkdir()
    with pytest.raises(ComparisonError, match="photos: there is no run in or below it"):
        gather.find([str(below), str(tmp_path / "photos")])


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


def test_a_monitored_value_that_no_result_holds_gives_way_to_accuracy(write_run, below):
    write_run("a", monitor="train/loss", mode="min", val=0.25, test=0.75)
    table = only(below)
    assert (table.quantity, table.mode) == ("accuracy", "max")
    assert np.allclose([*table.groups[0].val, *table.groups[0].test], [0.25, 0.75])


def test_whether_more_of_it_is_better_follows_from_the_name(write_run, below):
    """Runs of earlier versions had `mode` max unless it was set."""
    for norm, loss in (("after", 0.2), ("none", 0.3)):
        metrics = {"val/loss": loss, "val/accuracy": 0.5, "test/loss": loss, "test/accuracy": 0.5}
        write_run(norm, model__norm=norm, monitor="val/loss", mode="max",
                  result={"metrics": metrics})  # fmt: skip
    table = only(below)
    assert (table.quantity, table.mode) == ("loss", "min")
    assert [group.name for group in table.groups] == ["norm=after", "norm=none"]


def test_a_metric_of_ones_own_is_compared_by_where_it_was_logged(write_run, below):
    for norm, value in (("after", 0.7), ("none", 0.8)):
        metrics = {"val/loss": 0.3, "val/accuracy": 0.5, "val/top2": value, "test/top2": None,
                   "test/loss": 0.3, "test/accuracy": 0.5}  # fmt: skip
        write_run(norm, model__norm=norm, monitor="val/top2", result={"metrics": metrics})
    table = only(below)
    assert (table.quantity, table.mode, table.split) == ("top2", "max", "val")
    assert [group.scores.tolist() for group in table.groups] == [[0.8], [0.7]]
    assert "answers are about val/top2" in Section.of(table).notes[0]


def test_what_is_shown_of_a_setting_can_be_printed(write_run, below):
    write_run("a", model__norm="\x1b[31mred\n")
    write_run("b")
    names = {group.name for group in only(below).groups}
    assert names == {r"norm=\x1b[31mred\n", "norm=after"}
    assert json.dumps(sorted(names)).isascii()


def test_where_runs_were_not_tested_all_are_compared_by_validation(write_run, below):
    write_run("winner", val=0.9, test=0.95, data__batch_size=32)
    write_run("other", result=UNTESTED, data__batch_size=64)
    table = only(below)
    assert (table.split, table.ranked) == ("val", True)
    first, second = table.groups
    assert (first.name, first.scores.tolist(), first.test.tolist()) == (
        "batch_size=32",
        [0.9],
        [0.95],
    )
    assert (second.scores.tolist(), second.runs[0].classes) == ([0.8], ())
    section = Section.of(table)
    assert "answers are about val/accuracy" in section.notes[0]
    (answer,) = section.answers.lines
    assert answer.startswith("batch_size=32 is 10.00 points ahead of batch_size=64; no interval")
    assert section.grids[0].rows[1][5:7] == ("-", "-")


def test_choices_of_conf_have_their_names_unless_they_were_changed(write_run, below):
    affine = {"_target_": "mnist_lab.data.RandomAffine", "degrees": 15, "scale": 0.15, "shift": 2}
    shift = {"_target_": "mnist_lab.data.RandomAffine", "shift": 2}
    for name, augment in (("a", None), ("b", shift), ("c", affine)):
        write_run(name, augment=augment)
    table = only(below)
    assert [setting.key for setting in table.settings] == ["augment"]
    names = {group.runs[0].folder.name: group.name for group in table.groups}
    assert names == {"a": "augment=none", "b": "augment=shift", "c": "augment=affine"}
    write_run("d", augment={**shift, "shift": 3})
    assert "shift=3" in {g.runs[0].folder.name: g.name for g in only(below).groups}["d"]
