"""Runs separated, grouped and ranked."""

import pytest

from mnist_lab.comparison import sections
from mnist_lab.comparison.columns import leaderboard


def test_runs_that_differ_in_seed_alone_are_a_group(write_run, read_table):
    for seed, val in ((2, 0.7), (0, 0.8), (1, 0.9)):
        write_run(f"a{seed}", seed=seed, val=val, test=val / 2)
        write_run(f"b{seed}", seed=seed, val=0.1, model__norm="none", data__root=f"elsewhere{seed}")
    table = read_table()
    assert [group.name for group in table.groups] == ["norm=after", "norm=none"]
    first = table.groups[0]
    assert first.draws == [(0,), (1,), (2,)]
    assert first.val.tolist() == [0.8, 0.9, 0.7]
    assert first.test.tolist() == [0.4, 0.45, 0.35]
    assert (table.quantity, table.mode, table.ranked) == ("accuracy", "max", True)


def test_ranking_goes_by_validation_and_never_by_test(write_run, read_table):
    write_run("a", val=0.8, test=0.9)
    write_run("b", val=0.9, test=0.8, model__norm="none")
    assert [group.name for group in read_table().groups] == ["norm=none", "norm=after"]


@pytest.mark.parametrize("mode", ["min", "max"])
def test_whether_more_of_it_is_better_follows_from_the_name(mode, write_run, read_table):
    """Runs of earlier versions had `mode` max unless it was set."""
    for norm, loss in (("after", 0.5), ("before", 0.2), ("none", 0.9)):
        metrics = {"val/loss": loss, "val/accuracy": 0.5, "test/loss": loss, "test/accuracy": 0.5}
        write_run(norm, model__norm=norm, monitor="val/loss", mode=mode,
                  result={"metrics": metrics})  # fmt: skip
    table = read_table()
    assert (table.quantity, table.mode) == ("loss", "min")
    assert [group.name for group in table.groups] == ["norm=before", "norm=after", "norm=none"]


def test_without_validation_groups_stand_in_the_order_of_their_settings(write_run, read_table):
    for size, test in ((256, 0.9), (32, 0.8), (64, 0.99)):
        write_run(f"{size}", val=None, test=test, data__val_size=0, data__batch_size=size)
    table = read_table()
    assert not table.ranked
    assert [g.name for g in table.groups] == ["batch_size=32", "batch_size=64", "batch_size=256"]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("data__val_size", 100),
        ("data__split_seed", 1),
        ("data__source", {"_target_": "mnist_lab.data.IDXSource"}),
        ("trainer__limit_test_batches", 1),
    ],
)
def test_what_was_tested_or_validated_on_other_images_is_a_table_of_its_own(
    key, value, write_run, read_tables
):
    write_run("a")
    write_run("b", **{key: value})
    one, other = read_tables()
    assert (len(one.groups), len(other.groups)) == (1, 1)
    assert one.title != other.title


def test_images_from_other_folders_are_other_data(write_run, read_tables):
    source = {"_target_": "mnist_lab.data.FolderSource", "name": "folder", "classes": list("abc")}
    for name, root in (("a", "cats"), ("b", "dogs")):
        write_run(name, data__root=root, data__source=source)
    assert [len(table.groups[0].runs) for table in read_tables()] == [1, 1]
    assert "root=cats" in read_tables()[0].title
    for name, root in (("c", "here"), ("d", "there")):  # MNIST is MNIST wherever it lies
        write_run(name, seed=len(root), data__root=root)
    assert len(read_tables()) == 3


def test_a_whole_number_is_the_same_with_a_point(write_run, read_table):
    write_run("a", seed=0, model__dropout=0)
    write_run("b", seed=1, model__dropout=0.0)
    write_run("c", seed=1, model__dropout=0.5)
    assert [len(g.runs) for g in sorted(read_table().groups, key=lambda g: g.name)] == [2, 1]


def test_a_metric_of_ones_own_is_compared_by_where_it_was_logged(write_run, read_table):
    for norm, value in (("after", 0.7), ("none", 0.8)):
        metrics = {"val/loss": 0.3, "val/accuracy": 0.5, "val/top2": value, "test/top2": None,
                   "test/loss": 0.3, "test/accuracy": 0.5}  # fmt: skip
        write_run(norm, model__norm=norm, monitor="val/top2", result={"metrics": metrics})
    table = read_table()
    assert (table.quantity, table.mode, table.split) == ("top2", "max", "val")
    assert [group.scores.tolist() for group in table.groups] == [[0.8], [0.7]]


def test_where_runs_were_not_tested_all_are_compared_by_validation(write_run, read_table, untested):
    write_run("winner", val=0.9, test=0.95, data__batch_size=32)
    write_run("other", result=untested, data__batch_size=64)
    table = read_table()
    assert (table.split, table.ranked) == ("val", True)
    first, second = table.groups
    assert (first.name, first.scores.tolist(), first.test.tolist()) == (
        "batch_size=32",
        [0.9],
        [0.95],
    )
    assert (second.scores.tolist(), second.runs[0].classes) == ([0.8], ())
    assert "answers are about val/accuracy" in next(sections.notes(table))
    assert leaderboard(table).rows[1][5:7] == ("-", "-")
