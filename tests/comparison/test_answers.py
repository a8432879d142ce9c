"""Answers in words, with the numbers of independent calculations in them."""

import numpy as np
import pytest
from scipy import stats

from mnist_lab.comparison import answers
from mnist_lab.comparison.differences import compare

AFTER = [0.9912, 0.9920, 0.9907, 0.9915, 0.9911]
BEFORE = [0.9905, 0.9912, 0.9899, 0.9909, 0.9902]


@pytest.fixture
def comparisons(read_table):
    return lambda: answers.comparisons(read_table(), compare(read_table()))


@pytest.mark.parametrize("val", [0.93, 0.95])
def test_a_difference_names_the_better_one_whoever_validation_chose(val, write_group, comparisons):
    write_group("after", AFTER, 0.94)
    write_group("before", BEFORE, val)
    low, high = (100 * end for end in stats.ttest_rel(AFTER, BEFORE).confidence_interval())
    assert comparisons().lines == [
        f"norm=after beats norm=before by 0.08 points (95 % interval {low:.2f} to {high:.2f}, "
        "paired over 5 seeds, p < 0.001)"
    ]


def test_no_difference_names_the_smallest_that_could_be_shown(write_group, comparisons):
    other = [0.9910, 0.9921, 0.9909, 0.9911, 0.9912]
    write_group("after", AFTER, 0.95)
    write_group("before", other, 0.94)
    error = stats.sem(np.subtract(AFTER, other))
    noncentral = 3.7610603  # of power 0.8 at 5 % with 4 degrees of freedom
    (line,) = comparisons().lines
    assert line.startswith(
        "norm=after and norm=before: no difference that 5 seeds can show (the smallest they could: "
        f"{100 * noncentral * error:.2f} points; found: 0.00 points, 95 % interval \u22120."
    )


def test_losses_are_told_as_they_are_and_less_is_better(write_run, comparisons):
    for norm, losses in (("after", [0.25, 0.26, 0.24]), ("before", [0.35, 0.37, 0.36])):
        for seed, loss in enumerate(losses):
            metrics = {"val/loss": loss, "val/accuracy": 0, "test/loss": loss, "test/accuracy": 0}
            write_run(f"{norm}{seed}", seed=seed, model__norm=norm, monitor="val/loss", mode="min",
                      result={"metrics": metrics})  # fmt: skip
    (line,) = comparisons().lines
    assert line.startswith("norm=after beats norm=before by 0.1100 (95 % interval 0.0")


def test_a_line_of_many_tells_what_differs_from_the_first(write_group, comparisons):
    for number, (norm, size) in enumerate((n, s) for n in ("after", "none") for s in (32, 64)):
        tests = [0.9 - number / 10 + seed / 1000 * (seed + number) for seed in range(3)]
        write_group(norm, tests if number < 3 else tests[:1], 0.9 - number / 10,
                    data__batch_size=size)  # fmt: skip
    lead, lines = comparisons()
    # What all share is said once.
    assert lead == (
        "Against norm=after batch_size=32, first by validation, in test/accuracy; paired over 3 "
        "seeds; in brackets 95 % intervals and p after Holm's correction for 2 comparisons; one "
        "seed alone of 4, so there is no interval there:"
    )
    starts = ["2. batch_size=64: ", "3. norm=none: ", "4. norm=none batch_size=64: "]
    assert [line[: len(start)] for line, start in zip(lines, starts, strict=True)] == starts
    assert lines[2] == "4. norm=none batch_size=64: 30.17 points behind"
    assert " ".join([lead, *lines]).count("norm=after") == 1


def test_a_line_has_the_interval_of_what_is_ahead_and_a_corrected_p(write_group, comparisons):
    rng = np.random.RandomState(0)
    first, second, third = (rng.normal(0.9, 0.01, 6) for _ in range(3))
    for norm, tests, val in (("a", first, 0.9), ("b", second, 0.8), ("c", third, 0.7)):
        write_group(norm, tests, val)
    tests = [stats.ttest_rel(first, other) for other in (second, third)]
    low, high = (100 * end for end in tests[0].confidence_interval())
    if tests[0].statistic < 0:
        low, high = -high, -low
    p = min(1, 2 * tests[0].pvalue) if tests[0].pvalue < tests[1].pvalue else tests[0].pvalue
    gap = 100 * (first - second).mean()
    assert (
        comparisons()
        .lines[0]
        .startswith(
            f"2. norm=b: {abs(gap):.2f} points {'behind' if gap > 0 else 'ahead'} "
            f"({low:.2f} to {high:.2f}, p = {p:.2g})".replace("-", "\u2212")
        )
    )


def test_where_nothing_has_an_interval_none_is_announced(write_group, comparisons):
    write_group("after", AFTER, 0.95)
    write_group("before", BEFORE[:1], 0.94)
    write_group("none", BEFORE[:1], 0.93)
    assert comparisons().lead == (
        "Against norm=after, first by validation, in test/accuracy; one seed alone of 2 and 3, so "
        "there is no interval there:"
    )


def test_a_lead_without_particulars_ends_where_it_stands(write_group, comparisons):
    for norm, val in (("after", 0.9), ("before", 0.8), ("none", 0.7)):
        write_group(norm, [val, val], val)
    assert comparisons().lead == "Against norm=after, first by validation, in test/accuracy:"


