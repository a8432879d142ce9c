"""The columns of `compare.csv` and of the leaderboard: which values stand there."""

import numpy as np
import pytest
from scipy import stats

from mnist_lab.comparison import answers
from mnist_lab.comparison.columns import MAX_LISTED, columns, leaderboard
from mnist_lab.comparison.differences import compare


def test_csv_holds_each_group_with_all_digits(write_run, read_tables):
    tests = [0.91, 0.93, 0.98]
    for seed, test in enumerate(tests):
        write_run(f"a{seed}", seed=seed, val=0.5 + seed / 10, test=test)
    (write_run("a9", seed=9) / "result.json").unlink()
    write_run("b", val=0.1, test=0.2, model__norm="none")
    first, second = columns(read_tables())
    assert (first["rank"], first["group"], first["model.norm"]) == (1, "norm=after", "after")
    assert (first["n"], first["left out"], first["parameters"]) == (3, 1, 61706)
    low, high = stats.ttest_1samp(tests, 0).confidence_interval()
    values = [first[f"test {x}"] for x in ("mean", "deviation", "low", "high")]
    assert values == pytest.approx([np.mean(tests), np.std(tests, ddof=1), low, high])
    assert (first["test best"], first["test worst"]) == (0.98, 0.91)
    assert first["seconds per epoch"] == 2.5
    assert (second["rank"], second["n"], second["test low"]) == (2, 1, None)


def test_all_tables_have_the_columns_of_all_settings(write_run, read_tables):
    for number, size in enumerate((32, 64)):
        write_run(f"a{size}", data__batch_size=size)
        write_run(f"b{size}", data__val_size=100, trainer__max_epochs=number + 1)
    rows = columns(read_tables())
    assert [(row["data.batch_size"], row["trainer.max_epochs"]) for row in rows] == [
        (None, "1"), (None, "2"), ("32", None), ("64", None),
    ]  # fmt: skip
    assert len({tuple(row) for row in rows}) == 1


def test_fractions_are_told_in_percent(write_run, read_table):
    for seed, test in enumerate((0.91, 0.93)):
        write_run(f"{seed}", seed=seed, test=test)
    table = read_table()
    (header, rows) = leaderboard(table)[1:]
    row = dict(zip(header, rows[0], strict=True))
    assert row["test/accuracy (%)"] == "92.00 \u00b1 1.41"
    assert (row["best"], row["worst"], row["s/epoch"]) == ("93.00", "91.00", "2.50")
    assert answers.comparisons(table, []).lines == [
        "lenet: test/accuracy 92.00 % (95 % interval 79.29 to 104.71, 2 seeds)"
    ]


def test_more_groups_than_can_be_read_are_cut_and_counted(write_run, read_table):
    for size in range(1, MAX_LISTED + 3):
        write_run(f"{size}", data__batch_size=size)
    table = read_table()
    assert leaderboard(table).title == "Leaderboard (and 2 more in compare.csv)"
    assert len(leaderboard(table).rows) == MAX_LISTED
    assert len(columns([table])) == MAX_LISTED + 2
    lines = answers.comparisons(table, compare(table)).lines
    assert lines[-1] == "... and 90 groups more, in the table alone"
