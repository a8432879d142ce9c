"""Runs of the folds of one dataset: what counts, and the corrected statistics."""

import numpy as np
import pytest
from scipy import stats

from mnist_lab.comparison import answers, gather, sections
from mnist_lab.comparison.columns import columns, leaderboard
from mnist_lab.comparison.differences import compare, effects
from mnist_lab.comparison.drawing import drawings

AFTER = [0.971, 0.964, 0.978, 0.969, 0.973]
BEFORE = [0.958, 0.961, 0.966, 0.957, 0.960]


@pytest.fixture
def write_folds(write_run):
    """`write_folds(norm, values, seed=0, repeat=0)`: a run a fold, with these of validation."""

    def write(norm, values, folds=5, first=0, seed=0, repeat=0, **settings):
        for fold, val in enumerate(values, first):
            name = "-".join(map(str, (norm, folds, repeat, fold, seed, *settings.values())))
            write_run(name, seed=seed, val=val, test=0.9 + fold / 100, model__norm=norm,
                      data__val_size=None, data__folds=folds, data__fold=fold,
                      data__repeat=repeat, **settings)  # fmt: skip

    return write


def corrected(values, folds):
    """By hand: mean, ends of the interval and p of a mean of none, corrected resampled t."""
    values = np.array(values)
    error = np.sqrt((1 / len(values) + 1 / (folds - 1)) * values.var(ddof=1))
    half = stats.t.ppf(0.975, len(values) - 1) * error
    p = 2 * stats.t.sf(abs(values.mean()) / error, len(values) - 1)
    return values.mean(), values.mean() - half, values.mean() + half, p


def test_folds_are_what_a_groups_runs_repeat(write_folds, read_table):
    write_folds("after", AFTER)
    (group,) = read_table().groups
    assert (group.n, group.counted, group.folds, len(group.runs)) == (5, "fold", 5, 5)
    assert group.scores.tolist() == AFTER  # of validation, though all runs were tested
    mean, low, high, _ = corrected(AFTER, 5)
    # The same by hand once more, in numbers: variance 2.65e-5, t 2.776, 0.2 + 0.25 of it.
    assert (low, high) == pytest.approx((0.961413, 0.980587), abs=1e-6)
    assert group.interval == pytest.approx((low, high))
    (row,) = columns([read_table()])
    assert (row["val mean"], row["val low"], row["val high"]) == pytest.approx((mean, low, high))
    assert (row["test mean"], row["test low"]) == (pytest.approx(0.92), None)
    cells = leaderboard(read_table()).rows[0]
    assert cells[2:7] == ("5", "97.10 \u00b1 0.51", "96.14 to 98.06", "92.00 \u00b1 1.58", "-")
    answer = answers.comparisons(read_table(), [])
    assert answer.lines == ["lenet: val/accuracy 97.10 % (95 % interval 96.14 to 98.06, 5 folds)"]
    assert answers.classes(read_table().groups).lines == []  # they would be of the test


def test_groups_are_compared_fold_by_fold(write_folds, read_table):
    write_folds("after", AFTER)
    write_folds("before", BEFORE)
    table = read_table()
    (compared,) = compare(table)
    mean, low, high, p = corrected(np.subtract(AFTER, BEFORE), 5)
    assert compared.difference.mean == pytest.approx(mean)
    assert compared.difference.interval() == pytest.approx((low, high))
    assert compared.p == pytest.approx(p)
    plain = stats.ttest_rel(AFTER, BEFORE)
    assert p > plain.pvalue
    (line,) = answers.comparisons(table, [compared]).lines
    assert line == (
        f"norm=after beats norm=before by {100 * mean:.2f} points (95 % interval {100 * low:.2f} "
        f"to {100 * high:.2f}, paired over 5 folds, p = {p:.2g})"
    )
    captions = {name: caption for name, caption, _ in drawings(table, [None, None])}
    assert "recalls" not in captions
    assert captions["groups"].endswith("single folds, mean, 95 % interval over folds")
    notes = list(sections.notes(table))
    assert "1/n + 1/4 of theirs" in notes[1]


def test_seeds_of_a_fold_stand_for_it_by_their_mean(write_folds, read_table):
    """Seeds repeat training on the same images: they are no folds more."""
    rng = np.random.RandomState(0)
    values = {(norm, seed): rng.normal(0.9, 0.01, 4) for norm in ("after", "none")
              for seed in (0, 1, 2)}  # fmt: skip
    for (norm, seed), each in values.items():
        write_folds(norm, each, folds=4, seed=seed)
    table = read_table()
    means = {norm: np.mean([values[norm, seed] for seed in (0, 1, 2)], axis=0)
             for norm in ("after", "none")}  # fmt: skip
    for group in table.groups:
        assert (group.n, group.asked, len(group.runs)) == (4, 4, 12)
        assert group.scores == pytest.approx(means[group.values[0]])
    (effect,) = effects(table)
    *_, p = corrected(means["after"] - means["none"], 4)
    assert effect.difference.p == pytest.approx(p)


def test_repeats_are_folds_more(write_folds, read_table):
    write_folds("after", AFTER[:3], folds=3)
    write_folds("after", AFTER[2:], folds=3, repeat=1)
    (group,) = read_table().groups
    assert group.draws == [(0, 0), (0, 1), (0, 2), (1, 0), (1, 1), (1, 2)]
    _, low, high, _ = corrected([*AFTER[:3], *AFTER[2:]], 3)
    assert group.interval == pytest.approx((low, high))


def test_folds_that_do_not_match_are_compared_by_welchs_test(write_folds, read_table):
    write_folds("after", AFTER)
    write_folds("before", BEFORE[:2], repeat=1)
    (compared,) = compare(read_table())
    errors = np.array([(1 / len(x) + 1 / 4) * np.var(x, ddof=1) for x in (AFTER, BEFORE[:2])])
    assert compared.difference.error == pytest.approx(np.sqrt(errors.sum()))
    assert not compared.difference.paired


def test_another_number_of_folds_is_a_table_of_its_own(write_folds, write_run, read_tables):
    write_folds("after", AFTER)
    write_folds("after", AFTER[:3], folds=3)
    write_run("split")
    divided = {table.groups[0].n: table.title for table in read_tables()}
    assert divided == {
        n: f"digits, {how}split_seed=0{folds}, by accuracy"
        for n, how, folds in ((5, "", ", folds=5"), (3, "", ", folds=3"), (1, "val_size=200, ", ""))
    }


def test_one_fold_has_no_interval_and_lost_ones_are_counted(
    write_folds, write_run, read_table, tmp_path
):
    write_folds("after", AFTER[:2])
    (tmp_path / "runs/after-5-0-1-0/result.json").unlink()
    (group,) = read_table().groups
    assert (group.n, group.asked, group.interval) == (1, 2, None)
    assert answers.comparisons(read_table(), []).lines == [
        "lenet: val/accuracy 97.10 %, of one fold: no interval"
    ]


def test_a_fold_that_is_none_is_named(write_folds, read_table, tmp_path):
    write_folds("after", [0.9], first=5)
    _, left_out = gather.read(gather.find([str(tmp_path / "runs")]))
    assert [each.reason for each in left_out] == [
        "damaged: config.yaml: data.fold=5: not one of data.folds=5"
    ]