def test_one_seed_has_no_interval(write_group, comparisons):
    write_group("after", AFTER, 0.95)
    write_group("before", BEFORE[:1], 0.94)
    assert comparisons().lines == [
        "norm=after is 0.08 points ahead of norm=before; no interval: one seed alone of norm=before"
    ]


def test_single_seeds_are_said_once(write_run, comparisons):
    for number in range(4):
        right = [True] * 90 + [n % 4 != number for n in range(40)]
        write_run(f"{number}", val=0.9 - number / 100, test=0.9, right=right,
                  data__batch_size=number + 1)  # fmt: skip
    lead, lines = comparisons()
    assert lead == (
        "Against batch_size=1, first by validation, in test/accuracy; one seed each, so there are "
        "no intervals; p by McNemar's exact test on the images after Holm's correction for 3 "
        "comparisons: of other seeds it says nothing:"
    )
    assert lines[0] == (
        "2. batch_size=2: level; 10 test images are right in the first alone and 10 in this one: "
        "as chance could divide them (p = 1)"
    )


@pytest.mark.parametrize(("test", "former", "latter"), [(0.91, "none", "after"),
                                                        (0.999, "after", "none")])  # fmt: skip
def test_image_by_image_the_one_that_is_ahead_is_the_former(
    test, former, latter, write_run, comparisons
):
    right = [True] * 90 + [False] * 9 + [True]
    other = [True] * 99 + [False]
    write_run("a", val=0.9, test=test, right=right if former == "none" else other)
    write_run("b", val=0.8, test=0.99, right=other if former == "none" else right,
              model__norm="none")  # fmt: skip
    gap = "8.00" if former == "none" else "0.90"
    assert comparisons().lines == [
        f"norm={former} is {gap} points ahead of norm={latter}; no interval: one seed each. Of the "
        "test images 9 are right in the former alone and 1 in the latter: more than chance "
        "(McNemar's exact test, p = 0.021); of other seeds this says nothing"
    ]


def test_why_images_were_not_compared_is_told(write_run, comparisons):
    write_run("a")
    path = write_run("b", model__norm="none") / "predictions.csv"
    path.write_text("")
    (line,) = comparisons().lines
    assert line.endswith(f"; not compared image by image: {path}: holds no predictions")


def test_classes_are_told_apart_over_runs(write_run, read_table):
    recalls = [(0.90, 0.99, 0.95), (0.91, 0.98, 0.96), (0.89, 0.995, 0.94), (0.90, 0.985, 0.95)]
    for seed, each in enumerate(recalls):
        write_run(f"{seed}", seed=seed, recalls=each)
    worst, best, _ = np.array(recalls).T
    theirs = stats.ttest_rel(best, worst)
    told = answers.classes(read_table().groups)
    low, high = (100 * end for end in theirs.confidence_interval(1 - 0.05 / 3))
    assert told.lead == (
        "The best and the worst recognised class; in brackets 95 % intervals and p, paired over 4 "
        "runs, both for 3 pairs:"
    )
    assert told.lines == [
        f"lenet: best 1 (98.75 %), worst 0 (90.00 %), 8.75 points apart ({low:.2f} to {high:.2f}, "
        f"p = {3 * theirs.pvalue:.2g}), more than chance"
    ]


def test_classes_of_one_run_have_intervals_over_images(write_run, read_table):
    write_run("a", recalls=(0.81, 0.95))
    theirs = [stats.binomtest(k, 100).proportion_ci(method="wilson") for k in (95, 81)]
    first, second = (f"{100 * ci.low:.2f} to {100 * ci.high:.2f}" for ci in theirs)
    told = answers.classes(read_table().groups)
    assert told.lead.endswith("95 % intervals over images (Wilson's), over seeds there is none:")
    assert told.lines == [
        f"lenet: best 1 (95.00 %), worst 0 (81.00 %), 14.00 points apart ({first} and {second})"
    ]


def test_classes_without_images_are_neither_best_nor_worst(write_run, read_table):
    metrics = {"precision": 1.0, "f1": 1.0, "support": 100}
    per_class = {
        "a": {**metrics, "recall": 0.9},
        "b": {**metrics, "recall": None, "support": 0},
        "c": {**metrics, "recall": 0.7},
    }
    for seed, recall in enumerate((None, 0.0)):  # as earlier versions wrote it
        per_class["b"] = {**metrics, "recall": recall, "support": 0}
        write_run(f"{seed}", seed=seed, result={"per_class": per_class})
    assert answers.classes(read_table().groups).lines == [
        "lenet: best a (90.00 %), worst c (70.00 %), 20.00 points apart in each of 2 runs"
    ]


def test_classes_are_those_of_the_tested_runs(write_run, read_table, untested):
    write_run("a", seed=0, recalls=(0.9, 0.8, 0.7), right=[True] * 4)
    write_run("b", seed=1, result=untested)
    write_run("c", seed=0, model__norm="none", result=untested)
    (line,) = answers.classes(read_table().groups).lines
    assert line.startswith("1. best 0 (90.00 %), worst 2 (70.00 %)")
